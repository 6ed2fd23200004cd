//! Where migrations are, and what `define` is told of those that make no sense.

use std::collections::BTreeMap;

use crate::{Definition, List, Map, Module, PState, Schema, Setup};

const SCORES: PState<Map<String, Map<u64, u64>>> = PState::named("$$scores");
const NAMES: PState<Map<String, String>> = PState::named("$$names");

struct Made(fn(&mut Setup));

impl Module for Made {
    fn define(&self, m: &mut Setup) {
        (self.0)(m);
    }

    fn name(&self) -> String {
        "Made".to_owned()
    }
}

/// §19, P-52: what can be told at the definition is told there.
#[test]
fn migrations_that_make_no_sense_are_told_with_their_fix() {
    let error = Definition::of(&Made(|m| {
        let mut a = m.stream("a");
        let mut b = m.stream("b");
        a.pstate(SCORES);
        b.pstate(NAMES);
        let at = SCORES.each_value().each_value();
        a.migrate("", at.clone(), |old: i64| old as u64);
        a.migrate("one key", SCORES.key("x").each_value(), |old: i64| {
            old as u64
        });
        a.migrate("wrong", at.clone(), |old: i64| old.to_string());
        a.migrate("twice", at.clone(), |old: i64| old as u64);
        a.migrate("twice", at, |old: u64| old);
        a.migrate("of others", NAMES.each_value(), |old: u64| old.to_string());
    }));
    let text = error.unwrap_err().to_string().replace(file!(), "tests.rs");
    insta::assert_snapshot!(text);
}

/// Each takes what the one before it gives.
#[test]
fn changes_at_one_location_join() {
    let definition = Definition::of(&Made(|m| {
        let mut s = m.stream("a");
        s.pstate(NAMES);
        s.migrate("first", NAMES.each_value(), |old: u8| u64::from(old));
        s.migrate("second", NAMES.each_value(), |old: u64| old.to_string());
    }))
    .unwrap();
    let steps = &definition.pstate("$$names").unwrap().migrations;
    let names: Vec<_> = steps
        .iter()
        .map(|step| (step.from.name(), step.to.name()))
        .collect();
    let map = |value: &str| format!("Map<String, {value}>");
    assert_eq!(
        names,
        [(map("u8"), map("u64")), (map("u64"), map("String"))]
    );
}

#[derive(Schema)]
struct Old {
    gone: u64,
    first: String,
    second: u64,
    third: List<u64>,
}

#[derive(Schema)]
struct Typed {
    first: u64,
    second: u64,
}

#[derive(Schema)]
struct Turned {
    second: u64,
    added: String,
    first: String,
}

#[derive(Schema)]
struct New {
    added: String,
    first: String,
    third: List<u64>,
}

const TYPED: PState<Map<u64, Typed>> = PState::named("$$typed");
const TURNED: PState<Map<u64, Turned>> = PState::named("$$turned");
const NEW: PState<Map<u64, New>> = PState::named("$$new");
const TOP: PState<Map<u64, u64>> = PState::named("$$top");
const SUMS: PState<Map<u64, u64>> = PState::named("$$sums");

/// §19, P-50: fields and structures that do not fit are told with both sides.
#[test]
fn changes_of_keys_that_make_no_sense_are_told() {
    let error = Definition::of(&Made(|m| {
        let mut a = m.stream("a");
        a.pstate(TYPED);
        a.pstate(TURNED);
        a.pstate(NEW);
        a.pstate(SCORES);
        a.pstate(TOP);
        a.migrate_keys::<Old>("typed", TYPED.each_value());
        a.migrate_keys::<Old>("turned", TURNED.each_value());
        a.migrate_keys::<Old>("no struct", SCORES.each_value());
        // The field was not there before the change that is declared behind.
        a.migrate("late", NEW.each_value().added(), |old: u64| old.to_string());
        a.migrate_keys::<Old>("added", NEW.each_value());
        let at = SCORES.each_value();
        a.migrate_to_subindexed("list", at.clone(), |old: u64| vec![old]);
        a.migrate_to_subindexed("map", at, |old: u64| BTreeMap::from([(old, old)]));
        a.migrate_to_subindexed("top", TOP.root(), |old: BTreeMap<u64, u64>| old);
        a.pstate(SUMS);
        let at = SUMS.each_value();
        a.migrate_from_subindexed::<List<u64>, _>("text", at.clone(), |old| format!("{old:?}"));
        a.migrate_from_subindexed::<Map<u64, u64>, u64>("sum", at, |old| old.into_values().sum());
    }));
    let text = error.unwrap_err().to_string();
    for part in [
        "\"typed\" of $$typed finds String in field first, and u64 after it",
        "\"turned\" of $$turned finds field second of Turned before others",
        "\"no struct\" of $$scores is from Old to ",
        "\"late\" of $$new is for the value under one key, or for a field that was not there",
        "\"list\" of $$scores makes List<u64>, and ",
        "\"top\" of $$top spreads the whole of $$top, whose keys have homes on other tasks",
        "\"text\" of $$sums makes String, and Map<u64, u64> is stored there after it",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(
        ["map", "added", "sum"]
            .iter()
            .all(|id| !text.contains(&format!("\"{id}\""))),
        "{text}"
    );
}
