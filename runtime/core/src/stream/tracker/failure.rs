//! Step 3, what happens to a record whose tree failed, and pausing, which may be the consequence.
//!
//! Relies on the policy of the source. What must stay true: a record leaves the window done, given
//! up durably, or not at all; in mode `None` it never runs again; its appender hears exactly once.

use std::collections::BTreeSet;

use crate::mutants::{self, Mutant};
use crate::policy::{Exhausted, FailurePolicy, Verdict};
use crate::stream::tracker::{Tracker, released};
use crate::stream::window::Slot;
use crate::stream::{Effect, Outcome, RetryMode, TreeId};
use crate::time::Now;

/// A link that is down may be up again any time; until then thousands of records try.
const UNBLAMED_BACKOFF_MAX_MS: u64 = 500;

impl Tracker {
    // Step 3: fail.

    pub(super) fn handle_failed(&mut self, now: Now, offset: u64, blamed: bool, text: &str) {
        let Some(Slot::Running { generation, .. }) = self.window.get(offset) else {
            panic!("record {offset} fails while it does not run");
        };
        self.failure_count += 1;
        self.last_failure = Some(text.to_owned());
        let tree = TreeId::new(generation, offset);
        self.effects.push_back(Effect::Discard { tree });
        let at_most_once = self.options.retry == RetryMode::None;
        // An attempt decides about the append (D-20) when the record failed in it. One that ended
        // because a neighbor failed or a link broke says nothing about the record: the append waits
        // for the retry.
        if (self.options.limits.first_attempt_decides && blamed) || at_most_once {
            self.release_failed(offset, text);
        }
        let verdict = match (at_most_once, blamed) {
            (true, _) => Verdict::GiveUp {
                then: self.options.policy.then,
                failures: 1,
            },
            (false, true) => self.failures.on_failure(offset, &self.options.policy),
            (false, false) => self.unblamed.on_failure(offset, &self.patience()),
        };
        match verdict {
            Verdict::Retry { after } => self.retry(now.after(after), offset),
            Verdict::GiveUp {
                then: Exhausted::Pause,
                ..
            } => {
                self.failures.forgive(offset);
                if at_most_once {
                    self.finish(now, offset);
                } else {
                    self.retry(now, offset);
                }
                self.pause();
            }
            Verdict::GiveUp {
                then: Exhausted::DeadLetter,
                failures,
            } => {
                self.release_failed(offset, text);
                self.leave_out_for_good(offset, Slot::GivenUp);
                self.window.set(offset, Slot::GivenUp);
                let text = text.to_owned();
                self.effects.push_back(Effect::DeadLetter {
                    offset,
                    failures,
                    text,
                });
            }
            Verdict::GiveUp {
                then: Exhausted::Skip,
                ..
            } => {
                self.release_failed(offset, text);
                let text = text.to_owned();
                self.effects.push_back(Effect::Skipped {
                    from: offset,
                    to: offset + 1,
                    text,
                });
                self.leave_out_for_good(offset, Slot::Done);
                self.finish(now, offset);
            }
        }
    }

    /// How a record is tried again that is not to blame: for ever, and soon when all is well again.
    fn patience(&self) -> FailurePolicy {
        let policy = self.options.policy;
        FailurePolicy {
            retries: u32::MAX,
            backoff_max_ms: policy.backoff_max_ms.min(UNBLAMED_BACKOFF_MAX_MS),
            ..policy
        }
    }

    /// Mode all-after brings everything behind a failed record back, but not what was given up:
    /// that would fail for ever, and everything that shares a batch with it.
    fn leave_out_for_good(&mut self, offset: u64, slot: Slot) {
        if self.options.retry == RetryMode::AllAfter {
            self.left_out.insert(offset, slot);
        }
    }

    pub(super) fn retry(&mut self, at: Now, offset: u64) {
        let alone = mutants::active(Mutant::AllAfterForgotten);
        if self.options.retry == RetryMode::AllAfter && !alone {
            self.rewind(offset);
            self.hold_until = self.hold_until.max(at);
        } else {
            self.window.set(offset, Slot::Waiting);
            self.retries.insert((at, offset));
        }
    }

    /// Takes the record and everything after it back; they will be pushed again, in order.
    pub(super) fn rewind(&mut self, offset: u64) {
        self.timeouts.retain_mut(|(_, delivery)| {
            delivery.to = delivery.to.min(offset);
            delivery.from < delivery.to
        });
        for (after, slot) in (offset + 1..).zip(self.window.rewind(offset).into_iter().skip(1)) {
            if let Slot::Running { generation, .. } = slot {
                let tree = TreeId::new(generation, after);
                self.effects.push_back(Effect::Discard { tree });
            }
        }
    }

    pub(super) fn release_failed(&mut self, offset: u64, text: &str) {
        if self.watched.remove(&offset) {
            let text = text.to_owned();
            self.effects
                .push_back(released(offset, Outcome::Failed { text }));
        }
    }

    // Pause.

    pub(super) fn pause(&mut self) {
        self.pause_announced = false;
        self.paused = true;
        let next = self.window.next();
        let running: BTreeSet<u64> = self.watched.range(..next).copied().collect();
        for offset in std::mem::replace(&mut self.watched, running).split_off(&next) {
            self.effects.push_back(released(offset, Outcome::Paused));
        }
    }

    pub(super) fn announce_pause(&mut self) {
        if self.paused && !self.pause_announced && self.window.running() == 0 {
            self.pause_announced = true;
            self.effects.push_back(Effect::Paused);
        }
    }
}
