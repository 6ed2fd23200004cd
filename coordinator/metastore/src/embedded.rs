//! A metastore in one file of one process: for `rama dev`, tests, and a single node.
//!
//! Relies on `state` (what is kept), `log` (the file) and tokio (timers, blocking calls). A second
//! process is refused by a lock on `<file>.lock`. What must stay true: nothing is answered before
//! it is on disk; leases end with the process, so their keys are deleted when the file is opened
//! again; after a failed write nothing more is written.

mod log;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_stream::stream;
use tokio::sync::{Notify, watch};
use tokio::task::coop::consume_budget;
use tokio::task::spawn_blocking;

use crate::clock::Moment;
use crate::error::Error;
use crate::lease::{Lease, LeaseId, Shared};
use crate::limits::{LEASE_TTL_MAX, LEASE_TTL_MIN};
use crate::store::{Listing, Metastore, Versioned};
use crate::txn::{Txn, TxnOutcome, check_key};
use crate::watch::{Watch, WatchFrom};
use log::Log;
use state::{Change, Planned, State};

/// How many events a watch takes at a time.
const WATCH_BATCH: usize = 256;
/// How long a lock that another holds is waited for, between attempts.
const LOCK_WAITS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(75),
    Duration::ZERO,
];

/// The store. Clones are the same store; the last one closes the file.
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    core: Mutex<Core>,
    /// The revision, for watches.
    revision: watch::Sender<u64>,
    /// Deadlines have changed, or the store is closed.
    deadlines: Arc<Notify>,
}

struct Core {
    state: State,
    log: Log,
    leases: BTreeMap<LeaseId, Holding>,
    lease_last: i64,
    /// Keeps other processes out.
    _lock: File,
}

/// A lease in this process.
struct Holding {
    shared: Arc<Shared>,
    /// When it ends; set once nobody holds it.
    deadline: Option<Moment>,
}

impl Embedded {
    /// Opens the file, or makes it. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// Another process has it, it is corrupt, or the disk refuses.
    pub async fn open(path: impl AsRef<Path>) -> Result<Embedded, Error> {
        let path = path.as_ref().to_owned();
        let store = blocking(move || Embedded::open_now(&path)).await?;
        tokio::spawn(expire(Arc::downgrade(&store.0), store.0.deadlines.clone()));
        Ok(store)
    }

    fn open_now(path: &Path) -> Result<Embedded, Error> {
        let lock = lock(path)?;
        let mut state = State::new();
        let mut log = Log::open(path, &mut state)?;
        // Their holders were in a process that is gone.
        let orphans = state.leased_keys();
        if !orphans.is_empty() {
            let change = state.removal(orphans);
            log.append(&change)?;
            state.apply(change);
        }
        state.forget_history();
        let revision = watch::Sender::new(state.revision());
        let core = Core {
            state,
            log,
            leases: BTreeMap::new(),
            lease_last: 0,
            _lock: lock,
        };
        Ok(Embedded(Arc::new(Inner {
            core: Mutex::new(core),
            revision,
            deadlines: Arc::new(Notify::new()),
        })))
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |cause: &std::io::Error| Error::io(format!("lock {}", name.display()), cause);
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    let file = options.open(&name).map_err(|cause| failed(&cause))?;
    for wait in LOCK_WAITS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // The one that has it may be about to close it.
            Err(TryLockError::WouldBlock) => std::thread::sleep(wait),
            Err(TryLockError::Error(cause)) => return Err(failed(&cause)),
        }
    }
    Err(Error::Busy { path: path.into() })
}

async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Closed {
            attempt: "use the metastore".into(),
        }),
    }
}

impl Inner {
    fn core(&self) -> MutexGuard<'_, Core> {
        // A panic between two statements of `commit` leaves the log poisoned or nothing changed.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change durable, then visible, then known.
    fn commit(&self, core: &mut Core, change: Change) -> Result<u64, Error> {
        if change.is_empty() {
            return Ok(core.state.revision());
        }
        core.log.append(&change)?;
        core.state.apply(change);
        if core.log.wants_compaction() {
            core.log.compact(&core.state)?;
        }
        let revision = core.state.revision();
        self.revision.send_replace(revision);
        Ok(revision)
    }

