//! Steps 2 and 3: starting an attempt, seeing it done by XOR, and ending it when it fails.
//!
//! Relies on reports that carry their attempt. What must stay true: only the current attempt's
//! reports count; an attempt that ended is never taken up again; a record is left out of an id only
//! by policy, durably, before the attempt that leaves it out.

use crate::ids::{Attempt, Origin, Position, TaskId, mix};
use crate::microbatch::coordinator::{ATTEMPTS_RESERVED, Coordinator, State};
use crate::microbatch::{DeadLetter, Excluded, Failure, SourceRange, SourceWork, ToParticipant};
use crate::mutants::{self, Mutant};
use crate::policy::{Exhausted, Verdict};
use crate::time::Now;

impl Coordinator {
    // Step 2: start.

    pub(super) fn startable(&self) -> bool {
        !self.ledger.paused && self.ready.len() == self.options.tasks as usize
    }

    pub(super) fn start_attempt(&mut self, now: Now) {
        if mutants::active(Mutant::RangesRechosen) && self.attempt > Attempt(0) {
            let id = self.ledger.decided.next();
            let fresh = self.intake.plan(now, id, &self.ledger.progress).ranges;
            self.ledger.plan.as_mut().expect("a plan is waiting").ranges = fresh;
        }
        let plan = self
            .ledger
            .plan
            .as_mut()
            .expect("an attempt starts with a plan");
        let next = Attempt(self.attempt.0 + 1);
        if next > plan.reserved {
            plan.reserved = Attempt(next.0 + ATTEMPTS_RESERVED);
            self.fix_plan(now);
            return;
        }
        self.attempt = next;
        let at = Position {
            id: plan.id,
            attempt: next,
        };
        let plan = plan.clone();
        let mut remaining = 0;
        for task in self.tasks() {
            let work = mix(self.seed ^ mix(at.id.0) ^ mix(u64::from(next.0) << 32 | task.0 as u64));
            remaining ^= work;
            let mine = plan.ranges.iter().filter(|range| range.partition == task.0);
            let sources = mine
                .map(|range| source_work(range, &plan.excluded))
                .collect();
            let ticks = if task == TaskId(0) {
                plan.ticks.clone()
            } else {
                Vec::new()
            };
            self.send(
                task,
                ToParticipant::Start {
                    at,
                    work,
                    sources,
                    ticks,
                },
            );
        }
        self.state = State::Processing {
            at,
            remaining,
            since: now,
        };
    }

    // Step 3: process.

    pub(super) fn handle_processed(&mut self, now: Now, reported: Position, xor: u64) {
        let State::Processing { at, remaining, .. } = &mut self.state else {
            return;
        };
        if *at != reported {
            return;
        }
        *remaining ^= xor;
        if *remaining == 0 {
            let at = *at;
            let missing = self.tasks().collect();
            self.state = State::Preparing {
                at,
                missing,
                since: now,
            };
            self.send_each(self.tasks(), &ToParticipant::Prepare { at });
        }
    }

    pub(super) fn handle_failed(&mut self, now: Now, reported: Position, failure: Failure) {
        if self.running() != Some(reported) {
            return;
        }
        let known = failure.origin.filter(|origin| self.planned(*origin));
        let Some(origin) = known else {
            let verdict = self.unblamed.on_failure((), &self.options.unblamed);
            let policy = self.options.unblamed;
            let longest = policy.backoff(u32::MAX);
            self.end_attempt(failure.text);
            match verdict {
                Verdict::Retry { after } => {
                    self.state = State::Waiting {
                        until: now.after(after),
                    }
                }
                Verdict::GiveUp {
                    then: Exhausted::Pause,
                    ..
                } => self.pause_by_policy(now),
                // Without a record there is nothing to leave out: try on, slowly.
                Verdict::GiveUp { .. } => {
                    self.state = State::Waiting {
                        until: now.after(longest),
                    };
                }
            }
            return;
        };
        let source = self
            .intake
            .source(origin.source)
            .expect("a planned source is configured");
        let verdict = self.failures.on_failure(origin, &source.policy);
        self.end_attempt(failure.text.clone());
        match verdict {
            Verdict::Retry { after } => {
                self.state = State::Waiting {
                    until: now.after(after),
                }
            }
            Verdict::GiveUp {
                then: Exhausted::Pause,
                ..
            } => self.pause_by_policy(now),
            Verdict::GiveUp { then, failures } => {
                let dead_letter = then == Exhausted::DeadLetter;
                self.exclude(origin, dead_letter, failures, failure.text);
                self.fix_plan(now);
            }
        }
    }

    /// Whether `origin` is in the plan and not yet taken out of it.
    pub(super) fn planned(&self, origin: Origin) -> bool {
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

    pub(super) fn exclude(
        &mut self,
        origin: Origin,
        dead_letter: bool,
        failures: u32,
        text: String,
    ) {
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

    /// Ends an attempt for which no record is to blame.
    pub(super) fn give_up(&mut self, now: Now, text: String) {
        let after = match self.unblamed.on_failure((), &self.options.unblamed) {
            Verdict::Retry { after } => after,
            Verdict::GiveUp { .. } => self.options.unblamed.backoff(u32::MAX),
        };
        self.end_attempt(text);
        self.state = State::Waiting {
            until: now.after(after),
        };
    }

    pub(super) fn end_attempt(&mut self, text: String) {
        let at = self.running().expect("only a running attempt can fail");
        self.failed_attempts += 1;
        self.last_failure = Some(text);
        self.send_each(self.tasks(), &ToParticipant::Abort { at });
        self.state = State::Idle;
    }

    /// The attempt that can still be given up.
    pub(super) fn running(&self) -> Option<Position> {
        match &self.state {
            State::Processing { at, .. } | State::Preparing { at, .. } => Some(*at),
            _ => None,
        }
    }
}

fn source_work(range: &SourceRange, excluded: &[Excluded]) -> SourceWork {
    let forgotten = mutants::active(Mutant::ExclusionsForgotten);
    let inside = |origin: &Origin| {
        origin.source == range.source
            && origin.partition == range.partition
            && (range.from..range.to).contains(&origin.offset)
    };
    let origins = excluded
        .iter()
        .map(|excluded| excluded.origin)
        .filter(inside);
    SourceWork {
        source: range.source,
        partition: range.partition,
        from: range.from,
        to: range.to,
        excluded: origins
            .map(|origin| origin.offset)
            .filter(|_| !forgotten)
            .collect(),
    }
}
