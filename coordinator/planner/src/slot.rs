//! A supervisor's machine for one worker of one instance (spec operations, appendix B).
//!
//! Relies on its driver for processes: it learns of an exit once (by pidfd), finds processes by the
//! remembered id and by what they say of themselves (`Found`), and answers every effect. States:
//!
//! ```text
//! FINDING ─► IDLE ─► FETCHING ─► LAUNCHING ─► RUNNING ─► DRAINING
//!    │        ▲          ▲           │ 15 s      │ 10 s      │ deadline
//!    └─ adopts│          └─ BACKOFF ◄┴─ KILLING ◄┴───────────┘
//!             └─ DELETING ─► CONFIRMING ─► (gone): the assignment says destroy
//! ```
//!
//! After a restart of the supervisor it begins with FINDING. A process counts as ours only when the
//! process that has the remembered id also has the remembered start time: ids are used again. A
//! process that names this slot in its environment, but was not remembered (the supervisor died
//! right after it had started it), is ours too. What must stay true: nothing is started while a
//! process of this slot may be alive; nothing is signalled that is not ours; a deletion is
//! confirmed only after it happened.

mod exits;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;

use rama_core::time::Now;

pub use exits::{Exit, ExitCause};

use crate::ids::{InstanceId, ModuleName, NodeId, WorkerIndex};
use crate::limits::{
    BACKOFF_MAX, BACKOFF_MIN, DRAIN_TIMEOUT, EXITS_KEPT, HEALTHY_AFTER, HEARTBEAT_TIMEOUT,
    KILL_GRACE, LAUNCH_TIMEOUT,
};
use crate::mutants::{self, Mutant};
use crate::records::Desired;
use crate::view::View;

/// One operating system process: ids are used again, ids with start times are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub start_time: u64,
}

/// What the assignment asks of this node for the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A worker of this artifact runs.
    Run {
        /// SHA-256 of the artifact.
        artifact: String,
    },
    /// Nothing runs; the data stays: the slot is not (or not yet) this node's.
    Stop,
    /// Nothing runs, the data is deleted, and the assignment removed.
    Destroy,
}

/// Reads from the metastore what a node is to do for a slot.
#[must_use]
pub fn wanted(
    view: &View,
    node: NodeId,
    module: &ModuleName,
    instance: InstanceId,
    index: WorkerIndex,
) -> Wanted {
    let assigned = view.worker(module, &instance, &index);
    let Some(assigned) = assigned.filter(|seen| seen.record.node == node) else {
        return Wanted::Stop;
    };
    match (assigned.record.desired, view.spec(module, &instance)) {
        (Desired::Destroy, _) => Wanted::Destroy,
        // Not published, or not any more.
        (Desired::Run, None) => Wanted::Stop,
        (Desired::Run, Some(spec)) => Wanted::Run {
            artifact: spec.record.artifact.clone(),
        },
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// What the assignment asks now.
    Wanted(Wanted),
    /// The answer to `Find`.
    Found {
        /// What `Remember` wrote last.
        remembered: Option<Process>,
        /// The process that has the remembered id now, whatever it is.
        at_pid: Option<Process>,
        /// Processes that name this slot in their environment.
        tagged: Vec<Process>,
    },
    /// The artifact is here, and its hash is right.
    Fetched,
    /// It is not.
    FetchFailed {
        /// Why.
        text: String,
    },
    /// The process was started.
    Spawned {
        /// It.
        process: Process,
    },
    /// It could not be started.
    SpawnFailed {
        /// Why.
        text: String,
    },
    /// It says it is well.
    Heartbeat {
        /// Who.
        process: Process,
    },
    /// It ended.
    Exited {
        /// Who.
        process: Process,
        /// How, in the words of the system: `exit 1`, `signal 9`.
        text: String,
    },
    /// The data is deleted, durably.
    Deleted,
    /// It could not be.
    DeleteFailed {
        /// Why.
        text: String,
    },
}

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: drain and end.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Look for processes of this slot; answer `Found`.
    Find,
    /// Get and verify the artifact; answer `Fetched` or `FetchFailed`.
    Fetch {
        /// SHA-256 of the artifact.
        artifact: String,
    },
    /// Start the worker, watched by pidfd; answer `Spawned` or `SpawnFailed`.
    Spawn {
        /// How often it was started before, for logs.
        attempt: u64,
    },
    /// Write which process it is, durably, for the next life of this supervisor; watch it.
    Remember {
        /// Which.
        process: Process,
    },
    /// Send a signal through its pidfd.
    Signal {
        /// To whom.
        process: Process,
        /// Which.
        signal: Signal,
    },
    /// Delete the slot's data; answer `Deleted` or `DeleteFailed`.
    Delete,
    /// Remove the assignment from the metastore, comparing that it still says destroy; repeat until
    /// the assignment is gone.
    Confirm,
}

