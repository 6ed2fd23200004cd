//! Tests of what `define` may say, of names (O-10), and of the texts for what it may not.

use std::time::Duration;

use super::*;
use crate::module::Module;

const LINES: Depot<String> = Depot::named("*lines");

struct Made(fn(&mut Setup));

impl Module for Made {
    fn define(&self, m: &mut Setup) {
        (self.0)(m);
    }

    fn name(&self) -> String {
        "Made".to_owned()
    }
}

/// What the module is told, without the directory of this file.
fn told(define: fn(&mut Setup)) -> String {
    let error = Definition::of(&Made(define)).expect_err("it must fail");
    error.to_string().replace(file!(), "tests.rs")
}

/// O-1: any subset is legal.
#[test]
fn an_empty_module_is_a_module() {
    let definition = Definition::of(&Made(|_| {})).unwrap();
    assert_eq!(definition.module, "Made");
    assert!(definition.depots.is_empty() && definition.topologies.is_empty());
}

#[test]
fn several_topologies_are_built_side_by_side() {
    let definition = Definition::of(&Made(|m| {
        let mut a = m.stream("a");
        let mut b = m.microbatch("b");
        a.source(LINES).done();
        b.source(LINES).done();
        m.depot(LINES, Partition::random()).global();
    }))
    .unwrap();
    assert_eq!(definition.depot("*lines").unwrap().kind, DepotKind::Global);
    let ids: Vec<(u16, u16)> = definition
        .topologies
        .iter()
        .map(|t| (t.slot, t.sources[0].log.0))
        .collect();
    assert_eq!(ids, [(1, 1), (2, 1)]);
}

#[test]
fn all_mistakes_are_told_together() {
    insta::assert_snapshot!(told(|m| {
        m.depot(LINES, Partition::random());
        m.depot(LINES, Partition::disallow());
        m.tick_depot(Depot::named("tick"), Duration::ZERO);
        m.stream("a").source(LINES).done();
        let mut b = m.stream("a");
        b.source(Depot::<u64>::named("*lines")).done();
        b.source(Depot::<u64>::named("*numbers")).done();
    }));
}

#[test]
#[expect(unused_must_use, reason = "the mistake under test")]
fn a_chain_without_an_end_is_told() {
    insta::assert_snapshot!(told(|m| {
        m.depot(LINES, Partition::random());
        let mut s = m.stream("s");
        s.source(LINES).map(|_, line| line.len() as u64);
        m.microbatch("m").source(LINES).global_partition();
    }));
}

#[test]
fn names_are_checked() {
    insta::assert_snapshot!(told(|m| {
        m.depot(Depot::<u64>::named("*"), Partition::random());
        m.depot(Depot::<u64>::named("$$wrong"), Partition::random());
        m.depot(Depot::<u64>::named("*a b"), Partition::random());
        m.depot(Depot::<u64>::named("*__mine"), Partition::random());
        m.stream("");
    }));
}

#[test]
fn one_depot_is_consumed_once_per_topology() {
    insta::assert_snapshot!(told(|m| {
        m.depot(LINES, Partition::random());
        let mut s = m.stream("s");
        s.source(LINES).done();
        s.source(LINES).done();
    }));
}

const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");

/// P-1: one owner; §19.
#[test]
fn mistakes_with_pstates_are_told() {
    insta::assert_snapshot!(told(|m| {
        m.depot(LINES, Partition::random());
        let mut a = m.stream("a");
        a.pstate(COUNTS);
        a.pstate(COUNTS);
        let mut b = m.microbatch("b");
        b.pstate(COUNTS);
        b.pstate(PState::<u64>::named("total"));
        b.pstate_placed(
            PState::<Map<u64, u64>>::named("$$top").global(),
            |key, _| *key as u32,
        );
        let other = PState::<Map<String, i64>>::named("$$counts");
        b.source(LINES).path_partition(other, |line| line).done();
        let gone = PState::<Map<String, i64>>::named("$$gone");
        a.source(LINES).path_partition(gone, |line| line).done();
    }));
}

#[test]
fn a_pstate_carries_its_options() {
    const TOTAL: PState<u64> = PState::named("$$total").global().private().initial(|| 7);
    const PLACED: PState<Map<u32, u64>> = PState::named("$$placed");
    let definition = Definition::of(&Made(|m| {
        let mut s = m.stream("s");
        s.pstate(TOTAL);
        s.pstate_placed(PLACED, |key, tasks| *key / 10 % tasks);
    }))
    .unwrap();
    let total = definition.pstate("$$total").unwrap();
    assert!(total.global && total.private);
    assert_eq!((total.owner.as_str(), total.space.0), ("s", 1));
    assert_eq!(total.initial, Some(7u64.to_bytes()));
    assert_eq!(total.home(b"", 4), Ok(0));
    let placed = definition.pstate("$$placed").unwrap();
    assert_eq!(placed.home(&31u32.key_bytes(), 4), Ok(3));
    assert!(placed.home(b"x", 4).is_err());
}

/// D-7, §5: the graph tells kinds, names and places in the order of the code.
#[test]
fn the_graph_is_drawn_as_the_code_reads() {
    let definition = Definition::of(&Made(|m| {
        m.depot(LINES, Partition::random());
        m.stream("count")
            .source(LINES)
            .flat_map(|_, line| line.chars().collect::<Vec<_>>())
            .named("letters")
            .hash_partition(|letter| letter)
            .each(|_, _| {});
    }))
    .unwrap();
    let graph = definition.topologies[0]
        .graph
        .to_string()
        .replace(file!(), "tests.rs");
    insta::assert_snapshot!(graph);
}

/// P-34: a name stands for one function.
#[test]
fn a_function_is_registered_once() {
    const HALF: Function<u64, u64> = Function::named("half");
    let text = told(|m| {
        m.function(HALF, |n, ()| n / 2);
        m.function(HALF, |n, ()| n / 3);
        m.function(Function::<u64, u64>::named(""), |n, ()| *n);
    });
    assert!(text.contains("function half is declared twice"), "{text}");
    assert!(text.contains("function  has no name"), "{text}");
    let made = Definition::of(&Made(|m| m.function(HALF, |n, ()| n / 2))).unwrap();
    let names: Vec<String> = made.functions.iter().map(|f| format!("{f:?}")).collect();
    assert_eq!(names, ["half(u64, ()) -> u64"]);
}
