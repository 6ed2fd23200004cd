//! Scripts with recorded output: what a machine is told, and what it wants done, as plain text.
//!
//! A script is a list of cases: one command line, then `----`, then the recorded output, then an
//! empty line. Lines that start with `#` are comments and stay. `UPDATE_SCRIPTS=1 cargo test`
//! records anew; the diff is what a reviewer reads.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Runs every command of the script through `execute` and compares the output.
pub(crate) fn run(name: &str, execute: &mut dyn FnMut(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripts")
        .join(name);
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()));
    let mut recorded = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            writeln!(recorded, "{line}").expect("a string takes everything");
            continue;
        }
        if lines.peek() == Some(&"----") {
            while lines.next().is_some_and(|old| !old.is_empty()) {}
        } else if lines.peek() == Some(&"") {
            lines.next();
        }
        let output = execute(line);
        write!(recorded, "{line}\n----\n{output}\n").expect("a string takes everything");
    }
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        fs::write(&path, recorded)
            .unwrap_or_else(|error| panic!("could not write {}: {error}", path.display()));
        return;
    }
    assert!(
        recorded == text,
        "{name} differs; `UPDATE_SCRIPTS=1 cargo test` records this:\n{}",
        differences(&text, &recorded)
    );
}

fn differences(before: &str, after: &str) -> String {
    let mut out = String::new();
    for (index, (old, new)) in before.lines().zip(after.lines()).enumerate() {
        if old != new {
            let at = index + 1;
            writeln!(out, "line {at}\n- {old}\n+ {new}").expect("a string takes everything");
        }
    }
    out
}

/// The words of a command: its name and `key=value` pairs.
pub(crate) struct Command<'a> {
    pub(crate) name: &'a str,
    line: &'a str,
}

impl<'a> Command<'a> {
    pub(crate) fn parse(line: &'a str) -> Command<'a> {
        let name = line.split(' ').next().expect("a line has a word");
        Command { name, line }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        let words = self.line.split(' ').filter_map(|word| word.split_once('='));
        words
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .next()
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        let text = self.text(key)?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{key} of `{}` is not a number", self.line)),
        )
    }

    pub(crate) fn need(&self, key: &str) -> u64 {
        self.number(key)
            .unwrap_or_else(|| panic!("`{}` needs {key}=", self.line))
    }
}