/// Where the slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the drawing above")]
pub enum State {
    Finding,
    Idle,
    Fetching,
    Launching,
    Running,
    Draining,
    Killing,
    Backoff,
    Deleting,
    Confirming,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Finding => "FINDING",
            State::Idle => "IDLE",
            State::Fetching => "FETCHING",
            State::Launching => "LAUNCHING",
            State::Running => "RUNNING",
            State::Draining => "DRAINING",
            State::Killing => "KILLING",
            State::Backoff => "BACKOFF",
            State::Deleting => "DELETING",
            State::Confirming => "CONFIRMING",
        })
    }
}

/// The machine. See the module documentation.
#[derive(Clone, Debug)]
pub struct Slot {
    state: State,
    /// None until the assignment was read: nothing is stopped for want of knowing it.
    wanted: Option<Wanted>,
    /// The artifact that is being fetched.
    fetching: Option<String>,
    /// The process that may be alive. While there is one, nothing is started.
    process: Option<Process>,
    /// Processes of this slot beside it, found at start; they are killed first.
    strays: Vec<Process>,
    /// Why it is being killed, when it was not asked to stop.
    cause: Option<ExitCause>,
    launched_at: Now,
    attempts: u64,
    /// Failures in a row.
    failures: u32,
    exits: VecDeque<Exit>,
    deadline: Option<Now>,
    effects: VecDeque<Effect>,
}

impl Slot {
    /// A slot of which this life of the supervisor knows nothing yet.
    #[must_use]
    pub fn new() -> Slot {
        Slot {
            state: State::Finding,
            wanted: None,
            fetching: None,
            process: None,
            strays: Vec::new(),
            cause: None,
            launched_at: Now(0),
            attempts: 0,
            failures: 0,
            exits: VecDeque::new(),
            deadline: None,
            effects: VecDeque::from([Effect::Find]),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The process that may be alive.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        self.process
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The last exits, oldest first.
    pub fn exits(&self) -> impl Iterator<Item = &Exit> {
        self.exits.iter()
    }

    /// Applies one input.
    pub fn on_input(&mut self, now: Now, input: Input) {
        match input {
            Input::Wanted(wanted) => {
                self.wanted = Some(wanted);
                self.steer(now);
            }
            Input::Found {
                remembered,
                at_pid,
                tagged,
            } => self.handle_found(now, remembered, at_pid, tagged),
            Input::Fetched => self.handle_fetched(now),
            Input::FetchFailed { text } => {
                if self.state == State::Fetching {
                    self.fail(now, ExitCause::Fetch(text));
                }
            }
            Input::Spawned { process } => self.handle_spawned(now, process),
            Input::SpawnFailed { text } => {
                if self.state == State::Launching && self.process.is_none() {
                    self.fail(now, ExitCause::Spawn(text));
                }
            }
            Input::Heartbeat { process } => self.handle_heartbeat(now, process),
            Input::Exited { process, text } => self.handle_exited(now, process, text),
            Input::Deleted => {
                if self.state == State::Deleting && self.deadline.is_none() {
                    self.failures = 0;
                    self.confirm(now);
                }
            }
            Input::DeleteFailed { text } => {
                if self.state == State::Deleting && self.deadline.is_none() {
                    self.note(now, ExitCause::Delete(text));
                    self.failures += 1;
                    self.deadline = Some(now.after(self.backoff()));
                }
            }
        }
        self.check();
    }

    /// The deadline has come.
    pub fn on_deadline(&mut self, now: Now) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        match self.state {
            State::Launching => self.kill(now, Some(ExitCause::LaunchTimeout)),
            State::Running => self.kill(now, Some(ExitCause::HeartbeatMissed)),
            State::Draining => {
                self.state = State::Killing;
                self.signal_all(Signal::Kill);
                self.deadline = Some(now.after(KILL_GRACE));
            }
            State::Killing => {
                self.signal_all(Signal::Kill);
                self.deadline = Some(now.after(KILL_GRACE));
            }
            State::Backoff => {
                self.state = State::Idle;
                self.steer(now);
            }
            State::Deleting => self.effects.push_back(Effect::Delete),
            State::Confirming => self.confirm(now),
            State::Finding | State::Idle | State::Fetching => {}
        }
        self.check();
    }

    /// When to call `on_deadline`.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        self.deadline
    }

