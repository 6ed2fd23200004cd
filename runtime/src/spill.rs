//! Moves rows that wait for the rest of their batch to disk when they take too much memory.
//!
//! Relies on `rama_storage`'s scratch files and on whoever drives the batch to call this between its
//! events. What must stay true: rows are in one place at a time, and rows that could not be written
//! are missed: the attempt or the invocation they belong to has failed then.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::LocalBoxFuture;
use rama_io::Env;
use rama_storage::lsm;
use rama_storage::lsm::scratch;

use crate::failure::EventFailure;
use crate::gather::{SlotIndex, Slots};
use crate::rows::{Disk, Packed};
use crate::task_thread::Thread;

impl<E: Env> Disk for scratch::Rows<E> {
    fn add(&self, rows: Packed) -> LocalBoxFuture<'_, Result<(), lsm::Error>> {
        Box::pin(self.add(rows))
    }

    fn scan(&self, lo: &[u8], visit: lsm::Visit<'_>) -> Result<(), lsm::Error> {
        self.scan(lo, visit)
    }
}

/// Moves rows out until no gathering of `slots` takes more memory than it may.
pub(crate) async fn lighten<E: Env>(
    thread: &Thread<E>,
    slots: &mut Slots,
) -> Result<(), EventFailure> {
    while let Some(index) = slots.heavy(thread.rows_budget()) {
        move_out(thread, slots, index).await?;
    }
    Ok(())
}

/// Moves the rest of a gathering's rows to where the others are: they are about to come out.
pub(crate) async fn settle<E: Env>(
    thread: &Thread<E>,
    slots: &mut Slots,
    index: SlotIndex,
) -> Result<(), EventFailure> {
    match slots.is_parted(index) {
        true => move_out(thread, slots, index).await,
        false => Ok(()),
    }
}

async fn move_out<E: Env>(
    thread: &Thread<E>,
    slots: &mut Slots,
    index: SlotIndex,
) -> Result<(), EventFailure> {
    let Some(rows) = slots.rows(index) else {
        return Ok(());
    };
    let disk = rows.disk().unwrap_or_else(|| {
        let disk: Rc<dyn Disk> = Rc::new(thread.scratch.rows());
        rows.lie_on(disk.clone());
        disk
    });
    let (metrics, index) = (thread.metrics.clone(), thread.index as usize);
    let counted = rows.pack().inspect(move |(key, value)| {
        let bytes = (key.len() + value.len()) as u64;
        let spilled = &metrics.threads[index].spilled_bytes;
        spilled.fetch_add(bytes, Relaxed);
    });
    let added = disk.add(Box::new(counted)).await;
    added.map_err(|error| EventFailure::Storage {
        attempted: "move rows of a batch to disk".to_owned(),
        cause: error.to_string(),
    })
}

/// Removes the files of rows that nobody waits for any more.
pub(crate) async fn sweep<E: Env>(thread: &Thread<E>) {
    if thread.scratch.is_littered()
        && let Err(error) = thread.scratch.sweep().await
    {
        tracing::warn!(%error, thread = thread.index, "could not remove rows of a batch");
    }
}

#[cfg(test)]
mod tests;
