//! Microbatch topologies: exactly-once processing over all tasks of a module.
//!
//! One [`Coordinator`] lives with task 0, one [`Participant`] with every task (0 included). They
//! speak through [`ToParticipant`] and [`ToCoordinator`]; the engine carries the messages, in order
//! between any two tasks, and runs the effects. Read [`Coordinator`] first, then [`Participant`].
//! What must stay true: which records belong to an id never changes once it is durable (M-3); an
//! id is committed everywhere or nowhere, decided by one durable write (M-4); nothing of an old
//! attempt reaches a newer one; id n+1 starts after every task committed n (M-1).

mod coordinator;
mod intake;
mod ledger;
mod message;
mod participant;
#[cfg(test)]
mod tests;

use core::time::Duration;

use crate::ids::{Attempt, MicrobatchId, Origin, Position, SourceId, TaskId};
use crate::options::{
    Level, MICROBATCH_EMPTY_SLEEP, MICROBATCH_FORCE_DELAY, MICROBATCH_MAX_BYTES,
    MICROBATCH_MAX_RECORDS, MICROBATCH_PHASE_TIMEOUT, Settings,
};
use crate::policy::FailurePolicy;

pub use coordinator::{Coordinator, Phase, Status};
pub use ledger::{Excluded, Ledger, LedgerError, Plan, SourceRange};
pub use message::{Failure, SourceWork, ToCoordinator, ToParticipant};
pub use participant::{Admission, Participant};

/// Settings of a coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorOptions {
    /// Number of tasks; participants are `0..tasks`.
    pub tasks: u32,
    /// What the topology reads.
    pub sources: Vec<Source>,
    /// What holds until [`CoordinatorInput::Limits`] says otherwise.
    pub limits: CoordinatorLimits,
    /// Back-off of attempts that failed without a record to blame (lost task, timeout).
    pub unblamed: FailurePolicy,
    /// How many times what was gathered on the tasks is let go before an attempt is processed: each
    /// time when nothing is left to run anywhere (spec F-21).
    pub levels: u16,
}

/// Settings of a coordinator that may change while it runs. A plan that is made already stays as it
/// is (M-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoordinatorLimits {
    /// How long one phase of an attempt may take before the attempt is given up.
    pub phase_timeout: Duration,
    /// Wait at least this long between the end of a microbatch and the next plan.
    pub force_delay: Duration,
    /// With no new data, run an empty microbatch after this long (M-13); `None`: never.
    pub empty_interval: Option<Duration>,
}

impl CoordinatorLimits {
    /// What is set for a topology.
    #[must_use]
    pub fn of(settings: &Settings, topology: &Level) -> CoordinatorLimits {
        let millis = |option| Duration::from_millis(settings.whole(option, topology));
        let empty = millis(&MICROBATCH_EMPTY_SLEEP);
        CoordinatorLimits {
            phase_timeout: Duration::from_secs(settings.whole(&MICROBATCH_PHASE_TIMEOUT, topology)),
            force_delay: millis(&MICROBATCH_FORCE_DELAY),
            empty_interval: Some(empty).filter(|wait| !wait.is_zero()),
        }
    }
}

impl Default for CoordinatorLimits {
    /// 60 s a phase, no delay, no empty microbatches.
    fn default() -> CoordinatorLimits {
        CoordinatorLimits::of(&Settings::new(), &Level::Module)
    }
}

/// How much of a partition one microbatch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// At most so many records.
    pub max_records: u64,
    /// At most about so many bytes, judged by the mean record size that comes with
    /// [`CoordinatorInput::DepotEnd`]. At least one record.
    pub max_bytes: u64,
}

impl Portion {
    /// What is set for a depot.
    #[must_use]
    pub fn of(settings: &Settings, depot: &Level) -> Portion {
        Portion {
            max_records: settings.whole(&MICROBATCH_MAX_RECORDS, depot),
            max_bytes: settings.whole(&MICROBATCH_MAX_BYTES, depot),
        }
    }
}

impl CoordinatorOptions {
    /// With the default limits.
    #[must_use]
    pub fn new(tasks: u32, sources: Vec<Source>) -> CoordinatorOptions {
        CoordinatorOptions {
            tasks,
            sources,
            limits: CoordinatorLimits::default(),
            unblamed: FailurePolicy::default(),
            levels: 0,
        }
    }
}

/// One source of a microbatch topology.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its durable name.
    pub id: SourceId,
    /// What it reads.
    pub kind: SourceKind,
    /// What happens to records that fail.
    pub policy: FailurePolicy,
    /// Other sources of the same depot: where they are equally far, a plan takes them equally far
    /// (S-24).
    pub twins: Vec<SourceId>,
}

/// What a source reads.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A depot; partition `p` lives on task `p`. A global depot has one partition.
    Depot {
        /// Number of partitions.
        partitions: u32,
        /// How much of each one microbatch takes.
        portion: Portion,
    },
    /// A tick: at most one per microbatch, on task 0, when the interval has passed (D-11).
    Tick {
        /// The shortest time between two ticks.
        interval: Duration,
    },
}

