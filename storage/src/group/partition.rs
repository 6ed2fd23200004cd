//! Reading: the depot logs and the store of one partition.
//!
//! Relies on `state` for the index. A read finds operations under a short borrow, then visits
//! records without one, so that the visitor may do anything. What must stay true: the cost of a
//! read is that of the records it returns, wherever they lie; records beyond `applied` and before
//! the trimmed start are never shown.

use std::ops::Range;
use std::rc::Rc;

use rama_io::Env;
use rama_wire::LogId;
use rama_wire::entry::{BadEntry, Op, decode_op};

use super::records::{RecordProgress, RecordSteps};
use super::state::Piece;
use super::{Shared, seal};
use crate::error::{Error, Result};
use crate::lsm::Store;
use crate::replog::segment::{Body, LogKey};

/// Operations looked up under one borrow.
const PIECES: usize = 64;

/// One partition of a group. Cheap to clone.
pub struct Partition<E: Env> {
    shared: Rc<Shared<E>>,
    id: u32,
    store: Store<E>,
}

impl<E: Env> Clone for Partition<E> {
    fn clone(&self) -> Partition<E> {
        Partition {
            shared: self.shared.clone(),
            id: self.id,
            store: self.store.clone(),
        }
    }
}

/// A record of a depot log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// Its place in the log.
    pub offset: u64,
    /// Wall clock of the append, milliseconds since the Unix epoch; never falls along a log.
    pub append_time_ms: u64,
    /// What was appended, in its present form.
    pub bytes: &'a [u8],
    /// A migration made nothing of it: its offset is all there is left.
    pub vanished: bool,
}

/// How far a read may go.
struct Budget<'a> {
    /// What old records pass.
    steps: Option<&'a RecordSteps>,
    end: u64,
    records: usize,
    bytes: usize,
}

impl<E: Env> Partition<E> {
    pub(super) fn new(shared: Rc<Shared<E>>, id: u32, store: Store<E>) -> Partition<E> {
        Partition { shared, id, store }
    }

    /// The number of this partition.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The key-value store.
    pub fn store(&self) -> &Store<E> {
        &self.store
    }

    /// The records that may be read: from the first that is not trimmed to the last applied.
    pub fn log_range(&self, log: LogId) -> Range<u64> {
        self.shared.state.borrow().log_range((self.id, log))
    }

    /// The offset that the next appended record will get.
    pub fn log_appended_end(&self, log: LogId) -> u64 {
        let state = self.shared.state.borrow();
        let log = state.logs.get(&(self.id, log));
        log.map_or(0, |log| log.appended_end)
    }

