//! One task's part in microbatches: run, report, prepare, commit – for the current attempt only.
//!
//! Relies on messages of the coordinator arriving in order. States:
//!
//! ```text
//!          Start           Prepare             durable            Commit             applied
//!   Idle ───────► Running ─────────► Preparing ───────► Prepared ────────► Committing ───────► Idle
//!     ▲              │                   │                  │
//!     └── Abort, failure, newer Start ───┴──────────────────┘
//! ```
//!
//! What must stay true: a hop is run only in the attempt that emitted it; the ids an event consumed
//! and emitted are reported together, after it ran, so that the coordinator's XOR cannot be zero
//! while something runs; a task never prepares what it did not run, and a failure is told before
//! what failed is counted as consumed; `Prepared` is said when it is durable and `Committed` when it
//! is visible.

use std::collections::VecDeque;

use crate::ids::{Attempt, MicrobatchId, Position, TaskId};
use crate::microbatch::{
    Failure, ParticipantEffect as Effect, ParticipantInput as Input, ToCoordinator, ToParticipant,
};
use crate::mutants::{self, Mutant};

/// Failures that one task tells of one attempt, at most: all of them are remembered until it ends.
const FAILURES_MAX: u32 = 256;

/// What to do with a hop that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Run it and say `HopRan`.
    Run,
    /// Its attempt has not begun here: keep it and offer it again on `OfferHeld`.
    Hold,
    /// Its attempt is over: forget it.
    Drop,
}

/// The microbatch machine of one task.
#[derive(Clone, Debug)]
pub struct Participant {
    task: TaskId,
    incarnation: u64,
    booted: bool,
    committed: MicrobatchId,
    /// The highest attempt heard of; nothing older is ever accepted.
    seen: Position,
    /// The attempt that was dropped here because it failed: told again with `Ready`, which is asked for
    /// when the first time may not have been heard.
    failed: Option<(Position, Failure)>,
    state: State,
    effects: VecDeque<Effect>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Running(Running),
    Preparing(Position),
    Prepared(Position),
    Committing(Position),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    at: Position,
    /// The id of the source work, or of the work of a level; zero once it is reported.
    work: u64,
    /// XOR of what ran since the last report.
    unreported: u64,
    /// Whether anything ran since the last report.
    dirty: bool,
    /// Hops admitted and not yet run.
    queued: u64,
    /// So many failures may still be told before the attempt is dropped.
    failures_left: u32,
}

impl Participant {
    /// A participant that expects `Boot`.
    #[must_use]
    pub fn new(task: TaskId) -> Participant {
        Participant {
            task,
            incarnation: 0,
            booted: false,
            committed: MicrobatchId(0),
            seen: Position::NONE,
            failed: None,
            state: State::Idle,
            effects: VecDeque::new(),
        }
    }

    /// Applies one input.
    pub fn on_input(&mut self, input: Input) {
        match input {
            Input::Boot {
                incarnation,
                committed,
                prepared,
            } => {
                self.handle_boot(incarnation, committed, prepared);
            }
            Input::Message(message) => self.handle_message(message),
            Input::SourceRan { at, emitted, done } => self.handle_source_ran(at, emitted, done),
            Input::HopRan { at, hop, emitted } => self.handle_hop_ran(at, hop, emitted),
            Input::WorkFailed { at, failure } => self.handle_work_failed(at, failure),
            Input::Lost { text } => self.handle_lost(text),
            Input::PrepareDurable { at } => self.handle_prepare_durable(at),
            Input::CommitApplied { at } => self.handle_commit_applied(at),
        }
        self.check();
    }