    /// Takes the next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Goes where the assignment points, as far as the state allows.
    fn steer(&mut self, now: Now) {
        let Some(wanted) = &self.wanted else { return };
        match (self.state, wanted) {
            (State::Idle, Wanted::Run { artifact }) => {
                let artifact = artifact.clone();
                self.state = State::Fetching;
                self.fetching = Some(artifact.clone());
                self.effects.push_back(Effect::Fetch { artifact });
            }
            (State::Idle | State::Fetching | State::Backoff, Wanted::Destroy) => {
                self.deadline = None;
                self.fetching = None;
                self.delete(now);
            }
            (State::Fetching | State::Backoff, Wanted::Stop) => {
                self.deadline = None;
                self.fetching = None;
                self.state = State::Idle;
            }
            // Until the start is answered there is nobody to ask.
            (State::Launching | State::Running, Wanted::Stop | Wanted::Destroy)
                if self.process.is_some() =>
            {
                self.state = State::Draining;
                self.signal_all(Signal::Terminate);
                self.deadline = Some(now.after(DRAIN_TIMEOUT));
            }
            (State::Deleting | State::Confirming, Wanted::Stop) => {
                // The assignment is gone: somebody confirmed, or another node has the slot.
                self.state = State::Idle;
                self.deadline = None;
                self.failures = 0;
            }
            _ => {}
        }
    }

    fn handle_found(
        &mut self,
        now: Now,
        remembered: Option<Process>,
        at_pid: Option<Process>,
        mut tagged: Vec<Process>,
    ) {
        if self.state != State::Finding {
            return;
        }
        let same_start = |process: &Process| at_pid == Some(*process);
        let believed = |process: &Process| {
            same_start(process)
                || (mutants::active(Mutant::AdoptWithoutStartTime)
                    && at_pid.is_some_and(|other| other.pid == process.pid))
        };
        let mut process = remembered.filter(believed);
        if mutants::active(Mutant::NotAdopted) {
            process = None;
            tagged.clear();
        }
        tagged.retain(|other| Some(*other) != process);
        if process.is_none() {
            process = tagged.pop();
        }
        self.strays = tagged;
        self.process = process;
        let Some(process) = process else {
            self.state = State::Idle;
            return self.steer(now);
        };
        self.effects.push_back(Effect::Remember { process });
        self.launched_at = now;
        if self.strays.is_empty() {
            self.state = State::Running;
            self.deadline = Some(now.after(HEARTBEAT_TIMEOUT));
            self.steer(now);
        } else {
            // Two of one slot: which one serves cannot be told from here.
            self.kill(now, Some(ExitCause::Stray));
        }
    }

    fn handle_fetched(&mut self, now: Now) {
        if self.state != State::Fetching {
            return;
        }
        let fetched = self.fetching.take();
        match &self.wanted {
            Some(Wanted::Run { artifact }) if Some(artifact) == fetched.as_ref() => {
                self.state = State::Launching;
                self.launched_at = now;
                self.effects.push_back(Effect::Spawn {
                    attempt: self.attempts,
                });
                self.attempts += 1;
            }
            _ => {
                self.state = State::Idle;
                self.steer(now);
            }
        }
    }