/// What happens to a coordinator.
#[derive(Clone, Debug)]
pub enum CoordinatorInput {
    /// First input, once: what storage holds. The coordinator then greets all participants.
    Boot {
        /// The last durable ledger; `None` on first launch.
        ledger: Option<Ledger>,
        /// A random number; ids of source work are derived from it.
        seed: u64,
    },
    /// Records of a partition up to `end` are durable and readable. Sent for every partition of
    /// every depot source after boot and on every append: there is no polling.
    DepotEnd {
        /// Which source.
        source: SourceId,
        /// Which partition.
        partition: u32,
        /// First offset still there.
        start: u64,
        /// Offset after the last record.
        end: u64,
        /// Where the source begins in this partition, fixed durably when the topology was first
        /// launched (M-12). Ignored once it has progress (S-21).
        begin: u64,
        /// Mean size of the records, for `max_bytes`; 0 when unknown.
        record_bytes: u64,
    },
    /// Every [`CoordinatorEffect::Persist`] up to `token` is durable.
    Persisted {
        /// The token of the youngest durable one.
        token: u64,
    },
    /// A message of a participant.
    Message(ToCoordinator),
    /// The task cannot be reached; a `Ready` message will announce it when it is back.
    ParticipantLost {
        /// Which task.
        task: TaskId,
    },
    /// Finish the running microbatch, then stop (M-15). Durable. Idempotent.
    Pause,
    /// Go on. Durable. Idempotent.
    Resume,
    /// These limits hold from now on, and these portions of depot sources.
    Limits {
        /// Of the topology.
        limits: CoordinatorLimits,
        /// By source.
        portions: Vec<(SourceId, Portion)>,
    },
}

/// What a coordinator wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorEffect {
    /// Make the ledger durable, replacing the former one, then say `Persisted`. Persists become
    /// durable in the order of their tokens. The dead letters belong in the same atomic entry.
    Persist {
        /// Names this write.
        token: u64,
        /// All the coordinator must know after a crash.
        ledger: Ledger,
        /// Records given up by policy since the last persist.
        dead_letters: Vec<DeadLetter>,
    },
    /// Carry a message to a participant.
    Send {
        /// To whom.
        task: TaskId,
        /// What.
        message: ToParticipant,
    },
    /// Every task committed this id and shows it to readers. Waiters for a processed count and
    /// for offsets can be served.
    Committed {
        /// Which id.
        id: MicrobatchId,
        /// Records committed since the first launch, over all sources, ticks not counted (T-3).
        processed: u64,
    },
    /// The topology stands still: paused by a request or by policy, durably.
    Paused,
    /// The tasks' storage contradicts the ledger. Nothing will run any more: report and stop.
    Halt {
        /// Which task disagrees.
        task: TaskId,
        /// How.
        text: String,
    },
}

/// A record given up after its retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which record.
    pub origin: Origin,
    /// In which microbatch.
    pub id: MicrobatchId,
    /// Attempts it failed.
    pub failures: u32,
    /// The last failure.
    pub text: String,
}

/// What happens to a participant.
#[derive(Clone, Debug)]
pub enum ParticipantInput {
    /// First input, once: what storage holds. The participant then announces itself.
    Boot {
        /// Random, new at every start.
        incarnation: u64,
        /// The last id committed here.
        committed: MicrobatchId,
        /// What is prepared, neither committed nor aborted.
        prepared: Option<Position>,
    },
    /// A message of the coordinator.
    Message(ToParticipant),
    /// A piece of source work, or of letting go of what was gathered, ran; its writes are in the
    /// overlay and its hops were handed over.
    SourceRan {
        /// Which attempt.
        at: Position,
        /// XOR of the ids of the hops it emitted.
        emitted: u64,
        /// Whether that was the last piece.
        done: bool,
    },
    /// An admitted hop ran; its writes are in the overlay and its own hops were handed over.
    HopRan {
        /// Which attempt.
        at: Position,
        /// The hop's id.
        hop: u64,
        /// XOR of the ids of the hops it emitted.
        emitted: u64,
    },
    /// Source work or a hop failed. What it emitted must not be sent. In a thorough attempt a record
    /// that is to blame is undone with everything its event wrote, and `SourceRan` or `HopRan` say
    /// that it was consumed; anything else ends the attempt here.
    WorkFailed {
        /// Which attempt.
        at: Position,
        /// Why.
        failure: Failure,
    },
    /// What this task said to others, or they to it, may be lost: an attempt that runs here may wait for
    /// it in vain.
    Lost {
        /// How, for people.
        text: String,
    },
    /// The write asked for by [`ParticipantEffect::PersistPrepare`] is durable.
    PrepareDurable {
        /// Which attempt.
        at: Position,
    },
    /// The write asked for by [`ParticipantEffect::PersistCommit`] is applied and visible.
    CommitApplied {
        /// Which attempt.
        at: Position,
    },
}

/// What a participant wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParticipantEffect {
    /// Carry a message to the coordinator.
    Tell(ToCoordinator),
    /// Open an empty overlay for the attempt and run these sources; say `SourceRan`.
    RunSources {
        /// Which attempt.
        at: Position,
        /// Depot ranges.
        sources: Vec<SourceWork>,
        /// Tick sources.
        ticks: Vec<SourceId>,
        /// Whether to run record by record, so that each failure can be undone by itself.
        thorough: bool,
    },
    /// Offer the held hops to [`Participant::admit`] again.
    OfferHeld,
    /// Let go of what stages of this level gathered on this task; say `SourceRan`.
    RunGathered {
        /// Which attempt.
        at: Position,
        /// From 1.
        level: u16,
    },
    /// Throw the attempt's overlay and queued work away.
    DropOverlay {
        /// Which attempt.
        at: Position,
    },
    /// Write the overlay as prepared, together with `committed = at.id` that takes effect at
    /// commit; say `PrepareDurable`. The overlay is no longer needed.
    PersistPrepare {
        /// Which attempt.
        at: Position,
    },
    /// Void a prepared write, durable or still on its way. In log order after it; no answer.
    DropPrepared {
        /// Which attempt.
        at: Position,
    },
    /// Write the commit of the prepared attempt, apply it; say `CommitApplied`.
    PersistCommit {
        /// Which attempt.
        at: Position,
    },
}

impl Position {
    /// The first attempt at the first microbatch comes after this.
    pub const NONE: Position = Position {
        id: MicrobatchId(0),
        attempt: Attempt(0),
    };
}