    /// Decides about a hop of attempt `at` with id `hop`; an admitted hop counts as queued work.
    pub fn admit(&mut self, at: Position, hop: u64) -> Admission {
        assert!(hop != 0, "a hop needs a random id that is not zero");
        let any_attempt = mutants::active(Mutant::NoAttemptCheck);
        match &mut self.state {
            State::Running(running) if running.at == at || any_attempt => {
                running.queued += 1;
                if mutants::active(Mutant::XorBeforeEmission) {
                    running.unreported ^= hop;
                    let (task, xor) = (self.task, std::mem::take(&mut running.unreported));
                    let report = ToCoordinator::Processed {
                        task,
                        at: running.at,
                        xor,
                    };
                    self.effects.push_back(Effect::Tell(report));
                }
                Admission::Run
            }
            _ if at > self.seen || any_attempt => Admission::Hold,
            _ => Admission::Drop,
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The attempt being run, whose overlay is the internal view (M-7).
    #[must_use]
    pub fn running(&self) -> Option<Position> {
        match &self.state {
            State::Running(running) => Some(running.at),
            _ => None,
        }
    }

    /// Whether work of this attempt may still be done here.
    #[must_use]
    pub fn runs(&self, at: Position) -> bool {
        self.running() == Some(at)
    }

    /// The last id committed on this task.
    #[must_use]
    pub fn committed(&self) -> MicrobatchId {
        self.committed
    }

    /// Asserts what must always hold.
    pub fn check(&self) {
        let at = match &self.state {
            State::Idle => return,
            State::Running(running) => {
                assert!(
                    running.at == self.seen,
                    "running {} is not the newest",
                    running.at
                );
                running.at
            }
            State::Preparing(at) | State::Prepared(at) | State::Committing(at) => *at,
        };
        assert!(
            at <= self.seen,
            "attempt {at} is newer than anything heard of"
        );
        assert!(
            at.id == self.committed.next(),
            "attempt {at} does not follow the commit"
        );
    }

    fn handle_boot(
        &mut self,
        incarnation: u64,
        committed: MicrobatchId,
        prepared: Option<Position>,
    ) {
        assert!(!self.booted, "a participant boots once");
        self.booted = true;
        self.incarnation = incarnation;
        self.committed = committed;
        self.seen = Position {
            id: committed,
            attempt: Attempt(u32::MAX),
        };
        if let Some(at) = prepared {
            self.seen = at;
            self.state = State::Prepared(at);
        }
        self.tell_ready();
    }

    fn handle_message(&mut self, message: ToParticipant) {
        assert!(self.booted, "a participant boots before it hears messages");
        match message {
            ToParticipant::Hello => self.tell_ready(),
            ToParticipant::Start {
                at,
                work,
                sources,
                ticks,
                thorough,
            } => {
                if self.handle_start(at, work, thorough) {
                    self.effects.push_back(Effect::RunSources {
                        at,
                        sources,
                        ticks,
                        thorough,
                    });
                    self.effects.push_back(Effect::OfferHeld);
                }
            }
            ToParticipant::Gathered { at, work, level } => self.handle_gathered(at, work, level),
            ToParticipant::Prepare { at } => self.handle_prepare(at),
            ToParticipant::Commit { at } => self.handle_commit(at),
            ToParticipant::Abort { at } => self.handle_abort(at),
        }
    }

    /// Whether the attempt is new.
    fn handle_start(&mut self, at: Position, work: u64, thorough: bool) -> bool {
        assert!(work != 0, "source work needs a random id that is not zero");
        if at <= self.seen {
            return false;
        }
        self.drop_attempt();
        self.seen = at;
        self.state = State::Running(Running {
            at,
            work,
            unreported: 0,
            dirty: false,
            queued: 0,
            failures_left: if thorough { FAILURES_MAX } else { 0 },
        });
        self.failed = None;
        true
    }

    fn handle_gathered(&mut self, at: Position, work: u64, level: u16) {
        assert!(
            work != 0,
            "gathered work needs a random id that is not zero"
        );
        let Some(running) = self.running_at(at) else {
            return;
        };
        assert!(running.work == 0, "work of {at} comes after work is left");
        running.work = work;
        self.effects.push_back(Effect::RunGathered { at, level });
    }

    fn handle_source_ran(&mut self, at: Position, emitted: u64, done: bool) {
        let Some(running) = self.running_at(at) else {
            return;
        };
        running.unreported ^= emitted;
        if done {
            assert!(running.work != 0, "source work of {at} is done once");
            running.unreported ^= std::mem::take(&mut running.work);
        }
        running.dirty = true;
        self.report();
    }

    fn handle_hop_ran(&mut self, at: Position, hop: u64, emitted: u64) {
        if mutants::active(Mutant::NoAttemptCheck)
            && let State::Running(running) = &mut self.state
            && running.at != at
        {
            // Without the check its report goes to an attempt nobody counts any more.
            running.queued -= 1;
            self.report();
            return;
        }
        let Some(running) = self.running_at(at) else {
            return;
        };
        assert!(
            running.queued > 0,
            "a hop of {at} ran that was not admitted"
        );
        running.queued -= 1;
        running.unreported ^= emitted;
        if !mutants::active(Mutant::XorBeforeEmission) {
            running.unreported ^= hop;
        }
        running.dirty = true;
        self.report();
    }

    /// Tells the coordinator what ran, when nothing is left to run here: one message for a whole
    /// burst of hops. Before that the XOR could not be zero anyway.
    fn report(&mut self) {
        let State::Running(running) = &mut self.state else {
            return;
        };
        if running.work != 0 || running.queued != 0 || !running.dirty {
            return;
        }
        running.dirty = false;
        let (at, xor) = (running.at, std::mem::take(&mut running.unreported));
        self.tell(ToCoordinator::Processed {
            task: self.task,
            at,
            xor,
        });
    }

    fn handle_work_failed(&mut self, at: Position, failure: Failure) {
        let Some(running) = self.running_at(at) else {
            return;
        };
        let dropped = failure.origin.is_none() || running.failures_left == 0;
        if dropped {
            self.drop_attempt();
            self.failed = Some((at, failure.clone()));
        } else {
            running.failures_left -= 1;
        }
        self.tell(ToCoordinator::Failed {
            task: self.task,
            at,
            failure,
            dropped,
        });
    }

    /// Whether anything of the attempt was lost is not known; no record is to blame.
    fn handle_lost(&mut self, text: String) {
        let Some(at) = self.running() else {
            return;
        };
        let origin = None;
        self.handle_work_failed(at, Failure { origin, text });
    }

    fn handle_prepare(&mut self, at: Position) {
        let unasked = mutants::active(Mutant::PrepareUnasked) && at >= self.seen;
        if self.running_at(at).is_none() && !unasked {
            return;
        }
        self.seen = self.seen.max(at);
        if let State::Running(running) = &self.state {
            let idle = running.work == 0 && running.queued == 0 && !running.dirty;
            let mutated = mutants::active(Mutant::XorBeforeEmission);
            assert!(
                idle || mutated,
                "asked to prepare {at} while work of it is left"
            );
        }
        self.state = State::Preparing(at);
        self.effects.push_back(Effect::PersistPrepare { at });
        if mutants::active(Mutant::PreparedNotDurable) {
            self.handle_prepare_durable(at);
        }
    }

    fn handle_prepare_durable(&mut self, at: Position) {
        if self.state == State::Preparing(at) {
            self.state = State::Prepared(at);
            self.tell(ToCoordinator::Prepared {
                task: self.task,
                at,
            });
        }
    }

    fn handle_commit(&mut self, at: Position) {
        if at.id <= self.committed {
            self.tell(ToCoordinator::Committed {
                task: self.task,
                id: at.id,
            });
            return;
        }
        match self.state {
            State::Prepared(prepared) if prepared == at => {
                self.state = State::Committing(at);
                self.effects.push_back(Effect::PersistCommit { at });
            }
            State::Committing(committing) => {
                assert!(
                    committing == at,
                    "asked to commit {at} while committing {committing}"
                );
            }
            _ => panic!(
                "asked to commit {at}, which is not prepared on task {}",
                self.task.0
            ),
        }
    }

    fn handle_commit_applied(&mut self, at: Position) {
        assert!(
            self.state == State::Committing(at),
            "commit of {at} applied unasked"
        );
        self.state = State::Idle;
        self.committed = at.id;
        self.tell(ToCoordinator::Committed {
            task: self.task,
            id: at.id,
        });
    }

    fn handle_abort(&mut self, at: Position) {
        let current = match &self.state {
            State::Running(running) => running.at,
            State::Preparing(current) | State::Prepared(current) => *current,
            State::Idle | State::Committing(_) => return,
        };
        if current <= at {
            self.drop_attempt();
        }
    }

    /// Lets go of an attempt that will not commit.
    fn drop_attempt(&mut self) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Running(Running { at, .. }) => {
                if !mutants::active(Mutant::OverlayKept) {
                    self.effects.push_back(Effect::DropOverlay { at });
                }
            }
            State::Preparing(at) | State::Prepared(at) => {
                self.effects.push_back(Effect::DropPrepared { at });
            }
            State::Committing(at) => panic!("attempt {at} is decided and cannot be dropped"),
        }
    }

    fn running_at(&mut self, at: Position) -> Option<&mut Running> {
        match &mut self.state {
            State::Running(running) if running.at == at => Some(running),
            _ => None,
        }
    }

    fn tell_ready(&mut self) {
        let prepared = match &self.state {
            State::Prepared(at) | State::Committing(at) => Some(*at),
            _ => None,
        };
        self.tell(ToCoordinator::Ready {
            task: self.task,
            incarnation: self.incarnation,
            committed: self.committed,
            prepared,
        });
        if let Some((at, failure)) = self.failed.clone() {
            let (task, dropped) = (self.task, true);
            self.tell(ToCoordinator::Failed {
                task,
                at,
                failure,
                dropped,
            });
        }
    }

    fn tell(&mut self, message: ToCoordinator) {
        self.effects.push_back(Effect::Tell(message));
    }
}
