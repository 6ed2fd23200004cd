//! The end of a letter: its record is replayed, or it is dropped.
//!
//! Relies on the log. A replay of a record whose partition is on this task thread appends it and
//! ends the letter in one entry: exactly once. A record of another thread is appended there first
//! and the letter ended when that is durable: a crash in between leaves the letter, and a second
//! replay appends the record twice. What must stay true: no letter ends before its record is
//! durable again; letters before the first open one are trimmed, others never.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::rc::Rc;

use futures_channel::oneshot;
use rama_io::Env;
use rama_storage::lsm::{Order, Read, WriteBatch};
use rama_storage::{Entry, Op};
use rama_wire::{LogId, SpaceId};

use super::mark::{self, Mark};
use super::read;
use crate::depot::{self, DepotAppend};
use crate::error::{Error, Result};
use crate::message::{AckLevel, AppendRequest, ClientRequest, Message, Records};
use crate::system_keys;
use crate::task_thread::Thread;

/// What becomes of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settling {
    /// Its record is appended to its partition again.
    Replay,
    /// It is forgotten.
    Drop,
}

/// Ends letters of a task; answers how many were there.
pub(super) async fn settle<E: Env>(
    thread: &Rc<Thread<E>>,
    task: u32,
    ids: &[String],
    how: Settling,
) -> Result<u64> {
    let mut letters = Vec::new();
    for id in ids {
        let (_, mark) = Mark::parse(id)?;
        // Whoever else settles it now will be told that it was there.
        let Some(held) = Held::of(thread, task, mark) else {
            continue;
        };
        if let Some(at) = mark.letter(thread, task)? {
            letters.push((held, at));
        }
    }
    let logs: BTreeSet<LogId> = letters.iter().map(|(held, _)| held.mark.log).collect();
    let settled = match how {
        Settling::Replay => replay_all(thread, task, &letters).await,
        Settling::Drop => drop_all(thread, task, &letters).await,
    };
    for log in logs {
        trim(thread, task, log).await?;
    }
    settled
}

/// Keeps a letter from being settled twice at a time.
struct Held<E: Env> {
    thread: Rc<Thread<E>>,
    task: u32,
    mark: Mark,
}

impl<E: Env> Held<E> {
    fn of(thread: &Rc<Thread<E>>, task: u32, mark: Mark) -> Option<Held<E>> {
        let new = thread.local(task).letters.borrow_mut().insert(mark);
        let thread = thread.clone();
        new.then_some(Held { thread, task, mark })
    }
}

impl<E: Env> Drop for Held<E> {
    fn drop(&mut self) {
        let task = self.thread.local(self.task);
        task.letters.borrow_mut().remove(&self.mark);
    }
}

async fn drop_all<E: Env>(
    thread: &Thread<E>,
    task: u32,
    letters: &[(Held<E>, u64)],
) -> Result<u64> {
    let mut batch = WriteBatch::new();
    for (held, _) in letters {
        batch.delete(SpaceId::SYSTEM, &held.mark.key());
    }
    if !letters.is_empty() {
        let index = thread.try_append(Entry::new().write(task, batch))?.index;
        thread.commit.applied(index).await?;
    }
    Ok(letters.len() as u64)
}

async fn replay_all<E: Env>(
    thread: &Thread<E>,
    task: u32,
    letters: &[(Held<E>, u64)],
) -> Result<u64> {
    for (held, at) in letters {
        replay(thread, task, held.mark, *at).await?;
    }
    Ok(letters.len() as u64)
}

async fn replay<E: Env>(thread: &Thread<E>, task: u32, mark: Mark, at: u64) -> Result<()> {
    let letter = read(thread, task, mark.log, at).await?;
    let cannot = |why: &str| {
        let (id, depot) = (mark.id(task), &letter.depot);
        Error::invalid(format!(
            "could not replay dead letter {id} of {depot}: {why}; drop it"
        ))
    };
    let mut depots = thread.layout.depots.iter();
    let depot = depots.position(|depot| depot.name == letter.depot);
    let depot = depot.ok_or_else(|| cannot("the module has no such depot any more"))? as u16;
    let home = letter.partition;
    if home >= thread.layout.depots[usize::from(depot)].partitions {
        return Err(cannot("the depot has no such partition"));
    }
    let Some(record) = &letter.record else {
        return Err(cannot("its record was gone when it was given up"));
    };
    let mut records = Records::default();
    records.push_with(|bytes| bytes.extend_from_slice(record));
    let mut batch = WriteBatch::new();
    batch.delete(SpaceId::SYSTEM, &mark.key());
    let index = if thread.layout.thread_of(home) == thread.index {
        let append = DepotAppend {
            task: home,
            depot,
            records: &records,
        };
        let over = Op::Write {
            partition: task,
            batch,
        };
        depot::append_entry(thread, &[append], vec![over])?
    } else {
        append_elsewhere(thread, home, depot, records).await?;
        thread.try_append(Entry::new().write(task, batch))?.index
    };
    thread.commit.applied(index).await
}

async fn append_elsewhere<E: Env>(
    thread: &Thread<E>,
    task: u32,
    depot: u16,
    records: Records,
) -> Result<()> {
    let (reply, answer) = oneshot::channel();
    let request = AppendRequest {
        departure: None,
        task,
        depot,
        records,
        ack: AckLevel::AppendAck,
        reply,
        numbered: None,
    };
    thread.send(task, Message::Client(ClientRequest::Append(request)));
    match answer.await {
        Ok(appended) => appended.map(drop),
        Err(_) => Err(Error::unknown(
            "the task of a dead letter's record did not answer: the record may be appended again, \
             and the letter is still there",
        )),
    }
}

/// Gives up the letters before the first open one: their bytes are needed no more.
async fn trim<E: Env>(thread: &Thread<E>, task: u32, log: LogId) -> Result<()> {
    let partition = &thread.local(task).partition;
    let range = partition.log_range(log);
    let mut first = range.end;
    let (lo, hi) = system_keys::dead_letters_of(log);
    partition.store().scan(
        SpaceId::SYSTEM,
        &lo,
        Some(&hi),
        Order::Ascending,
        &mut |_, value| {
            if let Ok(at) = mark::letter_offset(value) {
                first = first.min(at);
            }
            ControlFlow::Continue(())
        },
    )?;
    if first > range.start {
        let trim = Op::Trim {
            partition: task,
            log,
            before: first,
        };
        let index = thread.try_append(Entry::new().with(trim))?.index;
        thread.commit.applied(index).await?;
    }
    Ok(())
}
