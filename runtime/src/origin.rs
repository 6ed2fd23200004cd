//! What the engine packs into the origin that travels with every item.
//!
//! Relies on limits: 2^16 partitions and 2^16 sources of a topology. `home` names the source and
//! the partition; `record` is the offset (microbatch) or the tree (stream). What must stay true: an
//! origin names the same record on every task it hops to, so that a failure anywhere blames the
//! record that caused it, and an ack finds its tracker.

use rama_core::ids::{Origin as Record, SourceId};

use crate::stage::Origin;

const PARTITION_BITS: u32 = 16;
const PARTITION_MASK: u32 = (1 << PARTITION_BITS) - 1;

/// A tick: nobody tracks it.
pub(crate) const TICK: Origin = Origin {
    record: u64::MAX,
    home: u32::MAX,
};

/// What came of several records: none of them is tracked or blamed.
pub(crate) const NOBODY: Origin = TICK;

const _: () = assert!(crate::limits::TASKS_MAX < PARTITION_MASK);

/// The home of records of the source with this index in its topology.
pub(crate) fn home(source: usize, partition: u32) -> u32 {
    debug_assert!(partition < PARTITION_MASK && source < PARTITION_MASK as usize);
    ((source as u32) << PARTITION_BITS) | partition
}

/// Index of the source and partition; `None` for a tick.
pub(crate) fn split(home: u32) -> Option<(usize, u32)> {
    if home == TICK.home {
        return None;
    }
    Some(((home >> PARTITION_BITS) as usize, home & PARTITION_MASK))
}

/// The record that a microbatch origin names; `sources` are the durable ids by index.
pub(crate) fn record(origin: Origin, sources: &[SourceId]) -> Option<Record> {
    let (source, partition) = split(origin.home)?;
    Some(Record {
        source: *sources.get(source)?,
        partition,
        offset: origin.record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        let sources = [SourceId(7), SourceId(300)];
        let origin = Origin {
            record: 1 << 50,
            home: home(1, 16_383),
        };
        let expected = Record {
            source: SourceId(300),
            partition: 16_383,
            offset: 1 << 50,
        };
        assert_eq!(record(origin, &sources), Some(expected));
        assert_eq!(record(TICK, &sources), None);
    }
}
