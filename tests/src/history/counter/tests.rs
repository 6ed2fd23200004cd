//! Good counters pass, each kind of a bad one does not.

use super::*;

fn append(invoked: u64, outcome: Outcome<()>) -> Operation<(), ()> {
    Operation {
        process: 1,
        invoked,
        returned: Some(invoked + 1),
        call: (),
        outcome,
    }
}

fn read(invoked: u64, value: u64) -> Operation<(), u64> {
    Operation {
        process: 2,
        invoked,
        returned: Some(invoked + 1),
        call: (),
        outcome: Outcome::Ok(value),
    }
}

#[test]
fn a_read_may_lag_and_may_not_lead() {
    // Two that count when they are called, one that was refused.
    let appends = [
        append(0, Outcome::Ok(())),
        append(10, Outcome::Failed),
        append(20, Outcome::Unknown),
    ];
    let good = [read(2, 0), read(4, 1), read(22, 1), read(24, 2)];
    assert!(is_never_ahead(&appends, &good).is_empty());
    for bad in [read(4, 2), read(12, 2), read(24, 3)] {
        let wrong = is_never_ahead(&appends, std::slice::from_ref(&bad));
        assert_eq!(wrong.len(), 1, "{bad:?}");
    }
    // What is called while a read is under way may count in it.
    let long = Operation {
        returned: Some(21),
        ..read(3, 2)
    };
    assert!(is_never_ahead(&appends, &[long]).is_empty());
}

#[test]
fn an_exact_counter_is_neither_more_nor_less() {
    assert!(is_exact(3, 3).is_empty());
    assert_eq!(is_exact(4, 3).len(), 1);
    assert_eq!(is_exact(2, 3).len(), 1);
}

#[test]
fn a_stream_may_count_again_and_may_not_miss() {
    assert!(is_at_least_once(3, 3, 3).is_empty());
    assert!(is_at_least_once(5, 3, 3).is_empty());
    assert_eq!(is_at_least_once(2, 3, 3).len(), 1);
    assert_eq!(is_at_least_once(5, 2, 3).len(), 1);
    assert_eq!(is_at_least_once(5, 4, 3).len(), 1);
}
