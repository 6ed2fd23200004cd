//! The decider of one microbatch topology, on task 0: which data, which attempt, commit or not.
//!
//! Relies on the engine to carry messages in order per task and to make ledgers durable in token
//! order. One microbatch, step by step:
//!
//! 1. *plan*: fix the offset ranges and make them durable (`Fixing`).
//! 2. *start* an attempt on all tasks when all are ready (`Waiting` → `Processing`).
//! 3. *process*: every piece of source work and every hop has a random id. Each event reports the
//!    XOR of what it consumed and emitted; when the XOR of everything started and reported is
//!    zero, nothing is left anywhere, in whatever order the reports came. Then what stages gathered
//!    is let go, level by level, each counted in the same way.
//! 4. *prepare*: every task makes its overlay durable (`Preparing`).
//! 5. *decide*: one ledger write says the id is done; it carries the next plan if there is more
//!    data already (`Deciding`). From here on only forward.
//! 6. *commit*: every task shows its writes (`Committing`); then the next id begins.
//!
//! Until 5 any failure, timeout or lost task ends the attempt: same id, same ranges, next attempt
//! after a back-off. Attempts after one that a record is to blame for are thorough: they go on to
//! the end and show every record that fails, so that many poison records cost no more attempts than
//! one. After a crash the ledger tells: decided → step 6 again, else a new attempt.
//! What must stay true: the invariants of `microbatch`, and those in [`Coordinator::check`].

mod attempt;
mod commit;
mod failure;
mod planning;
mod recovery;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{Attempt, MicrobatchId, Origin, Position, SourceId, TaskId};
use crate::microbatch::intake::Intake;
use crate::microbatch::{
    CoordinatorEffect as Effect, CoordinatorInput as Input, CoordinatorOptions, DeadLetter, Ledger,
    ToCoordinator, ToParticipant,
};
use crate::mutants::{self, Mutant};
use crate::policy::Failures;
use crate::time::Now;

/// Attempt numbers made durable at a time: one ledger write per so many retries.
const ATTEMPTS_RESERVED: u32 = 1000;

/// The machine that runs a microbatch topology. See the module documentation.
#[derive(Clone, Debug)]
pub struct Coordinator {
    options: CoordinatorOptions,
    seed: u64,
    intake: Intake,
    /// The incarnation of every task that is ready.
    ready: BTreeMap<TaskId, u64>,
    /// As last handed to `Persist`.
    ledger: Ledger,
    token_issued: u64,
    token_durable: u64,
    dead_letters: Vec<DeadLetter>,
    /// The last attempt number used for the plan's id.
    attempt: Attempt,
    /// Whether the next attempt at the plan is thorough.
    thorough: bool,
    state: State,
    /// When the last microbatch ended.
    ended: Now,
    failures: Failures<Origin>,
    unblamed: Failures<()>,
    pause_announced: bool,
    failed_attempts: u64,
    last_failure: Option<String>,
    effects: VecDeque<Effect>,
}

#[derive(Clone, Debug)]
enum State {
    /// Before `Boot`.
    Down,
    /// No plan.
    Idle,
    /// The plan, a change of it or start positions are on their way to the disk.
    Fixing {
        token: u64,
        until: Now,
    },
    /// The plan is durable; the next attempt begins at `until`, when all tasks are ready.
    Waiting {
        until: Now,
    },
    Processing {
        at: Position,
        /// How many levels have been let go.
        level: u16,
        remaining: u64,
        since: Now,
        /// Records that failed so far, as told.
        failed: Vec<failure::Failed>,
    },
    Preparing {
        at: Position,
        missing: BTreeSet<TaskId>,
        since: Now,
    },
    Deciding {
        at: Position,
        token: u64,
    },
    Committing {
        at: Position,
        missing: BTreeSet<TaskId>,
        since: Now,
    },
    Halted,
}

/// Where a coordinator is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not booted.
    Down,
    /// No data.
    Idle,
    /// Making ranges durable.
    Fixing,
    /// Between attempts: back-off, paused or tasks missing.
    Waiting,
    /// Running author code.
    Processing,
    /// Making overlays durable.
    Preparing,
    /// Making the decision durable.
    Deciding,
    /// Making writes visible.
    Committing,
    /// Storage contradicted itself.
    Halted,
}

