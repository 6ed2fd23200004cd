//! Where a source without progress begins (S-21, S-22).
//!
//! Relies on the append times of depot records never going back within a partition. Used once in
//! the life of a source: its first progress is durable before its first record runs.

use std::collections::BTreeMap;

use rama_core::microbatch::StartFrom;
use rama_io::Env;
use rama_wire::LogId;

use crate::error::Result;
use crate::layout::TopologyLayout;
use crate::task_thread::Thread;
use crate::topology_def::Start;

/// The first offset of a partition that a new source reads.
pub(crate) fn offset<E: Env>(
    thread: &Thread<E>,
    task: u32,
    log: LogId,
    start: Start,
) -> Result<u64> {
    let range = thread.local(task).partition.log_range(log);
    let offset = match start {
        Start::Beginning => range.start,
        Start::End => range.end,
        Start::Offset(offset) => offset,
        Start::RecordsAgo(count) => range.end.saturating_sub(count),
        Start::Timestamp(time_ms) => first_at(thread, task, log, time_ms)?,
        Start::Ago(age) => {
            let time_ms = thread.env.wall_ms().saturating_sub(age.as_millis() as u64);
            first_at(thread, task, log, time_ms)?
        }
    };
    Ok(offset.clamp(range.start, range.end))
}

/// The first record appended at or after a time, by bisection.
fn first_at<E: Env>(thread: &Thread<E>, task: u32, log: LogId, time_ms: u64) -> Result<u64> {
    let partition = &thread.local(task).partition;
    let range = partition.log_range(log);
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut found_ms = 0;
        partition.read_log(log, middle, 1, usize::MAX, &mut |record| {
            found_ms = record.append_time_ms;
        })?;
        if found_ms < time_ms {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The same for the sources of a microbatch topology, whose coordinator lives with task 0.
///
/// A position in time or counted from the end is a matter of each partition; the coordinator is
/// told `End` or `Beginning` for all of them and exact offsets only where they are the same.
pub(crate) fn microbatch(tasks: u32, topology: &TopologyLayout) -> BTreeMap<u16, StartFrom> {
    let start = |source: &crate::layout::SourceLayout| {
        let from = match source.start {
            Start::End => StartFrom::End,
            Start::Offset(offset) => StartFrom::Offsets(vec![offset; tasks as usize]),
            _ => StartFrom::Beginning,
        };
        (source.id, from)
    };
    topology.sources.iter().map(start).collect()
}
