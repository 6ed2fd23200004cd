//! The small numbers that name things, each a type of its own so that none is taken for another.
//!
//! Relies on nothing. What must stay true: the numeric values are written to disk and sent to
//! peers, so a value once given to a thing is never given to another one.

use std::fmt;

/// Declares a copyable number with a name: ordered, hashable, printable, made from its raw value.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> $name {
                $name(raw)
            }
        }
    };
}

id! {
    /// A task of a module: one partition of all its depots and PStates.
    TaskId(u32)
}
id! {
    /// A PState within a module. Zero belongs to the system.
    SpaceId(u16)
}
id! {
    /// A depot within a module.
    LogId(u16)
}
id! {
    /// The place of an entry in its replog: dense, from 1. Zero means "before the first".
    Index(u64)
}

impl SpaceId {
    /// The space in which the system keeps its own records: progress, decisions, pins.
    pub const SYSTEM: SpaceId = SpaceId(0);
}

impl Index {
    /// Before the first entry.
    pub const ZERO: Index = Index(0);

    /// The entry after this one.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }
}