/// A snapshot for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is.
    pub phase: Phase,
    /// The current or next attempt's number.
    pub attempt: Attempt,
    /// The last decided id.
    pub decided: MicrobatchId,
    /// Records in decided ranges since the first launch.
    pub processed: u64,
    /// Offset after the last decided record, per source and partition (M-16).
    pub progress: BTreeMap<SourceId, Vec<u64>>,
    /// Records appended and not decided.
    pub lag: u64,
    /// Whether it is paused or about to.
    pub paused: bool,
    /// Attempts that failed since boot.
    pub failed_attempts: u64,
    /// Why the last one failed.
    pub last_failure: Option<String>,
    /// Tasks that are not ready.
    pub missing: Vec<TaskId>,
}

impl Coordinator {
    /// A coordinator that expects `Boot`.
    #[must_use]
    pub fn new(options: CoordinatorOptions) -> Coordinator {
        assert!(options.tasks > 0, "a module has at least one task");
        Coordinator {
            intake: Intake::new(options.sources.clone()),
            options,
            seed: 0,
            ready: BTreeMap::new(),
            ledger: Ledger::default(),
            token_issued: 0,
            token_durable: 0,
            dead_letters: Vec::new(),
            attempt: Attempt(0),
            thorough: false,
            state: State::Down,
            ended: Now(0),
            failures: Failures::default(),
            unblamed: Failures::default(),
            pause_announced: false,
            failed_attempts: 0,
            last_failure: None,
            effects: VecDeque::new(),
        }
    }

    /// Applies one input.
    pub fn on_input(&mut self, now: Now, input: Input) {
        if matches!(self.state, State::Halted) {
            return;
        }
        match input {
            Input::Boot { ledger, seed } => self.handle_boot(now, ledger, seed),
            Input::DepotEnd {
                source,
                partition,
                start,
                end,
                begin,
                record_bytes,
            } => {
                self.intake
                    .on_depot_end((source, partition), start..end, begin, record_bytes);
            }
            Input::Persisted { token } => self.handle_persisted(now, token),
            Input::Message(message) => self.handle_message(now, message),
            Input::ParticipantLost { task } => self.handle_lost(now, task),
            Input::Pause => self.handle_pause(),
            Input::Resume => self.handle_resume(now),
            Input::Limits { limits, portions } => {
                self.options.limits = limits;
                for (source, portion) in portions {
                    self.intake.set_portion(source, portion);
                }
            }
        }
        self.advance(now);
        self.check();
    }

    /// Does what is due at `now`; call it at [`Coordinator::deadline`].
    pub fn on_deadline(&mut self, now: Now) {
        let timeout = self.options.limits.phase_timeout;
        match &mut self.state {
            State::Processing { since, failed, .. }
                if since.after(timeout) <= now && !failed.is_empty() =>
            {
                let failed = std::mem::take(failed);
                self.judge(now, failed);
            }
            State::Processing { since, .. } | State::Preparing { since, .. }
                if since.after(timeout) <= now =>
            {
                let text = format!("the {:?} phase took longer than {timeout:?}", self.phase());
                self.give_up(now, text);
            }
            State::Committing { at, missing, since } if since.after(timeout) <= now => {
                *since = now;
                let (at, missing) = (*at, missing.clone());
                if !mutants::active(Mutant::CommitNotRepeated) {
                    self.send_each(missing, &ToParticipant::Commit { at });
                }
            }
            _ => {}
        }
        self.advance(now);
        self.check();
    }

