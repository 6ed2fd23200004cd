//! What a microbatch appends to depots of its task, while it is prepared and not decided.
//!
//! Relies on one entry of the log being atomic. The records are the first write of what a task
//! prepares; the entry that commits it appends them and takes that write back. What must stay
//! true: a record is in its depot exactly when the microbatch is committed, and once, whichever
//! attempt that was and whatever crashed in between; the key is in no store outside of that entry.
//!
//! ```text
//! for each depot: log u16 | zero u16 | count u32 | end of each record, u32 | bytes of the records
//! ```
//!
//! Numbers are little endian; an end counts from the first byte of the depot's records.

use std::sync::Arc;

use rama_io::Env;
use rama_storage::lsm::{Convert, WriteBatch};
use rama_storage::{ConvertRecord, Op};
use rama_wire::{LogId, SpaceId};

use crate::depot::{DepotAppend, append_entry};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::message::Records;
use crate::system_keys;
use crate::task_thread::Thread;

const HEAD_BYTES: usize = 8;

/// A prepared transaction of a task.
#[derive(Clone, Copy)]
pub(super) struct Transaction {
    pub(super) task: u32,
    pub(super) slot: u16,
    pub(super) txn: u64,
}

/// The writes of an attempt, with its appends in front.
pub(super) fn put(
    layout: &Layout,
    slot: u16,
    appends: &[(u16, Records)],
    writes: WriteBatch,
) -> WriteBatch {
    if appends.is_empty() {
        return writes;
    }
    let log = |depot: u16| layout.depots[usize::from(depot)].log;
    let appends = appends
        .iter()
        .map(|(depot, records)| (log(*depot), records));
    let mut batch = WriteBatch::new();
    batch.put(
        SpaceId::SYSTEM,
        &system_keys::outbox(slot),
        &encode(appends),
    );
    batch.append(&writes);
    batch
}

/// Commits a transaction: its writes and its appends become visible with one entry.
pub(super) fn commit<E: Env>(
    thread: &Thread<E>,
    Transaction { task, slot, txn }: Transaction,
) -> Result<rama_wire::Index> {
    let commit = Op::Commit {
        partition: task,
        slot,
        txn,
    };
    let key = system_keys::outbox(slot);
    let Some(bytes) = thread.prepared_first((task, slot, txn), SpaceId::SYSTEM, &key) else {
        return append_entry(thread, &[], [commit]);
    };
    let found = decode(&bytes).map_err(|problem| {
        let text =
            format!("could not commit microbatch {txn} on task {task}: its appends {problem}");
        Error::new(ErrorKind::Corrupt, text)
    })?;
    let mut appends = Vec::with_capacity(found.len());
    for (log, records) in &found {
        let depots = &thread.layout.depots;
        // The catalog never forgets a depot, so that what was declared when it prepared is still.
        let Some(depot) = depots.iter().position(|depot| depot.log == *log) else {
            tracing::error!(task, txn, %log, "a microbatch appended to a depot that is gone");
            continue;
        };
        appends.push(DepotAppend {
            task,
            depot: depot as u16,
            records,
        });
    }
    let mut batch = WriteBatch::new();
    batch.delete(SpaceId::SYSTEM, &key);
    let partition = task;
    append_entry(thread, &appends, [commit, Op::Write { partition, batch }])
}

/// What was prepared before a migration of a depot is appended behind it.
pub(crate) fn converted(of: LogId, change: ConvertRecord) -> Convert {
    Arc::new(move |key, value| {
        if !system_keys::is_outbox(key) {
            return Ok(None);
        }
        let mut appends = decode(value)?;
        for (_, records) in appends.iter_mut().filter(|(log, _)| *log == of) {
            let mut present = Records::default();
            for record in records.slices() {
                if let Some(record) = change(record)? {
                    present.push_with(|bytes| bytes.extend_from_slice(&record));
                }
            }
            *records = present;
        }
        appends.retain(|(_, records)| records.len() > 0);
        let appends = appends.iter().map(|(log, records)| (*log, records));
        Ok(Some(encode(appends)))
    })
}

fn encode<'a>(appends: impl Iterator<Item = (LogId, &'a Records)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (log, records) in appends {
        out.extend_from_slice(&log.0.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(records.len() as u32).to_le_bytes());
        for end in records.ends() {
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.extend_from_slice(records.bytes());
    }
    out
}

fn decode(mut bytes: &[u8]) -> Result<Vec<(LogId, Records)>, &'static str> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = split(bytes, HEAD_BYTES)?;
        let log = LogId(u16::from_le_bytes([head[0], head[1]]));
        let count = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (ends, rest) = split(rest, count.checked_mul(4).ok_or(ENDS)?)?;
        let (ends, _) = ends.as_chunks::<4>();
        let ends: Vec<u32> = ends.iter().map(|end| u32::from_le_bytes(*end)).collect();
        if !ends.is_sorted() {
            return Err("are not in order");
        }
        let (records, rest) = split(rest, ends.last().map_or(0, |end| *end as usize))?;
        found.push((log, Records::from_parts(records.to_vec(), ends)));
        bytes = rest;
    }
    Ok(found)
}

const ENDS: &str = "end too early";

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), &'static str> {
    bytes.split_at_checked(at).ok_or(ENDS)
}

#[cfg(test)]
mod tests;
