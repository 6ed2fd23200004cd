//! Writing tables with old values again, one at a time, so that a migration comes to its end.
//!
//! Relies on `migration` for what is old and on `run::Writer` for the tables. A table is replaced in
//! its own place of its own run, so that no layer changes its age. What must stay true: where a
//! migration begins is durable before anything is applied behind it; old tables go only when the
//! manifest without them is durable; merging and rewriting never replace the same table, because
//! both switch under one lock and the second to come finds its source gone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rama_io::Env;
use rama_wire::{Index, LogId, SpaceId};

use crate::lsm::batch::WriteBatch;
use crate::lsm::error::Error;
use crate::lsm::levels::Levels;
use crate::lsm::manifest::{LogMark, Manifest, Mark};
use crate::lsm::migration::{Effect, Migration, Migrations, Pace, Progress, SharedSteps, Steps};
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::run::{Run, Writer};
use crate::lsm::store::{Inner, Store};
use crate::lsm::table::Table;

/// The longest rest during which nobody looks whether the store is closing.
const REST_MAX: Duration = Duration::from_millis(50);

/// What is known of rewriting since opening.
#[derive(Debug, Default)]
pub(crate) struct Rewriting {
    paces: BTreeMap<SpaceId, Pace>,
    migrated: BTreeMap<SpaceId, u64>,
    /// Tables with a value that its function does not take, and why.
    failed: BTreeMap<u64, String>,
    /// Transactions that were prepared before a migration and are not decided.
    awaited: u32,
    /// The last entry that committed such a one: what it wrote must be in tables.
    late: Index,
    halted: bool,
}

/// Counts the entries of one space while they are written again.
pub(crate) struct Rests {
    space: SpaceId,
    pace: Option<Pace>,
    since: u32,
}

impl<E: Env> Store<E> {
    /// Takes over what the code says about values that are there already. Those in tables, and in
    /// entries up to `until`, pass the functions from now on, unless a migration of that name began
    /// earlier. Before anything is applied.
    ///
    /// True when new migrations make values of parts: all new ones then begin with
    /// [`Store::begin_gathering`], which has to follow.
    ///
    /// # Errors
    /// `Unfinished` when a retired migration has something left to do; `Io`.
    pub async fn migrate(&self, migrations: &Migrations, until: Index) -> Result<bool, Error> {
        let inner = &*self.inner;
        inner.rewriting.borrow_mut().paces = migrations.paces.clone();
        let mut manifest = inner.manifest.lock().await;
        for (space, id) in &migrations.retired {
            inner.check_finished(&manifest.marks, *space, id)?;
        }
        let mut marks = manifest.marks.clone();
        if planted(Mutant::MigrationForgotten) {
            marks.clear();
        }
        let fresh = inner.fresh(migrations, &marks, until);
        let gathers = |step: &Migration| {
            matches!(step.effect, Effect::Gathered(_)) && fresh.iter().any(|mark| mark.names(step))
        };
        let waits = migrations.steps.iter().any(gathers) && !planted(Mutant::PartsInMemory);
        if !waits {
            marks.extend(fresh);
        }
        inner.begin(migrations, marks, &mut manifest).await?;
        Ok(waits)
    }

    /// Begins the migrations that [`Store::migrate`] left. After everything up to `until` was applied,
    /// and before anything else is: it comes into tables first. Answers where all others began.
    ///
    /// # Errors
    /// As [`Store::flush`].
    pub(crate) async fn begin_gathering(
        &self,
        migrations: &Migrations,
        until: Index,
    ) -> Result<Vec<Mark>, Error> {
        self.flush().await?;
        let inner = &*self.inner;
        let mut manifest = inner.manifest.lock().await;
        let earlier = manifest.marks.clone();
        let fresh = inner.fresh(migrations, &earlier, until);
        let marks = [&earlier[..], &fresh].concat();
        inner.begin(migrations, marks, &mut manifest).await?;
        Ok(earlier)
    }

