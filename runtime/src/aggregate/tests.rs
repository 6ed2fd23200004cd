//! Parts merge to the same as the whole, in any grouping; without values there is a zero.

use std::collections::BTreeMap;

use super::*;
use crate::failure::guard;

type Row = (u8, i64);

/// Aggregates rows cut at `cuts`, each part by itself.
fn in_parts<A: Aggregator<Row>>(agg: &A, rows: &[Row], cuts: &[usize]) -> A::Output {
    let mut whole = agg.zero();
    let mut from = 0;
    for &cut in cuts.iter().chain([&rows.len()]) {
        let mut part = agg.zero();
        for row in &rows[from..cut] {
            agg.add(&mut part, row);
        }
        // What travels is encoded and decoded.
        let part = A::State::decode(&part.to_bytes()).unwrap();
        agg.merge(&mut whole, part);
        from = cut;
    }
    agg.finish(whole)
}

fn check<A: Aggregator<Row>>(agg: A, rows: &[Row])
where
    A::Output: PartialEq + std::fmt::Debug,
{
    assert!(A::COMBINES);
    let whole = in_parts(&agg, rows, &[]);
    for one in 0..=rows.len() {
        for two in one..=rows.len() {
            assert_eq!(
                in_parts(&agg, rows, &[one, two]),
                whole,
                "{rows:?} at {one}, {two}"
            );
        }
    }
}

///
#[test]
fn parts_merge_to_the_whole() {
    let of = Aggs::<Row>::new();
    let rows = [(1, 5), (2, -3), (1, 9), (3, 9), (2, 0), (1, 5)];
    for count in 0..=rows.len() {
        let rows = &rows[..count];
        check(of.count(), rows);
        check(of.sum(|row| row.1), rows);
        check(of.avg(|row| row.1 as f64), rows);
        check(of.min(|row| row.1), rows);
        check(of.max(|row| row.1), rows);
        check(of.first(|row| *row), rows);
        check(of.last(|row| *row), rows);
        check(of.all(|row| row.1 > -1), rows);
        check(of.any(|row| row.1 == 9), rows);
        check(of.set(|row| row.0), rows);
        check(of.multi_set(|row| row.0), rows);
        check(of.list(|row| row.1), rows);
        check(of.map(|row| (row.0, row.1)), rows);
        check(of.merge(|row| BTreeMap::from([(row.0, row.1)])), rows);
        check(of.top(2, |row| row.1), rows);
        check(of.top(2, |row| row.1).ascending(), rows);
        check(of.limit(3), rows);
        check(
            of.combine(|one, other| (one.0.max(other.0), one.1 + other.1)),
            rows,
        );
        check(of.combine_by(|row| row.1, |one, other| one + other), rows);
        check((of.count(), of.sum(|row| row.1), of.max(|row| row.0)), rows);
    }
}

/// the last value of an id replaces the one before; best first, no more than asked for.
#[test]
fn the_top_knows_each_id_once() {
    let of = Aggs::<Row>::new();
    let top = of.top(2, |row| row.1).id(|row| row.0);
    let rows = [(1, 1), (2, 5), (1, 7), (3, 6), (2, 9)];
    assert_eq!(in_parts(&top, &rows, &[2]), [(2, 9), (1, 7)]);
    let lowest = of.top(2, |row| row.1).ascending();
    assert_eq!(in_parts(&lowest, &rows, &[]), [(1, 1), (2, 5)]);
}

/// the result is exact as long as the sort value of an id only gets better; who is not on the
/// list does not come back to it when somebody who is falls.
#[test]
fn a_top_is_exact_for_ids_that_only_get_better() {
    let top = Aggs::<Row>::new().top(1, |row| row.1).id(|row| row.0);
    assert_eq!(in_parts(&top, &[(1, 3), (2, 5), (1, 6)], &[]), [(1, 6)]);
    assert_eq!(in_parts(&top, &[(1, 3), (2, 5), (2, 1)], &[]), [(2, 1)]);
}

/// with one accumulator among them nothing is combined before it travels.
#[test]
fn an_accumulator_makes_all_values_travel() {
    fn combines<A: Aggregator<Row>>(_: &A) -> bool {
        A::COMBINES
    }
    let of = Aggs::<Row>::new();
    assert!(combines(&(of.count(), of.sum(|row| row.1))));
    let latest = of.fold(|| 0, |so_far, row| *so_far = *so_far / 2 + row.1);
    assert!(!combines(&(of.count(), latest)));
}

/// §6.2: results without values.
#[test]
fn without_values_there_is_a_zero() {
    let of = Aggs::<Row>::new();
    assert_eq!(in_parts(&of.count(), &[], &[]), 0);
    assert_eq!(in_parts(&of.sum(|row| row.1), &[], &[]), 0);
    assert_eq!(in_parts(&of.max(|row| row.1), &[], &[]), None);
    assert_eq!(in_parts(&of.avg(|row| row.1 as f64), &[], &[]), None);
    assert!(in_parts(&of.all(|_| false), &[], &[]));
    assert!(!in_parts(&of.any(|_| true), &[], &[]));
}

#[test]
fn a_sum_that_does_not_fit_fails_the_event() {
    let of = Aggs::<Row>::new();
    let sum = of.sum(|row| row.1);
    let failed = guard(|| in_parts(&sum, &[(0, i64::MAX), (0, 1)], &[]));
    let text = failed.unwrap_err().to_string();
    assert!(text.contains("a sum is too large for i64"), "{text}");
}
