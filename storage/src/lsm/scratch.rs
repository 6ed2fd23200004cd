//! Rows that wait on disk because there are too many of them for memory: sorted runs, merged when
//! they are read.
//!
//! Relies on `table`, `run` and `merge`, which are those of stores. What must stay true: nothing here
//! outlives its process, so files are not flushed and no manifest names them, and what a process left
//! behind is removed when its directory is opened next; keys are unique over all runs of the same
//! rows; bytes are not answered before their checksum held.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rama_io::Env;
use rama_wire::SpaceId;

use crate::lsm::batch::KEY_BYTES_MAX;
use crate::lsm::error::Error;
use crate::lsm::merge::{Merge, Walk};
use crate::lsm::read::{Order, Visit};
use crate::lsm::run::Run;
use crate::lsm::store::Identity;
use crate::lsm::table::{Builder, Table, table_path};

/// The directory of a group's scratch files, below that of the group.
pub const DIR: &str = "scratch";

/// Files here belong to nobody who could be mistaken for another.
const NOBODY: Identity = Identity {
    cluster: 0,
    partition: 0,
};
/// All rows lie in one space.
const SPACE: SpaceId = SpaceId(0);
/// So many runs of one size become one of the next, so that a read never merges very many: of rows
/// of 256 times the memory they may take, 31.
const FAN_IN: usize = 16;
/// A table of this size is complete.
const TABLE_BYTES: usize = 64 << 20;
/// Entries handled between two turns of other work.
const ENTRIES_PER_TURN: usize = 512;

/// A directory for rows. Clones share it.
pub struct Scratch<E: Env>(Rc<Inner<E>>);

struct Inner<E: Env> {
    env: E,
    dir: PathBuf,
    made: Cell<bool>,
    next_table: Cell<u64>,
    /// Tables that nobody reads any more.
    litter: RefCell<Vec<u64>>,
}

impl<E: Env> Clone for Scratch<E> {
    fn clone(&self) -> Scratch<E> {
        Scratch(self.0.clone())
    }
}

impl<E: Env> Scratch<E> {
    /// A place for rows in `dir`, which is made when there are any. Removes what an earlier process
    /// left there.
    ///
    /// # Errors
    /// `Io` when what is there cannot be listed or removed.
    pub async fn open(env: &E, dir: &Path) -> Result<Scratch<E>, Error> {
        let names = match env.list(dir).await {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("list", dir)(error)),
        };
        for name in names {
            let path = dir.join(name);
            let removed = env.remove(&path).await;
            removed.map_err(Error::io("remove", &path))?;
        }
        Ok(Scratch(Rc::new(Inner {
            env: env.clone(),
            dir: dir.to_path_buf(),
            made: Cell::new(false),
            next_table: Cell::new(0),
            litter: RefCell::default(),
        })))
    }

    /// No rows yet.
    pub fn rows(&self) -> Rows<E> {
        Rows {
            scratch: self.clone(),
            sizes: RefCell::default(),
        }
    }

    /// Whether rows were dropped whose files are still there.
    pub fn is_littered(&self) -> bool {
        !self.0.litter.borrow().is_empty()
    }

    /// Removes the files of rows that were dropped.
    ///
    /// # Errors
    /// `Io` when one cannot be removed; the next opening tries again.
    pub async fn sweep(&self) -> Result<(), Error> {
        let litter = self.0.litter.take();
        for id in litter {
            let path = table_path(&self.0.dir, id);
            match self.0.env.remove(&path).await {
                // One that could not be made.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(Error::io("remove", &path))?,
            }
        }
        Ok(())
    }

    async fn make_dir(&self) -> Result<(), Error> {
        if !self.0.made.get() {
            let made = self.0.env.make_dir(&self.0.dir).await;
            made.map_err(Error::io("create the directory", &self.0.dir))?;
            self.0.made.set(true);
        }
        Ok(())
    }
}

/// Rows by key. Dropping them leaves their files to [`Scratch::sweep`].
pub struct Rows<E: Env> {
    scratch: Scratch<E>,
    /// Runs by size: those of one place are [`FAN_IN`] times as large as those of the place before.
    sizes: RefCell<Vec<Vec<Run>>>,
}

