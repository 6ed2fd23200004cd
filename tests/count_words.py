#!/usr/bin/env python3
"""Counts the words of a UTF-8 file, independently of Rama: the oracle of the quickstart test.

A word is a maximal run of letters, lower-cased. Python's letters are the Unicode categories L*; texts
whose words hold combining marks would count differently, and the test uses none.

Usage: count_words.py FILE > COUNTS.json
"""
import collections
import itertools
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
counts = collections.Counter(
    "".join(run).lower() for letters, run in itertools.groupby(text, str.isalpha) if letters
)
json.dump(counts, sys.stdout, sort_keys=True, ensure_ascii=False)
