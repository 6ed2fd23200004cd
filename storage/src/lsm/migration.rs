//! Entries whose type changed: what was written before passes through a function, when it is read and
//! for good when tables are written again.
//!
//! Relies on ids of tables and indexes of entries, which only grow: a migration begins at one of
//! each. An entry in a table before the first, or a write up to the second, is as it was; all others
//! are new. What must stay true: an entry passes through a function once, because everything that is
//! written after the function ran is new by its place; where a migration begins is durable before
//! anything is written behind it; steps of one space are passed in the order in which they were
//! declared; the order of keys is the same before and after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use rama_wire::key::successor;
use rama_wire::{Index, LogId, SpaceId};

use crate::group::RecordMigration;
use crate::lsm::batch::{KEY_BYTES_MAX, Op, VALUE_BYTES_MAX, WriteBatch};
use crate::lsm::error::Error;
use crate::lsm::gathering::{Gather, Gathering};
use crate::lsm::manifest::Mark;
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::run::Run;

/// Gives the new value for a key and its old value; `None` when this key's value stays as it is.
/// Says why when it cannot.
pub type Convert = Arc<dyn Fn(&[u8], &[u8]) -> Result<Option<Vec<u8>>, String> + Send + Sync>;

/// What a migration does.
#[derive(Clone)]
pub enum Effect {
    /// Some values become others, under the same keys.
    Values(Convert),
    /// Some entries become others, under other keys.
    Entries(Arc<dyn Reshape>),
    /// All entries of a structure become one value.
    Gathered(Arc<dyn Gather>),
}

/// Puts other entries in the place of old ones.
///
/// Keys keep their order: of two old entries, all that becomes of the smaller comes before all that
/// becomes of the greater.
pub trait Reshape: Send + Sync {
    /// What becomes of an entry; a value of `None` is that of a delete. Says why when it cannot.
    fn reshape(&self, key: &[u8], value: Option<&[u8]>) -> Result<Form, String>;

    /// Where a bound between old keys lies between present ones.
    fn present_bound(&self, key: &[u8]) -> Vec<u8>;

    /// The smallest old key of which something at or behind a present key can become.
    fn old_lo(&self, key: &[u8]) -> Vec<u8>;

    /// An old key behind all of which something before a present key can become.
    fn old_hi(&self, key: &[u8]) -> Vec<u8>;
}

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// It stays.
    Same,
    /// Nothing, whatever it said.
    Gone,
    /// The same under another key.
    Moved(Vec<u8>),
    /// All that there is below its key, in older layers, too: nothing else.
    Spread {
        /// The value under the key itself.
        header: Option<Vec<u8>>,
        /// What follows the key, ascending, and the values there.
        elements: Vec<(Vec<u8>, Vec<u8>)>,
    },
}

/// One change of a space.
#[derive(Clone)]
pub struct Migration {
    /// The PState.
    pub space: SpaceId,
    /// Its name within the space: the same name is the same migration, for ever.
    pub id: String,
    /// What it does.
    pub effect: Effect,
    /// Where such values may be.
    pub reach: Reach,
}

/// Where old values may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In tables and in the log.
    Everywhere,
    /// In the log only: what is prepared, and removed by the entry that commits it.
    Log,
}

/// All that a module's code says about the values it finds.
#[derive(Clone, Debug, Default)]
pub struct Migrations {
    /// In the order in which values pass them.
    pub steps: Vec<Migration>,
    /// Those that the code does not have any more: nothing may be left for them to do.
    pub retired: Vec<(SpaceId, String)>,
    /// What becomes of records, in the order in which they pass.
    pub records: Vec<RecordMigration>,
    /// As `retired`, for records.
    pub retired_records: Vec<(LogId, String)>,
    /// How fast tables are written again, until [`Store::set_pace`](crate::lsm::Store::set_pace).
    pub paces: BTreeMap<SpaceId, Pace>,
}

/// How far a migration is in one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The PState.
    pub space: SpaceId,
    /// The migration.
    pub id: String,
    /// Bytes of entries in tables that have yet to be written again.
    pub bytes_left: u64,
    /// Bytes of entries in all tables.
    pub bytes: u64,
    /// Values written in their new form since opening.
    pub values: u64,
    /// Why the last table could not be written again.
    pub failure: Option<String>,
}

/// How fast tables are written again: so many entries, then a rest that makes it so many a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Entries between two rests.
    pub per_batch: u32,
    /// Entries a second.
    pub per_second: u32,
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of space {}", self.id, self.space)
    }
}