    fn txn(&self, txn: &Txn) -> Result<TxnOutcome, Error> {
        txn.check()?;
        let core = &mut *self.core();
        match core.state.plan(txn)? {
            Planned::Refused(found) => Ok(TxnOutcome::Refused {
                revision: core.state.revision(),
                found,
            }),
            Planned::Change(change) => {
                let revision = self.commit(core, change)?;
                Ok(TxnOutcome::Done { revision })
            }
        }
    }

    fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let core = &mut *self.core();
        let Some(holding) = core.leases.remove(&lease) else {
            return Ok(());
        };
        // First: whoever sees the keys gone must not find the lease held.
        holding.shared.on_lost();
        let keys = core.state.end_lease(lease);
        let change = core.state.removal(keys);
        self.commit(core, change)?;
        Ok(())
    }

    fn released(&self, lease: LeaseId) {
        let core = &mut *self.core();
        if let Some(holding) = core.leases.get_mut(&lease) {
            holding.deadline = Some(Moment::now().after(holding.shared.ttl));
            self.deadlines.notify_one();
        }
    }

    /// Ends what is due; answers how long until the next is.
    fn expire(&self) -> Option<Duration> {
        let now = Moment::now();
        let due: Vec<LeaseId> = self
            .core()
            .leases
            .iter()
            .filter(|(_, holding)| holding.deadline.is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| *id)
            .collect();
        for lease in due {
            if let Err(error) = self.revoke(lease) {
                tracing::error!(%lease, %error, "keys of an expired lease stay");
            }
        }
        let core = self.core();
        let next = core.leases.values().filter_map(|holding| holding.deadline);
        next.min().map(Moment::left)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.deadlines.notify_one();
    }
}

/// Ends leases when their time has come, until the store is closed. Waits without keeping it open.
async fn expire(store: Weak<Inner>, deadlines: Arc<Notify>) {
    let mut next = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(next.unwrap_or(LEASE_TTL_MAX)) => {}
            () = deadlines.notified() => {}
        }
        let Some(inner) = store.upgrade() else { return };
        match blocking(move || Ok(inner.expire())).await {
            Ok(wait) => next = wait,
            Err(_) => return,
        }
    }
}

/// Dropped with the last handle of a lease.
struct Keeper {
    store: Weak<Inner>,
    lease: LeaseId,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(inner) = self.store.upgrade() {
            inner.released(self.lease);
        }
    }
}

impl Metastore for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        check_key(key)?;
        // Nothing here waits, so a loop of reads would keep other tasks from running.
        consume_budget().await;
        Ok(self.0.core().state.get(key))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        check_key(prefix)?;
        consume_budget().await;
        Ok(self.0.core().state.list(prefix))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        let inner = self.0.clone();
        blocking(move || inner.txn(&txn)).await
    }

    fn watch(&self, prefix: &str, from: WatchFrom) -> Watch {
        let prefix = prefix.to_owned();
        let store = Arc::downgrade(&self.0);
        let mut revision = self.0.revision.subscribe();
        // Revision 0 is always history that is forgotten.
        let mut position = match from {
            WatchFrom::Listing => 0,
            WatchFrom::Revision(revision) => revision.max(1),
        };
        Watch::new(stream! {
            while let Some(inner) = store.upgrade() {
                revision.mark_unchanged();
                let followed = inner.core().state.follow(&prefix, position, WATCH_BATCH);
                drop(inner);
                position = followed.next;
                for event in followed.events {
                    yield Ok(event);
                }
                if !followed.more && revision.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let ttl = ttl.clamp(LEASE_TTL_MIN, LEASE_TTL_MAX);
        let core = &mut *self.0.core();
        core.lease_last += 1;
        let id = LeaseId(core.lease_last);
        // Nothing can come between this process and its own store: held until it is revoked.
        let shared = Arc::new(Shared::new(id, ttl, Moment::NEVER));
        let keeper = Keeper {
            store: Arc::downgrade(&self.0),
            lease: id,
        };
        core.state.begin_lease(id);
        core.leases.insert(
            id,
            Holding {
                shared: shared.clone(),
                deadline: None,
            },
        );
        Ok(Lease::new(shared, keeper))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let inner = self.0.clone();
        blocking(move || inner.revoke(lease)).await
    }

    async fn compact(&self, revision: u64) -> Result<(), Error> {
        self.0.core().state.compact_history(revision)
    }
}

impl Debug for Embedded {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Embedded")
    }
}
