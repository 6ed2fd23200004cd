//! Values whose type changed: what was written before passes through a function, when it is read and
//! for good when tables are written again.
//!
//! Relies on ids of tables and indexes of entries, which only grow: a migration begins at one of
//! each. A value in a table before the first, or in an entry up to the second, is as it was; all
//! others are new. Keys, deletes and sizes are the same on both sides. What must stay true: a value
//! passes through a function once, because everything that is written after the function ran is new
//! by its place; where a migration begins is durable before anything is written behind it; steps of
//! one space are passed in the order in which they were declared.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use rama_wire::{Index, LogId, SpaceId};

use crate::group::RecordMigration;
use crate::lsm::batch::{Op, VALUE_BYTES_MAX, WriteBatch};
use crate::lsm::error::Error;
use crate::lsm::manifest::Mark;
use crate::lsm::mutant::{Mutant, planted};

/// Gives the new value for a key and its old value; `None` when this key's value stays as it is.
/// Says why when it cannot.
pub type Convert = Arc<dyn Fn(&[u8], &[u8]) -> Result<Option<Vec<u8>>, String> + Send + Sync>;

/// One change of the values of a space.
#[derive(Clone)]
pub struct Migration {
    /// The PState.
    pub space: SpaceId,
    /// Its name within the space: the same name is the same migration, for ever.
    pub id: String,
    /// What it does.
    pub convert: Convert,
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
#[derive(Debug)]
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
        Steps {
            steps: steps.collect(),
            retired: retired.cloned().collect(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// Whether values of `space` may be old.
    #[inline]
    pub fn concern(&self, space: SpaceId) -> bool {
        self.steps.iter().any(|step| step.migration.space == space)
    }

    /// The present form of a value that was found in a table; `None`: as it is.
    pub fn convert(
        &self,
        (space, table): (SpaceId, u64),
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        self.pass(space, key, value, |step| table < step.first_table)
    }

    /// The present form of writes that were logged at an index; `None`: as they are.
    pub fn convert_batch(
        &self,
        batch: &WriteBatch,
        made: Index,
    ) -> Result<Option<WriteBatch>, Error> {
        if !self.begin_behind(made) || planted(Mutant::LogNotMigrated) {
            return Ok(None);
        }
        let mut present = WriteBatch::new();
        for op in batch.ops() {
            match op {
                Op::Put { space, key, value } => {
                    self.check_over(space, value, made)?;
                    let new = self.pass(space, key, value, |step| made <= step.until)?;
                    present.put(space, key, new.as_deref().unwrap_or(value));
                }
                Op::Delete { space, key } => present.delete(space, key),
                Op::DeleteRange { space, lo, hi } => present.delete_range(space, lo, hi),
                Op::Clear { space } => present.clear(space),
            }
        }
        Ok(Some(present))
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

    fn pass(
        &self,
        space: SpaceId,
        key: &[u8],
        value: &[u8],
        lacks: impl Fn(&Step) -> bool,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut present = None;
        for step in &self.steps {
            if step.migration.space != space || !lacks(step) {
                continue;
            }
            let value = present.as_deref().unwrap_or(value);
            let passed = (step.migration.convert)(key, value);
            let new = passed.map_err(|cause| Error::Migration {
                id: step.migration.id.clone(),
                space,
                key: key.to_vec(),
                cause,
            })?;
            if new.as_ref().is_some_and(|new| new.len() > VALUE_BYTES_MAX) {
                return Err(Error::Migration {
                    id: step.migration.id.clone(),
                    space,
                    key: key.to_vec(),
                    cause: format!("its new value is over {VALUE_BYTES_MAX} bytes"),
                });
            }
            present = new.or(present);
        }
        Ok(present)
    }
}

/// What layers keep of [`Steps`]: nothing while there are none.
pub(crate) type SharedSteps = Option<Rc<Steps>>;