    /// Visits records from offset `from` on: at most `max_records`, and no more once `max_bytes`
    /// are reached (the first record is visited whatever its size). Visits nothing at the end of
    /// the log. The visitor may use the group.
    ///
    /// # Errors
    /// [`Error::Cold`] when the first record is in a segment that is not in memory – call
    /// [`Partition::warm_log`] and try again; this happens only after a restart. A read that meets
    /// such a segment later just ends there. [`Error::OutOfRange`] for a trimmed or future offset.
    pub fn read_log(
        &self,
        log: LogId,
        from: u64,
        max_records: usize,
        max_bytes: usize,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> Result<()> {
        let key = (self.id, log);
        let range = self.check_range(key, from)?;
        let steps = self.record_steps(key, from);
        let mut budget = Budget {
            steps: steps.as_deref(),
            end: range.end,
            records: max_records,
            bytes: max_bytes,
        };
        let mut next = from;
        while next < budget.end && budget.records > 0 {
            let pieces = self.shared.state.borrow().pieces::<PIECES>(key, next);
            if pieces.is_empty() && next == from {
                return Err(Error::Cold {
                    partition: self.id,
                    log,
                    offset: from,
                });
            }
            if pieces.is_empty() {
                return Ok(());
            }
            for piece in &pieces {
                next = self.visit_piece(piece, next, &mut budget, visit)?;
            }
        }
        Ok(())
    }

    fn check_range(&self, key: LogKey, offset: u64) -> Result<Range<u64>> {
        let range = self.shared.state.borrow().log_range(key);
        if (range.start..=range.end).contains(&offset) {
            return Ok(range);
        }
        Err(Error::OutOfRange {
            partition: key.0,
            log: key.1,
            offset,
            start: range.start,
            end: range.end,
        })
    }

    fn visit_piece(
        &self,
        piece: &Piece,
        mut next: u64,
        budget: &mut Budget<'_>,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> Result<u64> {
        let op = decode_op(piece.bytes.from(piece.position));
        let (op, _) = op.map_err(|bad| self.corrupt(piece, &bad))?;
        let Op::Append {
            time_ms,
            first_offset,
            records,
            ..
        } = op
        else {
            let bad = BadEntry::Field {
                what: "kind of an indexed op",
                expected: 1,
                found: 0,
            };
            return Err(self.corrupt(piece, &bad));
        };
        while next < budget.end && budget.records > 0 {
            let at = next.saturating_sub(first_offset) as usize;
            if at >= records.len() {
                break;
            }
            let bytes = records.get(at);
            let record = LogRecord {
                offset: next,
                append_time_ms: time_ms,
                bytes,
                vanished: false,
            };
            match budget.steps {
                None => visit(record),
                Some(steps) => steps.show(record, visit)?,
            }
            next += 1;
            budget.bytes = budget.bytes.saturating_sub(bytes.len());
            budget.records = match budget.bytes {
                0 => 0,
                _ => budget.records - 1,
            };
        }
        Ok(next)
    }

    /// What records of a log from an offset on may have to pass.
    fn record_steps(&self, key: LogKey, from: u64) -> Option<Rc<RecordSteps>> {
        let state = self.shared.state.borrow();
        let steps = state.record_steps.get(&key)?;
        (from < steps.end()).then(|| steps.clone())
    }

    /// How far each migration of records is.
    pub fn record_migrations(&self) -> Vec<RecordProgress> {
        let state = self.shared.state.borrow();
        let own = state
            .record_steps
            .iter()
            .filter(|((id, _), _)| *id == self.id);
        let progress = own.flat_map(|(key, steps)| {
            let range = state.log_range(*key);
            steps.iter().map(move |(step, end)| RecordProgress {
                log: key.1,
                id: step.id.clone(),
                left: (*end).min(range.end).saturating_sub(range.start),
                records: range.end - range.start,
            })
        });
        progress.collect()
    }

    fn corrupt(&self, piece: &Piece, bad: &BadEntry) -> Error {
        let path = self.shared.state.borrow().path_of(piece.segment);
        Error::corrupt(&path, u64::from(piece.position), bad)
    }

    /// Brings the segment that holds `offset` into memory and verifies it; at once when it is.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Io`]; [`Error::OutOfRange`].
    pub async fn warm_log(&self, log: LogId, offset: u64) -> Result<()> {
        let key = (self.id, log);
        self.check_range(key, offset)?;
        let cold = {
            let state = self.shared.state.borrow();
            let place = state.place(key, offset);
            let segment = place.and_then(|place| state.segments.get(&place.segment));
            let cold = segment.filter(|segment| matches!(segment.body, Body::Cold));
            cold.map(|segment| segment.id)
        };
        match cold {
            Some(id) => seal::warm(&self.shared, id).await.map(drop),
            None => Ok(()),
        }
    }

    /// [`Partition::read_log`] after [`Partition::warm_log`]: never answers [`Error::Cold`].
    ///
    /// # Errors
    /// As these two.
    pub async fn read_log_warm(
        &self,
        log: LogId,
        from: u64,
        max_records: usize,
        max_bytes: usize,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> Result<()> {
        self.warm_log(log, from).await?;
        self.read_log(log, from, max_records, max_bytes, visit)
    }

    /// The first readable offset whose append time is at least `time_ms`; the end of the log when
    /// there is none. A binary search: over segments in memory, then over one segment (spec S-22).
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Io`] from reading that segment.
    pub async fn offset_at_time(&self, log: LogId, time_ms: u64) -> Result<u64> {
        let key = (self.id, log);
        let range = self.log_range(log);
        let place = {
            let state = self.shared.state.borrow();
            let places = state.logs.get(&key).map(|log| &log.places);
            places.and_then(|places| {
                let at = places.partition_point(|place| place.last_time_ms < time_ms);
                places.get(at).copied()
            })
        };
        let Some(place) = place else {
            return Ok(range.end);
        };
        let within = place.first.max(range.start);
        if within >= range.end {
            return Ok(range.end);
        }
        self.warm_log(log, within).await?;
        let state = self.shared.state.borrow();
        let Some(segment) = state.segments.get(&place.segment) else {
            return Ok(range.end);
        };
        let Some(span) = segment.spans.get(&key) else {
            return Ok(range.end);
        };
        let map = match &segment.body {
            Body::Mapped(mapping) => Some(mapping),
            _ => None,
        };
        let op = span.partition_point(map, |_, position| {
            let bytes = segment.bytes_at(position);
            let time = bytes.and_then(|bytes| match decode_op(bytes.from(position)) {
                Ok((Op::Append { time_ms, .. }, _)) => Some(time_ms),
                _ => None,
            });
            time.is_some_and(|time| time < time_ms)
        });
        let first = span
            .op(op, map)
            .map(|(first, _)| span.first + u64::from(first));
        Ok(first.unwrap_or(span.end).clamp(range.start, range.end))
    }
}
