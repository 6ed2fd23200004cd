//! The memory of a group: watermarks, logs, segments, transactions, waiters.
//!
//! Relies on `batch` and `replog::segment`. Everything here is synchronous and has one owner. What
//! must stay true: appended ≥ durable ≥ applied; a log's spans are dense and in order, and end
//! where its durable records end; nothing is served beyond applied.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::Waker;

use rama_io::Env;
use rama_wire::Index;
use smallvec::SmallVec;

use super::batch::{Batch, Effect, Pending};
use super::records::RecordSteps;
use crate::entry::Prepared;
use crate::error::{Error, Result};
use crate::lsm::{Store, WriteBatch};
use crate::options::Mutant;
use crate::replog::footer::LogBounds;
use crate::replog::segment::{Body, Bytes, LogKey, Segment, TxnKey, TxnRecord, TxnStep, path_of};

/// One depot log of one partition.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// First offset that is not trimmed.
    pub start: u64,
    /// First offset whose segment is still there, or where the log ends if none is.
    pub floor: u64,
    /// Time of the last record before `floor`.
    pub floor_time_ms: u64,
    pub applied_end: u64,
    pub appended_end: u64,
    /// Time of the last append.
    pub last_time_ms: u64,
    /// Where the durable records lie, in order.
    pub places: VecDeque<Place>,
}

/// The records of one log in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub segment: u64,
    pub first: u64,
    pub end: u64,
    pub last_time_ms: u64,
}

/// Writes that wait for a decision.
pub(crate) struct Waiting {
    pub attempt: u32,
    /// Prepared by the code before a migration.
    pub old: bool,
    pub segment: u64,
    pub batch: WriteBatch,
}

/// Is shown the writes to a partition right before they reach its store.
pub(crate) type Witness<'a> = dyn FnMut(u32, &WriteBatch) + 'a;

/// A run of records to visit, found in the index.
pub(crate) struct Piece {
    pub bytes: Bytes,
    pub segment: u64,
    pub position: u32,
}

pub(crate) struct State<E: Env> {
    /// Where the segments are.
    pub log_dir: PathBuf,
    pub epoch: u64,
    pub appended: Index,
    pub durable: Index,
    pub applied: Index,
    /// Full batches and, last, the one that gathers.
    pub gathering: VecDeque<Batch>,
    /// Durable entries that are not applied.
    pub ready: VecDeque<Pending>,
    pub segments: BTreeMap<u64, Segment>,
    pub logs: BTreeMap<LogKey, Log>,
    /// Of the logs whose code changes records.
    pub record_steps: BTreeMap<LogKey, Rc<RecordSteps>>,
    pub stores: BTreeMap<u32, Store<E>>,
    /// Applied view: prepared and not decided.
    pub prepared: BTreeMap<TxnKey, Waiting>,
    /// Appended view of the same: what may be committed or aborted.
    pub announced: BTreeMap<TxnKey, u32>,
    pub waiters: BTreeMap<Index, SmallVec<[Waker; 2]>>,
    pub poison: Option<Error>,
    pub closing: bool,
    /// The writer waits for memory.
    pub full: bool,
    pub mutant: Option<Mutant>,
    pub stats: super::Stats,
}

impl Log {
    /// A log recovered from what a directory says.
    pub fn at(floor: u64, time_ms: u64) -> Log {
        Log {
            floor,
            floor_time_ms: time_ms,
            applied_end: floor,
            appended_end: floor,
            last_time_ms: time_ms,
            ..Log::default()
        }
    }

    /// Durable end and last time of this log when `segment` ended.
    fn end_at(&self, segment: u64) -> (u64, u64) {
        let after = self
            .places
            .partition_point(|place| place.segment <= segment);
        match after.checked_sub(1).and_then(|at| self.places.get(at)) {
            Some(place) => (place.end, place.last_time_ms),
            None => (self.floor, self.floor_time_ms),
        }
    }