/// A migration and where it begins in one store.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub migration: Migration,
    pub first_table: u64,
    pub until: Index,
}

/// The migrations of one store that may still find old values.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    steps: Vec<Step>,
    /// Those that are over: nothing that was logged before them may come up.
    retired: Vec<Mark>,
    /// For each space where parts become a value, the last such step.
    gatherings: Vec<Gathering>,
}

impl Steps {
    /// Joins what the code declares with where it began.
    pub fn new(migrations: &Migrations, marks: &[Mark]) -> Steps {
        let steps = migrations.steps.iter().filter_map(|migration| {
            let mark = marks.iter().find(|mark| mark.names(migration))?;
            Some(Step {
                migration: migration.clone(),
                first_table: match migration.reach {
                    Reach::Everywhere => mark.first_table,
                    Reach::Log => 0,
                },
                until: Index(mark.until),
            })
        });
        let retired = marks.iter().filter(|mark| {
            let mut retired = migrations.retired.iter();
            retired.any(|(space, id)| mark.space == space.0 && mark.id == *id)
        });
        let retired = retired.cloned().collect();
        Steps {
            retired,
            ..Steps::of(steps.collect())
        }
    }

    /// Steps that have begun.
    pub fn of(steps: Vec<Step>) -> Steps {
        let spaces: BTreeSet<SpaceId> = steps.iter().map(|step| step.migration.space).collect();
        let gatherings = spaces.into_iter().filter_map(|space| {
            let own = steps.iter().filter(|step| step.migration.space == space);
            Gathering::last_of(own.cloned().collect())
        });
        Steps {
            gatherings: gatherings.collect(),
            steps,
            retired: Vec::new(),
        }
    }

    /// Where parts become values in a space, for the last time.
    #[inline]
    pub fn gathering(&self, space: SpaceId) -> Option<&Gathering> {
        let mut gatherings = self.gatherings.iter();
        gatherings.find(|gathering| gathering.space() == space)
    }

