//! Step 1, fixing the data of an id durably, and pausing, which is a durable wish as well.
//!
//! Relies on ledgers becoming durable in token order. What must stay true: no attempt starts on a
//! plan that is not durable; start positions of new sources are durable before a plan uses them.

use crate::ids::Attempt;
use crate::microbatch::CoordinatorEffect as Effect;
use crate::microbatch::coordinator::{ATTEMPTS_RESERVED, Coordinator, State};
use crate::mutants::{self, Mutant};
use crate::time::Now;

impl Coordinator {
    // Step 1: plan.

    pub(super) fn plannable(&self) -> bool {
        !self.ledger.paused && self.intake.settled(&self.ledger.progress)
    }

    pub(super) fn try_plan(&mut self, now: Now) {
        if self.intake.settle(&mut self.ledger.progress) {
            // A start position must survive: records appended from now on belong to the topology.
            let token = self.persist();
            self.state = State::Fixing { token, until: now };
            return;
        }
        if !self.plannable() || now < self.ended.after(self.options.limits.force_delay) {
            return;
        }
        let empty = self.options.limits.empty_interval;
        let empty_due = empty.is_some_and(|wait| self.ended.after(wait) <= now);
        if self.adopt_plan(now, empty_due) {
            self.fix_plan(now);
        }
    }

    /// Puts a plan for the id after the decided one into the ledger, if there is anything to do.
    pub(super) fn adopt_plan(&mut self, now: Now, even_empty: bool) -> bool {
        let id = self.ledger.decided.next();
        let mut plan = self.intake.plan(now, id, &self.ledger.progress);
        if plan.ranges.is_empty() && plan.ticks.is_empty() && !even_empty {
            return false;
        }
        self.intake.on_planned(now, &plan);
        plan.reserved = Attempt(ATTEMPTS_RESERVED);
        self.ledger.plan = Some(plan);
        self.attempt = Attempt(0);
        self.thorough = false;
        true
    }

    pub(super) fn fix_plan(&mut self, until: Now) {
        let token = self.persist();
        self.state = State::Fixing { token, until };
        if mutants::active(Mutant::RangesNotDurable) {
            self.state = State::Waiting { until };
        }
    }

    pub(super) fn persist(&mut self) -> u64 {
        self.token_issued += 1;
        let token = self.token_issued;
        let dead_letters = std::mem::take(&mut self.dead_letters);
        let ledger = self.ledger.clone();
        self.effects.push_back(Effect::Persist {
            token,
            ledger,
            dead_letters,
        });
        token
    }

    pub(super) fn handle_persisted(&mut self, now: Now, token: u64) {
        assert!(
            token <= self.token_issued,
            "persist {token} was not asked for"
        );
        self.token_durable = self.token_durable.max(token);
        match &self.state {
            State::Fixing { token, until } if *token <= self.token_durable => {
                self.state = match self.ledger.plan {
                    Some(_) => State::Waiting { until: *until },
                    None => State::Idle,
                };
            }
            State::Deciding { at, token } if *token <= self.token_durable => {
                let at = *at;
                self.commit(now, at);
            }
            _ => {}
        }
    }

    // Pause and resume.

    pub(super) fn handle_pause(&mut self) {
        self.pause_announced = false;
        if !self.ledger.paused {
            self.ledger.paused = true;
            self.persist();
        }
    }

    pub(super) fn handle_resume(&mut self, now: Now) {
        if self.ledger.paused {
            self.ledger.paused = false;
            self.persist();
        }
        if let State::Waiting { until } = &mut self.state {
            *until = now;
        }
    }

    pub(super) fn pause_by_policy(&mut self, now: Now) {
        self.failures.forgive_all();
        self.unblamed.forgive_all();
        self.ledger.paused = true;
        self.pause_announced = false;
        self.fix_plan(now);
    }

    pub(super) fn announce_pause(&mut self) {
        let settled = matches!(self.state, State::Idle | State::Waiting { .. });
        let durable = self.token_durable == self.token_issued;
        if self.ledger.paused && settled && durable && !self.pause_announced {
            self.pause_announced = true;
            self.effects.push_back(Effect::Paused);
        }
    }
}
