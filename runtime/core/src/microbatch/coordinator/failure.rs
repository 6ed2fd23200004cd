//! Step 3 when records fail: which of them, and what becomes of each by its source's policy.
//!
//! Relies on participants that undo a failed event before they go on, and tell failures in the
//! order in which they happened. What must stay true: a record is left out of an id only by policy,
//! durably, before the attempt that leaves it out. A record that failed behind another one on its
//! task was seen in a world without that one; it is left out together with it or not at all.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use crate::ids::{Origin, Position, TaskId};
use crate::microbatch::coordinator::{Coordinator, State};
use crate::microbatch::{DeadLetter, Excluded, Failure};
use crate::mutants::{self, Mutant};
use crate::policy::{Exhausted, Verdict};
use crate::time::Now;

/// A record that failed in the running attempt.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    task: TaskId,
    origin: Origin,
    text: String,
}

impl Coordinator {
    pub(super) fn handle_failed(
        &mut self,
        now: Now,
        (task, reported): (TaskId, Position),
        failure: Failure,
        dropped: bool,
    ) {
        if self.running() != Some(reported) {
            return;
        }
        let origin = failure.origin.filter(|origin| self.planned(*origin));
        let text = failure.text;
        let mut failed = match &mut self.state {
            State::Processing { failed, .. } => std::mem::take(failed),
            _ => Vec::new(),
        };
        match origin {
            Some(origin) => failed.push(Failed { task, origin, text }),
            None if failed.is_empty() => return self.retry_unblamed(now, text),
            // Others are to blame as well: leaving them out is more than trying again.
            None => {}
        }
        match &mut self.state {
            State::Processing { failed: so_far, .. } if origin.is_some() && !dropped => {
                *so_far = failed;
            }
            _ => self.judge(now, failed),
        }
    }

    /// Ends the attempt that these records failed, in the order in which they were told.
    pub(super) fn judge(&mut self, now: Now, failed: Vec<Failed>) {
        let first = failed.first().expect("somebody is to blame");
        self.end_attempt(first.text.clone());
        self.thorough = true;
        let mut verdicts = BTreeMap::new();
        let mut staying = BTreeSet::new();
        let (mut wait, mut pauses, mut left_out) = (Duration::ZERO, false, false);
        for Failed { task, origin, text } in failed {
            let verdict = match verdicts.get(&origin) {
                Some(verdict) => *verdict,
                None => self.verdict(origin),
            };
            verdicts.insert(origin, verdict);
            let behind = staying.contains(&task) && !mutants::active(Mutant::DependentGivenUp);
            match verdict {
                Verdict::Retry { after } => {
                    wait = wait.max(after);
                    staying.insert(task);
                }
                Verdict::GiveUp {
                    then: Exhausted::Pause,
                    ..
                } => {
                    pauses = true;
                    staying.insert(task);
                }
                Verdict::GiveUp { then, failures } if !behind && self.planned(origin) => {
                    left_out = true;
                    self.exclude(origin, then == Exhausted::DeadLetter, failures, text);
                }
                Verdict::GiveUp { .. } => {}
            }
        }
        let until = now.after(wait);
        if pauses {
            self.pause_by_policy(now);
        } else if left_out {
            self.fix_plan(until);
        } else {
            self.state = State::Waiting { until };
        }
    }

    fn verdict(&mut self, origin: Origin) -> Verdict {
        let source = self
            .intake
            .source(origin.source)
            .expect("a planned source is configured");
        self.failures.on_failure(origin, &source.policy)
    }

    /// Ends an attempt that failed without a record to blame.
    fn retry_unblamed(&mut self, now: Now, text: String) {
        let policy = self.options.unblamed;
        let verdict = self.unblamed.on_failure((), &policy);
        self.end_attempt(text);
        let after = match verdict {
            Verdict::Retry { after } => after,
            Verdict::GiveUp {
                then: Exhausted::Pause,
                ..
            } => return self.pause_by_policy(now),
            // Without a record there is nothing to leave out: try on, slowly.
            Verdict::GiveUp { .. } => policy.backoff(u32::MAX),
        };
        let until = now.after(after);
        self.state = State::Waiting { until };
    }

    /// Whether `origin` is in the plan and not yet taken out of it.
    fn planned(&self, origin: Origin) -> bool {
        self.ledger.plan.as_ref().is_some_and(|plan| {
            let inside = plan.ranges.iter().any(|range| {
                range.source == origin.source
                    && range.partition == origin.partition
                    && (range.from..range.to).contains(&origin.offset)
            });
            inside
                && !plan
                    .excluded
                    .iter()
                    .any(|excluded| excluded.origin == origin)
        })
    }

    fn exclude(&mut self, origin: Origin, dead_letter: bool, failures: u32, text: String) {
        self.failures.forgive(origin);
        let plan = self
            .ledger
            .plan
            .as_mut()
            .expect("a failing attempt has a plan");
        plan.excluded.push(Excluded {
            origin,
            dead_letter,
        });
        plan.excluded.sort_by_key(|excluded| excluded.origin);
        if dead_letter {
            self.dead_letters.push(DeadLetter {
                origin,
                id: plan.id,
                failures,
                text,
            });
        }
    }
}