    /// How many runs, the oldest ones, may only be merged together: parts of values are in them.
    pub fn gathered_runs(&self, runs: &[Rc<Run>]) -> usize {
        if planted(Mutant::PartsMergedApart) {
            return 0;
        }
        let counts = self.gatherings.iter().map(|found| found.run_count(runs));
        counts.max().unwrap_or(0)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// Whether values of `space` may be old.
    #[inline]
    pub fn concern(&self, space: SpaceId) -> bool {
        self.steps.iter().any(|step| step.migration.space == space)
    }

    /// Whether some of them change the keys of `space`.
    pub fn reshape(&self, space: SpaceId) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| step.migration.space == space && step.reshapes())
    }

    /// Whether a table may hold something old of `space`.
    pub fn await_table(&self, space: SpaceId, table: u64) -> bool {
        self.lacked(space, |step| table < step.first_table)
            .next()
            .is_some()
    }

    /// The present form of a value that was found in a table; `None`: as it is. For a space whose keys
    /// stay.
    pub fn convert(
        &self,
        (space, table): (SpaceId, u64),
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut present = None;
        for step in self.lacked(space, |step| table < step.first_table) {
            let value = present.as_deref().unwrap_or(value);
            present = step.convert(key, value)?.or(present);
        }
        Ok(present)
    }

    /// What became of an entry that was found in a table.
    pub fn expand(
        &self,
        (space, table): (SpaceId, u64),
        entry: (&[u8], Option<&[u8]>),
    ) -> Result<Expanded, Error> {
        let steps = self.lacked(space, |step| table < step.first_table);
        Expanded::of(steps, entry)
    }

    /// Where a bound lies that was found in a table.
    pub fn present_bound(&self, (space, table): (SpaceId, u64), key: &[u8]) -> Vec<u8> {
        let steps = self.lacked(space, |step| table < step.first_table);
        steps.fold(key.to_vec(), |key, step| step.present_bound(key))
    }

    /// The bounds in a table of what becomes of entries between bounds.
    pub fn old_bounds(
        &self,
        (space, table): (SpaceId, u64),
        lo: &[u8],
        hi: Option<&[u8]>,
    ) -> (Vec<u8>, Option<Vec<u8>>) {
        let steps = self.lacked(space, |step| table < step.first_table);
        let (mut lo, mut hi) = (lo.to_vec(), hi.map(<[u8]>::to_vec));
        for step in steps.rev() {
            if let Effect::Entries(reshape) = &step.migration.effect {
                lo = reshape.old_lo(&lo);
                hi = hi.map(|hi| reshape.old_hi(&hi));
            }
        }
        (lo, hi)
    }

    /// The present form of writes that were logged at an index, given the runs of the store; `None`: as
    /// they are. They have passed the steps of `passed`.
    pub fn convert_batch(
        &self,
        batch: &WriteBatch,
        (made, passed): (Index, &[Mark]),
        runs: &[Rc<Run>],
    ) -> Result<Option<WriteBatch>, Error> {
        if !self.begin_behind(made) || planted(Mutant::LogNotMigrated) {
            return Ok(None);
        }
        let (mut present, mut late) = (WriteBatch::new(), BTreeMap::<_, WriteBatch>::new());
        let steps_of = |space: SpaceId| -> Vec<&Step> {
            let lacks = |step: &Step| made <= step.until && !names(passed, step);
            self.lacked(space, lacks).collect()
        };
        for op in batch.ops() {
            if let Op::Put { space, value, .. } = op {
                self.check_over(space, value, made)?;
            }
            let steps = steps_of(op.space());
            match steps.iter().any(|step| step.gather().is_some()) {
                true => late.entry(op.space()).or_default().add(op),
                false => convert_op(op, &steps, &mut present)?,
            }
        }
        for (space, ops) in late {
            present.append(&self.convert_late(ops, &steps_of(space), runs)?);
        }
        Ok(Some(present))
    }

    /// Writes of one space that were prepared before parts became values, and are committed behind it.
    fn convert_late(
        &self,
        mut ops: WriteBatch,
        steps: &[&Step],
        runs: &[Rc<Run>],
    ) -> Result<WriteBatch, Error> {
        for &step in steps {
            let gathering = self.gathering(step.migration.space);
            if let Some(gathering) = gathering.and_then(|last| last.of_step(step)) {
                ops = gathering.late(&ops, runs)?;
                continue;
            }
            let mut next = WriteBatch::new();
            for op in ops.ops() {
                convert_op(op, &[step], &mut next)?;
            }
            ops = next;
        }
        Ok(ops)
    }

    /// A value that was logged before a migration that is over must be in a table by now.
    fn check_over(&self, space: SpaceId, value: &[u8], made: Index) -> Result<(), Error> {
        let mut retired = self.retired.iter();
        let late = retired.find(|mark| mark.space == space.0 && made.0 <= mark.until);
        late.map_or(Ok(()), |mark| {
            Err(Error::Unfinished {
                id: mark.id.clone(),
                space,
                bytes_left: value.len() as u64,
                bytes: value.len() as u64,
            })
        })
    }

    /// Whether a migration began behind the entry at an index.
    #[inline]
    pub fn begin_behind(&self, made: Index) -> bool {
        self.steps.iter().any(|step| made <= step.until)
            || self.retired.iter().any(|mark| made.0 <= mark.until)
    }

    /// The steps of a space that something has yet to pass.
    fn lacked(
        &self,
        space: SpaceId,
        lacks: impl Fn(&Step) -> bool,
    ) -> impl DoubleEndedIterator<Item = &Step> {
        let own = move |step: &&Step| step.migration.space == space && lacks(step);
        self.steps.iter().filter(own)
    }
}

fn names(marks: &[Mark], step: &Step) -> bool {
    marks.iter().any(|mark| mark.names(&step.migration))
}

/// Adds what becomes of a write in steps of which none gathers.
fn convert_op(op: Op<'_>, steps: &[&Step], present: &mut WriteBatch) -> Result<(), Error> {
    let (space, entry) = match op {
        Op::Put { space, key, value } => (space, (key, Some(value))),
        Op::Delete { space, key } => (space, (key, None)),
        Op::DeleteRange { space, lo, hi } => {
            let bound = |key: &[u8]| {
                let steps = steps.iter();
                steps.fold(key.to_vec(), |key, step| step.present_bound(key))
            };
            present.delete_range(space, &bound(lo), &bound(hi));
            return Ok(());
        }
        Op::Clear { space } => {
            present.clear(space);
            return Ok(());
        }
    };
    let expanded = Expanded::of(steps.iter().copied(), entry)?;
    match expanded.hides() {
        Some([]) => present.clear(space),
        Some(key) => {
            let end = || vec![u8::MAX; KEY_BYTES_MAX];
            present.delete_range(space, key, &successor(key).unwrap_or_else(end));
        }
        None => {}
    }
    for (key, value) in &expanded.entries {
        match value {
            Some(value) => present.put(space, key, value),
            None => present.delete(space, key),
        }
    }
    Ok(())
}

