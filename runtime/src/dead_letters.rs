//! Records that a topology gave up on, kept until somebody replays or drops them.
//!
//! Every source of a topology has a dead-letter depot (`depot`), whose records (`record`) carry all
//! that is needed to understand and to repeat one failure. A letter is appended in the log entry that
//! holds the decision to give up (`letter`), with a mark (`mark`) that says it is open; `settle` ends
//! it. Letters of a stream are on the task of their record, where its tracker decides; those of a
//! microbatch topology are on task 0, where its coordinator does. What must stay true: while its mark
//! is there a record has one letter, whatever crashes; a letter ends only by a durable write asked
//! for by somebody.

mod depot;
mod letter;
mod mark;
mod record;
mod settle;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::rc::Rc;

use rama_io::Env;
use rama_storage::lsm::{Order, Read};
use rama_wire::{LogId, Record, SpaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::message::Reply;
use crate::system_keys;
use crate::task_thread::Thread;

pub(crate) use depot::{definition, name};
pub(crate) use letter::{Letter, bury, converted, record_of};
pub(crate) use mark::Mark;
pub use record::{DeadLetterRecord, DeadLetterV1};
pub(crate) use settle::Settling;

/// A record that a topology gave up on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Names the letter for `replay` and `drop`.
    pub id: String,
    /// Who gave up.
    pub topology: String,
    /// Where the record is.
    pub depot: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// The last failure.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The record; null when it was gone before it was given up, or the module has no such depot
    /// any more.
    pub data: Value,
}

/// What clients do with the letters of a task.
pub(crate) enum Request {
    /// A page of the open letters behind an id; none when there are no more.
    List {
        after: Option<String>,
        reply: Reply<Vec<DeadLetter>>,
    },
    /// Ends letters by id; answers how many were there.
    Settle {
        ids: Vec<String>,
        how: Settling,
        reply: Reply<u64>,
    },
}

impl Request {
    /// Whether its asker went away.
    pub(crate) fn is_forgotten(&self) -> bool {
        match self {
            Request::List { reply, .. } => reply.is_canceled(),
            Request::Settle { reply, .. } => reply.is_canceled(),
        }
    }
}

/// Answers a request about the letters of one task.
pub(crate) async fn serve<E: Env>(thread: &Rc<Thread<E>>, task: u32, request: Request) {
    match request {
        Request::List { after, reply } => {
            let _ = reply.send(list(thread, task, after.as_deref()).await);
        }
        Request::Settle { ids, how, reply } => {
            let _ = reply.send(settle::settle(thread, task, &ids, how).await);
        }
    }
}

async fn list<E: Env>(
    thread: &Thread<E>,
    task: u32,
    after: Option<&str>,
) -> Result<Vec<DeadLetter>> {
    let (lo, hi) = system_keys::DEAD_LETTERS;
    let mut from = match after {
        Some(id) => [&Mark::parse(id)?.1.key()[..], &[0]].concat(),
        None => lo.to_vec(),
    };
    let (mut letters, mut bytes) = (Vec::new(), 0);
    loop {
        let marks = marks(thread, task, (&from, hi))?;
        let Some((last, _)) = marks.last() else {
            return Ok(letters);
        };
        from = [&last.key()[..], &[0]].concat();
        for (mark, at) in marks {
            let letter = match read(thread, task, mark.log, at).await {
                Ok(letter) => letter,
                // Settled, and trimmed, meanwhile.
                Err(_) if mark.letter(thread, task)? != Some(at) => continue,
                Err(error) => return Err(error),
            };
            bytes += letter.record.as_ref().map_or(0, Vec::len);
            letters.push(shown(thread, task, mark, letter));
            if bytes > limits::DEAD_LETTERS_PAGE_BYTES {
                return Ok(letters);
            }
        }
        if !letters.is_empty() {
            return Ok(letters);
        }
    }
}

/// The first marks in a range of keys, a page of them, with the offsets of their letters.
fn marks<E: Env>(
    thread: &Thread<E>,
    task: u32,
    (lo, hi): (&[u8], &[u8]),
) -> Result<Vec<(Mark, u64)>> {
    let mut marks = Vec::new();
    let mut bad = None;
    let store = thread.local(task).partition.store();
    store.scan(
        SpaceId::SYSTEM,
        lo,
        Some(hi),
        Order::Ascending,
        &mut |key, value| {
            match (Mark::from_key(key), mark::letter_offset(value)) {
                (Some(mark), Ok(at)) => marks.push((mark, at)),
                _ => bad = Some(key.to_vec()),
            }
            if marks.len() < limits::DEAD_LETTERS_PAGE {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    )?;
    match bad {
        Some(key) => {
            let text = format!("could not read the dead letter {key:?} of task {task}");
            Err(Error::new(ErrorKind::Corrupt, text))
        }
        None => Ok(marks),
    }
}

/// A letter out of its depot.
async fn read<E: Env>(thread: &Thread<E>, task: u32, log: LogId, at: u64) -> Result<DeadLetterV1> {
    let partition = &thread.local(task).partition;
    partition.warm_log(log, at).await?;
    let mut found = None;
    partition.read_log(log, at, 1, usize::MAX, &mut |record| {
        found = Some(DeadLetterRecord::decode(record.bytes));
    })?;
    let wrong = || {
        let text = format!("could not read dead letter {at} of log {log} of task {task}");
        Error::new(ErrorKind::Corrupt, text)
    };
    match found {
        Some(Ok(DeadLetterRecord::V1(letter))) => Ok(*letter),
        Some(Err(error)) => Err(wrong().caused_by(error)),
        None => Err(wrong()),
    }
}

fn shown<E: Env>(thread: &Thread<E>, task: u32, mark: Mark, letter: DeadLetterV1) -> DeadLetter {
    let record = |bytes: &Vec<u8>| {
        let depot = thread.layout.definition.depot(&letter.depot)?;
        (depot.record.to_json)(bytes).ok()
    };
    DeadLetter {
        id: mark.id(task),
        data: letter.record.as_ref().and_then(record).unwrap_or_default(),
        topology: letter.topology,
        depot: letter.depot,
        partition: letter.partition,
        offset: letter.offset,
        error: letter.error,
        attempts: letter.attempts,
        time_ms: letter.time_ms,
    }
}
