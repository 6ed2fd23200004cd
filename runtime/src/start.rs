//! Where a new source begins (S-21, S-22, M-12), fixed durably before anything runs.
//!
//! Relies on the append times of depot records never going back within a partition. Each task
//! fixes its own partitions when the topology is launched for the first time, before the first
//! append of that launch; "an hour ago" then means an hour before the launch, whatever restarts
//! follow. What must stay true: a position that is stored is never computed again.

use rama_io::Env;
use rama_storage::Partition;
use rama_storage::lsm::{Read, WriteBatch};
use rama_wire::{LogId, SpaceId};

use crate::error::Result;
use crate::layout::{Layout, SourceLayout, TopologyLayout};
use crate::stream_driver::progress;
use crate::system_keys;
use crate::topology_def::{Start, TopologyKind};
use crate::tuning::Tuning;

/// Adds the positions of all sources that have none on this task.
pub(crate) async fn fix<E: Env>(
    env: &E,
    layout: &Layout,
    tuning: &Tuning,
    (task, partition): (u32, &Partition<E>),
    batch: &mut WriteBatch,
) -> Result<()> {
    for topology in &layout.topologies {
        for source in &topology.sources {
            let depot = &layout.depots[usize::from(source.depot)];
            if depot.tick.is_some() || task >= depot.partitions {
                continue;
            }
            let key = key(topology, source);
            let mut known = false;
            let store = partition.store();
            store.get(SpaceId::SYSTEM, &key, &mut |found| known = found.is_some())?;
            if known {
                continue;
            }
            let at = match source.start {
                Start::Beginning => {
                    let retention = tuning.retention[usize::from(source.depot)];
                    retention.beginning(env, partition, depot.log).await?
                }
                start => offset(env, partition, depot.log, start).await?,
            };
            match topology.kind {
                TopologyKind::Stream => {
                    batch.put(SpaceId::SYSTEM, &key, &progress::encode(at, at));
                }
                TopologyKind::Microbatch => batch.put(SpaceId::SYSTEM, &key, &at.to_le_bytes()),
            }
        }
    }
    Ok(())
}

/// Where the position of a source is stored.
pub(crate) fn key(topology: &TopologyLayout, source: &SourceLayout) -> [u8; 5] {
    match topology.kind {
        TopologyKind::Stream => system_keys::stream_progress(topology.slot, source.id),
        TopologyKind::Microbatch => system_keys::microbatch_begin(topology.slot, source.id),
    }
}

/// The first offset of a partition that a new source reads.
pub(crate) async fn offset<E: Env>(
    env: &E,
    partition: &Partition<E>,
    log: LogId,
    start: Start,
) -> Result<u64> {
    let range = partition.log_range(log);
    let offset = match start {
        Start::Beginning => range.start,
        Start::End => range.end,
        Start::Offset(offset) => offset,
        Start::RecordsAgo(count) => range.end.saturating_sub(count),
        Start::Timestamp(time_ms) => partition.offset_at_time(log, time_ms).await?,
        Start::Ago(age) => {
            let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let time_ms = env.wall_ms().saturating_sub(age_ms);
            partition.offset_at_time(log, time_ms).await?
        }
    };
    Ok(offset.clamp(range.start, range.end))
}
