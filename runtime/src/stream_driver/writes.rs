//! What a stream topology writes beside its PStates and its progress: dead letters.
//!
//! Relies on the log. Nothing here is waited for by the loop: a message comes back when the write
//! is durable and applied. What must stay true: a record that is given up again before its letter is
//! known, or after a crash that its progress did not survive, gets no second letter.

use std::rc::Rc;

use rama_io::{Category, Env};
use rama_storage::lsm::WriteBatch;

use super::{Durable, StreamMessage, Streaming};
use crate::dead_letters::{self, Letter};
use crate::task_thread::Thread;

pub(super) fn dead_letter<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Rc<Streaming<E>>,
    source: usize,
    offset: u64,
    failures: u32,
    text: String,
) {
    let letter = Letter {
        topology: me.topology,
        source,
        partition: me.task,
        offset,
        failures,
        text,
        time_ms: thread.env.wall_ms(),
        record: None,
    };
    let Some((_, mark)) = letter.mark(thread) else {
        return;
    };
    let letters = &thread.local(me.task).letters;
    if !letters.borrow_mut().insert(mark) {
        // Its letter is on its way, and will be told.
        return;
    }
    let (thread, me) = (thread.clone(), me.clone());
    thread.clone().env.spawn(Category::LowLatency, async move {
        let durable = write(&thread, &me, letter).await;
        thread.local(me.task).letters.borrow_mut().remove(&mark);
        if durable {
            let what = Durable::DeadLetter { offset };
            me.on_message(&thread, StreamMessage::Durable { source, what });
        }
    });
}

/// Whether the letter is durable and applied; not when the log is dead.
async fn write<E: Env>(thread: &Thread<E>, me: &Streaming<E>, mut letter: Letter) -> bool {
    let topology = &thread.layout.topologies[usize::from(me.topology)];
    let depot = topology.sources[letter.source].depot;
    letter.record = dead_letters::record_of(thread, me.task, depot, letter.offset).await;
    match dead_letters::bury(thread, me.task, vec![letter], WriteBatch::new()) {
        Ok(Some(index)) => thread.commit.applied(index).await.is_ok(),
        Ok(None) => true,
        Err(error) => {
            tracing::error!(%error, task = me.task, "could not write a dead letter");
            false
        }
    }
}
