//! Following what a conductor does until its end.
//!
//! Relies on `GET /v1/operations/{operation}`, which waits for the next step. What must stay true:
//! an operation goes on without who watches it, so that every end of the watching says its name; a
//! conductor that starts again is waited for, because it resumes what it began.

use std::time::{Duration, Instant};

use rama_api::{Kind, Operation, Outcome, paths};
use uuid::Uuid;

use crate::client::Client;
use crate::error::{Exit, Failure, Result};
use crate::progress::Steps;

/// How long a request waits for a step.
const WAIT_SECONDS: u64 = 20;

/// How long a conductor may be away.
const AWAY_MAX: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(250);

/// What an operation came to, when it succeeded.
pub fn follow(client: &Client, id: Uuid, what: &str) -> Result<Operation> {
    let mut steps = Steps::new(what.to_owned());
    let mut step = String::new();
    let mut away: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let path = paths::fill(paths::OPERATION, &[&id.to_string()]);
        let found = client.get(&format!("{path}?wait={WAIT_SECONDS}&step={step}"));
        let operation: Operation = match found {
            Ok(operation) => operation,
            Err(lost) if lost.exit == Exit::Unreachable => {
                let since = *away.get_or_insert(asked);
                if since.elapsed() > AWAY_MAX {
                    return Err(goes_on(lost, id, what, &step));
                }
                steps.at(&format!("{}; waiting for it", lost.text()));
                client
                    .pause(PAUSE)
                    .map_err(|late| goes_on(late, id, what, &step))?;
                continue;
            }
            Err(failure) => return Err(goes_on(failure, id, what, &step)),
        };
        away = None;
        if let Some(outcome) = &operation.outcome {
            return ended(what, outcome).map(|()| operation);
        }
        steps.at(&shown(&operation));
        if operation.step == step && asked.elapsed() < PAUSE {
            // Whoever answers at once is not asked all the time.
            client
                .pause(PAUSE)
                .map_err(|late| goes_on(late, id, what, &step))?;
        }
        step = operation.step;
    }
}

/// Its step, and what that waits for.
pub fn shown(operation: &Operation) -> String {
    match operation.waits_for.as_str() {
        "" => operation.step.clone(),
        waits_for => format!("{}, waits for {waits_for}", operation.step),
    }
}

/// What came of it, or how far it is.
pub fn state(operation: &Operation) -> String {
    match &operation.outcome {
        None => shown(operation),
        Some(done) => outcome(done),
    }
}

/// What came of one that has ended.
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "succeeded".to_owned(),
        Outcome::RolledBack { reason } => format!("rolled back: {reason}"),
    }
}

/// One word for what it does.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Launch => "launch",
        Kind::Destroy => "destroy",
    }
}

/// What became of a request that begins an operation is told by the list of all.
pub fn begun<T>(answer: Result<T>) -> Result<T> {
    answer.map_err(|failure| match failure.exit {
        Exit::Unknown => failure.hint("`rama operations --all` tells whether it began"),
        _ => failure,
    })
}

fn ended(what: &str, outcome: &Outcome) -> Result<()> {
    match outcome {
        Outcome::Succeeded => Ok(()),
        Outcome::RolledBack { reason } => Err(Failure::new(
            Exit::Refused,
            format!("{what} was rolled back: {reason}"),
            "change what the reason names, and try again",
        )),
    }
}

/// The watching is over, and the operation is not.
fn goes_on(failure: Failure, id: Uuid, what: &str, step: &str) -> Failure {
    let hint = format!("`rama operations` shows how operation {id} is");
    match failure.exit {
        Exit::Late => {
            let at = if step.is_empty() {
                "its beginning"
            } else {
                step
            };
            let text = format!("the time of --timeout is over: {what} is at {at} and goes on");
            Failure::new(Exit::Late, text, hint)
        }
        Exit::Unreachable => failure.at(&format!("{what} goes on")).hint(hint),
        _ => failure.at(&format!("{what} (operation {id})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stops_watching_is_told_that_the_operation_goes_on() {
        let stopped = |exit| {
            let failure = Failure::new(exit, "lost", "");
            goes_on(failure, Uuid::nil(), "launch of M", "start")
        };
        let late = stopped(Exit::Late);
        assert_eq!(late.exit, Exit::Late);
        assert!(late.text().ends_with("launch of M is at start and goes on"));
        assert_eq!(
            stopped(Exit::Unreachable).text(),
            "launch of M goes on: lost"
        );
    }
}
