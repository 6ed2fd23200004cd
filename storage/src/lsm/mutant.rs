//! Faults that tests plant, to prove that the tests would see them.
//!
//! Relies on nothing. Outside of this crate's tests every question answers no and costs nothing.

/// A mistake somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Mutant {
    /// The manifest names a table whose bytes were never flushed.
    ManifestBeforeFlush,
    /// Compaction forgets range deletes that still hide something older.
    RangesDroppedAboveBottom,
    /// Compaction forgets deletes that still hide something older.
    DeletesDroppedAboveBottom,
    /// The filter is built with another hash than it is asked with.
    FilterOtherHash,
    /// Compaction removes its sources before the manifest without them is durable.
    SourcesRemovedFirst,
    /// Flush claims what was applied while it ran.
    PersistedTooHigh,
    /// The merge forgets that a newer layer's range deletes hide older entries.
    RangesHideNothing,
    /// Bytes are served without a look at their checksum.
    PagesNotVerified,
    /// Old values in the log are taken for new ones.
    LogNotMigrated,
    /// A migration begins anew at every opening, over values that it has been through.
    MigrationForgotten,
    /// Merged tables are called new with old values in them.
    MergedNotMigrated,
    /// The parts of an old value do not hide older ones.
    SpreadHidesNothing,
    /// A table is written again without deletes of what its old values hid in older runs.
    BeneathNotHidden,
    /// Range deletes of old tables keep their bounds.
    BoundsNotMigrated,
    /// A walk between bounds gathers those parts of a value that lie between them.
    StructuresCut,
    /// Runs with parts of values are merged like others.
    PartsMergedApart,
    /// Parts become values while some of them are not in tables.
    PartsInMemory,
    /// Runs with parts of values are merged before late writes to them are in tables.
    LateWritesForgotten,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether a test planted this mistake.
#[cfg(test)]
pub(crate) fn planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Nobody plants a mistake outside of tests.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn planted(_: Mutant) -> bool {
    false
}

/// Plants a mistake in this thread, or takes it out.
#[cfg(test)]
pub(crate) fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}