    /// Notes in the manifest where migrations of the partition's logs begin, given what can be read of
    /// them, and answers where all did that ever began.
    pub(crate) async fn mark_logs(
        &self,
        migrations: &Migrations,
        ranges: &BTreeMap<LogId, Range<u64>>,
    ) -> crate::Result<Vec<LogMark>> {
        let inner = &*self.inner;
        let range = |log: LogId| ranges.get(&log).cloned().unwrap_or_default();
        let mut manifest = inner.manifest.lock().await;
        let mut next = manifest.clone();
        for migration in &migrations.records {
            if !next.log_marks.iter().any(|mark| mark.names(migration)) {
                next.log_marks.push(LogMark {
                    log: migration.log.0,
                    id: migration.id.clone(),
                    end: range(migration.log).end,
                });
            }
        }
        for (log, id) in &migrations.retired_records {
            let mut marks = next.log_marks.iter();
            let mark = marks.find(|mark| mark.log == log.0 && mark.id == *id);
            let old = mark.map_or(u64::MAX, |mark| mark.end).min(range(*log).end);
            let left = old.saturating_sub(range(*log).start);
            if left > 0 {
                let (id, log) = (id.clone(), *log);
                return Err(crate::Error::UnfinishedRecords { id, log, left });
            }
        }
        if next.log_marks != manifest.log_marks {
            next.generation += 1;
            let switched = next.switch(&inner.env, &inner.dir, inner.identity).await;
            inner.poison_on_io(switched)?;
            *manifest = next;
        }
        Ok(manifest.log_marks.clone())
    }

    /// The present form of writes that were logged at an index.
    ///
    /// # Errors
    /// `Migration` when a function does not take one of the values.
    pub fn present(&self, batch: WriteBatch, made: Index) -> Result<WriteBatch, Error> {
        self.present_since(batch, (made, &[]))
    }

    /// The same for writes that passed the migrations that are named.
    pub(crate) fn present_since(
        &self,
        batch: WriteBatch,
        passed: (Index, &[Mark]),
    ) -> Result<WriteBatch, Error> {
        let (steps, state) = (self.inner.steps.borrow(), self.inner.state.borrow());
        let present = steps.convert_batch(&batch, passed, &state.levels.runs)?;
        Ok(present.unwrap_or(batch))
    }

    /// Takes note of writes that were prepared at an index and wait for their transaction: true when
    /// that was before a migration, and [`Store::settle_old`] has to be told of the decision.
    pub(crate) fn await_old(&self, made: Index) -> bool {
        let old = self.inner.steps.borrow().begin_behind(made);
        self.inner.rewriting.borrow_mut().awaited += u32::from(old);
        old
    }

    /// Such a transaction was committed by the entry at an index, or aborted.
    pub(crate) fn settle_old(&self, committed: Option<Index>) {
        let mut rewriting = self.inner.rewriting.borrow_mut();
        rewriting.awaited -= 1;
        rewriting.late = rewriting.late.max(committed.unwrap_or_default());
    }

    /// How fast the tables of a space are written again.
    pub fn set_pace(&self, space: SpaceId, pace: Pace) {
        self.inner.rewriting.borrow_mut().paces.insert(space, pace);
    }

    /// Ends a rewriting that is under way, and any later one, with `Stopped`.
    pub fn halt_rewriting(&self) {
        self.inner.rewriting.borrow_mut().halted = true;
    }

    /// Writes one table with old values again, if there is one; true when it did. Tables with parts of
    /// what are values now are written again all together, when no old transaction is undecided. Reads,
    /// `apply`, `flush` and `compact` go on meanwhile.
    ///
    /// # Errors
    /// `Migration` when a function does not take a value: the table stays as it is and is not tried
    /// again before the next opening. `Stopped`; else as [`Store::compact`].
    pub async fn rewrite(&self) -> Result<bool, Error> {
        let inner = &*self.inner;
        inner.check_poison()?;
        if inner.parts().is_some() && !planted(Mutant::LateWritesForgotten) {
            inner.settled().await?;
        }
        if self.logged(None) {
            // In tables they cannot come up again as they were logged.
            self.flush().await?;
            return Ok(true);
        }
        if let Some(parts) = inner.parts() {
            return inner.merge_parts(&parts).await.map(|()| true);
        }
        let Some(old) = inner.outdated() else {
            return Ok(false);
        };
        let source = [Rc::new(Run::new(vec![old.clone()]))];
        let older = inner.older_than(&old);
        // Whatever it deletes may hide something in an older run.
        let writer = Writer::new(inner, false).paced();
        let written = inner.poison_on_io(inner.write_runs(&source, &older, writer).await);
        if let Err(error @ Error::Migration { .. }) = &written {
            let mut rewriting = inner.rewriting.borrow_mut();
            rewriting.failed.insert(old.id, error.to_string());
        }
        let written = written?;
        let _no_merge = inner.compacting.lock().await;
        let Some(place) = inner.place_of(&old) else {
            // A merge was faster; it has brought the values into their present form as well.
            inner.remove_files(written.as_slice()).await?;
            return Ok(true);
        };
        let edit = |levels: &mut Levels| replace(&mut levels.runs, (place, old.id), &written);
        inner.switch(None, edit).await?;
        inner.remove_files(&source).await?;
        Ok(true)
    }