impl<E: Env> Rows<E> {
    /// Adds rows whose keys ascend, none of which was added before.
    ///
    /// # Errors
    /// `Io` when the disk failed, or a key is longer than a store's keys may be; the rows that were
    /// given are lost then, those added before are not.
    pub async fn add(&self, rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<(), Error> {
        self.scratch.make_dir().await?;
        let mut writer = Writer::new(&self.scratch);
        for (key, value) in rows {
            writer.add(&key, &value).await?;
        }
        let run = writer.finish().await?;
        self.take_in(run, 0);
        self.merge_small().await
    }

    fn take_in(&self, run: Run, size: usize) {
        let mut sizes = self.sizes.borrow_mut();
        if sizes.len() <= size {
            sizes.resize_with(size + 1, Vec::new);
        }
        sizes[size].push(run);
    }

    /// Makes one run of each size that has too many.
    async fn merge_small(&self) -> Result<(), Error> {
        for size in 0.. {
            let due = |runs: &Vec<Run>| runs.len() >= FAN_IN;
            if !self.sizes.borrow().get(size).is_some_and(due) {
                return Ok(());
            }
            let runs = std::mem::take(&mut self.sizes.borrow_mut()[size]);
            let merged = self.merged(&runs).await;
            self.drop_runs(&runs);
            self.take_in(merged?, size + 1);
        }
        Ok(())
    }

    async fn merged(&self, runs: &[Run]) -> Result<Run, Error> {
        let mut writer = Writer::new(&self.scratch);
        let mut merge = merge(runs, &[])?;
        while let Some((key, value)) = merge.next()? {
            writer.add(key, value.unwrap_or_default()).await?;
        }
        writer.finish().await
    }

    fn drop_runs(&self, runs: &[Run]) {
        let tables = runs.iter().flat_map(Run::tables).map(|table| table.id);
        self.scratch.0.litter.borrow_mut().extend(tables);
    }

    /// Visits the rows from the key `lo` on, in ascending order, until `visit` breaks.
    ///
    /// # Errors
    /// `Corrupt` when the bytes on disk fail their checksum.
    pub fn scan(&self, lo: &[u8], visit: Visit<'_>) -> Result<(), Error> {
        let sizes = self.sizes.borrow();
        let mut merge = merge(sizes.iter().flatten(), lo)?;
        while let Some((key, value)) = merge.next()? {
            if visit(key, value.unwrap_or_default()).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// How large the files are.
    pub fn file_bytes(&self) -> u64 {
        let sizes = self.sizes.borrow();
        sizes.iter().flatten().map(Run::file_bytes).sum()
    }
}

impl<E: Env> Drop for Rows<E> {
    fn drop(&mut self) {
        for runs in self.sizes.take() {
            self.drop_runs(&runs);
        }
    }
}

/// The rows of runs from a key on.
fn merge<'r>(runs: impl IntoIterator<Item = &'r Run>, lo: &[u8]) -> Result<Merge<'r>, Error> {
    let mut merge = Merge::new(Order::Ascending);
    for space in runs.into_iter().filter_map(|run| run.space(SPACE)) {
        merge.push(Walk::Run(space.cursor(lo, None)), None)?;
    }
    Ok(merge)
}

/// A run in the making.
struct Writer<'s, E: Env> {
    scratch: &'s Inner<E>,
    open: Option<Builder<E>>,
    tables: Vec<Rc<Table>>,
    /// The tables begun, until they belong to a run.
    begun: Vec<u64>,
    entries: usize,
}

impl<'s, E: Env> Writer<'s, E> {
    fn new(scratch: &'s Scratch<E>) -> Writer<'s, E> {
        Writer {
            scratch: &scratch.0,
            open: None,
            tables: Vec::new(),
            begun: Vec::new(),
            entries: 0,
        }
    }

    async fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.len() > KEY_BYTES_MAX {
            let text = format!("a key of {} bytes, at most {KEY_BYTES_MAX} fit", key.len());
            return Err(Error::io("add rows to", &self.scratch.dir)(
                io::Error::other(text),
            ));
        }
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.is_full(TABLE_BYTES))
        {
            self.seal().await?;
        }
        if self.open.is_none() {
            let id = self.scratch.next_table.get();
            self.scratch.next_table.set(id + 1);
            let (env, dir) = (&self.scratch.env, &self.scratch.dir);
            self.begun.push(id);
            let mut builder = Builder::passing(env, dir, id, NOBODY).await?;
            builder.open_space(SPACE, None);
            self.open = Some(builder);
        }
        let builder = self.open.as_mut().expect("made above when missing");
        builder.add(key, Some(value));
        if builder.is_heavy() {
            builder.write().await?;
        }
        self.entries += 1;
        if self.entries.is_multiple_of(ENTRIES_PER_TURN) {
            self.scratch.env.yield_now().await;
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<(), Error> {
        if let Some(open) = self.open.take() {
            self.tables.push(Rc::new(open.finish().await?));
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Run, Error> {
        self.seal().await?;
        self.begun.clear();
        Ok(Run::new(std::mem::take(&mut self.tables)))
    }
}

impl<E: Env> Drop for Writer<'_, E> {
    fn drop(&mut self) {
        self.scratch.litter.borrow_mut().append(&mut self.begun);
    }
}

#[cfg(test)]
mod tests;
