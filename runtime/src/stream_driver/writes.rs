//! What a stream topology writes beside its PStates: progress and dead letters.
//!
//! Relies on the log. Nothing here is waited for by the loop: a message comes back when the write
//! is durable and applied.

use std::rc::Rc;

use rama_core::ids::{Origin, SourceId};
use rama_io::{Category, Env};
use rama_storage::lsm::WriteBatch;
use rama_wire::SpaceId;

use super::{Durable, StreamMessage, Streaming};
use crate::dead_letters::Letter;
use crate::system_keys;
use crate::task_thread::Thread;

/// The stored progress of a source: where it is and where it began.
pub(super) fn decode_progress(bytes: &[u8]) -> Result<(u64, u64), &'static str> {
    let (progress, first) = bytes
        .split_first_chunk::<8>()
        .ok_or("progress is too short")?;
    let first: [u8; 8] = first
        .try_into()
        .map_err(|_| "progress has a wrong length")?;
    Ok((u64::from_le_bytes(*progress), u64::from_le_bytes(first)))
}

pub(super) fn checkpoint<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Rc<Streaming<E>>,
    source: usize,
    progress: u64,
    first: u64,
) {
    let topology = &thread.layout.topologies[usize::from(me.topology)];
    let key = system_keys::stream_progress(topology.slot, topology.sources[source].id);
    let mut value = progress.to_le_bytes().to_vec();
    value.extend_from_slice(&first.to_le_bytes());
    let mut batch = WriteBatch::new();
    batch.put(SpaceId::SYSTEM, &key, &value);
    write(thread, me, batch, source, Durable::Checkpoint { progress });
}

pub(super) fn dead_letter<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Rc<Streaming<E>>,
    source: usize,
    offset: u64,
    failures: u32,
    text: String,
) {
    let topology = &thread.layout.topologies[usize::from(me.topology)];
    let id = SourceId(topology.sources[source].id);
    let letter = Letter {
        origin: Origin {
            source: id,
            partition: me.task,
            offset,
        },
        failures,
        text,
        time_ms: thread.env.wall_ms(),
    };
    let mut batch = WriteBatch::new();
    letter.put_into(topology.slot, &mut batch);
    thread.metrics.on_dead_letter(me.topology);
    write(thread, me, batch, source, Durable::DeadLetter { offset });
}

fn write<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Rc<Streaming<E>>,
    batch: WriteBatch,
    source: usize,
    what: Durable,
) {
    let Some(index) = thread.write(me.task, batch) else {
        return;
    };
    let (me, told) = (me.clone(), thread.clone());
    thread.when_applied(Category::LowLatency, index, move || {
        me.on_message(&told, StreamMessage::Durable { source, what });
    });
}
