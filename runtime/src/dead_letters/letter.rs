//! How a letter gets into its depot.
//!
//! Relies on the log: an entry is atomic, whatever it holds. What must stay true: letters and their
//! marks are in one entry with the decision to give up, or, where the decision follows from a later
//! write (a stream's progress), a record whose mark is there gets no second letter.

use std::collections::BTreeMap;
use std::sync::Arc;

use rama_io::Env;
use rama_storage::lsm::WriteBatch;
use rama_storage::{ConvertRecord, Op};
use rama_wire::{Index, Record, SpaceId};

use super::mark::Mark;
use super::record::{DeadLetterRecord, DeadLetterV1};
use crate::depot::{self, DepotAppend};
use crate::error::Result;
use crate::limits;
use crate::message::Records;
use crate::task_thread::Thread;

/// A record that is given up.
pub(crate) struct Letter {
    /// Index of the topology.
    pub(crate) topology: u16,
    /// Index of the source in the topology.
    pub(crate) source: usize,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) failures: u32,
    pub(crate) text: String,
    pub(crate) time_ms: u64,
    /// Its bytes, unless they cannot be read any more.
    pub(crate) record: Option<Vec<u8>>,
}

impl Letter {
    /// The mark of a letter; `None` for a tick, which is no record.
    pub(crate) fn mark<E: Env>(&self, thread: &Thread<E>) -> Option<(u16, Mark)> {
        let topology = &thread.layout.topologies[usize::from(self.topology)];
        let depot = topology.sources[self.source].dead_letters?;
        let mark = Mark {
            log: thread.layout.depots[usize::from(depot)].log,
            partition: self.partition,
            offset: self.offset,
        };
        Some((depot, mark))
    }

    fn into_record<E: Env>(mut self, thread: &Thread<E>) -> DeadLetterRecord {
        let topology = &thread.layout.topologies[usize::from(self.topology)];
        let depot = topology.sources[self.source].depot;
        if self.text.len() > limits::DEAD_LETTER_TEXT_BYTES_MAX {
            let end = self
                .text
                .floor_char_boundary(limits::DEAD_LETTER_TEXT_BYTES_MAX);
            self.text.truncate(end);
        }
        DeadLetterRecord::V1(Box::new(DeadLetterV1 {
            topology: topology.name.clone(),
            depot: thread.layout.depots[usize::from(depot)].name.clone(),
            partition: self.partition,
            offset: self.offset,
            attempts: self.failures,
            error: self.text,
            time_ms: self.time_ms,
            record: self.record,
        }))
    }
}

/// Appends letters to their depots on `task`, with their marks and other `writes`, as one entry.
/// `None` when there is nothing to write: every letter is there already.
pub(crate) fn bury<E: Env>(
    thread: &Thread<E>,
    task: u32,
    letters: Vec<Letter>,
    mut writes: WriteBatch,
) -> Result<Option<Index>> {
    let mut appends: BTreeMap<u16, Records> = BTreeMap::new();
    for letter in letters {
        let Some((depot, mark)) = letter.mark(thread) else {
            continue;
        };
        // Given up before a crash that the decision did not survive.
        if mark.letter(thread, task)?.is_some() {
            continue;
        }
        let records = appends.entry(depot).or_default();
        let partition = &thread.local(task).partition;
        let at = partition.log_appended_end(mark.log) + records.len() as u64;
        thread.metrics.on_dead_letter(letter.topology);
        let record = letter.into_record(thread);
        records.push_with(|bytes| record.encode(bytes));
        writes.put(SpaceId::SYSTEM, &mark.key(), &at.to_le_bytes());
    }
    if writes.is_empty() {
        return Ok(None);
    }
    let append = |(&depot, records)| DepotAppend {
        task,
        depot,
        records,
    };
    let appends: Vec<DepotAppend<'_>> = appends.iter().map(append).collect();
    let write = Op::Write {
        partition: task,
        batch: writes,
    };
    depot::append_entry(thread, &appends, vec![write]).map(Some)
}

/// Letters that were written before a migration of their depot hold records as they were then.
pub(crate) fn converted(change: ConvertRecord) -> ConvertRecord {
    Arc::new(move |bytes| {
        let letter = DeadLetterRecord::decode(bytes).map_err(|error| error.to_string())?;
        let DeadLetterRecord::V1(mut letter) = letter;
        match letter.record.as_deref().map(|record| change(record)) {
            None => {}
            Some(Ok(record)) => letter.record = record,
            // The letter says what is known of it, and can be dropped.
            Some(Err(cause)) => {
                letter.record = None;
                letter.error = format!("{}; its migration failed: {cause}", letter.error);
            }
        }
        Ok(Some(DeadLetterRecord::V1(letter).to_bytes()))
    })
}

/// The bytes of a record of a local depot partition; `None`, and a word in the log, when they cannot
/// be read: a letter without them is better than none.
pub(crate) async fn record_of<E: Env>(
    thread: &Thread<E>,
    task: u32,
    depot: u16,
    offset: u64,
) -> Option<Vec<u8>> {
    let read = depot::read(thread, task, depot, offset, offset + 1).await;
    match read {
        Ok(records) => records.into_iter().next(),
        Err(error) => {
            tracing::warn!(%error, task, offset, "a dead letter gets no copy of its record");
            None
        }
    }
}