    /// How far each declared migration is.
    pub fn migrations(&self) -> Vec<Progress> {
        let inner = &*self.inner;
        let (steps, rewriting) = (inner.steps.borrow(), inner.rewriting.borrow());
        let runs = inner.state.borrow().levels.runs.clone();
        let progress = steps.iter().map(|step| {
            let space = step.migration.space;
            let (mut bytes_left, mut bytes) = left(&runs, space, step.first_table);
            if self.logged(Some(step.until)) || rewriting.awaited > 0 {
                let in_memory = self.memory_bytes().max(1) as u64;
                bytes_left += in_memory;
                bytes += in_memory;
            }
            Progress {
                space,
                id: step.migration.id.clone(),
                bytes_left,
                bytes,
                values: rewriting.migrated.get(&space).copied().unwrap_or(0),
                failure: rewriting.failed.values().next().cloned(),
            }
        });
        progress.collect()
    }
}

impl<E: Env> Store<E> {
    /// Whether something that was logged before a migration, or up to `until`, is in no table yet.
    fn logged(&self, until: Option<Index>) -> bool {
        let steps = self.inner.steps.borrow();
        let last = until.or(steps.iter().map(|step| step.until).max());
        let Some((first, last)) = self.unflushed().zip(last) else {
            return false;
        };
        let late = self.persisted() < self.inner.rewriting.borrow().late;
        first <= last || late && !planted(Mutant::LateWritesForgotten)
    }
}

/// Puts the tables of `new` where a table was.
fn replace(runs: &mut Vec<Rc<Run>>, (place, old): (usize, u64), new: &Option<Rc<Run>>) {
    let mut tables: Vec<Rc<Table>> = Vec::new();
    for table in runs[place].tables() {
        if table.id == old {
            tables.extend(new.iter().flat_map(|run| run.tables()).cloned());
        } else {
            tables.push(table.clone());
        }
    }
    if tables.is_empty() {
        runs.remove(place);
    } else {
        runs[place] = Rc::new(Run::new(tables));
    }
}

/// Bytes of entries of a space in tables before `first_table`, and in all. A range delete, whose
/// bounds may be old, counts as one.
fn left(runs: &[Rc<Run>], space: SpaceId, first_table: u64) -> (u64, u64) {
    let (mut left, mut all) = (0, 0);
    for table in runs.iter().flat_map(|run| run.tables()) {
        for meta in table.spaces().iter().filter(|meta| meta.space == space.0) {
            let bytes = meta.end - meta.begin + meta.ranges.len() as u64;
            all += bytes;
            left += if table.id < first_table { bytes } else { 0 };
        }
    }
    (left, all)
}

impl<E: Env> Inner<E> {
    /// Where migrations begin that have not begun.
    fn fresh(&self, migrations: &Migrations, marks: &[Mark], until: Index) -> Vec<Mark> {
        let steps = migrations.steps.iter();
        let fresh = steps.filter(|step| !marks.iter().any(|mark| mark.names(step)));
        let mark = |step: &Migration| Mark {
            space: step.space.0,
            id: step.id.clone(),
            first_table: self.tables_from(),
            until: until.0,
        };
        fresh.map(mark).collect()
    }

    /// From now on migrations begin at these places.
    async fn begin(
        &self,
        migrations: &Migrations,
        marks: Vec<Mark>,
        manifest: &mut Manifest,
    ) -> Result<(), Error> {
        if marks != manifest.marks {
            let mut next = manifest.clone();
            next.marks = marks;
            next.generation += 1;
            let switched = next.switch(&self.env, &self.dir, self.identity).await;
            self.poison_on_io(switched)?;
            *manifest = next;
        }
        let steps = Steps::new(migrations, &manifest.marks);
        self.steps.replace(Rc::new(steps));
        let mut state = self.state.borrow_mut();
        let pending = self.pending(&state.levels.runs);
        Rc::make_mut(&mut state.levels).steps = pending;
        Ok(())
    }

    /// What readers of these runs need to know.
    pub fn pending(&self, runs: &[Rc<Run>]) -> SharedSteps {
        let steps = self.steps.borrow();
        let pending = steps
            .iter()
            .any(|step| left(runs, step.migration.space, step.first_table).0 > 0);
        pending.then(|| steps.clone())
    }

    fn check_finished(&self, marks: &[Mark], space: SpaceId, id: &str) -> Result<(), Error> {
        let mut marks = marks.iter();
        let mark = marks.find(|mark| mark.space == space.0 && mark.id == id);
        let first_table = mark.map_or(u64::MAX, |mark| mark.first_table);
        let (bytes_left, bytes) = left(&self.state.borrow().levels.runs, space, first_table);
        if bytes_left == 0 && mark.is_some() {
            return Ok(());
        }
        Err(Error::Unfinished {
            id: id.to_owned(),
            space,
            bytes_left,
            bytes,
        })
    }

