//! How many bytes of records lie behind an offset: sums at some offsets, kept in the task's store.
//!
//! Relies on records never changing. Each round sums what came since the last, so that a record's
//! length is looked up about once, also over restarts; the first round after a limit was set sums
//! all there is. What must stay true: sums ascend with offsets.

use rama_io::Env;
use rama_storage::Op;
use rama_storage::lsm::{Order, Read, WriteBatch};
use rama_wire::{LogId, SpaceId};
use std::ops::ControlFlow;

use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::system_keys;
use crate::task_thread::Thread;

/// A limit is kept to within such a part of it.
const STEPS: u64 = 32;
/// Sums are never closer than this.
pub(super) const STEP_BYTES_MIN: u64 = 4096;
/// Records between two looks at what else there is to do.
const RECORDS: usize = 4096;

/// An offset, and the bytes of all records before it since the first sum.
type Sum = (u64, u64);

/// The first offset to keep so that about `least` bytes stay; `None` while there are at most `most`.
pub(super) async fn excess<E: Env>(
    thread: &Thread<E>,
    task: u32,
    log: LogId,
    (least, most): (u64, u64),
) -> Result<Option<u64>> {
    let partition = thread.local(task).partition.clone();
    let mut sums = load(thread, task, log)?;
    let start = partition.log_range(log).start;
    let known = sums.iter().rposition(|(offset, _)| *offset <= start);
    sums.drain(..known.unwrap_or(0));
    let stored = sums.len();
    if sums.is_empty() {
        sums.push((start, 0));
    }
    let step = (least / STEPS).max(STEP_BYTES_MIN);
    let (mut next, mut total) = sums[sums.len() - 1];
    next = next.max(start);
    loop {
        let end = partition.log_range(log).end;
        if next >= end {
            break;
        }
        partition.warm_log(log, next).await?;
        let last = sums[sums.len() - 1].1;
        let bytes_max = step.saturating_sub(total - last).max(1) as usize;
        let bytes_max = bytes_max.min(limits::DEPOT_READ_BYTES_MAX);
        partition.read_log(log, next, RECORDS, bytes_max, &mut |record| {
            next = record.offset + 1;
            total += record.bytes.len() as u64;
        })?;
        if total - last >= step {
            sums.push((next, total));
        }
        thread.env.yield_now().await;
    }
    store(thread, task, log, &sums[stored..])?;
    if total - sums[0].1 <= most {
        return Ok(None);
    }
    let keep = sums.iter().rev().find(|(_, sum)| total - sum >= least);
    Ok(keep.map(|(offset, _)| *offset))
}

/// Forgets the sums that are not needed once a log begins at `before`.
pub(super) fn forget(log: LogId, before: u64, batch: &mut WriteBatch) {
    let (first, last) = (
        system_keys::bytes_before(log, 0),
        system_keys::bytes_before(log, before),
    );
    batch.delete_range(SpaceId::SYSTEM, &first, &last);
}

fn load<E: Env>(thread: &Thread<E>, task: u32, log: LogId) -> Result<Vec<Sum>> {
    let (lo, hi) = system_keys::bytes_of(log);
    let mut sums = Vec::new();
    let store = thread.local(task).partition.store();
    store.scan(
        SpaceId::SYSTEM,
        &lo,
        Some(&hi),
        Order::Ascending,
        &mut |key, value| {
            let offset = key[key.len() - 8..].try_into().map(u64::from_be_bytes);
            sums.push(
                offset
                    .ok()
                    .zip(value.try_into().map(u64::from_le_bytes).ok()),
            );
            ControlFlow::Continue(())
        },
    )?;
    let sums: Option<Vec<Sum>> = sums.into_iter().collect();
    sums.filter(|sums| sums.is_sorted()).ok_or_else(|| {
        let text = format!("could not read how long the records of {log} on task {task} are");
        Error::new(ErrorKind::Corrupt, text)
    })
}

fn store<E: Env>(thread: &Thread<E>, task: u32, log: LogId, sums: &[Sum]) -> Result<()> {
    if sums.is_empty() {
        return Ok(());
    }
    let mut batch = WriteBatch::new();
    for (offset, sum) in sums {
        let key = system_keys::bytes_before(log, *offset);
        batch.put(SpaceId::SYSTEM, &key, &sum.to_le_bytes());
    }
    let partition = task;
    let entry = rama_storage::Entry::new().with(Op::Write { partition, batch });
    thread.try_append(entry).map(drop)
}
