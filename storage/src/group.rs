//! A task group's storage: one replog, and for each partition its depot logs and its store.
//!
//! Relies on the `Env` seam, `replog` for bytes and `lsm` for stores. One owner thread, no locks.
//! Entries are appended to memory, written in batches by the writer loop, and applied when the
//! engine says they are committed. What must stay true: no entry is called durable before a device
//! write that holds it is flushed; after the first failed write or flush nothing is called durable
//! again; the borrow of the state is never held across an `.await` or a call-back.
//!
//! Reading order: `state` (what is known), `append`, `batch`, `writer` and `spare` (from append to
//! durable), `partition` (reading), `records` (those whose type changed), `background` and `seal` (house-keeping), `recovery` (opening).

mod append;
mod background;
pub(crate) mod batch;
mod partition;
mod records;
mod recovery;
mod seal;
mod signal;
mod spare;
mod state;
mod writer;

use std::cell::RefCell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::lock::Mutex;
use rama_io::Env;
use rama_wire::{Index, LogId, SpaceId};

use crate::entry::{Entry, Op, Prepared};
use crate::error::{Error, Result};
use crate::lsm;
use crate::lsm::WriteBatch;
use crate::options::{GroupOptions, Identity};
use signal::{Loop, Signal};
use spare::Spare;
use state::State;

pub use partition::{LogRecord, Partition};
pub use records::{ConvertRecord, RecordMigration, RecordProgress};

/// The storage of one task group. Clones are the same group; it lives on one executor.
///
/// # Durability
/// An entry survives a power cut from the moment [`Group::wait_durable`] succeeds. Entries that
/// were appended later may survive too; what survives is always a prefix.
///
/// # Errors
/// After the first failed write or flush every call answers [`Error::Poisoned`]: the state of the
/// disk is unknown. Drop the group and open it again; opening reads what is really there.
pub struct Group<E: Env> {
    shared: Rc<Shared<E>>,
}

impl<E: Env> Clone for Group<E> {
    fn clone(&self) -> Group<E> {
        let shared = self.shared.clone();
        Group { shared }
    }
}

/// What the loops and the handles of a group have in common.
pub(crate) struct Shared<E: Env> {
    pub env: E,
    pub dir: PathBuf,
    pub identity: Identity,
    pub options: GroupOptions,
    pub state: RefCell<State<E>>,
    pub write_loop: Loop,
    pub tidy_loop: Loop,
    pub compact_loop: Loop,
    pub rewrite_loop: Loop,
    pub spare_loop: Loop,
    /// Raised when memory may have become free.
    pub room: Signal,
    /// The file of the next segment, when it was made ahead.
    pub spare: Mutex<Option<Spare<E>>>,
    /// House-keeping happens one round at a time.
    pub tidying: Mutex<()>,
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last entry: everything that was durable, and perhaps more.
    pub last_index: Index,
    /// Transactions that are prepared and not decided. Commit or abort each.
    pub prepared: Vec<Prepared>,
    /// Entries read back and applied because no table had their writes.
    pub replayed: u64,
    /// Bytes of a torn last write that were cut off.
    pub cut_bytes: u64,
}

/// Counters since opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries that became durable.
    pub entries: u64,
    /// Device writes of entries.
    pub writes: u64,
    /// Bytes of these writes, padding included.
    pub entry_bytes: u64,
    /// Bytes of segment headers and footers.
    pub segment_bytes: u64,
    /// Bytes of zeros written ahead by an idle writer.
    pub fill_bytes: u64,
    /// Segments sealed.
    pub sealed: u64,
    /// Segments removed.
    pub removed: u64,
    /// Times the writer waited until memory was free.
    pub waits_for_room: u64,
    /// Entry bytes applied since the background loop last looked.
    pub(crate) applied_bytes: u64,
}

impl<E: Env> Group<E> {
    /// Opens the storage in `dir`, or makes it. Starts the writer loop in
    /// [`rama_io::Category::Replication`] and the house-keeping in
    /// [`rama_io::Category::Background`].
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the directory is somebody else's; [`Error::Corrupt`] when bytes
    /// that were durable have changed; [`Error::Io`] when the disk fails.
    pub async fn open(
        env: &E,
        dir: &Path,
        identity: Identity,
        partitions: &[u32],
        options: GroupOptions,
    ) -> Result<(Group<E>, Recovered)> {
        let (shared, recovered) = recovery::open(env, dir, identity, partitions, options).await?;
        Ok((Group { shared }, recovered))
    }

    /// The last entry appended.
    pub fn appended(&self) -> Index {
        self.shared.state.borrow().appended
    }

    /// The last entry that survives a power cut.
    pub fn durable(&self) -> Index {
        self.shared.state.borrow().durable
    }

    /// The last entry applied.
    pub fn applied(&self) -> Index {
        self.shared.state.borrow().applied
    }

    /// Completes when `index` is durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when it never will be.
    pub fn wait_durable(&self, index: Index) -> WaitDurable<E> {
        let shared = self.shared.clone();
        WaitDurable { shared, index }
    }

