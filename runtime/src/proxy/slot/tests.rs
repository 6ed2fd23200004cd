//! The queue's bound, and how both halves learn of the other's end.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

fn changes(number: u8) -> Arc<Update> {
    Arc::new(Update::Changes {
        checksum: u64::from(number),
        changes: vec![(vec![number], None)],
    })
}

fn whole(why: Whole, number: u8) -> Arc<Update> {
    Arc::new(Update::Whole {
        why,
        checksum: u64::from(number),
        answer: vec![number],
    })
}

fn next(feed: &Feed) -> Option<Fed> {
    match feed.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(fed) => Some(fed),
        Poll::Pending => None,
    }
}

fn update(feed: &Feed) -> Arc<Update> {
    match next(feed) {
        Some(Fed::Update(update)) => update,
        other => panic!("{other:?}"),
    }
}

/// P-46: what does not fit becomes one whole value; nothing else is told until it comes.
#[test]
fn a_reader_that_is_behind_gets_one_whole_value() {
    let (told, feed) = pair();
    for number in 0..3 {
        assert_eq!(told.push(&changes(number), 3), Pushed::Taken);
    }
    assert_eq!(told.push(&changes(3), 3), Pushed::Behind);
    assert_eq!(told.push(&changes(4), 3), Pushed::Taken);
    assert!(
        next(&feed).is_none(),
        "nothing makes sense without a whole value"
    );
    assert_eq!(told.push(&whole(Whole::Resync, 5), 3), Pushed::Taken);
    assert_eq!(told.push(&changes(6), 3), Pushed::Taken);
    assert_eq!(update(&feed), whole(Whole::Resync, 5));
    assert_eq!(update(&feed), changes(6));
    assert!(next(&feed).is_none());
}

#[test]
fn of_values_that_are_told_whole_the_newest_replaces_those_that_do_not_fit() {
    let (told, feed) = pair();
    for number in 0..4 {
        assert_eq!(
            told.push(&whole(Whole::Evaluated, number), 3),
            Pushed::Taken
        );
    }
    assert_eq!(update(&feed), whole(Whole::Resync, 3));
    assert!(next(&feed).is_none());
}

#[test]
fn waiting_updates_can_be_seen_without_taking_them() {
    let (told, feed) = pair();
    told.push(&changes(0), 9);
    told.push(&changes(1), 9);
    assert_eq!(feed.waiting(0), (0, vec![changes(0), changes(1)]));
    assert_eq!(feed.waiting(1), (1, vec![changes(1)]));
    update(&feed);
    assert_eq!((feed.passed(), feed.waiting(0)), (1, (1, vec![changes(1)])));
    told.push(&whole(Whole::Resync, 2), 9);
    assert_eq!(feed.waiting(2), (2, vec![whole(Whole::Resync, 2)]));
}

/// P-44: whoever tells learns at once that nobody follows.
#[test]
fn either_half_learns_of_the_end_of_the_other() {
    let closed = Arc::new(AtomicU32::new(0));
    let closer = |closed: &Arc<AtomicU32>| {
        let closed = closed.clone();
        Box::new(move || {
            closed.fetch_add(1, Relaxed);
        })
    };
    let (told, feed) = pair();
    told.on_reader_gone(closer(&closed));
    assert!(!told.is_over());
    drop(feed);
    assert_eq!(closed.load(Relaxed), 1);
    assert_eq!(told.push(&changes(0), 9), Pushed::Over);
    told.on_reader_gone(closer(&closed));
    assert_eq!(closed.load(Relaxed), 2);
    let (told, feed) = pair();
    told.on_reader_gone(closer(&closed));
    told.push(&changes(0), 9);
    drop(told);
    assert!(!feed.is_over());
    update(&feed);
    assert!(feed.is_over() && matches!(next(&feed), Some(Fed::Gone)));
    drop(feed);
    assert_eq!(closed.load(Relaxed), 2, "there is nobody to be told");
}

#[test]
fn a_refusal_is_told_after_what_waits() {
    let (told, feed) = pair();
    told.push(&changes(0), 9);
    told.refuse(Error::invalid("too large"));
    update(&feed);
    assert!(feed.is_over());
    assert!(matches!(next(&feed), Some(Fed::Refused(_))));
    assert!(matches!(next(&feed), Some(Fed::Gone)));
}