    /// A table with old values: of the migration that was declared first, the oldest.
    fn outdated(&self) -> Option<Rc<Table>> {
        let (steps, state) = (self.steps.borrow(), self.state.borrow());
        let rewriting = self.rewriting.borrow();
        let runs = &state.levels.runs;
        let runs = runs.iter().skip(steps.gathered_runs(runs));
        let tables: Vec<&Rc<Table>> = runs.flat_map(|run| run.tables()).collect();
        let found = steps.iter().find_map(|step| {
            let space = step.migration.space.0;
            tables.iter().find(|table| {
                table.id < step.first_table
                    && !rewriting.failed.contains_key(&table.id)
                    && table.spaces().iter().any(|meta| meta.space == space)
            })
        });
        found.map(|table| Rc::clone(table))
    }

    /// The runs with parts of what are values now, unless their functions failed.
    fn parts(&self) -> Option<Vec<Rc<Run>>> {
        let (steps, state) = (self.steps.borrow(), self.state.borrow());
        let runs = &state.levels.runs;
        let parts = &runs[..steps.gathered_runs(runs)];
        let first = parts.first()?.tables().first()?;
        let failed = self.rewriting.borrow().failed.contains_key(&first.id);
        (!failed).then(|| parts.to_vec())
    }

    /// Writes them again, together: nobody else merges them.
    async fn merge_parts(&self, parts: &[Rc<Run>]) -> Result<(), Error> {
        let writer = Writer::new(self, true).paced();
        let written = self.poison_on_io(self.write_runs(parts, &[], writer).await);
        if let Err(error @ Error::Migration { .. }) = &written {
            let tables = parts.iter().flat_map(|run| run.tables());
            let first = tables.map(|table| table.id).take(1);
            let failed = first.map(|table| (table, error.to_string()));
            self.rewriting.borrow_mut().failed.extend(failed);
        }
        let written = written?;
        let _no_merge = self.compacting.lock().await;
        let edit = |levels: &mut Levels| drop(levels.runs.splice(..parts.len(), written));
        self.switch(None, edit).await?;
        self.remove_files(parts).await
    }

    /// Waits until all transactions are decided that were prepared before a migration.
    async fn settled(&self) -> Result<(), Error> {
        while self.rewriting.borrow().awaited > 0 {
            self.halted()?;
            self.env.sleep(REST_MAX).await;
        }
        Ok(())
    }

    /// The run that holds a table.
    fn place_of(&self, table: &Table) -> Option<usize> {
        let state = self.state.borrow();
        let mut runs = state.levels.runs.iter();
        runs.position(|run| run.tables().iter().any(|found| found.id == table.id))
    }

    /// The runs beneath that of a table. Merges among them change nothing of what they answer.
    fn older_than(&self, table: &Table) -> Vec<Rc<Run>> {
        let place = self.place_of(table).unwrap_or(0);
        self.state.borrow().levels.runs[..place].to_vec()
    }

    /// For a walk over the entries of a space.
    pub fn rests(&self, space: SpaceId) -> Rests {
        Rests {
            space,
            pace: self.rewriting.borrow().paces.get(&space).copied(),
            since: 0,
        }
    }

    pub fn note_migrated(&self, space: SpaceId, values: u64) {
        if values > 0 {
            let mut rewriting = self.rewriting.borrow_mut();
            *rewriting.migrated.entry(space).or_default() += values;
        }
    }

    fn halted(&self) -> Result<(), Error> {
        let path: PathBuf = self.dir.clone();
        match self.rewriting.borrow().halted {
            true => Err(Error::Stopped { path }),
            false => Ok(()),
        }
    }
}

impl Rests {
    /// Rests when it is time to.
    pub async fn after_entry<E: Env>(&mut self, store: &Inner<E>) -> Result<(), Error> {
        self.since += 1;
        let Some(pace) = self.pace.filter(|pace| self.since >= pace.per_batch) else {
            return Ok(());
        };
        let share = f64::from(self.since) / f64::from(pace.per_second.max(1));
        let mut rest = Duration::from_secs_f64(share);
        self.since = 0;
        // Whoever wants another pace gets it at the next rest.
        self.pace = store.rests(self.space).pace;
        while !rest.is_zero() {
            store.halted()?;
            let nap = rest.min(REST_MAX);
            store.env.sleep(nap).await;
            rest -= nap;
        }
        store.halted()
    }
}
