//! What one client sees of its own work: W7, monotonic reads and read-your-write after ack.
//!
//! Relies on a counter that one process alone adds to, one at a time, and reads in between. What must
//! stay true: a read is never below an earlier one, and never below what was acknowledged before it
//! began.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Operation, Outcome};

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Adds one, and waits until it is processed.
    Write,
    /// Reads the counter.
    Read,
}

/// What sessions did: a write answers 0.
pub type Steps = [Operation<Step, u64>];

/// What a session knows.
#[derive(Default)]
struct Known {
    written: u64,
    read: u64,
}

/// W7, for every process.
pub fn sees_its_own(steps: &Steps) -> Vec<String> {
    let mut sessions: BTreeMap<u32, Known> = BTreeMap::new();
    let mut wrong = Vec::new();
    for step in steps {
        let Outcome::Ok(value) = step.outcome else {
            continue;
        };
        let (process, at) = (step.process, step.invoked);
        let known = sessions.entry(process).or_default();
        match step.call {
            Step::Write => known.written += 1,
            Step::Read => {
                let Known { written, read } = *known;
                if value < written {
                    wrong.push(format!(
                        "session {process} read {value} at {at} after {written} acknowledged writes"
                    ));
                }
                if value < read {
                    wrong.push(format!(
                        "session {process} read {value} at {at} after {read}"
                    ));
                }
                known.read = read.max(value);
            }
        }
    }
    wrong
}
