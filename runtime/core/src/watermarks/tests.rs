//! Tests of the watermarks: they move forward, in order, and nothing else.

use super::*;

#[test]
fn marks_move_forward_one_after_the_other() {
    let mut marks = Watermarks::recovered(Index(5));
    for mark in Mark::ALL {
        assert!(marks.advance(mark, Index(7)));
        assert_eq!(marks.get(mark), Index(7));
    }
}

#[test]
fn late_confirmations_change_nothing() {
    let mut marks = Watermarks::recovered(Index(5));
    assert!(!marks.advance(Mark::Durable, Index(4)));
    assert!(!marks.advance(Mark::Durable, Index(5)));
    assert_eq!(marks, Watermarks::recovered(Index(5)));
}

/// P-30: no stage is skipped.
#[test]
#[should_panic(expected = "Applied 6 would pass Committed 5")]
fn a_mark_cannot_pass_the_stage_before_it() {
    let mut marks = Watermarks::recovered(Index(5));
    marks.advance(Mark::Appended, Index(9));
    marks.advance(Mark::Durable, Index(9));
    marks.advance(Mark::Applied, Index(6));
}
