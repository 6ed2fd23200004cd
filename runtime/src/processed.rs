//! How far a topology has processed a depot partition, by what its task has stored (M-16).
//!
//! Relies on progress being written with what it stands for: a stream's before or with the writes
//! that finish its records, a microbatch's with its commit. What must stay true: every record
//! before the answer is processed, or given up, and what it wrote on this task can be read.

use std::ops::Range;

use rama_io::Env;

use crate::error::Result;
use crate::start;
use crate::stream_driver::progress;
use crate::system_keys;
use crate::task_thread::Thread;
use crate::topology_def::TopologyKind;

/// From where to where a source is processed on a task.
pub(crate) fn range<E: Env>(
    thread: &Thread<E>,
    task: u32,
    topology: u16,
    source: usize,
) -> Result<Range<u64>> {
    let topology = &thread.layout.topologies[usize::from(topology)];
    let source = &topology.sources[source];
    let begin = start::key(topology, source);
    match topology.kind {
        TopologyKind::Stream => {
            let found = thread.system_value(task, &begin, progress::decode)?;
            Ok(found.map_or(0..0, |(stored, first)| first..stored))
        }
        TopologyKind::Microbatch => {
            let decode = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
            let begin = thread.system_value(task, &begin, decode)?.unwrap_or(0);
            let key = system_keys::consumed(topology.slot, source.id);
            let consumed = thread.system_value(task, &key, decode)?;
            Ok(begin..consumed.unwrap_or(begin))
        }
    }
}

#[cfg(test)]
mod tests;
