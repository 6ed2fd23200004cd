//! House-keeping: stores to tables, complete segments to sealed ones, dead segments away.
//!
//! Relies on `lsm` for flush and compaction and on `seal`. Two loops in the background category, one
//! for merging tables and one for the rest; each step is small and gives way to other work. What
//! must stay true: no step waits for the writer, because the writer may wait for memory; a segment is
//! removed only when tables hold all its writes, no decision is open on what it prepared, and its
//! records are trimmed; segments go oldest first, and the newest sealed one stays, because its footer
//! carries the bounds of all logs.

use std::rc::Rc;

use rama_io::Env;

use super::{Shared, seal};
use crate::error::{Error, Result};
use crate::lsm::{self, Store};

/// Applied bytes after which the loop looks whether there is work.
pub(super) const LOOK_BYTES: u64 = 1 << 20;

/// Which stores are flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Those with a large memtable, and those that hold too much of the replog back.
    Large,
    /// Every one.
    All,
}

/// Works when there is work, until the group closes or is poisoned.
pub(super) async fn run<E: Env>(shared: Rc<Shared<E>>) {
    loop {
        shared.tidy_loop.wake.wait().await;
        if is_over(&shared) {
            break;
        }
        report(&shared, tidy(&shared, Flush::Large).await);
        shared.room.notify();
    }
    shared.tidy_loop.done.notify();
}

/// Merges tables beside everything else: a long merge must not keep memtables from being flushed.
pub(super) async fn run_compaction<E: Env>(shared: Rc<Shared<E>>) {
    loop {
        shared.compact_loop.wake.wait().await;
        if is_over(&shared) {
            break;
        }
        report(&shared, compact_stores(&shared).await);
    }
    shared.compact_loop.done.notify();
}

/// Writes tables with old values again, one at a time over all stores.
pub(super) async fn run_rewriting<E: Env>(shared: Rc<Shared<E>>) {
    loop {
        shared.rewrite_loop.wake.wait().await;
        if is_over(&shared) {
            break;
        }
        report(&shared, rewrite_stores(&shared).await);
    }
    shared.rewrite_loop.done.notify();
}

/// A rewriting under way ends at its next rest.
pub(super) fn halt_rewriting<E: Env>(shared: &Shared<E>) {
    for store in stores(shared) {
        store.halt_rewriting();
    }
}

/// One table after the other. What cannot be converted stays, and does not keep the rest waiting.
async fn rewrite_stores<E: Env>(shared: &Shared<E>) -> Result<()> {
    for store in stores(shared) {
        while !is_over(shared) {
            match store.rewrite().await {
                Ok(true) => shared.env.yield_now().await,
                Ok(false) | Err(lsm::Error::Stopped { .. }) => break,
                Err(error @ lsm::Error::Migration { .. }) => report(shared, Err(error.into())),
                Err(error) => return Err(on_store_failure(shared, error)),
            }
        }
    }
    Ok(())
}

fn is_over<E: Env>(shared: &Shared<E>) -> bool {
    let state = shared.state.borrow();
    state.closing || state.poison.is_some()
}

/// A poisoned group has said so already.
fn report<E: Env>(shared: &Shared<E>, done: Result<()>) {
    if let Err(error) = done
        && !matches!(error, Error::Poisoned { .. })
    {
        let dir = shared.dir.display();
        tracing::error!(%dir, error = %error.chain(), "house-keeping failed");
    }
}

/// One round of sealing, flushing and removing.
pub(super) async fn tidy<E: Env>(shared: &Rc<Shared<E>>, flush: Flush) -> Result<()> {
    let _turn = shared.tidying.lock().await;
    if let Some(poison) = &shared.state.borrow().poison {
        return Err(poison.clone());
    }
    loop {
        let sealable = shared.state.borrow().sealable();
        let Some(id) = sealable else { break };
        seal::seal(shared, id).await?;
        shared.room.notify();
    }
    flush_stores(shared, flush).await?;
    make_room(shared).await?;
    remove_segments(shared).await
}

fn stores<E: Env>(shared: &Shared<E>) -> Vec<Store<E>> {
    shared.state.borrow().stores.values().cloned().collect()
}

async fn flush_stores<E: Env>(shared: &Rc<Shared<E>>, flush: Flush) -> Result<()> {
    let late = flush == Flush::All || holds_back_too_much(shared);
    for store in stores(shared) {
        if late || store.needs_flush() {
            flush_store(shared, &store).await?;
        }
    }
    Ok(())
}

/// Flushes the largest store while all together take more than half of the memory there is.
pub(super) async fn make_room<E: Env>(shared: &Shared<E>) -> Result<()> {
    let most = shared.options.memory_bytes_max / 2;
    loop {
        let crowding = shared.state.borrow().crowding(most);
        let Some(store) = crowding else { return Ok(()) };
        flush_store(shared, &store).await?;
    }
}

/// A store that cannot be flushed would hold back the replog, and a writer that waits for room, for
/// ever: whatever the reason, it ends the group.
async fn flush_store<E: Env>(shared: &Shared<E>, store: &Store<E>) -> Result<()> {
    let flushed = store.flush().await;
    flushed.map_err(|error| shared.poison(&error.into()))?;
    shared.room.notify();
    shared.compact_loop.wake.notify();
    shared.env.yield_now().await;
    Ok(())
}

/// Merges while a merge is due; new flushes may come first.
pub(super) async fn compact_stores<E: Env>(shared: &Shared<E>) -> Result<()> {
    for store in stores(shared) {
        let compacted = store.compact().await;
        if compacted.map_err(|error| on_store_failure(shared, error))? {
            shared.compact_loop.wake.notify();
        }
    }
    Ok(())
}

/// A store whose files cannot be written any more ends the group.
fn on_store_failure<E: Env>(shared: &Shared<E>, error: lsm::Error) -> Error {
    match error {
        lsm::Error::Io { .. } | lsm::Error::Poisoned { .. } => shared.poison(&error.into()),
        other => other.into(),
    }
}

/// Whether opening would have to read too many bytes again.
fn holds_back_too_much<E: Env>(shared: &Shared<E>) -> bool {
    let state = shared.state.borrow();
    let waiting = state.segments.values().filter(|segment| {
        let mut stores = segment.stores.iter();
        stores.any(|(partition, index)| {
            let store = state.stores.get(partition);
            store.is_some_and(|store| store.persisted() < *index)
        })
    });
    let bytes: u64 = waiting
        .map(|segment| u64::from(segment.chain.entries_end))
        .sum();
    bytes > shared.options.replay_bytes_max
}

/// Removes dead segments, each durably before the next, so that none is ever missing in between.
async fn remove_segments<E: Env>(shared: &Rc<Shared<E>>) -> Result<()> {
    loop {
        let removable = {
            let state = shared.state.borrow();
            let id = state.removable();
            id.map(|id| (id, state.path_of(id), state.log_dir.clone()))
        };
        let Some((id, path, log_dir)) = removable else {
            return Ok(());
        };
        let gone = shared.env.remove(&path).await;
        gone.map_err(|error| shared.poison(&Error::io("remove", &path, error)))?;
        let synced = shared.env.sync_dir(&log_dir).await;
        synced.map_err(|error| shared.poison(&Error::io("sync", &log_dir, error)))?;
        let mut state = shared.state.borrow_mut();
        state.forget(id);
        state.stats.removed += 1;
    }
}
