//! Which numbered appends a task has taken: an append that is sent again is not appended again.
//!
//! Relies on being stored in the entry of the append itself, so that both are durable or neither is.
//! A program outside has an id of its own and numbers its appends to each partition from 1; it sends
//! again what was not answered when a link broke. Of each program and partition the last [`KEPT`]
//! numbers are known with their offsets, also after a restart. What must stay true: a number is
//! taken once; what is too old to be known is never taken, and never said to be taken.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rama_storage::lsm::{Order, Read, WriteBatch};
use rama_wire::{Index, LogId, SpaceId};

use crate::error::{Error, ErrorKind, Result};
use crate::system_keys;

/// Numbers of a program and partition that are remembered: at least as many appends as it may have
/// under way to one partition.
pub(crate) const KEPT: u64 = 256;

/// Programs remembered per task; the one that was silent for longest is forgotten for a new one.
const PROGRAMS_MAX: usize = 4096;

/// The name of an append: who made it, and which of theirs to this partition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) producer: u64,
    pub(crate) sequence: u64,
}

/// What is to be done with a numbered append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was not taken.
    New,
    /// It was taken, at this offset; durable once this entry is.
    Taken { offset: u64, index: Index },
    /// It is so old that nobody knows.
    Forgotten,
}

/// A program's appends to one depot partition.
#[derive(Debug, Default)]
struct Program {
    last: u64,
    /// Offsets by number; the newest `KEPT`.
    taken: BTreeMap<u64, u64>,
    /// The entry of the newest.
    index: Index,
    /// Grows with each use, over all programs.
    used: u64,
}

/// The appends that one task knows.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    programs: BTreeMap<(LogId, u64), Program>,
    uses: u64,
}

impl Producers {
    /// What is stored on a task.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    pub(crate) fn load(store: &impl Read) -> Result<Producers> {
        let mut producers = Producers::default();
        let mut bad = None;
        let (lo, hi) = system_keys::APPENDS;
        let mut visit = |key: &[u8], value: &[u8]| {
            match system_keys::parse_append(key).zip(decode(value)) {
                Some(((log, producer), (sequence, offset))) => {
                    producers.note(log, Numbered { producer, sequence }, offset);
                }
                None => bad = Some(key.to_vec()),
            }
            ControlFlow::Continue(())
        };
        store.scan(SpaceId::SYSTEM, lo, Some(hi), Order::Ascending, &mut visit)?;
        match bad {
            None => Ok(producers),
            Some(key) => {
                let text = format!("could not read the number of an append at {key:?}");
                Err(Error::new(ErrorKind::Corrupt, text))
            }
        }
    }

    /// What is to be done with an append.
    pub(crate) fn judge(&self, log: LogId, numbered: Numbered) -> Verdict {
        let Some(program) = self.programs.get(&(log, numbered.producer)) else {
            return Verdict::New;
        };
        match program.taken.get(&numbered.sequence) {
            Some(&offset) => Verdict::Taken {
                offset,
                index: program.index,
            },
            None if numbered.sequence + KEPT <= program.last => Verdict::Forgotten,
            None => Verdict::New,
        }
    }

    /// What is stored together with an append that is taken at `offset`.
    pub(crate) fn writes(&self, log: LogId, numbered: Numbered, offset: u64) -> WriteBatch {
        let mut batch = WriteBatch::new();
        let Numbered { producer, sequence } = numbered;
        if !self.programs.contains_key(&(log, producer))
            && self.programs.len() >= PROGRAMS_MAX
            && let Some(&(log, producer)) = self.oldest()
        {
            let (lo, hi) = system_keys::appends_of(log, producer);
            batch.delete_range(SpaceId::SYSTEM, &lo, &hi);
        }
        let key = system_keys::append(log, producer, sequence % KEPT);
        let mut value = [0; 16];
        value[..8].copy_from_slice(&sequence.to_le_bytes());
        value[8..].copy_from_slice(&offset.to_le_bytes());
        batch.put(SpaceId::SYSTEM, &key, &value);
        batch
    }

    /// It was taken: the entry `index` holds it, and its [`Producers::writes`].
    pub(crate) fn take(&mut self, log: LogId, numbered: Numbered, offset: u64, index: Index) {
        let key = (log, numbered.producer);
        if !self.programs.contains_key(&key)
            && self.programs.len() >= PROGRAMS_MAX
            && let Some(&oldest) = self.oldest()
        {
            self.programs.remove(&oldest);
        }
        self.note(log, numbered, offset);
        if let Some(program) = self.programs.get_mut(&key) {
            program.index = index;
        }
    }

    fn note(&mut self, log: LogId, numbered: Numbered, offset: u64) {
        self.uses += 1;
        let program = self.programs.entry((log, numbered.producer)).or_default();
        program.used = self.uses;
        program.last = program.last.max(numbered.sequence);
        program.taken.insert(numbered.sequence, offset);
        let known = program.last.saturating_sub(KEPT) + 1;
        program.taken = program.taken.split_off(&known);
    }

    fn oldest(&self) -> Option<&(LogId, u64)> {
        let programs = self.programs.iter();
        let oldest = programs.min_by_key(|(_, program)| program.used);
        oldest.map(|(key, _)| key)
    }
}

fn decode(value: &[u8]) -> Option<(u64, u64)> {
    let (sequence, offset) = value.split_at_checked(8)?;
    let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    Some((number(sequence)?, number(offset)?))
}
