//! The store of one partition: what its owner calls.
//!
//! Relies on `levels` for everything beneath the active memtable. What must stay true: one owner
//! thread, no waiting in reads and in `apply`; no borrow of the state is held across an await;
//! indexes are applied in ascending order, and those at or below `persisted` are ignored, so that
//! a replay may begin anywhere before.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_util::lock::Mutex;
use rama_io::Env;
use rama_wire::{Index, SpaceId};

use crate::lsm::batch::{Batch, WriteBatch};
use crate::lsm::error::Error;
use crate::lsm::levels::{Levels, Span};
use crate::lsm::manifest::Manifest;
use crate::lsm::memtable::Memtable;
use crate::lsm::migration::Steps;
use crate::lsm::read::{Order, Read, Visit};
use crate::lsm::rewrite::Rewriting;
use crate::lsm::run::Run;
use crate::lsm::snapshot::Snapshot;
use crate::lsm::table::Table;

/// A memtable smaller than this is melted back into an older one that no snapshot holds any more.
const MELT_BYTES_MAX: usize = 1 << 20;

/// Whose store it is; written into every file and checked when one is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u128,
    /// The partition: one task of one module.
    pub partition: u32,
}

/// Sizes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// A memtable of this size is frozen and due to be flushed to a table.
    pub memtable_bytes: usize,
    /// A table of this size is complete, the next entry begins another one. At most 64 MiB.
    pub table_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            memtable_bytes: 32 << 20,
            table_bytes: 64 << 20,
        }
    }
}

/// A durable ordered map per space, with one writer: the thread that owns it. Clones share it.
///
/// # Durability
/// The store itself makes nothing durable at once: what is applied lives in the replog until a
/// flush has put it into a table. After a restart the caller applies again everything after
/// [`Store::persisted`].
pub struct Store<E: Env> {
    pub(crate) inner: Rc<Inner<E>>,
}

impl<E: Env> Clone for Store<E> {
    fn clone(&self) -> Store<E> {
        Store {
            inner: self.inner.clone(),
        }
    }
}

pub(crate) struct Inner<E: Env> {
    pub env: E,
    pub dir: PathBuf,
    pub identity: Identity,
    pub options: StoreOptions,
    pub state: RefCell<State>,
    /// What the next manifest will say, held during a switch.
    pub manifest: Mutex<Manifest>,
    pub flushing: Mutex<()>,
    pub compacting: Mutex<()>,
    /// Every migration that the code declares.
    pub steps: RefCell<Rc<Steps>>,
    pub rewriting: RefCell<Rewriting>,
    next_table: Cell<u64>,
    poisoned: Cell<bool>,
}

/// What changes.
pub(crate) struct State {
    pub active: Memtable,
    pub levels: Rc<Levels>,
    /// Everything up to here is in tables.
    pub persisted: Index,
}

impl<E: Env> Store<E> {
    /// Opens the store in `dir`, or makes an empty one there.
    ///
    /// # Errors
    /// `Foreign` when the files belong to another identity, `Corrupt` and `Io` as they say.
    pub async fn open(
        env: &E,
        dir: &Path,
        identity: Identity,
        options: StoreOptions,
    ) -> Result<Store<E>, Error> {
        env.make_dir(dir)
            .await
            .map_err(Error::io("create the directory", dir))?;
        let manifest = Manifest::open(env, dir, identity).await?;
        let mut runs = Vec::with_capacity(manifest.runs.len());
        for ids in &manifest.runs {
            let mut tables = Vec::with_capacity(ids.len());
            for id in ids {
                tables.push(Rc::new(Table::open(env, dir, *id, identity).await?));
            }
            runs.push(Rc::new(Run::new(tables)));
        }
        let state = State {
            active: Memtable::default(),
            levels: Rc::new(Levels {
                frozen: Vec::new(),
                runs,
                steps: None,
            }),
            persisted: Index(manifest.persisted),
        };
        let inner = Inner {
            env: env.clone(),
            dir: dir.to_path_buf(),
            identity,
            options,
            state: RefCell::new(state),
            steps: RefCell::default(),
            rewriting: RefCell::default(),
            next_table: Cell::new(manifest.next_table),
            manifest: Mutex::new(manifest),
            flushing: Mutex::new(()),
            compacting: Mutex::new(()),
            poisoned: Cell::new(false),
        };
        Ok(Store {
            inner: Rc::new(inner),
        })
    }

    /// Every write up to this index is in tables; a restart must replay what follows.
    pub fn persisted(&self) -> Index {
        self.inner.state.borrow().persisted
    }

    /// The lowest index with writes that are only in memory; `None` when all are in tables. The
    /// replog must keep everything from here on.
    pub fn unflushed(&self) -> Option<Index> {
        let state = self.inner.state.borrow();
        let oldest = state
            .levels
            .frozen
            .first()
            .map_or(&state.active, Rc::as_ref);
        oldest.span.map(|(first, _)| first)
    }