impl Step {
    /// Whether it changes keys.
    pub fn reshapes(&self) -> bool {
        !matches!(self.migration.effect, Effect::Values(_))
    }

    /// What makes values of structures, if it does.
    pub fn gather(&self) -> Option<&dyn Gather> {
        match &self.migration.effect {
            Effect::Gathered(gather) => Some(&**gather),
            _ => None,
        }
    }

    fn present_bound(&self, key: Vec<u8>) -> Vec<u8> {
        match &self.migration.effect {
            // What gathers stands at the bottom, where no range delete is kept.
            Effect::Values(_) | Effect::Gathered(_) => key,
            Effect::Entries(reshape) => reshape.present_bound(&key),
        }
    }

    /// The new value for an old one; `None`: it stays.
    fn convert(&self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Effect::Values(convert) = &self.migration.effect else {
            unreachable!("a space whose keys change is read through what becomes of its entries");
        };
        let new = convert(key, value).map_err(|cause| self.failed(key, cause))?;
        new.iter().try_for_each(|new| self.check_len(key, new))?;
        Ok(new)
    }

    /// Whether a new value may be stored.
    pub fn check_len(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if value.len() > VALUE_BYTES_MAX {
            let cause = format!("its new value is over {VALUE_BYTES_MAX} bytes");
            return Err(self.failed(key, cause));
        }
        Ok(())
    }

    /// The function did not take what stands under a key.
    pub fn failed(&self, key: &[u8], cause: String) -> Error {
        Error::Migration {
            id: self.migration.id.clone(),
            space: self.migration.space,
            key: key.to_vec(),
            cause,
        }
    }
}

/// What became of one entry of a table or of one write.
#[derive(Debug)]
pub(crate) struct Expanded {
    /// Ascending.
    pub entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whether any step changed it.
    pub changed: bool,
    spread: bool,
}

impl Expanded {
    fn of<'s>(
        steps: impl Iterator<Item = &'s Step>,
        (key, value): (&[u8], Option<&[u8]>),
    ) -> Result<Expanded, Error> {
        let mut found = Expanded {
            entries: vec![(key.to_vec(), value.map(<[u8]>::to_vec))],
            changed: false,
            spread: false,
        };
        for step in steps {
            for (key, value) in std::mem::take(&mut found.entries) {
                found.pass(step, key, value)?;
            }
        }
        Ok(found)
    }

    fn pass(&mut self, step: &Step, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), Error> {
        let Effect::Entries(reshape) = &step.migration.effect else {
            // What is before a gathering is read through that, never entry by entry.
            let new = value.as_deref().map(|value| step.convert(&key, value));
            let new = new.transpose()?.flatten();
            self.changed |= new.is_some();
            self.entries.push((key, new.or(value)));
            return Ok(());
        };
        let form = reshape.reshape(&key, value.as_deref());
        let form = form.map_err(|cause| step.failed(&key, cause))?;
        self.changed |= form != Form::Same && value.is_some();
        match form {
            Form::Same => self.entries.push((key, value)),
            Form::Gone => {}
            Form::Moved(key) => self.entries.push((key, value)),
            Form::Spread { header, elements } => {
                self.spread = true;
                let mut lens = elements
                    .iter()
                    .map(|(rest, value)| (rest.len(), value.len()));
                let too_long = |(rest, value): (usize, usize)| {
                    key.len() + rest > KEY_BYTES_MAX || value > VALUE_BYTES_MAX
                };
                if lens.any(too_long) {
                    let cause = format!(
                        "a key of it is over {KEY_BYTES_MAX} bytes, or a value over \
                         {VALUE_BYTES_MAX}"
                    );
                    return Err(step.failed(&key, cause));
                }
                self.entries.reserve(elements.len() + 1);
                let below = elements.into_iter();
                let below = below.map(|(rest, value)| ([&key[..], &rest].concat(), Some(value)));
                let mut all: Vec<_> = below.collect();
                self.entries.push((key, header));
                self.entries.append(&mut all);
            }
        }
        Ok(())
    }

    /// The key below which nothing older counts.
    pub fn hides(&self) -> Option<&[u8]> {
        let first = self.entries.first().filter(|_| self.spread);
        first.map(|(key, _)| &key[..])
    }
}

/// What layers keep of [`Steps`]: nothing while there are none.
pub(crate) type SharedSteps = Option<Rc<Steps>>;
