//! Steps 2 and 3: starting an attempt, seeing it done by XOR, and giving it up.
//!
//! Relies on reports that carry their attempt. What must stay true: only the current attempt's
//! reports count; an attempt that ended is never taken up again.

use crate::ids::{Attempt, Origin, Position, TaskId, mix};
use crate::microbatch::coordinator::{ATTEMPTS_RESERVED, Coordinator, State};
use crate::microbatch::{Excluded, SourceRange, SourceWork, ToParticipant};
use crate::mutants::{self, Mutant};
use crate::policy::Verdict;
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
            let work = self.work_id(at, 0, task);
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
                    thorough: self.thorough,
                },
            );
        }
        self.state = State::Processing {
            at,
            level: 0,
            remaining,
            since: now,
            failed: Vec::new(),
        };
    }

    // Step 3: process.

    pub(super) fn handle_processed(&mut self, now: Now, reported: Position, xor: u64) {
        let State::Processing {
            at,
            level,
            remaining,
            failed,
            ..
        } = &mut self.state
        else {
            return;
        };
        if *at != reported {
            return;
        }
        *remaining ^= xor;
        if *remaining == 0 && !failed.is_empty() {
            let failed = std::mem::take(failed);
            self.judge(now, failed);
        } else if *level < self.options.levels
            && (*remaining == 0 || mutants::active(Mutant::LevelEarly))
        {
            let next = *level + 1;
            self.let_go(reported, next);
        } else if *remaining == 0 {
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

    /// Nothing runs any more below `next`: what its stages gathered may go on (F-21).
    fn let_go(&mut self, attempt: Position, next: u16) {
        let mut started = 0;
        for task in self.tasks() {
            let work = self.work_id(attempt, next, task);
            started ^= work;
            let message = ToParticipant::Gathered {
                at: attempt,
                work,
                level: next,
            };
            self.send(task, message);
        }
        if let State::Processing {
            level, remaining, ..
        } = &mut self.state
        {
            *level = next;
            *remaining ^= started;
        }
    }

    /// The id of work that the coordinator starts on a task, never zero.
    fn work_id(&self, at: Position, level: u16, task: TaskId) -> u64 {
        let attempt = mix(u64::from(at.attempt.0) << 32 | u64::from(task.0));
        let of_level = if level == 0 { 0 } else { mix(level.into()) };
        mix(self.seed ^ mix(at.id.0) ^ attempt ^ of_level).max(1)
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