    /// Takes over the writes of the entry at `index`. Entries come in ascending order; all writes
    /// of one entry are applied without waiting in between. An index at or below
    /// [`Store::persisted`] is ignored: its writes are in tables already.
    pub fn apply(&self, batch: &WriteBatch, index: Index) {
        self.apply_ops(batch.ops(), index);
    }

    /// The same from a checked batch in borrowed bytes.
    pub fn apply_ops(&self, batch: Batch<'_>, index: Index) {
        let mut state = self.inner.state.borrow_mut();
        if index <= state.persisted {
            return;
        }
        let last = state.active.span.map(|(_, last)| last);
        if state.active.layer.bytes() >= self.inner.options.memtable_bytes && last < Some(index) {
            state.freeze();
        } else if state.active.layer.bytes() < MELT_BYTES_MAX {
            state.melt(self.inner.options.memtable_bytes);
        }
        state.active.apply(batch, index);
    }

    /// The state of this moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.inner.state.borrow_mut();
        state.freeze();
        Snapshot {
            levels: state.levels.clone(),
        }
    }

    /// Memory held by writes that are not in tables yet.
    pub fn memory_bytes(&self) -> usize {
        let state = self.inner.state.borrow();
        let frozen = state
            .levels
            .frozen
            .iter()
            .map(|memtable| memtable.layer.bytes());
        state.active.layer.bytes() + frozen.sum::<usize>()
    }
}

impl<E: Env> Inner<E> {
    /// The next table gets this id or a larger one.
    pub fn tables_from(&self) -> u64 {
        self.next_table.get()
    }

    /// A fresh id. Ids of failed attempts are skipped, never used again.
    pub fn next_table(&self) -> u64 {
        self.next_table.replace(self.next_table.get() + 1)
    }

    pub fn check_poison(&self) -> Result<(), Error> {
        if self.poisoned.get() {
            return Err(Error::Poisoned {
                path: self.dir.clone(),
            });
        }
        Ok(())
    }

    /// After a failed write nobody knows what the disk holds: no later success may build on it.
    pub fn poison_on_io<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Io { .. }) = &result {
            self.poisoned.set(true);
        }
        result
    }

    /// Changes the layers: durably in the manifest first, then in memory.
    pub async fn switch(
        &self,
        persisted: Option<Index>,
        edit: impl FnOnce(&mut Levels),
    ) -> Result<(), Error> {
        let mut manifest = self.manifest.lock().await;
        self.check_poison()?;
        // Only this function changes runs, under the lock; memtables may be added meanwhile, so
        // the edit is tried on a copy first and done on the real thing at the end.
        let mut levels = Levels::clone(&self.state.borrow().levels);
        let frozen_before = levels.frozen.len();
        edit(&mut levels);
        let frozen_gone = frozen_before - levels.frozen.len();
        let ids = |run: &Rc<Run>| run.tables().iter().map(|table| table.id).collect();
        let next = Manifest {
            generation: manifest.generation + 1,
            persisted: persisted.map_or(manifest.persisted, |index| index.0),
            next_table: self.next_table.get(),
            runs: levels.runs.iter().map(ids).collect(),
            marks: manifest.marks.clone(),
            log_marks: manifest.log_marks.clone(),
        };
        self.poison_on_io(next.switch(&self.env, &self.dir, self.identity).await)?;
        *manifest = next;
        let mut state = self.state.borrow_mut();
        state.persisted = Index(manifest.persisted);
        let current = Rc::make_mut(&mut state.levels);
        current.frozen.drain(..frozen_gone);
        current.steps = self.pending(&levels.runs);
        current.runs = levels.runs;
        Ok(())
    }
}

impl State {
    /// Puts the active memtable beneath an empty one.
    pub fn freeze(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let next = Memtable::like(&self.active);
        let frozen = std::mem::replace(&mut self.active, next);
        Rc::make_mut(&mut self.levels).frozen.push(Rc::new(frozen));
    }

    /// Undoes freezes that snapshots caused: when nobody holds the youngest frozen memtable any
    /// more, the active one is melted into it. Without this, frequent snapshots would leave a
    /// tail of tiny layers that every read has to pass.
    fn melt(&mut self, memtable_bytes: usize) {
        let Some(levels) = Rc::get_mut(&mut self.levels) else {
            return;
        };
        let Some(youngest) = levels.frozen.last_mut() else {
            return;
        };
        let Some(memtable) = Rc::get_mut(youngest) else {
            return;
        };
        if memtable.layer.bytes() + self.active.layer.bytes() >= memtable_bytes {
            return;
        }
        let mut memtable = std::mem::take(memtable);
        levels.frozen.pop();
        if let Some((first, last)) = self.active.span {
            let batch = self.active.layer.to_batch();
            memtable.apply(batch.ops(), first);
            memtable.span = memtable.span.map(|(first, _)| (first, last));
        }
        self.active = memtable;
    }
}

impl<E: Env> Read for Store<E> {
    #[inline]
    fn get(
        &self,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), Error> {
        let state = self.inner.state.borrow();
        state.levels.get(Some(&state.active), space, key, with)
    }

    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let state = self.inner.state.borrow();
        state
            .levels
            .scan(Some(&state.active), Span { space, lo, hi }, order, visit)
    }
}
