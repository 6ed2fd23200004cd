//! What a coordinator must find again after a crash: the last decision and the fixed plan.
//!
//! Relies on nothing. One value, always written whole, so that a decision and the plan that
//! follows it are one durable write. The encoding is little-endian with a leading version; decode
//! checks everything it reads. What must stay true: a plan, once durable, keeps its ranges until
//! its id is decided (M-3); an attempt number is reserved durably before it is used, so no number
//! is used twice, not even by two incarnations of the coordinator.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::ids::{Attempt, MicrobatchId, Origin, SourceId};

const VERSION: u8 = 1;

/// The durable state of a coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The last decided id: it is, or will be, committed on every task.
    pub decided: MicrobatchId,
    /// The attempt that was decided.
    pub decided_attempt: Attempt,
    /// Records in all ranges decided since the first launch.
    pub processed: u64,
    /// For each source the offset after the last decided record, per partition.
    pub progress: BTreeMap<SourceId, Vec<u64>>,
    /// The data of id `decided + 1`, when it is fixed.
    pub plan: Option<Plan>,
    /// Whether the topology is paused.
    pub paused: bool,
}

/// Which data belongs to one microbatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Which microbatch.
    pub id: MicrobatchId,
    /// Attempts up to this number may have been started.
    pub reserved: Attempt,
    /// Depot ranges, sorted by source and partition, none empty.
    pub ranges: Vec<SourceRange>,
    /// Records inside the ranges that policy took out, sorted by origin.
    pub excluded: Vec<Excluded>,
    /// Tick sources that fire.
    pub ticks: Vec<SourceId>,
}

/// A range of one source partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRange {
    /// Which source.
    pub source: SourceId,
    /// Which partition.
    pub partition: u32,
    /// First offset.
    pub from: u64,
    /// Offset after the last.
    pub to: u64,
}

/// A record that policy took out of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// Which record.
    pub origin: Origin,
    /// Whether it went to the dead letters (or was skipped).
    pub dead_letter: bool,
}

/// Why bytes are not a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// The format is of another version.
    #[error("could not read a microbatch ledger of version {found}; this program reads {VERSION}")]
    Version {
        /// What the bytes say.
        found: u8,
    },
    /// The bytes end too early, go on too long or hold an impossible value.
    #[error("could not read a microbatch ledger: bad bytes at {at} of {len}")]
    Malformed {
        /// Where.
        at: usize,
        /// Of how many bytes.
        len: usize,
    },
}

impl Ledger {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.paused)];
        put_u64(&mut out, self.decided.0);
        put_u32(&mut out, self.decided_attempt.0);
        put_u64(&mut out, self.processed);
        put_len(&mut out, self.progress.len());
        for (source, offsets) in &self.progress {
            out.extend_from_slice(&source.0.to_le_bytes());
            put_len(&mut out, offsets.len());
            for offset in offsets {
                put_u64(&mut out, *offset);
            }
        }
        out.push(u8::from(self.plan.is_some()));
        if let Some(plan) = &self.plan {
            plan.encode(&mut out);
        }
        out
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// Never trusts the bytes: see [`LedgerError`].
    pub fn decode(bytes: &[u8]) -> Result<Ledger, LedgerError> {
        let mut reader = Reader { bytes, at: 0 };
        let found = reader.u8()?;
        if found != VERSION {
            return Err(LedgerError::Version { found });
        }
        let paused = reader.bool()?;
        let decided = MicrobatchId(reader.u64()?);
        let decided_attempt = Attempt(reader.u32()?);
        let processed = reader.u64()?;
        let mut progress = BTreeMap::new();
        for _ in 0..reader.u32()? {
            let source = SourceId(reader.u16()?);
            let mut offsets = Vec::new();
            for _ in 0..reader.u32()? {
                offsets.push(reader.u64()?);
            }
            progress.insert(source, offsets);
        }
        let plan = if reader.bool()? {
            Some(Plan::decode(&mut reader)?)
        } else {
            None
        };
        if reader.at != bytes.len() {
            return Err(reader.malformed());
        }
        Ok(Ledger {
            decided,
            decided_attempt,
            processed,
            progress,
            plan,
            paused,
        })
    }
}

impl Plan {
    /// Records in the ranges, those taken out by policy included.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.ranges.iter().map(|range| range.to - range.from).sum()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.id.0);
        put_u32(out, self.reserved.0);
        put_len(out, self.ranges.len());
        for range in &self.ranges {
            out.extend_from_slice(&range.source.0.to_le_bytes());
            put_u32(out, range.partition);
            put_u64(out, range.from);
            put_u64(out, range.to);
        }
        put_len(out, self.excluded.len());
        for excluded in &self.excluded {
            out.extend_from_slice(&excluded.origin.source.0.to_le_bytes());
            put_u32(out, excluded.origin.partition);
            put_u64(out, excluded.origin.offset);
            out.push(u8::from(excluded.dead_letter));
        }
        put_len(out, self.ticks.len());
        for tick in &self.ticks {
            out.extend_from_slice(&tick.0.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Plan, LedgerError> {
        let id = MicrobatchId(reader.u64()?);
        let reserved = Attempt(reader.u32()?);
        let mut ranges = Vec::new();
        for _ in 0..reader.u32()? {
            let source = SourceId(reader.u16()?);
            let partition = reader.u32()?;
            let (from, to) = (reader.u64()?, reader.u64()?);
            if from >= to {
                return Err(reader.malformed());
            }
            ranges.push(SourceRange {
                source,
                partition,
                from,
                to,
            });
        }
        let mut excluded = Vec::new();
        for _ in 0..reader.u32()? {
            let source = SourceId(reader.u16()?);
            let partition = reader.u32()?;
            let origin = Origin {
                source,
                partition,
                offset: reader.u64()?,
            };
            excluded.push(Excluded {
                origin,
                dead_letter: reader.bool()?,
            });
        }
        let mut ticks = Vec::new();
        for _ in 0..reader.u32()? {
            ticks.push(SourceId(reader.u16()?));
        }
        Ok(Plan {
            id,
            reserved,
            ranges,
            excluded,
            ticks,
        })
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u32(
        out,
        u32::try_from(len).expect("a plan has far fewer than 2^32 parts"),
    );
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn malformed(&self) -> LedgerError {
        LedgerError::Malformed {
            at: self.at,
            len: self.bytes.len(),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], LedgerError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let Some(chunk) = rest.first_chunk::<N>() else {
            return Err(self.malformed());
        };
        self.at += N;
        Ok(*chunk)
    }

    fn u8(&mut self) -> Result<u8, LedgerError> {
        self.take::<1>().map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Result<u16, LedgerError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, LedgerError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, LedgerError> {
        self.take().map(u64::from_le_bytes)
    }

    fn bool(&mut self) -> Result<bool, LedgerError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed()),
        }
    }
}

#[cfg(test)]
mod tests;
