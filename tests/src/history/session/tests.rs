//! A good session passes, one that forgets does not.

use super::*;

fn steps(steps: &[(u32, Step, Outcome<u64>)]) -> Vec<Operation<Step, u64>> {
    let operation =
        |(time, (process, call, outcome)): (u64, &(u32, Step, Outcome<u64>))| Operation {
            process: *process,
            invoked: 2 * time,
            returned: Some(2 * time + 1),
            call: *call,
            outcome: *outcome,
        };
    (0..).zip(steps).map(operation).collect()
}

#[test]
fn a_session_that_remembers_passes() {
    let good = steps(&[
        (1, Step::Read, Outcome::Ok(0)),
        (1, Step::Write, Outcome::Ok(0)),
        // Another session has a counter of its own.
        (2, Step::Read, Outcome::Ok(0)),
        (1, Step::Read, Outcome::Ok(1)),
        // Nobody knows whether it was done: either will do, and a stream may count twice.
        (1, Step::Write, Outcome::Unknown),
        (1, Step::Read, Outcome::Unknown),
        (1, Step::Read, Outcome::Ok(1)),
        (1, Step::Read, Outcome::Ok(3)),
    ]);
    assert_eq!(sees_its_own(&good), Vec::<String>::new());
}

#[test]
fn a_session_that_forgets_is_named() {
    let own = steps(&[
        (1, Step::Write, Outcome::Ok(0)),
        (1, Step::Read, Outcome::Ok(0)),
    ]);
    assert!(sees_its_own(&own)[0].contains("after 1 acknowledged"));
    let back = steps(&[
        (1, Step::Write, Outcome::Unknown),
        (1, Step::Read, Outcome::Ok(1)),
        (1, Step::Read, Outcome::Ok(0)),
    ]);
    assert!(sees_its_own(&back)[0].contains("read 0 at 4 after 1"));
}
