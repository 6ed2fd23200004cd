//! Good histories of a depot pass, each kind of a bad one does not.

use super::*;

fn place(partition: u32, offset: u64) -> Place {
    Place { partition, offset }
}

fn append(
    time: u64,
    text: &str,
    outcome: Outcome<Option<Place>>,
) -> Operation<String, Option<Place>> {
    Operation {
        process: 1,
        invoked: time,
        returned: Some(time + 1),
        call: text.to_owned(),
        outcome,
    }
}

fn depot(partitions: &[&[&str]]) -> Contents {
    let texts = |texts: &&[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Contents((0..).zip(partitions.iter().map(texts)).collect())
}

/// `a` acknowledged with its place, `b` without an answer, `c` refused, `d` acknowledged.
fn history() -> Vec<Operation<String, Option<Place>>> {
    vec![
        append(1, "a", Outcome::Ok(Some(place(0, 0)))),
        append(3, "b", Outcome::Unknown),
        append(5, "c", Outcome::Failed),
        append(7, "d", Outcome::Ok(None)),
    ]
}

fn check(partitions: &[&[&str]], expected: &str) {
    let depot = depot(partitions);
    let mut wrong = is_taken_once(&history(), &depot);
    wrong.extend(is_in_order(&history(), &depot));
    if expected.is_empty() {
        assert!(wrong.is_empty(), "{partitions:?}: {wrong:?}");
    } else {
        assert_eq!(wrong.len(), 1, "{partitions:?}: {wrong:?}");
        assert!(wrong[0].contains(expected), "{partitions:?}: {wrong:?}");
    }
}

#[test]
fn what_has_no_answer_may_be_there_or_not() {
    check(&[&["a", "b", "d"]], "");
    check(&[&["a", "d"]], "");
    check(&[&["a"], &["b", "d"]], "");
}

#[test]
fn what_is_lost_doubled_refused_misplaced_or_invented_is_named() {
    check(&[&["a", "b"]], "d was acknowledged and is lost");
    check(&[&["a", "b", "b", "d"]], "b is there 2 times");
    check(
        &[&["a", "c", "d"]],
        "c is there 1 times, at [Place { partition: 0, offset: 1 }]: 0 calls were acknowledged",
    );
    check(&[&["b"], &["a", "d"]], "a was said to be at");
    check(&[&["a", "d", "x"]], "x is there and nobody appended it");
}

#[test]
fn what_lies_in_another_order_is_named_in_each_partition() {
    check(&[&["a", "d", "b"]], "b of process 1 lies after d");
    // Another partition has an order of its own.
    check(&[&["a", "d"], &["b"]], "");
    assert_eq!(depot(&[&["a", "b"], &["b"]]).distinct(), 2);
}

#[test]
fn a_record_that_was_asked_for_again_is_there_once_for_each_call_that_may_have_been_taken() {
    let calls = [
        append(1, "a", Outcome::Unknown),
        append(3, "a", Outcome::Failed),
        append(5, "a", Outcome::Ok(None)),
        append(7, "b", Outcome::Ok(None)),
    ];
    // The call that nobody knows of may come late.
    for good in [&["a", "b"][..], &["a", "a", "b"], &["a", "b", "a"]] {
        let depot = depot(&[good]);
        assert!(is_taken_once(&calls, &depot).is_empty(), "{good:?}");
        assert!(is_in_order(&calls, &depot).is_empty(), "{good:?}");
    }
    assert_eq!(is_taken_once(&calls, &depot(&[&["b"]])).len(), 1);
    assert_eq!(
        is_taken_once(&calls, &depot(&[&["a", "a", "a", "b"]])).len(),
        1
    );
    assert_eq!(is_in_order(&calls, &depot(&[&["b", "a"]])).len(), 1);
}