    /// When `on_deadline` wants to be called; may lie in the past.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        let timeout = self.options.limits.phase_timeout;
        match &self.state {
            State::Processing { since, .. }
            | State::Preparing { since, .. }
            | State::Committing { since, .. } => Some(since.after(timeout)),
            State::Waiting { until } if self.startable() => Some(*until),
            State::Idle if self.plannable() => {
                let rested = self.ended.after(self.options.limits.force_delay);
                let tick = self.intake.tick_deadline();
                let empty = self.options.limits.empty_interval;
                let empty = empty.map(|wait| self.ended.after(wait));
                let behind = self.intake.lag(&self.ledger.progress) > 0;
                let data = behind.then_some(rested);
                [tick, empty, data]
                    .into_iter()
                    .flatten()
                    .min()
                    .map(|due| due.max(rested))
            }
            _ => None,
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Where the coordinator is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Down => Phase::Down,
            State::Idle => Phase::Idle,
            State::Fixing { .. } => Phase::Fixing,
            State::Waiting { .. } => Phase::Waiting,
            State::Processing { .. } => Phase::Processing,
            State::Preparing { .. } => Phase::Preparing,
            State::Deciding { .. } => Phase::Deciding,
            State::Committing { .. } => Phase::Committing,
            State::Halted => Phase::Halted,
        }
    }

    /// A snapshot for operators.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            phase: self.phase(),
            attempt: self.attempt,
            decided: self.ledger.decided,
            processed: self.ledger.processed,
            progress: self.ledger.progress.clone(),
            lag: self.intake.lag(&self.ledger.progress),
            paused: self.ledger.paused,
            failed_attempts: self.failed_attempts,
            last_failure: self.last_failure.clone(),
            missing: self
                .tasks()
                .filter(|task| !self.ready.contains_key(task))
                .collect(),
        }
    }

    /// Asserts what must always hold.
    pub fn check(&self) {
        assert!(
            self.token_durable <= self.token_issued,
            "a write is durable that was not asked"
        );
        if let Some(plan) = &self.ledger.plan {
            assert!(
                plan.id == self.ledger.decided.next(),
                "the plan follows the decision"
            );
            let reused = mutants::active(Mutant::RangesNotDurable);
            assert!(
                self.attempt <= plan.reserved || reused,
                "an attempt was not reserved"
            );
        }
        match &self.state {
            State::Processing { at, .. } | State::Preparing { at, .. } => {
                let plan = self.ledger.plan.as_ref().map(|plan| plan.id);
                assert!(plan == Some(at.id), "attempt {at} runs without its plan");
                assert!(self.attempt == at.attempt, "attempt {at} is not the newest");
            }
            State::Deciding { at, .. } | State::Committing { at, .. } => {
                assert!(
                    at.id == self.ledger.decided,
                    "{at} is committed but not decided"
                );
            }
            State::Waiting { .. } => assert!(self.ledger.plan.is_some(), "waiting without a plan"),
            _ => {}
        }
    }

    fn handle_message(&mut self, now: Now, message: ToCoordinator) {
        match message {
            ToCoordinator::Ready {
                task,
                incarnation,
                committed,
                prepared,
            } => {
                self.handle_ready(now, task, incarnation, (committed, prepared));
            }
            ToCoordinator::Processed { at, xor, .. } => self.handle_processed(now, at, xor),
            ToCoordinator::Failed {
                task,
                at,
                failure,
                dropped,
            } => self.handle_failed(now, (task, at), failure, dropped),
            ToCoordinator::Prepared { task, at } => self.handle_prepared(now, task, at),
            ToCoordinator::Committed { task, id } => self.handle_committed(now, task, id),
        }
    }

    /// Does whatever can be done without waiting for anything.
    fn advance(&mut self, now: Now) {
        if matches!(self.state, State::Idle) {
            self.try_plan(now);
        }
        if let State::Waiting { until } = self.state
            && until <= now
            && self.startable()
        {
            self.start_attempt(now);
        }
        self.announce_pause();
    }

    // Sending.

    fn tasks(&self) -> impl Iterator<Item = TaskId> + use<> {
        (0..self.options.tasks).map(TaskId)
    }

    fn send(&mut self, task: TaskId, message: ToParticipant) {
        self.effects.push_back(Effect::Send { task, message });
    }

    fn send_each(&mut self, tasks: impl IntoIterator<Item = TaskId>, message: &ToParticipant) {
        for task in tasks {
            self.send(task, message.clone());
        }
    }
}