    /// Applies every entry up to `index`, in order: appended records become readable, writes
    /// reach the stores, transactions move on.
    ///
    /// # Errors
    /// [`Error::NotDurable`]; [`Error::Poisoned`] and, from stores, [`Error::Store`].
    pub fn apply(&self, index: Index) -> Result<()> {
        self.apply_before(index, &mut |_, _| {})
    }

    /// The same; `witness` is shown the writes to each partition, in the order of the log, right
    /// before they reach its store: it may read stores, which have everything before these writes
    /// and nothing of them, and must not use the group.
    ///
    /// # Errors
    /// As [`Group::apply`].
    pub fn apply_before(
        &self,
        index: Index,
        witness: &mut dyn FnMut(u32, &WriteBatch),
    ) -> Result<()> {
        let mut state = self.shared.state.borrow_mut();
        if let Some(poison) = &state.poison {
            return Err(poison.clone());
        }
        if index > state.durable {
            let durable = state.durable;
            return Err(Error::NotDurable { index, durable });
        }
        while state.applied < index {
            if let Err(error) = state.apply_next(witness) {
                drop(state);
                return Err(self.shared.poison(&error));
            }
        }
        if state.stats.applied_bytes >= background::LOOK_BYTES || state.full {
            state.stats.applied_bytes = 0;
            self.shared.tidy_loop.wake.notify();
        }
        Ok(())
    }

    /// A handle to a partition of this group.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    pub fn partition(&self, id: u32) -> Result<Partition<E>> {
        let store = self.shared.state.borrow().store(id)?.clone();
        Ok(Partition::new(self.shared.clone(), id, store))
    }

    /// Gives up the records of a log before an offset; the change is an entry like any other.
    ///
    /// # Errors
    /// As [`Group::append`].
    pub fn trim_log(&self, partition: u32, log: LogId, before: u64) -> Result<Index> {
        let op = Op::Trim {
            partition,
            log,
            before,
        };
        Ok(self.append(Entry::new().with(op))?.index)
    }

    /// The value that a transaction which is prepared and not decided – partition, slot, number –
    /// puts under a key, if that is its first write: what an engine has to know to commit it.
    pub fn prepared_first(
        &self,
        of: (u32, u16, u64),
        space: SpaceId,
        key: &[u8],
    ) -> Option<Vec<u8>> {
        let state = self.shared.state.borrow();
        match state.prepared.get(&of)?.batch.ops().next()? {
            lsm::Op::Put {
                space: found,
                key: at,
                value,
            } if (found, at) == (space, key) => Some(value.to_vec()),
            _ => None,
        }
    }

    /// Writes what is applied to tables, seals what is complete and removes what is not needed.
    /// The background loop does the same in its own time.
    ///
    /// # Errors
    /// As every call; a failure here does not poison the replog unless it concerns its files.
    pub async fn checkpoint(&self) -> Result<()> {
        background::tidy(&self.shared, background::Flush::All).await?;
        background::compact_stores(&self.shared).await
    }

    /// Counters since opening.
    pub fn stats(&self) -> Stats {
        self.shared.state.borrow().stats
    }

    /// Where the group lives.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Waits until everything appended is durable, then stops the loops. The directory may be
    /// opened again when this returns.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; the loops are stopped all the same.
    pub async fn close(self) -> Result<()> {
        self.shared.state.borrow_mut().closing = true;
        self.shared.room.notify();
        self.shared.write_loop.end().await;
        self.shared.spare_loop.end().await;
        self.shared.tidy_loop.end().await;
        self.shared.compact_loop.end().await;
        background::halt_rewriting(&self.shared);
        self.shared.rewrite_loop.end().await;
        match &self.shared.state.borrow().poison {
            Some(poison) => Err(poison.clone()),
            None => Ok(()),
        }
    }
}

impl<E: Env> Shared<E> {
    /// Stops the group for ever, the first time; wakes everybody; answers the sticky error.
    pub fn poison(&self, cause: &Error) -> Error {
        let mut state = self.state.borrow_mut();
        if state.poison.is_none() {
            let (dir, text) = (self.dir.clone(), cause.chain());
            tracing::error!(dir = %dir.display(), cause = %text, "replog poisoned");
            state.poison = Some(match cause {
                Error::Poisoned { .. } => cause.clone(),
                _ => Error::Poisoned {
                    dir,
                    cause: text.into(),
                },
            });
        }
        let poison = state.poison.clone().expect("it was just set");
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        self.room.notify();
        waiters
            .into_values()
            .flatten()
            .for_each(|waker| waker.wake());
        poison
    }
}

/// Waits for an entry to be durable. Made by [`Group::wait_durable`].
#[must_use = "an entry is durable only when this completes"]
pub struct WaitDurable<E: Env> {
    shared: Rc<Shared<E>>,
    index: Index,
}

impl<E: Env> Future for WaitDurable<E> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.shared.state.borrow_mut();
        if state.durable >= self.index {
            return Poll::Ready(Ok(()));
        }
        if let Some(poison) = &state.poison {
            return Poll::Ready(Err(poison.clone()));
        }
        let waiters = state.waiters.entry(self.index).or_default();
        if !waiters.iter().any(|waker| waker.will_wake(ctx.waker())) {
            waiters.push(ctx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
