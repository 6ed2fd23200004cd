//! The store of one partition: a log-structured merge tree with a single writer.
//!
//! Relies on [`rama_io::Env`] for files and on the caller for durability: what [`Store::apply`]
//! takes is already durable in the replog, and is replayed from there when it was not yet flushed
//! to a table. What must stay true: newer data shadows older data, layer by layer (uncommitted
//! overlay, memtable, frozen memtables, runs of tables from young to old); within one layer an
//! entry wins over the layer's range deletes; tables are immutable and appear and disappear only
//! by the switch of the manifest; bytes from disk are never answered before their checksum held.
//!
//! Reading order: `batch` (what is written), `layer` (one ordered map in memory), `overlay`,
//! `memtable`, `table` (one sorted file), `run`, `merge`, `levels` (all layers of a moment),
//! `store`, `flush`, `compaction`, `manifest`; `migration`, `reshaped`, `gathering` and `rewrite`
//! (entries that change type); `scratch` (sorted files of one process).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod compaction;
mod error;
mod flush;
mod gathering;
pub(crate) mod inspect;
mod layer;
mod levels;
mod manifest;
mod memtable;
mod merge;
mod migration;
pub(crate) mod mutant;
mod overlay;
mod ranges;
mod read;
mod reshaped;
mod rewrite;
mod run;
pub mod scratch;
mod snapshot;
mod store;
mod table;

pub use batch::{Batch, BatchError, Op, WriteBatch};
pub use error::{Corruption, Error};
pub use gathering::Gather;
pub(crate) use manifest::LogMark;
pub use migration::{Convert, Effect, Form, Migration, Migrations, Pace, Progress, Reach, Reshape};
pub use overlay::{Change, Overlay};
pub use read::{Order, Read, Visit};
pub use snapshot::Snapshot;
pub use store::{Identity, Store, StoreOptions};

#[cfg(test)]
mod tests;
