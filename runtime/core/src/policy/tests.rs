//! Tests of policies: delays grow to their limit, counts decide.

use core::time::Duration;

use super::*;

fn policy(retries: u32, then: Exhausted) -> FailurePolicy {
    FailurePolicy {
        retries,
        backoff_base_ms: 10,
        backoff_factor: 3,
        backoff_max_ms: 100,
        then,
    }
}

#[test]
fn delays_grow_by_the_factor_up_to_the_limit() {
    let delays: Vec<u128> = (1..6)
        .map(|retry| policy(9, Exhausted::Skip).backoff(retry).as_millis())
        .collect();
    assert_eq!(delays, [10, 30, 90, 100, 100]);
    assert_eq!(
        policy(9, Exhausted::Skip).backoff(u32::MAX),
        Duration::from_millis(100)
    );
}

#[test]
fn a_record_is_given_up_after_its_last_retry() {
    let policy = policy(2, Exhausted::DeadLetter);
    let mut failures = Failures::default();
    let after = |ms| Verdict::Retry {
        after: Duration::from_millis(ms),
    };
    assert_eq!(failures.on_failure(7, &policy), after(10));
    assert_eq!(failures.on_failure(8, &policy), after(10));
    assert_eq!(failures.on_failure(7, &policy), after(30));
    let over = Verdict::GiveUp {
        then: Exhausted::DeadLetter,
        failures: 3,
    };
    assert_eq!(failures.on_failure(7, &policy), over);
    assert_eq!(failures.count(8), 1);
}

#[test]
fn a_forgiven_record_starts_anew() {
    let policy = policy(0, Exhausted::Pause);
    let mut failures = Failures::default();
    let over = Verdict::GiveUp {
        then: Exhausted::Pause,
        failures: 1,
    };
    assert_eq!(failures.on_failure(1, &policy), over);
    failures.forgive(1);
    assert!(failures.is_empty());
    assert_eq!(failures.on_failure(1, &policy), over);
}

#[test]
fn for_ever_is_for_ever() {
    let policy = policy(u32::MAX, Exhausted::Skip);
    let mut failures = Failures::default();
    for _ in 0..10_000 {
        assert!(matches!(
            failures.on_failure((), &policy),
            Verdict::Retry { .. }
        ));
    }
}
