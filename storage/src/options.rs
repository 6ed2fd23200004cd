//! Who owns a directory, and how a group behaves.
//!
//! Relies on nothing. What must stay true: no option changes the format of a file, so that a
//! directory opens under any options; only migrations, which are not settings, have to be those of
//! the data.

use std::fmt;

use crate::lsm::{Migrations, StoreOptions};

/// Whose data a directory holds. Written into every file; a mismatch refuses to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster, chosen at random when it was made.
    pub cluster: u128,
    /// The task group within the cluster and module.
    pub group: u32,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} of cluster {:032x}", self.group, self.cluster)
    }
}

/// How a group behaves.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// A segment that would grow beyond this is followed by a new one. Default 64 MiB.
    pub segment_bytes: u32,
    /// One device write carries at most this much, except for a single larger entry.
    /// Default 1 MiB.
    pub batch_bytes: usize,
    /// How far ahead an idle writer fills its segment with zeros, which makes the next lone
    /// append cheap; zero never does. Default 1 MiB.
    pub fill_bytes: u32,
    /// Replog bytes that wait for their writes to reach tables before stores are flushed even
    /// though their memtables are small. It bounds replay. Default 256 MiB.
    pub replay_bytes_max: u64,
    /// Memory for writes that are in no table yet, over all stores of the group, and for segments
    /// that wait to be sealed. When stores take more than half of it the largest is flushed early;
    /// beyond all of it nothing more becomes durable until there is room, and appenders wait for
    /// that. The segment being written, and one device write, come on top. Default 256 MiB.
    pub memory_bytes_max: u64,
    /// Sizes of the stores.
    pub store: StoreOptions,
    /// What becomes of values that the stores have already.
    pub migrations: Migrations,
    /// A deliberate mistake, to prove that the tests see it.
    #[doc(hidden)]
    pub mutant: Option<Mutant>,
}

impl Default for GroupOptions {
    fn default() -> GroupOptions {
        GroupOptions {
            segment_bytes: 64 << 20,
            batch_bytes: 1 << 20,
            fill_bytes: 1 << 20,
            replay_bytes_max: 256 << 20,
            memory_bytes_max: 256 << 20,
            store: StoreOptions::default(),
            migrations: Migrations::default(),
            mutant: None,
        }
    }
}

/// Deliberate mistakes. Each makes a test red; a mutant that survives is a missing test.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Calls entries durable that were written and not flushed.
    AckBeforeFlush,
    /// Believes payloads whose checksum is wrong.
    SkipPayloadCrc,
    /// Does not compare an entry with its predecessor.
    SkipChain,
    /// Takes any bad entry for the end of the log.
    CutAnywhere,
    /// Goes on after a failed write.
    IgnorePoison,
    /// Removes segments whose writes are in memory only.
    RemoveUnflushed,
    /// Removes segments with prepared transactions that are not decided.
    RemovePrepared,
    /// Does not replay writes after the persisted index.
    SkipReplay,
}
