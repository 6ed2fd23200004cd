//! What a stream topology writes beside its PStates and its progress: dead letters.
//!
//! Relies on the log. Nothing here is waited for by the loop: a message comes back when the write
//! is durable and applied.

use std::rc::Rc;

use rama_core::ids::{Origin, SourceId};
use rama_io::{Category, Env};
use rama_storage::lsm::WriteBatch;

use super::{Durable, StreamMessage, Streaming};
use crate::dead_letters::Letter;
use crate::task_thread::Thread;

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
