//! Ledgers on their way into the log, and the dead letters that go with them.
//!
//! Relies on the task of a record to answer with its bytes, which the letter carries. What must stay
//! true: ledgers are appended in the order the machine asked for them; a letter is in the entry of
//! the ledger that leaves its record out, or in an earlier one when there are too many bytes for one
//! entry: its mark then keeps it from being written twice.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use rama_core::microbatch::{CoordinatorInput, DeadLetter, Ledger};
use rama_io::{Category, Env};
use rama_storage::lsm::WriteBatch;
use rama_wire::SpaceId;

use super::{Coordinating, CoordinatorEvent};
use crate::dead_letters::{self, Letter};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::message::{ClientRequest, Message};
use crate::system_keys;
use crate::task_thread::Thread;

/// How long to wait before a task that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A ledger to be made durable.
pub(super) struct Persist {
    pub(super) token: u64,
    pub(super) ledger: Ledger,
    pub(super) dead_letters: Vec<DeadLetter>,
}

/// Those that wait for the bytes of dead letters, in order.
#[derive(Default)]
pub(super) struct Persists {
    waiting: RefCell<VecDeque<Persist>>,
    running: Cell<bool>,
}

/// Writes a ledger, at once unless it or one before it has dead letters.
pub(super) fn order<E: Env>(thread: &Rc<Thread<E>>, me: &Rc<Coordinating>, persist: Persist) {
    if !me.persists.running.get() && persist.dead_letters.is_empty() {
        return written(thread, me, persist, Vec::new());
    }
    me.persists.waiting.borrow_mut().push_back(persist);
    if me.persists.running.replace(true) {
        return;
    }
    let (thread, me) = (thread.clone(), me.clone());
    thread.clone().env.spawn(Category::FlexLatency, async move {
        loop {
            let next = me.persists.waiting.borrow_mut().pop_front();
            let Some(mut persist) = next else { break };
            let dead = std::mem::take(&mut persist.dead_letters);
            let Some(letters) = gather(&thread, &me, dead).await else {
                return;
            };
            written(&thread, &me, persist, letters);
        }
        me.persists.running.set(false);
    });
}

/// Appends a ledger and the letters that belong to it.
fn written<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Rc<Coordinating>,
    persist: Persist,
    letters: Vec<Letter>,
) {
    let slot = thread.layout.topologies[usize::from(me.topology)].slot;
    let mut batch = WriteBatch::new();
    let ledger = persist.ledger.encode();
    batch.put(SpaceId::SYSTEM, &system_keys::ledger(slot), &ledger);
    let index = match dead_letters::bury(thread, 0, letters, batch) {
        Ok(index) => index.expect("a ledger is a write"),
        Err(error) => {
            tracing::error!(%error, thread = thread.index, "could not write a ledger");
            return;
        }
    };
    let (me, token) = (me.clone(), persist.token);
    thread.when_applied(Category::FlexLatency, index, move || {
        let input = CoordinatorInput::Persisted { token };
        me.events.push(CoordinatorEvent::Input(input));
    });
}

/// The letters with the bytes of their records; `None` when the thread stops.
async fn gather<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Coordinating,
    dead: Vec<DeadLetter>,
) -> Option<Vec<Letter>> {
    let topology = &thread.layout.topologies[usize::from(me.topology)];
    let (mut letters, mut bytes) = (Vec::new(), 0);
    for dead in dead {
        let mut sources = topology.sources.iter();
        let Some(source) = sources.position(|source| source.id == dead.origin.source.0) else {
            continue;
        };
        let (partition, offset) = (dead.origin.partition, dead.origin.offset);
        let depot = topology.sources[source].depot;
        let record = fetch(thread, partition, depot, offset).await?;
        bytes += record.as_ref().map_or(0, Vec::len);
        letters.push(Letter {
            topology: me.topology,
            source,
            partition,
            offset,
            failures: dead.failures,
            text: dead.text,
            time_ms: thread.env.wall_ms(),
            record,
        });
        if bytes > limits::DEAD_LETTERS_ENTRY_BYTES {
            let letters = std::mem::take(&mut letters);
            bytes = 0;
            match dead_letters::bury(thread, 0, letters, WriteBatch::new()) {
                Ok(None) => {}
                Ok(Some(index)) => thread.commit.applied(index).await.ok()?,
                Err(error) => {
                    tracing::error!(%error, "could not write dead letters");
                    return None;
                }
            }
        }
    }
    Some(letters)
}

/// The bytes of a record, from the task that has it; inside `None` when it is gone.
async fn fetch<E: Env>(
    thread: &Thread<E>,
    task: u32,
    depot: u16,
    offset: u64,
) -> Option<Option<Vec<u8>>> {
    while thread.commit.poison().is_none() {
        match ask(thread, task, depot, offset).await {
            Some(Ok(records)) => return Some(records.into_iter().next()),
            Some(Err(error)) if gone(&error) => {
                tracing::warn!(%error, task, offset, "a dead letter gets no copy of its record");
                return Some(None);
            }
            _ => thread.env.sleep(ASK_AGAIN).await,
        }
    }
    None
}

/// Whether asking again would bring the same.
fn gone(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Storage
    )
}

/// `None` when the task is gone.
async fn ask<E: Env>(
    thread: &Thread<E>,
    task: u32,
    depot: u16,
    offset: u64,
) -> Option<Result<Vec<Vec<u8>>>> {
    let (reply, answer) = oneshot::channel();
    let request = ClientRequest::ReadDepot {
        task,
        depot,
        from: offset,
        to: offset + 1,
        reply,
    };
    thread.send(task, Message::Client(request));
    answer.await.ok()
}
