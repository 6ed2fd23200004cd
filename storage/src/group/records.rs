//! Records whose type changed: what was appended before passes through a function whenever it is
//! read.
//!
//! Relies on offsets, which never change: a migration of a log begins at the end that the log had
//! when code with it first opened the group. What must stay true: that end is durable, in the
//! manifest of the partition's store, before anything is appended behind it; a record that becomes
//! nothing keeps its offset; records behind the end are as their code wrote them.

use std::fmt;
use std::sync::Arc;

use rama_wire::LogId;

use crate::error::{Error, Result};
use crate::group::LogRecord;
use crate::lsm::LogMark;

/// Gives the new bytes of an old record; `None` when it is to vanish. Says why when it cannot.
pub type ConvertRecord = Arc<dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, String> + Send + Sync>;

/// One change of the records of a log.
#[derive(Clone)]
pub struct RecordMigration {
    /// The log.
    pub log: LogId,
    /// Its name within the log: the same name is the same migration, for ever.
    pub id: String,
    /// What it does.
    pub convert: ConvertRecord,
}

impl fmt::Debug for RecordMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of log {}", self.id, self.log)
    }
}

/// How far a migration of a log is in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordProgress {
    /// The log.
    pub log: LogId,
    /// The migration.
    pub id: String,
    /// Old records that can be read.
    pub left: u64,
    /// All records that can be read.
    pub records: u64,
}

/// The changes of the records of one log of one partition, in the order in which they pass them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordSteps {
    steps: Vec<(RecordMigration, u64)>,
}

impl RecordSteps {
    /// Joins what the code declares with where it began.
    pub fn new(log: LogId, migrations: &[RecordMigration], marks: &[LogMark]) -> RecordSteps {
        let own = migrations.iter().filter(|migration| migration.log == log);
        let begun = own.filter_map(|migration| {
            let mark = marks.iter().find(|mark| mark.names(migration))?;
            Some((migration.clone(), mark.end))
        });
        RecordSteps {
            steps: begun.collect(),
        }
    }

    /// The first offset that no step concerns.
    pub fn end(&self) -> u64 {
        self.steps.iter().map(|(_, end)| *end).max().unwrap_or(0)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(RecordMigration, u64)> {
        self.steps.iter()
    }

    /// Shows a record in its present form.
    pub fn show(&self, record: LogRecord<'_>, visit: &mut dyn FnMut(LogRecord<'_>)) -> Result<()> {
        let mut present: Option<Vec<u8>> = None;
        let offset = record.offset;
        for (step, _) in self.steps.iter().filter(|(_, end)| offset < *end) {
            let bytes = present.as_deref().unwrap_or(record.bytes);
            let passed = (step.convert)(bytes).map_err(|cause| Error::Record {
                id: step.id.clone(),
                log: step.log,
                offset,
                cause,
            })?;
            let Some(new) = passed else {
                visit(LogRecord {
                    bytes: &[],
                    vanished: true,
                    ..record
                });
                return Ok(());
            };
            present = Some(new);
        }
        let bytes = present.as_deref().unwrap_or(record.bytes);
        visit(LogRecord { bytes, ..record });
        Ok(())
    }
}
