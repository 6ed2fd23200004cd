//! What can go wrong in storage, said so that the receiver knows what to do.
//!
//! Relies on nothing. Every error is cheap to clone: a poisoned replog gives its first failure to
//! every later caller. What must stay true: corruption names file, place, expected and found; no
//! message repeats its source.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rama_wire::entry::BadEntry;
use rama_wire::{Index, LogId};

/// The result of a storage operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why storage could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("could not {what} {path}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes are not what was written. Never served; restore the file from a replica or backup.
    #[error(
        "{file} is corrupt at byte {offset}: {what}: expected {expected}, found {found}; restore it from a replica or a backup"
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in the file.
        offset: u64,
        /// Which check failed.
        what: &'static str,
        /// What had to be there.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The files belong to somebody else, or to another version.
    #[error(
        "refused to open {path}: {what} is {found}, expected {expected}; check the data directory"
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The property that differs.
        what: &'static str,
        /// As configured.
        expected: String,
        /// As stored.
        found: String,
    },
    /// A store could not do its part.
    #[error(transparent)]
    Store(#[from] crate::lsm::Error),
    /// An earlier write or flush failed: what is on disk is unknown until it is read again.
    #[error("the replog in {dir} stopped after a failed write: {cause}; open it again to recover")]
    Poisoned {
        /// The directory of the group.
        dir: PathBuf,
        /// The first failure, with its sources.
        cause: Arc<str>,
    },
    /// The group was closed.
    #[error("the replog in {dir} is closed")]
    Closed {
        /// The directory of the group.
        dir: PathBuf,
    },
    /// An entry beyond the limit; split it.
    #[error("an entry of {bytes} bytes exceeds the limit of {max}; split it")]
    TooLarge {
        /// Size of the payload.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The records are in a sealed segment that is not in memory: call `warm_log`, then retry.
    #[error(
        "offset {offset} of log {log} of partition {partition} is not in memory; warm it first"
    )]
    Cold {
        /// The partition.
        partition: u32,
        /// The log.
        log: LogId,
        /// The offset asked for.
        offset: u64,
    },
    /// The offset was trimmed, or is not applied yet.
    #[error("offset {offset} of log {log} of partition {partition} is not in {start}..{end}")]
    OutOfRange {
        /// The partition.
        partition: u32,
        /// The log.
        log: LogId,
        /// The offset asked for.
        offset: u64,
        /// The first offset there is.
        start: u64,
        /// The first offset there is not.
        end: u64,
    },
    /// The function of a migration could not make a new record of an old one.
    #[error(
        "migration {id:?} could not convert record {offset} of log {log}: {cause}; correct its \
         function"
    )]
    Record {
        /// The migration.
        id: String,
        /// The log.
        log: LogId,
        /// Which record.
        offset: u64,
        /// What went wrong.
        cause: String,
    },
    /// A migration of records is not declared any more, and old records are still there.
    #[error(
        "migration {id:?} of log {log} is not complete: {left} old records can still be read; \
         declare it again until they are trimmed"
    )]
    UnfinishedRecords {
        /// The migration.
        id: String,
        /// The log.
        log: LogId,
        /// How many there are.
        left: u64,
    },
    /// The caller named a partition this group does not have.
    #[error("partition {0} is not in this group")]
    UnknownPartition(u32),
    /// The caller commits or aborts what is not prepared.
    #[error("transaction {txn} of slot {slot} is not prepared on partition {partition}")]
    UnknownTransaction {
        /// The partition.
        partition: u32,
        /// The slot.
        slot: u16,
        /// The transaction.
        txn: u64,
    },
    /// The caller applies an entry that is not durable.
    #[error("could not apply entry {index}: durable is {durable}")]
    NotDurable {
        /// The entry asked for.
        index: Index,
        /// The last durable one.
        durable: Index,
    },
}

impl Error {
    /// An error of the operating system.
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Error {
        let (path, source) = (path.to_owned(), Arc::new(source));
        Error::Io { what, path, source }
    }

    /// A failed check of bytes at `offset` of `file`.
    pub(crate) fn corrupt(file: &Path, offset: u64, bad: &BadEntry) -> Error {
        let (what, expected, found) = bad.facts();
        Error::Corrupt {
            file: file.to_owned(),
            offset,
            what,
            expected,
            found,
        }
    }

    /// The error with all its sources, once each.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}
