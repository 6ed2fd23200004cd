//! What the coordinator and the participants of a microbatch topology say to each other.
//!
//! Relies on the engine to carry messages in order between any two tasks, within a process as values
//! and between processes as archives of exactly these types. What must stay true: a message says
//! which task and which attempt it is about; a change of a type here is a new wire version.

#![allow(
    missing_docs,
    reason = "rkyv's derive does not document the fields of its resolvers"
)]

use crate::ids::{MicrobatchId, Origin, Position, SourceId, TaskId};

/// From the coordinator to one participant. In order per task.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum ToParticipant {
    /// A coordinator has started: answer `Ready`.
    Hello,
    /// Begin this attempt: drop whatever is older and run the sources.
    Start {
        /// Which attempt.
        at: Position,
        /// The id of this task's source work in the completion XOR.
        work: u64,
        /// This task's part of the plan; may be empty.
        sources: Vec<SourceWork>,
        /// Tick sources that fire on this task.
        ticks: Vec<SourceId>,
        /// Whether a failure does not end the attempt: it cannot commit any more, and goes on to
        /// show every other record that fails.
        thorough: bool,
    },
    /// Nothing is left to run below this level: let go of what its stages gathered.
    Gathered {
        /// Which attempt.
        at: Position,
        /// The id of this work in the completion XOR.
        work: u64,
        /// From 1.
        level: u16,
    },
    /// Everything is processed: make the overlay durable without showing it.
    Prepare {
        /// Which attempt.
        at: Position,
    },
    /// It is decided: show what was prepared.
    Commit {
        /// Which attempt.
        at: Position,
    },
    /// Give the attempt up.
    Abort {
        /// Which attempt.
        at: Position,
    },
}

/// What one task reads of one source partition in an attempt.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct SourceWork {
    /// Which source.
    pub source: SourceId,
    /// Which partition of its depot.
    pub partition: u32,
    /// First offset.
    pub from: u64,
    /// Offset after the last.
    pub to: u64,
    /// Offsets in between that must not be emitted, ascending.
    pub excluded: Vec<u64>,
}

/// From a participant to the coordinator. In order per task.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum ToCoordinator {
    /// The participant is up. Sent at its start and in answer to `Hello`.
    Ready {
        /// Who.
        task: TaskId,
        /// Random, new at every start of the task: tells a restart from an answer.
        incarnation: u64,
        /// The last id committed on this task.
        committed: MicrobatchId,
        /// What is prepared and in doubt.
        prepared: Option<Position>,
    },
    /// Work was done: the XOR of the ids consumed and of the ids emitted by it.
    Processed {
        /// Who.
        task: TaskId,
        /// Which attempt.
        at: Position,
        /// The XOR.
        xor: u64,
    },
    /// Work failed; the attempt is lost.
    Failed {
        /// Who.
        task: TaskId,
        /// Which attempt.
        at: Position,
        /// Why.
        failure: Failure,
        /// Whether the participant has dropped the attempt. Else it goes on without the event that
        /// failed, and counts what that event consumed as processed.
        dropped: bool,
    },
    /// The overlay of the attempt is durable.
    Prepared {
        /// Who.
        task: TaskId,
        /// Which attempt.
        at: Position,
    },
    /// The attempt's writes are visible on this task.
    Committed {
        /// Who.
        task: TaskId,
        /// Which id.
        id: MicrobatchId,
    },
}

/// Why work failed.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Failure {
    /// The record being processed when it is known, also on a task it hopped to.
    pub origin: Option<Origin>,
    /// For people.
    pub text: String,
}
