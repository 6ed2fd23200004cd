//! Crashes: the coordinator's own (boot), a task's (ready, lost), and what storage must agree on.
//!
//! Relies on the ledger found at boot and on what tasks say in `Ready`. What must stay true: a
//! decided id is rolled forward on every task, an undecided one is tried again under a number never
//! used before; a task whose storage contradicts the ledger halts the topology instead of running
//! it on wrong data.

use crate::ids::{Attempt, MicrobatchId, Position, TaskId};
use crate::microbatch::coordinator::{Coordinator, State};
use crate::microbatch::{CoordinatorEffect as Effect, Ledger, ToParticipant};
use crate::mutants::{self, Mutant};
use crate::time::Now;

impl Coordinator {
    pub(super) fn handle_boot(&mut self, now: Now, ledger: Option<Ledger>, seed: u64) {
        assert!(
            matches!(self.state, State::Down),
            "a coordinator boots once"
        );
        self.seed = seed;
        self.ended = now;
        self.intake.on_boot(now);
        self.ledger = ledger.unwrap_or_default();
        self.forget_removed_sources();
        if let Some(plan) = &self.ledger.plan {
            self.attempt = plan.reserved;
            if mutants::active(Mutant::AttemptsNotReserved) {
                self.attempt = Attempt(0);
            }
        }
        self.state = match self.ledger.plan {
            Some(_) => State::Waiting { until: now },
            None => State::Idle,
        };
        if self.ledger.decided > MicrobatchId(0) {
            let at = Position {
                id: self.ledger.decided,
                attempt: self.ledger.decided_attempt,
            };
            self.state = State::Committing {
                at,
                missing: self.tasks().collect(),
                since: now,
            };
        }
        self.send_each(self.tasks(), &ToParticipant::Hello);
    }

    /// A module update may have removed sources: nothing of theirs was decided in the plan, so it
    /// can be left out.
    fn forget_removed_sources(&mut self) {
        let intake = &self.intake;
        if let Some(plan) = &mut self.ledger.plan {
            plan.ranges
                .retain(|range| intake.source(range.source).is_some());
            plan.excluded
                .retain(|excluded| intake.source(excluded.origin.source).is_some());
            plan.ticks.retain(|tick| intake.source(*tick).is_some());
        }
    }

    pub(super) fn handle_ready(
        &mut self,
        now: Now,
        task: TaskId,
        incarnation: u64,
        (committed, prepared): (MicrobatchId, Option<Position>),
    ) {
        assert!(
            task.0 < self.options.tasks,
            "task {} is not of this module",
            task.0
        );
        if let Some(text) = self.contradiction(committed, prepared) {
            self.state = State::Halted;
            self.effects.push_back(Effect::Halt { task, text });
            return;
        }
        let restarted = self.ready.insert(task, incarnation) != Some(incarnation);
        match &mut self.state {
            State::Processing { .. } if restarted => {
                self.give_up(now, format!("task {} restarted", task.0));
            }
            State::Preparing { at, .. } if !mutants::active(Mutant::PrepareUnasked) => {
                let at = *at;
                if prepared == Some(at) {
                    // That it is prepared may have been said into a broken link.
                    self.handle_prepared(now, task, at);
                } else if restarted {
                    self.give_up(now, format!("task {} restarted", task.0));
                }
            }
            State::Committing { at, .. } => {
                let at = *at;
                if committed == at.id {
                    self.handle_committed(now, task, at.id);
                } else if !mutants::active(Mutant::CommitNotRepeated) {
                    self.send(task, ToParticipant::Commit { at });
                }
            }
            _ => {}
        }
    }

    pub(super) fn handle_lost(&mut self, now: Now, task: TaskId) {
        self.ready.remove(&task);
        let needed = match &self.state {
            State::Processing { .. } => true,
            State::Preparing { missing, .. } => missing.contains(&task),
            _ => false,
        };
        if needed {
            self.give_up(now, format!("task {} was lost", task.0));
        }
    }

    /// What is wrong with a task that committed and prepared this, if anything.
    fn contradiction(&self, committed: MicrobatchId, prepared: Option<Position>) -> Option<String> {
        let decided = Position {
            id: self.ledger.decided,
            attempt: self.ledger.decided_attempt,
        };
        if committed == decided.id || (committed.next() == decided.id && prepared == Some(decided))
        {
            return None;
        }
        let prepared = prepared.map_or("nothing".to_owned(), |at| at.to_string());
        let committed = committed.0;
        Some(format!(
            "the ledger decided {decided}, but the task committed {committed} and prepared \
             {prepared}: its storage lost or gained writes; restore it from a backup"
        ))
    }
}