    fn handle_spawned(&mut self, now: Now, process: Process) {
        assert!(
            self.process.is_none(),
            "a slot starts one process at a time"
        );
        self.process = Some(process);
        self.launched_at = now;
        self.effects.push_back(Effect::Remember { process });
        self.deadline = Some(now.after(LAUNCH_TIMEOUT));
        self.steer(now);
    }

    fn handle_heartbeat(&mut self, now: Now, process: Process) {
        if self.process != Some(process) {
            return;
        }
        if matches!(self.state, State::Launching | State::Running) {
            self.state = State::Running;
            self.deadline = Some(now.after(HEARTBEAT_TIMEOUT));
        }
        if now.since(self.launched_at) >= HEALTHY_AFTER {
            self.failures = 0;
        }
    }

    fn handle_exited(&mut self, now: Now, process: Process, text: String) {
        self.strays.retain(|stray| *stray != process);
        if self.process == Some(process) {
            self.process = None;
            let asked = self.state == State::Draining
                || (self.state == State::Killing && self.cause.is_none());
            let cause = match self.cause.take() {
                Some(cause) => cause,
                None if asked => ExitCause::Stopped(text),
                None => ExitCause::Ended(text),
            };
            if asked {
                self.note(now, cause);
                self.state = State::Killing;
            } else {
                self.fail(now, cause);
            }
        }
        let alone = self.process.is_none() && self.strays.is_empty();
        if alone && self.state == State::Killing {
            self.state = State::Idle;
            self.deadline = None;
            self.steer(now);
        }
    }

    /// Notes a failure and pauses, or goes on stopping when that is what is wanted.
    fn fail(&mut self, now: Now, cause: ExitCause) {
        self.note(now, cause);
        self.fetching = None;
        self.failures += 1;
        if !self.strays.is_empty() {
            self.state = State::Killing;
            self.deadline = Some(now.after(KILL_GRACE));
            return;
        }
        self.state = State::Backoff;
        self.deadline = Some(now.after(self.backoff()));
        self.steer(now);
    }

    fn backoff(&self) -> core::time::Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX)
    }

    fn kill(&mut self, now: Now, cause: Option<ExitCause>) {
        self.cause = cause;
        self.state = State::Killing;
        self.signal_all(Signal::Terminate);
        self.deadline = Some(now.after(KILL_GRACE));
    }

    fn signal_all(&mut self, signal: Signal) {
        for process in self.process.iter().chain(&self.strays) {
            let process = *process;
            self.effects.push_back(Effect::Signal { process, signal });
        }
    }

    fn delete(&mut self, now: Now) {
        self.state = State::Deleting;
        self.effects.push_back(Effect::Delete);
        if mutants::active(Mutant::ConfirmBeforeDelete) {
            self.effects.clear();
            self.confirm(now);
        }
    }

    fn confirm(&mut self, now: Now) {
        self.state = State::Confirming;
        self.effects.push_back(Effect::Confirm);
        self.deadline = Some(now.after(KILL_GRACE));
    }

    fn note(&mut self, now: Now, cause: ExitCause) {
        if self.exits.len() == EXITS_KEPT {
            self.exits.pop_front();
        }
        self.exits.push_back(Exit { at: now, cause });
    }

    /// What must hold after every input.
    fn check(&self) {
        let alone = self.process.is_none() && self.strays.is_empty();
        match self.state {
            State::Running | State::Draining => {
                assert!(self.process.is_some(), "{} without a process", self.state);
            }
            State::Killing => assert!(!alone, "nobody to kill"),
            State::Idle | State::Fetching | State::Backoff | State::Deleting => {
                assert!(alone, "{} beside a process", self.state);
            }
            State::Finding | State::Launching | State::Confirming => {}
        }
        assert!(self.exits.len() <= EXITS_KEPT, "too many exits are kept");
    }
}

impl Default for Slot {
    fn default() -> Slot {
        Slot::new()
    }
}
