//! Groups in memory and on disk against a map of lists.

use std::collections::BTreeMap;

use super::{Groups, take_some};
use crate::aggregate::{Aggregator, Aggs};
use crate::gather::{Left, RELEASED_ROWS};
use crate::path::tests::random::Random;
use crate::rows::Waiting;
use crate::rows::tests::move_out;
use crate::stage::{Item, Origin};

type Row = (String, u32);

/// Adds rows as a chain does, some of them from other tasks, and answers with what comes out.
fn run<A>(agg: &A, seed: u64) -> (BTreeMap<String, Vec<u32>>, Vec<(String, A::State)>)
where
    A: Aggregator<Row, State = Vec<u32>>,
{
    let mut random = Random::new(seed);
    let mut waiting = Waiting::<Groups<Row, String, A>>::default();
    let mut expected: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let (keys, spills) = (1 + random.below(30), random.below(3) > 0);
    for n in 0..random.below(150) as u32 {
        let row = ("k".repeat(random.below(keys) as usize), n);
        expected.entry(row.0.clone()).or_default().push(n);
        if A::COMBINES && random.below(3) == 0 {
            let mut part = agg.zero();
            agg.add(&mut part, &row);
            waiting.memory.merge(agg, row.0, part);
        } else if !A::COMBINES && waiting.is_on_disk() {
            let key = row.0.clone();
            waiting.memory.keep(&key, Item::of(Origin::default(), row));
        } else {
            waiting.memory.add(agg, row.0.clone(), &row);
        }
        if spills && random.below(12) == 0 {
            move_out(&mut waiting);
        }
    }
    if waiting.is_on_disk() {
        move_out(&mut waiting);
    }
    let mut found = Vec::new();
    loop {
        let (groups, left) = take_some(&mut waiting, agg);
        assert!(groups.len() <= RELEASED_ROWS, "too many at once");
        found.extend(groups);
        if left == Left::Nothing {
            return (expected, found);
        }
    }
}

/// each key once, in order, with all its values in the order of their arrival, also
/// where parts cannot be merged.
#[test]
fn groups_are_those_of_a_map() {
    let aggs = Aggs::<Row>::new;
    let (lists, folds) = (
        aggs().list(|row| row.1),
        aggs().fold(Vec::new, |list, row| list.push(row.1)),
    );
    for seed in 0..300 {
        let (expected, found) = run(&lists, seed);
        assert_eq!(found, Vec::from_iter(expected), "lists, seed {seed}");
        let (expected, found) = run(&folds, seed);
        assert_eq!(found, Vec::from_iter(expected), "folds, seed {seed}");
    }
}
