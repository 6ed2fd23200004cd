//! Steps 4 to 6: prepare, decide, commit.
//!
//! Relies on participants saying `Prepared` when it is durable and `Committed` when it is visible.
//! What must stay true: the decision is written when all tasks have prepared, commits are sent when
//! it is durable, and the next id begins when all tasks have committed.

use crate::ids::{MicrobatchId, Position, TaskId};
use crate::microbatch::coordinator::{Coordinator, State};
use crate::microbatch::{CoordinatorEffect as Effect, ToParticipant};
use crate::mutants::{self, Mutant};
use crate::time::Now;

impl Coordinator {
    // Steps 4 and 5: prepare and decide.

    pub(super) fn handle_prepared(&mut self, now: Now, task: TaskId, prepared: Position) {
        let State::Preparing { at, missing, .. } = &mut self.state else {
            return;
        };
        if *at != prepared {
            return;
        }
        missing.remove(&task);
        if missing.is_empty() || mutants::active(Mutant::DecideEarly) {
            let at = *at;
            self.decide(now, at);
        }
    }

    pub(super) fn decide(&mut self, now: Now, at: Position) {
        let plan = self
            .ledger
            .plan
            .take()
            .expect("an attempt runs with a plan");
        self.ledger.decided = at.id;
        self.ledger.decided_attempt = at.attempt;
        self.ledger.processed += plan.record_count();
        for range in &plan.ranges {
            let positions = self.ledger.progress.get_mut(&range.source);
            let positions = positions.expect("a planned source has positions");
            positions[range.partition as usize] = range.to;
        }
        self.failures.forgive_all();
        self.unblamed.forgive_all();
        if self.plannable() && self.options.limits.force_delay.is_zero() {
            self.adopt_plan(now, false);
        }
        let token = self.persist();
        self.state = State::Deciding { at, token };
        if mutants::active(Mutant::CommitBeforeDecision) {
            self.commit(now, at);
        }
    }

    // Step 6: commit.

    pub(super) fn commit(&mut self, now: Now, at: Position) {
        let missing = self.tasks().collect();
        self.state = State::Committing {
            at,
            missing,
            since: now,
        };
        self.send_each(self.tasks(), &ToParticipant::Commit { at });
    }

    pub(super) fn handle_committed(&mut self, now: Now, task: TaskId, id: MicrobatchId) {
        let State::Committing { at, missing, .. } = &mut self.state else {
            return;
        };
        if at.id != id {
            return;
        }
        missing.remove(&task);
        if !missing.is_empty() && !mutants::active(Mutant::NextEarly) {
            return;
        }
        let processed = self.ledger.processed;
        self.effects.push_back(Effect::Committed { id, processed });
        self.ended = now;
        self.state = match self.ledger.plan {
            Some(_) => State::Waiting { until: now },
            None => State::Idle,
        };
    }
}