    /// Takes note of durable records.
    pub fn on_append(&mut self, segment: u64, first: u64, count: u32, time_ms: u64) {
        let end = first + u64::from(count);
        match self.places.back_mut() {
            Some(place) if place.segment == segment => {
                assert_eq!(place.end, first, "offsets of a log are dense");
                place.end = end;
                place.last_time_ms = time_ms;
            }
            _ => self.places.push_back(Place {
                segment,
                first,
                end,
                last_time_ms: time_ms,
            }),
        }
    }

    /// Forgets the places of segments up to `segment`.
    fn forget_until(&mut self, segment: u64) {
        while let Some(place) = self.places.front().filter(|p| p.segment <= segment) {
            (self.floor, self.floor_time_ms) = (place.end, place.last_time_ms);
            self.places.pop_front();
        }
        self.start = self.start.max(self.floor);
    }
}

impl<E: Env> State<E> {
    /// `Ok` while appends may come.
    pub fn check_open(&self) -> Result<()> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        if self.closing {
            let dir = self.log_dir.clone();
            return Err(Error::Closed { dir });
        }
        Ok(())
    }

    /// Takes note of a durable entry, which is already in its segment's body.
    pub fn on_durable(&mut self, entry: Pending, epoch: u64) {
        let Pending { index, segment, .. } = entry;
        let id = segment;
        let segment = self
            .segments
            .get_mut(&id)
            .expect("entries are written to a known segment");
        segment.on_entry(index, epoch, entry.crc);
        for effect in &entry.effects {
            note(effect, index, segment);
            if let Effect::Append {
                partition,
                log,
                time_ms,
                first,
                count,
                ..
            } = *effect
            {
                let log = self.logs.entry((partition, log)).or_default();
                log.on_append(id, first, count, time_ms);
            }
        }
        self.durable = index;
        self.ready.push_back(entry);
    }

    /// Applies the next durable entry.
    pub fn apply_next(&mut self, witness: &mut Witness<'_>) -> Result<()> {
        let Some(entry) = self.ready.pop_front() else {
            return Ok(());
        };
        for effect in entry.effects {
            self.show(&effect, witness);
            self.apply_effect(entry.index, entry.segment, effect)?;
        }
        self.applied = entry.index;
        Ok(())
    }

    /// Shows the writes that an operation is about to make.
    fn show(&self, effect: &Effect, witness: &mut Witness<'_>) {
        match effect {
            Effect::Write { partition, batch } => witness(*partition, batch),
            Effect::Commit { key } => {
                if let Some(waiting) = self.prepared.get(key) {
                    witness(key.0, &waiting.batch);
                }
            }
            _ => {}
        }
    }

    /// Does what an operation says.
    pub fn apply_effect(&mut self, index: Index, segment: u64, effect: Effect) -> Result<()> {
        match effect {
            Effect::Append {
                partition,
                log,
                first,
                count,
                ..
            } => {
                let log = self.logs.entry((partition, log)).or_default();
                log.applied_end = first + u64::from(count);
            }
            Effect::Write { partition, batch } => {
                let store = self.store(partition)?;
                if index > store.persisted() {
                    let batch = store.present(batch, index)?;
                    self.write(partition, &batch, index)?;
                }
            }
            Effect::Prepare {
                key,
                attempt,
                batch,
            } => {
                self.drop_prepared(key);
                // Its commit may come after a change of code: it is of the code that prepared it.
                let batch = self.store(key.0)?.present(batch, index)?;
                let old = self.store(key.0)?.await_old(index);
                let waiting = Waiting {
                    attempt,
                    old,
                    segment,
                    batch,
                };
                self.prepared.insert(key, waiting);
                // Only now: an earlier transaction of this name may have been open until here.
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment.open.insert(key);
                }
            }
            Effect::Commit { key } => self.commit(key, index)?,
            Effect::Abort { key, attempt } => {
                if self
                    .prepared
                    .get(&key)
                    .is_some_and(|p| p.attempt == attempt)
                {
                    self.drop_prepared(key);
                }
            }
            Effect::Trim {
                partition,
                log,
                before,
            } => {
                let log = self.logs.entry((partition, log)).or_default();
                log.start = log.start.max(before.min(log.applied_end));
            }
        }
        Ok(())
    }

    fn write(&mut self, partition: u32, batch: &WriteBatch, index: Index) -> Result<()> {
        let store = self.store(partition)?;
        if index <= store.persisted() {
            return Ok(());
        }
        store.apply(batch, index);
        Ok(())
    }

    fn commit(&mut self, key: TxnKey, index: Index) -> Result<()> {
        let Some(waiting) = self.prepared.remove(&key) else {
            // Only in replay: the segment of the writes is gone because a table holds them.
            return match index <= self.store(key.0)?.persisted() {
                true => Ok(()),
                false => Err(Error::UnknownTransaction {
                    partition: key.0,
                    slot: key.1,
                    txn: key.2,
                }),
            };
        };
        if let Some(segment) = self.segments.get_mut(&waiting.segment) {
            segment.open.remove(&key);
            segment.on_write(key.0, index);
        }
        if waiting.old {
            self.store(key.0)?.settle_old(Some(index));
        }
        self.write(key.0, &waiting.batch, index)
    }

    /// Forgets prepared writes.
    pub fn drop_prepared(&mut self, key: TxnKey) {
        let Some(waiting) = self.prepared.remove(&key) else {
            return;
        };
        if waiting.old
            && let Some(store) = self.stores.get(&key.0)
        {
            store.settle_old(None);
        }
        if let Some(segment) = self.segments.get_mut(&waiting.segment) {
            segment.open.remove(&key);
        }
    }

    /// The store of a partition.
    pub fn store(&self, partition: u32) -> Result<&Store<E>> {
        self.stores
            .get(&partition)
            .ok_or(Error::UnknownPartition(partition))
    }

    /// The applied records of a log.
    pub fn log_range(&self, key: LogKey) -> Range<u64> {
        let log = self.logs.get(&key);
        log.map_or(0..0, |log| log.start..log.applied_end)
    }

    /// The bounds of every log when segment `id` ended: what its footer lists.
    pub fn bounds_at(&self, id: u64) -> BTreeMap<LogKey, LogBounds> {
        let bounds = |log: &Log| {
            let (end, last_time_ms) = log.end_at(id);
            LogBounds {
                start: log.start.min(end),
                end,
                last_time_ms,
            }
        };
        self.logs
            .iter()
            .map(|(key, log)| (*key, bounds(log)))
            .collect()
    }

    /// The place that holds `offset`, which must be in the applied range.
    pub fn place(&self, key: LogKey, offset: u64) -> Option<Place> {
        let log = self.logs.get(&key)?;
        let at = log.places.partition_point(|place| place.end <= offset);
        log.places
            .get(at)
            .copied()
            .filter(|place| place.first <= offset)
    }

    /// Up to `N` append operations from the one that holds `from` on, as far as they are warm.
    pub fn pieces<const N: usize>(&self, key: LogKey, from: u64) -> SmallVec<[Piece; N]> {
        let mut pieces = SmallVec::new();
        let mut next = from;
        while let Some(place) = self.place(key, next) {
            let Some((segment, span)) = self
                .segments
                .get(&place.segment)
                .and_then(|segment| Some((segment, segment.spans.get(&key)?)))
            else {
                return pieces;
            };
            let map = match &segment.body {
                Body::Mapped(mapping) => Some(mapping),
                _ => None,
            };
            for op in span.op_of(next, map)..span.op_count() {
                if pieces.len() == N {
                    return pieces;
                }
                let position = span.op(op, map).map(|(_, position)| position);
                let bytes = position.and_then(|at| Some((at, segment.bytes_at(at)?)));
                let Some((position, bytes)) = bytes else {
                    return pieces;
                };
                pieces.push(Piece {
                    bytes,
                    segment: segment.id,
                    position,
                });
            }
            next = place.end;
        }
        pieces
    }

    /// The oldest segment, if nothing needs it any more.
    pub fn removable(&self) -> Option<u64> {
        let newest_sealed = self
            .segments
            .values()
            .rev()
            .find(|segment| segment.sealed)?
            .id;
        let (id, segment) = self.segments.first_key_value()?;
        let unflushed = segment.stores.iter().any(|(partition, index)| {
            let store = self.stores.get(partition);
            store.is_some_and(|store| store.persisted() < *index)
        });
        let unflushed = unflushed && self.mutant != Some(Mutant::RemoveUnflushed);
        let open = !segment.open.is_empty() && self.mutant != Some(Mutant::RemovePrepared);
        let read = segment.spans.iter().any(|(key, span)| {
            let log = self.logs.get(key);
            log.is_some_and(|log| log.start < span.end)
        });
        let applied = segment.chain.last_index <= self.applied;
        let free = segment.sealed && *id < newest_sealed && applied;
        (free && !unflushed && !open && !read).then_some(*id)
    }

    /// Forgets a segment whose file is gone.
    pub fn forget(&mut self, id: u64) {
        self.segments.remove(&id);
        for log in self.logs.values_mut() {
            log.forget_until(id);
        }
    }

    /// The oldest segment that is complete, applied and without a footer.
    pub fn sealable(&self) -> Option<u64> {
        let (active, _) = self.segments.last_key_value()?;
        let segment = self.segments.values().find(|segment| !segment.sealed)?;
        let complete = segment.id < *active && segment.chain.last_index <= self.applied;
        complete.then_some(segment.id)
    }

    /// Transactions that are prepared and not decided.
    pub fn undecided(&self) -> Vec<Prepared> {
        let prepared = self.prepared.iter().map(|(key, waiting)| Prepared {
            partition: key.0,
            slot: key.1,
            txn: key.2,
            attempt: waiting.attempt,
        });
        prepared.collect()
    }

    /// Memory of writes that are in no table, and of segments that could be sealed. All of it can
    /// be made free without anything else becoming durable or applied.
    pub fn memory_bytes(&self) -> u64 {
        let tails = self.segments.values().rev().skip(1);
        let tails = tails.take_while(|segment| matches!(segment.body, Body::Tail(_)));
        let tails = tails.filter(|segment| segment.chain.last_index <= self.applied);
        let tails: u64 = tails.map(|tail| u64::from(tail.chain.entries_end)).sum();
        self.stores_bytes() + tails
    }

    fn stores_bytes(&self) -> u64 {
        let bytes = self
            .stores
            .values()
            .map(|store| store.memory_bytes() as u64);
        bytes.sum()
    }

    /// The largest store, when all together take more memory than `most`.
    pub fn crowding(&self, most: u64) -> Option<Store<E>> {
        let largest = self
            .stores
            .values()
            .max_by_key(|store| store.memory_bytes());
        largest.filter(|_| self.stores_bytes() > most).cloned()
    }

    /// The file of a segment.
    pub fn path_of(&self, segment: u64) -> PathBuf {
        path_of(&self.log_dir, segment)
    }
}

/// Enters an operation in the lists of its segment.
pub(crate) fn note(effect: &Effect, index: Index, segment: &mut Segment) {
    let txn = |step, key, attempt| TxnRecord {
        step,
        key,
        attempt,
        index,
    };
    match effect {
        Effect::Append {
            partition,
            log,
            time_ms,
            first,
            count,
            position,
        } => segment.on_append((*partition, *log), *first, *count, *time_ms, *position),
        Effect::Write { partition, .. } => segment.on_write(*partition, index),
        Effect::Prepare { key, attempt, .. } => {
            segment.on_txn(txn(TxnStep::Prepared, *key, *attempt));
        }
        Effect::Commit { key } => {
            segment.on_txn(txn(TxnStep::Committed, *key, 0));
            segment.on_write(key.0, index);
        }
        Effect::Abort { key, attempt } => {
            segment.on_txn(txn(TxnStep::Aborted, *key, *attempt));
        }
        Effect::Trim { .. } => {}
    }
}
