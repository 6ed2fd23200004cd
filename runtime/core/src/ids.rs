//! Names of the things the machines talk about, and the one mixing function they share.
//!
//! Relies on nothing. `Position` orders by id first and attempt second: a later position always
//! replaces an earlier one, which is what lets a participant drop everything that is not current.

use std::fmt;

pub use rama_wire::TaskId;

/// A source of one topology. Stable across restarts and module updates: progress is kept by it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct SourceId(pub u16);

/// The number of a microbatch. The first one is 1; 0 means "none yet".
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct MicrobatchId(pub u64);

impl MicrobatchId {
    /// The id that follows.
    #[must_use]
    pub fn next(self) -> MicrobatchId {
        MicrobatchId(self.0 + 1)
    }
}

/// The number of an attempt at one microbatch id. Grows with every attempt of the same id, also
/// over restarts of the coordinator; not dense.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Attempt(pub u32);

/// One attempt at one microbatch. Every message, hop and durable write of it carries this pair.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Position {
    /// Which microbatch.
    pub id: MicrobatchId,
    /// Which attempt at it.
    pub attempt: Attempt,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id.0, self.attempt.0)
    }
}

/// A record of a depot as a source of a topology sees it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Origin {
    /// Through which source it came.
    pub source: SourceId,
    /// In which partition of the source's depot it stands.
    pub partition: u32,
    /// Where in that partition.
    pub offset: u64,
}

/// Spreads `value` over 64 bits, never answering zero. Ids that are combined by XOR must look
/// random: counters would cancel each other (1 ^ 2 ^ 3 = 0).
#[must_use]
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).max(1)
}
