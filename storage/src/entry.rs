//! What a caller appends: a list of operations that become durable, and apply, as one.
//!
//! Relies on `rama_wire::entry` for the bytes. What must stay true: the operations of one entry are
//! atomic, whatever partitions they are for.

use rama_wire::{Index, LogId};
use smallvec::SmallVec;

use crate::lsm::WriteBatch;

/// One operation of an entry.
#[derive(Clone, Debug)]
pub enum Op<'a> {
    /// Adds records to a log; their offsets are assigned by [`crate::Group::append`].
    Append {
        /// The partition.
        partition: u32,
        /// The log.
        log: LogId,
        /// Wall clock, recorded with the records. A log's times never go back: an earlier time
        /// than the log's last is raised to it.
        time_ms: u64,
        /// The records.
        records: &'a [&'a [u8]],
    },
    /// Writes to a store.
    Write {
        /// The partition.
        partition: u32,
        /// The writes.
        batch: WriteBatch,
    },
    /// Writes that wait for their transaction to commit. A later attempt replaces an earlier one.
    Prepare {
        /// The partition.
        partition: u32,
        /// Who prepares; transactions of different slots are independent.
        slot: u16,
        /// The transaction.
        txn: u64,
        /// The attempt at it.
        attempt: u32,
        /// The writes.
        batch: WriteBatch,
    },
    /// Applies what is prepared.
    Commit {
        /// The partition.
        partition: u32,
        /// The slot.
        slot: u16,
        /// The transaction.
        txn: u64,
    },
    /// Drops what is prepared by `attempt`; nothing when another attempt is prepared.
    Abort {
        /// The partition.
        partition: u32,
        /// The slot.
        slot: u16,
        /// The transaction.
        txn: u64,
        /// The attempt.
        attempt: u32,
    },
    /// Gives up the records of a log before an offset. Their segments go when nothing needs them.
    Trim {
        /// The partition.
        partition: u32,
        /// The log.
        log: LogId,
        /// The first offset that stays.
        before: u64,
    },
}

impl Op<'_> {
    /// The partition the operation is for.
    pub fn partition(&self) -> u32 {
        match self {
            Op::Append { partition, .. }
            | Op::Write { partition, .. }
            | Op::Prepare { partition, .. }
            | Op::Commit { partition, .. }
            | Op::Abort { partition, .. }
            | Op::Trim { partition, .. } => *partition,
        }
    }
}

/// Operations that are durable and applied together or not at all.
///
/// ```ignore
/// let entry = Entry::new()
///     .append(0, DEPOSITS, env.wall_ms(), &[&record])
///     .write(0, progress);
/// let appended = group.append(entry)?;
/// group.wait_durable(appended.index).await?;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Entry<'a> {
    pub(crate) ops: SmallVec<[Op<'a>; 1]>,
}

impl<'a> Entry<'a> {
    /// An entry without operations.
    pub fn new() -> Entry<'a> {
        Entry::default()
    }

    /// Adds an operation.
    pub fn with(mut self, op: Op<'a>) -> Entry<'a> {
        self.push(op);
        self
    }

    /// Adds an operation in place.
    pub fn push(&mut self, op: Op<'a>) {
        self.ops.push(op);
    }

    /// Adds [`Op::Append`].
    pub fn append(
        self,
        partition: u32,
        log: LogId,
        time_ms: u64,
        records: &'a [&'a [u8]],
    ) -> Entry<'a> {
        self.with(Op::Append {
            partition,
            log,
            time_ms,
            records,
        })
    }

    /// Adds [`Op::Write`].
    pub fn write(self, partition: u32, batch: WriteBatch) -> Entry<'a> {
        self.with(Op::Write { partition, batch })
    }

    /// Whether there is no operation.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Where an entry went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The entry.
    pub index: Index,
    /// For each [`Op::Append`] in order, the offset of its first record.
    pub first_offsets: SmallVec<[u64; 1]>,
}

/// A transaction that is prepared and not decided, found when a group was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prepared {
    /// The partition.
    pub partition: u32,
    /// The slot.
    pub slot: u16,
    /// The transaction.
    pub txn: u64,
    /// The attempt.
    pub attempt: u32,
}
