//! Storage of a task group: replog, depot logs, stores, recovery.
//!
//! Relies on the `Env` seam of `rama-io` and on the entry layout of `rama-wire`. It speaks of
//! partitions, logs and slots and knows nothing of tasks, topologies or peers. Every byte on disk
//! is described in `storage/FORMAT.md`.
//!
//! Reading order: [`Entry`] (what is appended), [`Group`] (from append to durable and applied),
//! [`Partition`] (reading), [`lsm`] (the stores); [`inspect`] reads a directory that nobody has open.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bytes;
mod entry;
mod error;
mod group;
pub mod inspect;
pub mod lsm;
mod options;
mod replog;
mod superblock;

pub use entry::{Appended, Entry, Op, Prepared};
pub use error::{Error, Result};
pub use group::{
    ConvertRecord, Group, LogRecord, Partition, RecordMigration, RecordProgress, Recovered, Stats,
    WaitDurable,
};
pub use options::{GroupOptions, Identity, Mutant};
pub use rama_wire::{Index, LogId, SpaceId};
