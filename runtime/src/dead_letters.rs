//! Records that a topology gave up on, kept until somebody replays or drops them.
//!
//! Relies on the system space of each task: a letter is one entry there, keyed by topology and
//! record, so that it is written in the same log entry as the decision to give up (a microbatch's
//! ledger) and at most once. The record itself stays in its depot. What must stay true: a letter
//! disappears only by a durable write asked for by somebody.

use std::ops::ControlFlow;

use rama_core::ids::{Origin, SourceId};
use rama_io::Env;
use rama_storage::lsm::{Order, Read, WriteBatch};
use rama_wire::SpaceId;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::message::Reply;
use crate::system_keys;
use crate::task_thread::Thread;

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
}

/// A letter on its way into a store.
pub(crate) struct Letter {
    pub(crate) origin: Origin,
    pub(crate) failures: u32,
    pub(crate) text: String,
    pub(crate) time_ms: u64,
}

/// The stored part that the key does not say.
#[derive(Serialize, Deserialize)]
struct Stored {
    failures: u32,
    text: String,
    time_ms: u64,
}

/// What clients do with the letters of a task.
pub(crate) enum Request {
    List {
        reply: Reply<Vec<DeadLetter>>,
    },
    /// Forgets letters by id; answers those that were there.
    Drop {
        ids: Vec<String>,
        reply: Reply<u64>,
    },
}

impl Request {
    /// Whether its asker went away.
    pub(crate) fn is_forgotten(&self) -> bool {
        match self {
            Request::List { reply } => reply.is_canceled(),
            Request::Drop { reply, .. } => reply.is_canceled(),
        }
    }
}

impl Letter {
    pub(crate) fn put_into(&self, slot: u16, batch: &mut WriteBatch) {
        let Origin {
            source: SourceId(source),
            partition,
            offset,
        } = self.origin;
        let key = system_keys::dead_letter(slot, source, partition, offset);
        let (failures, text, time_ms) = (self.failures, self.text.clone(), self.time_ms);
        let stored = serde_json::to_vec(&Stored {
            failures,
            text,
            time_ms,
        });
        batch.put(
            SpaceId::SYSTEM,
            &key,
            &stored.expect("numbers and text have a JSON form"),
        );
    }
}

/// Answers a request about the letters of one task.
pub(crate) async fn serve<E: Env>(thread: &Thread<E>, task: u32, request: Request) {
    match request {
        Request::List { reply } => {
            let _ = reply.send(list(thread, task));
        }
        Request::Drop { ids, reply } => {
            let _ = reply.send(drop_letters(thread, task, &ids).await);
        }
    }
}

fn list<E: Env>(thread: &Thread<E>, task: u32) -> Result<Vec<DeadLetter>> {
    let (lo, hi) = system_keys::DEAD_LETTERS;
    let mut letters = Vec::new();
    let mut bad = None;
    let store = thread.local(task).partition.store();
    store.scan(
        SpaceId::SYSTEM,
        lo,
        Some(hi),
        Order::Ascending,
        &mut |key, value| {
            match decode(thread, task, key, value) {
                Some(letter) => letters.push(letter),
                None => bad = Some(key.to_vec()),
            }
            ControlFlow::Continue(())
        },
    )?;
    match bad {
        Some(key) => {
            let text = format!("could not read the dead letter {key:?} of task {task}");
            Err(Error::new(ErrorKind::Corrupt, text))
        }
        None => Ok(letters),
    }
}

fn decode<E: Env>(thread: &Thread<E>, task: u32, key: &[u8], value: &[u8]) -> Option<DeadLetter> {
    if key.len() != system_keys::DEAD_LETTER_BYTES {
        return None;
    }
    let stored: Stored = serde_json::from_slice(value).ok()?;
    let slot = u16::from_be_bytes([key[1], key[2]]);
    let source = u16::from_be_bytes([key[3], key[4]]);
    let partition = u32::from_be_bytes(key[5..9].try_into().ok()?);
    let offset = u64::from_be_bytes(key[9..17].try_into().ok()?);
    let layout = &thread.layout;
    let topology = layout
        .topologies
        .iter()
        .find(|topology| topology.slot == slot);
    let depot = layout.depots.iter().find(|depot| depot.log.0 == source);
    Some(DeadLetter {
        id: format!("{task}-{slot}-{source}-{partition}-{offset}"),
        topology: topology.map_or_else(|| format!("topology {slot}"), |found| found.name.clone()),
        depot: depot.map_or_else(|| format!("depot {source}"), |found| found.name.clone()),
        partition,
        offset,
        error: stored.text,
        attempts: stored.failures,
        time_ms: stored.time_ms,
    })
}

/// The task and the key that an id names.
pub(crate) fn parse_id(id: &str) -> Result<(u32, Vec<u8>)> {
    let wrong = || {
        Error::invalid(format!(
            "{id:?} is not the id of a dead letter; take ids from their list"
        ))
    };
    let mut parts = id.split('-');
    let mut next = || {
        parts
            .next()
            .and_then(|part| part.parse::<u64>().ok())
            .ok_or_else(wrong)
    };
    let task = u32::try_from(next()?).map_err(|_| wrong())?;
    let slot = u16::try_from(next()?).map_err(|_| wrong())?;
    let source = u16::try_from(next()?).map_err(|_| wrong())?;
    let partition = u32::try_from(next()?).map_err(|_| wrong())?;
    Ok((
        task,
        system_keys::dead_letter(slot, source, partition, next()?),
    ))
}

async fn drop_letters<E: Env>(thread: &Thread<E>, task: u32, ids: &[String]) -> Result<u64> {
    let store = thread.local(task).partition.store();
    let mut batch = WriteBatch::new();
    let mut dropped = 0;
    for id in ids {
        let (_, key) = parse_id(id)?;
        let mut there = false;
        store.get(SpaceId::SYSTEM, &key, &mut |value| there = value.is_some())?;
        if there {
            batch.delete(SpaceId::SYSTEM, &key);
            dropped += 1;
        }
    }
    if let Some(index) = (dropped > 0).then(|| thread.write(task, batch)).flatten() {
        thread.commit.applied(index).await?;
    }
    Ok(dropped)
}
