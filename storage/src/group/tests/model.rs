//! The naive truth: a list of entries, and what a prefix of it means.

use std::collections::BTreeMap;

use rama_wire::key::successor;
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
    /// Each migration, known by its number, begins behind an entry. Each adds its number to records of one
    /// log, and to every value or, with an odd number, spreads values.
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
        let len = spread_len(byte);
        for store in self.stores.values_mut() {
            let old = std::mem::take(store).into_iter();
            let new = old.flat_map(|(key, value)| changed((key, Some(value)), byte, len));
            store.extend(new.filter_map(|(key, value)| Some((key, value?))));
        }
        for (_, writes) in self.prepared.values_mut() {
            let old = std::mem::take(writes).into_iter();
            writes.extend(old.flat_map(|write| changed(write, byte, len)));
        }
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
                None => {
                    store.retain(|found, _| !found.starts_with(&key));
                    None
                }
            };
        }
    }
}

/// How long the keys are whose values a migration spreads; `None` when it changes values.
pub fn spread_len(number: u8) -> Option<usize> {
    let spreads = number % 2 == 1;
    spreads.then(|| b"key 00".len() + usize::from(number / 2))
}

/// The parts of a value: one for each of its bytes.
pub fn parts(value: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let parts = value.iter().zip(0..);
    parts.map(|(byte, at)| (vec![at], vec![*byte])).collect()
}

/// What becomes of a write.
fn changed((key, value): (Vec<u8>, Option<Vec<u8>>), byte: u8, len: Option<usize>) -> Writes {
    match (value, len) {
        (Some(mut value), None) => {
            value.push(byte);
            vec![(key, Some(value))]
        }
        (Some(value), Some(len)) if key.len() == len => {
            let parts = parts(&value).into_iter();
            let below = parts.map(|(rest, part)| ([&key[..], &rest].concat(), Some(part)));
            let header = (key.clone(), Some(vec![value.len() as u8]));
            [(key.clone(), None), header]
                .into_iter()
                .chain(below)
                .collect()
        }
        (value, _) => vec![(key, value)],
    }
}

/// What is deleted goes with all that is below it.
pub fn batch_of(writes: &Writes) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(SPACE, key, value),
            None => {
                batch.delete(SPACE, key);
                let end = successor(key).expect("keys are text");
                batch.delete_range(SPACE, &[&key[..], &[0]].concat(), &end);
            }
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
