//! Stream topologies: at-least-once (or at-most-once) processing, record by record.
//!
//! One [`Tracker`] lives on every task for every stream source whose depot has a partition there.
//! It pushes records in offset order, follows each record's event tree by XOR, retries, checkpoints
//! and releases appenders. What the events do, and where, it does not know. Read [`Tracker`].
//! What must stay true: a checkpoint never passes a record that is neither done nor given up
//! (S-13); a tree is done when, and only when, every edge of it was emitted and consumed; acks of
//! former attempts count for nothing; nothing is kept without bound (S-16).

mod tracker;
mod window;

use core::time::Duration;

use crate::ids::mix;
use crate::policy::FailurePolicy;

pub use tracker::{Status, Tracker, TrackerLimits};

/// What happens to a record whose tree failed (S-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryMode {
    /// Retry it alone; newer records may overtake it. At-least-once.
    Individual,
    /// Retry it and everything after it, in order. At-least-once.
    AllAfter,
    /// Never retry. At-most-once; records that find no room are skipped.
    None,
}

/// Where a source without a checkpoint begins (S-21, S-22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// The first record still there.
    Beginning,
    /// The first record appended after the launch.
    End,
    /// A given offset of this partition.
    Offset(u64),
}

/// Settings of a tracker.
#[derive(Clone, Copy, Debug)]
pub struct TrackerOptions {
    /// What happens to failed records.
    pub retry: RetryMode,
    /// How often and how late to retry, and then. In mode `None` only `then` counts.
    pub policy: FailurePolicy,
    /// Where to begin without a checkpoint.
    pub start: StartFrom,
    /// Checkpoint when nothing was left to do for this long: a restart then repeats nothing.
    pub checkpoint_idle: Duration,
    /// What holds until [`Input::Limits`] says otherwise. In mode `None` these bound how far past a
    /// checkpoint records are pushed, for ever: the next life has to begin with the same ones.
    pub limits: TrackerLimits,
}

impl Default for TrackerOptions {
    fn default() -> TrackerOptions {
        TrackerOptions {
            retry: RetryMode::Individual,
            policy: FailurePolicy::default(),
            start: StartFrom::End,
            checkpoint_idle: Duration::from_millis(10),
            limits: TrackerLimits::default(),
        }
    }
}

/// One attempt at one record: the low half of its offset under a number that is new for every
/// delivery. The root of an event tree; items carry it as their origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeId(pub u64);

impl TreeId {
    pub(crate) fn new(generation: u32, offset: u64) -> TreeId {
        TreeId(u64::from(generation) << 32 | (offset & 0xffff_ffff))
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Records to push into the topology, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// First offset.
    pub from: u64,
    /// Offset after the last.
    pub to: u64,
    pub(crate) generation: u32,
    pub(crate) salt: u64,
}

impl Delivery {
    /// The tree of one of the records.
    #[must_use]
    pub fn tree(&self, offset: u64) -> TreeId {
        debug_assert!(
            (self.from..self.to).contains(&offset),
            "the record is delivered here"
        );
        TreeId::new(self.generation, offset)
    }

    /// The edge that enters the source stage with the record: the event that consumes the record
    /// acks it XOR all edges it emits.
    #[must_use]
    pub fn root_edge(&self, offset: u64) -> u64 {
        root_edge(self.salt, self.tree(offset))
    }
}

pub(crate) fn root_edge(salt: u64, tree: TreeId) -> u64 {
    mix(salt ^ tree.0)
}

/// What happens to a tracker.
#[derive(Clone, Debug)]
pub enum Input {
    /// First input, once: what storage holds.
    Boot {
        /// The last durable checkpoint; `None` for a new source.
        checkpoint: Option<u64>,
        /// First offset still there.
        start: u64,
        /// Offset after the last durable record.
        end: u64,
        /// Whether the topology was paused before the restart: then nothing is pushed.
        paused: bool,
        /// A random number: trees and root edges are derived from it.
        seed: u64,
    },
    /// Records up to `end` are durable and readable.
    DepotEnd {
        /// Offset after the last.
        end: u64,
    },
    /// An ACK append waits for the record at `offset`. Said before the `DepotEnd` that covers it.
    Watch {
        /// Which record.
        offset: u64,
    },
    /// Events of a tree ran and their writes are durable: XOR of the edges consumed and emitted.
    /// Both halves of one event in one ack; acks of different events in any order.
    Ack {
        /// Which tree.
        tree: TreeId,
        /// The XOR.
        xor: u64,
    },
    /// A streaming batch with an event of the tree failed (S-9).
    Failed {
        /// Which tree.
        tree: TreeId,
        /// Whether this record is to blame. Others of the batch are retried uncounted.
        blamed: bool,
        /// For people.
        text: String,
    },
    /// A place where trees of this source may have had a part is gone: every tree that runs is
    /// retried, uncounted (S-9). Nobody knows which of them were there.
    PartLost {
        /// For people.
        text: String,
    },
    /// The record asked for by [`Effect::DeadLetter`] is durable in the dead-letter depot.
    DeadLettered {
        /// Which record.
        offset: u64,
    },
    /// Progress is durable: the checkpoint asked for, or one that rode along with a write that was
    /// due anyway.
    Checkpointed {
        /// As given by [`Effect::Checkpoint`], [`Tracker::progress`] or [`Tracker::progress_with`].
        progress: u64,
    },
    /// Push nothing more. Idempotent.
    Pause,
    /// Go on. Idempotent.
    Resume,
    /// These limits hold from now on; before `Boot`, too. What is above one already may finish.
    Limits(TrackerLimits),
}

/// What a tracker wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Run the source stage on these records.
    Deliver(Delivery),
    /// Answer the ACK append that waits for this record.
    Release {
        /// Which record.
        offset: u64,
        /// What to say.
        outcome: Outcome,
    },
    /// The tree is over without success: forget ack returns gathered for it.
    Discard {
        /// Which tree.
        tree: TreeId,
    },
    /// Make the progress durable: every record before it is done, or given up. Say `Checkpointed`.
    Checkpoint {
        /// Offset of the first record to replay after a restart.
        progress: u64,
    },
    /// Put the record into the dead-letter depot; say `DeadLettered`. Progress waits for it.
    DeadLetter {
        /// Which record.
        offset: u64,
        /// Attempts it failed.
        failures: u32,
        /// The last failure.
        text: String,
    },
    /// Records were left out: by policy, or for lack of room in mode `None`.
    Skipped {
        /// First offset.
        from: u64,
        /// Offset after the last.
        to: u64,
        /// Why.
        text: String,
    },
    /// Nothing runs any more: paused by request or by policy.
    Paused,
}

/// How an ACK append ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tree is done; ack returns were gathered under `tree` (D-19).
    Done {
        /// The attempt that succeeded; `None` when it was over before the watch.
        tree: Option<TreeId>,
    },
    /// An attempt failed (D-20). The record stays appended and may still succeed.
    Failed {
        /// Why.
        text: String,
    },
    /// Too many records are executing, or too many appends waiting (D-21, D-22). The record stays
    /// appended and will be processed.
    Throttled,
    /// Too many records are executing, and the mode is `None`: the record will not be processed
    /// (S-16).
    LeftOut,
    /// The topology is paused; the record waits in the depot.
    Paused,
}
