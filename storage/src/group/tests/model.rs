//! The naive truth: a list of entries, and what a prefix of it means.

use std::collections::BTreeMap;

use rama_wire::{LogId, SpaceId};

use crate::lsm::WriteBatch;
use crate::{Entry, Op};

pub type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;
pub type Txn = (u32, u16, u64);

/// The log whose records change when values do.
pub const MIGRATED: LogId = LogId(1);

pub const SPACE: SpaceId = SpaceId(7);

#[derive(Clone, Debug)]
pub enum Step {
    Append {
        partition: u32,
        log: LogId,
        time_ms: u64,
        records: Vec<Vec<u8>>,
    },
    Write {
        partition: u32,
        writes: Writes,
    },
    Prepare {
        txn: Txn,
        attempt: u32,
        writes: Writes,
    },
    Commit {
        txn: Txn,
    },
    Abort {
        txn: Txn,
        attempt: u32,
    },
    Trim {
        partition: u32,
        log: LogId,
        before: u64,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub start: u64,
    pub records: Vec<(u64, Vec<u8>)>,
}

/// What a sequence of entries leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub logs: BTreeMap<(u32, LogId), Log>,
    pub stores: BTreeMap<u32, BTreeMap<Vec<u8>, Vec<u8>>>,
    pub prepared: BTreeMap<Txn, (u32, Writes)>,
}

impl Outcome {
    /// Each migration, a byte that is added to every value and to records of one log, begins behind an entry.
    pub fn of(entries: &[Vec<Step>], migrations: &[(u64, u8)]) -> Outcome {
        let mut outcome = Outcome::default();
        for index in 0..=entries.len() {
            let begun = migrations
                .iter()
                .filter(|(until, _)| *until == index as u64);
            begun.for_each(|(_, byte)| outcome.migrate(*byte));
            for step in entries.get(index).into_iter().flatten() {
                outcome.on_step(step);
            }
        }
        outcome
    }

    fn migrate(&mut self, byte: u8) {
        let stored = self.stores.values_mut().flat_map(BTreeMap::values_mut);
        stored.for_each(|value| value.push(byte));
        let prepared = self.prepared.values_mut().flat_map(|(_, writes)| writes);
        let prepared = prepared.filter_map(|(_, value)| value.as_mut());
        prepared.for_each(|value| value.push(byte));
        let logs = self
            .logs
            .iter_mut()
            .filter(|((_, log), _)| *log == MIGRATED);
        let records = logs.flat_map(|(_, log)| &mut log.records);
        records.for_each(|(_, record)| record.push(byte));
    }

    pub fn on_step(&mut self, step: &Step) {
        match step.clone() {
            Step::Append {
                partition,
                log,
                time_ms,
                records,
            } => {
                let log = self.logs.entry((partition, log)).or_default();
                let last = log.records.last();
                let time_ms = last.map_or(time_ms, |last| last.0.max(time_ms));
                let records = records.into_iter().map(|record| (time_ms, record));
                log.records.extend(records);
            }
            Step::Write { partition, writes } => self.write(partition, writes),
            Step::Prepare {
                txn,
                attempt,
                writes,
            } => {
                self.prepared.insert(txn, (attempt, writes));
            }
            Step::Commit { txn } => {
                let (_, writes) = self.prepared.remove(&txn).expect("it was prepared");
                self.write(txn.0, writes);
            }
            Step::Abort { txn, attempt } => {
                let prepared = self.prepared.get(&txn);
                if prepared.is_some_and(|(found, _)| *found == attempt) {
                    self.prepared.remove(&txn);
                }
            }
            Step::Trim {
                partition,
                log,
                before,
            } => {
                let log = self.logs.entry((partition, log)).or_default();
                log.start = log.start.max(before.min(log.records.len() as u64));
            }
        }
    }

    fn write(&mut self, partition: u32, writes: Writes) {
        let store = self.stores.entry(partition).or_default();
        for (key, value) in writes {
            match value {
                Some(value) => store.insert(key, value),
                None => store.remove(&key),
            };
        }
    }
}

pub fn batch_of(writes: &Writes) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(SPACE, key, value),
            None => batch.delete(SPACE, key),
        }
    }
    batch
}

/// Records of each append of an entry, as slices.
pub fn slices(steps: &[Step]) -> Vec<Vec<&[u8]>> {
    let appends = steps.iter().filter_map(|step| match step {
        Step::Append { records, .. } => Some(records.iter().map(Vec::as_slice).collect()),
        _ => None,
    });
    appends.collect()
}

/// The same entry in the words of the group.
pub fn entry_of<'a>(steps: &[Step], slices: &'a [Vec<&'a [u8]>]) -> Entry<'a> {
    let mut entry = Entry::new();
    let mut slices = slices.iter();
    for step in steps {
        entry.push(op_of(step, &mut slices));
    }
    entry
}

fn op_of<'a>(step: &Step, slices: &mut std::slice::Iter<'a, Vec<&'a [u8]>>) -> Op<'a> {
    match *step {
        Step::Append {
            partition,
            log,
            time_ms,
            ..
        } => Op::Append {
            partition,
            log,
            time_ms,
            records: slices.next().expect("one per append"),
        },
        Step::Write {
            partition,
            ref writes,
        } => Op::Write {
            partition,
            batch: batch_of(writes),
        },
        Step::Prepare {
            txn: (partition, slot, txn),
            attempt,
            ref writes,
        } => Op::Prepare {
            partition,
            slot,
            txn,
            attempt,
            batch: batch_of(writes),
        },
        Step::Commit {
            txn: (partition, slot, txn),
        } => Op::Commit {
            partition,
            slot,
            txn,
        },
        Step::Abort {
            txn: (partition, slot, txn),
            attempt,
        } => Op::Abort {
            partition,
            slot,
            txn,
            attempt,
        },
        Step::Trim {
            partition,
            log,
            before,
        } => Op::Trim {
            partition,
            log,
            before,
        },
    }
}
