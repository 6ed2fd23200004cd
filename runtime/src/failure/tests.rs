//! Whatever author code does, the event boundary gets a value.

use super::{EventFailure, fail, guard, raise};

#[test]
fn a_result_passes_through() {
    assert_eq!(guard(|| 7), Ok(7));
}

#[test]
fn a_raised_failure_arrives_as_it_was() {
    let failure = EventFailure::WrongTask {
        pstate: "$$counts".into(),
        key: "\"a\"".into(),
        here: 1,
        home: 3,
    };
    let raised = failure.clone();
    assert_eq!(guard(|| raise(raised)), Err(failure.clone()));
    assert_eq!(
        failure.to_string(),
        "key \"a\" of $$counts was accessed on task 1, but lives on task 3; partition by that key \
         first, or opt out with .unaligned()"
    );
}

#[test]
fn a_panic_brings_its_message_and_place() {
    let number = 5;
    match guard(|| panic!("no funds for {number}")) {
        Err(EventFailure::Panic { message, location }) => {
            assert_eq!(message, "no funds for 5");
            assert!(location.contains("failure/tests.rs:"), "{location}");
        }
        other => panic!("expected a panic, got {other:?}"),
    }
}

#[test]
fn failing_by_hand_keeps_the_text() {
    let failed = guard(|| fail("the account is closed"));
    assert_eq!(
        failed,
        Err(EventFailure::Author {
            message: "the account is closed".into()
        })
    );
}

#[test]
fn guards_nest_and_the_inner_one_catches() {
    let outer = guard(|| {
        assert!(guard(|| panic!("inner")).is_err());
        8
    });
    assert_eq!(outer, Ok(8));
}

#[test]
fn a_panic_with_any_payload_is_a_failure() {
    let failed = guard(|| std::panic::panic_any(3u8));
    match failed {
        Err(EventFailure::Panic { message, .. }) => {
            assert_eq!(message, "a panic without a message")
        }
        other => panic!("expected a panic, got {other:?}"),
    }
}
