//! Where migrations are, and what `define` is told of those that make no sense.

use crate::{Definition, Map, Module, PState, Setup};

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
