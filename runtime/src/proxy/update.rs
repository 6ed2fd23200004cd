//! What a task tells the followers of a path, and its bytes.
//!
//! ```text
//! update   version u8 = 1 | kind u8 | checksum u64 | body
//! 0 resync, 1 evaluated   the answer to the plan, as `plan` lays it out
//! 2 changes               count u32 | changes: 0, key | 1, key, value; a u32 length each
//! ```
//! All numbers are little endian. Relies on the rows of `plan`. What must stay true: bytes come
//! from the network, so nothing is believed before it is checked; the checksum is that of the whole
//! value after the update, made from what the task has stored, so that a follower who missed
//! anything finds out (P-43).

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const VERSION: u8 = 1;

/// News of one followed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// The whole value.
    Whole {
        why: Whole,
        checksum: u64,
        /// What the plan answers.
        answer: Vec<u8>,
    },
    /// What one commit changed, in order of keys.
    Changes { checksum: u64, changes: Vec<Change> },
}

/// Why a whole value is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// A new follower, or one that lost something.
    Resync,
    /// It changed, and is no kind of value whose parts are told.
    Evaluated,
}

/// A row of the value as it is now; `None` when it is gone.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// The bytes of an update make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not read an update of a proxy: {0}")]
pub(crate) struct BadUpdate(pub(crate) &'static str);

/// What a row adds to the checksum of a value that consists of rows.
pub(crate) fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(key))
}

/// The checksum of a value that is one answer.
pub(crate) fn answer_hash(answer: &[u8]) -> u64 {
    xxh3_64(answer)
}

impl Update {
    /// What it holds on to, about.
    pub(crate) fn size(&self) -> usize {
        match self {
            Update::Whole { answer, .. } => answer.len(),
            Update::Changes { changes, .. } => {
                let size = |(key, value): &Change| key.len() + value.as_ref().map_or(0, Vec::len);
                changes.iter().map(size).sum()
            }
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Update::Whole {
                why,
                checksum,
                answer,
            } => {
                out.push(match why {
                    Whole::Resync => 0,
                    Whole::Evaluated => 1,
                });
                out.extend(checksum.to_le_bytes());
                out.extend(answer);
            }
            Update::Changes { checksum, changes } => {
                out.push(2);
                out.extend(checksum.to_le_bytes());
                out.extend((changes.len() as u32).to_le_bytes());
                for (key, value) in changes {
                    out.push(u8::from(value.is_some()));
                    for part in [Some(key), value.as_ref()].into_iter().flatten() {
                        out.extend((part.len() as u32).to_le_bytes());
                        out.extend(part);
                    }
                }
            }
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Update, BadUpdate> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return Err(BadUpdate("an unknown version"));
        }
        let kind = input.byte()?;
        let checksum = u64::from_le_bytes(input.array()?);
        let why = match kind {
            0 => Whole::Resync,
            1 => Whole::Evaluated,
            2 => return input.changes(checksum),
            _ => return Err(BadUpdate("an unknown kind")),
        };
        let answer = input.0.to_vec();
        Ok(Update::Whole {
            why,
            checksum,
            answer,
        })
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], BadUpdate> {
        let missing = BadUpdate("its end is missing");
        let (head, rest) = self.0.split_at_checked(len).ok_or(missing)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadUpdate> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, BadUpdate> {
        Ok(self.take(1)?[0])
    }

    fn part(&mut self) -> Result<Vec<u8>, BadUpdate> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        Ok(self.take(len)?.to_vec())
    }

    fn changes(mut self, checksum: u64) -> Result<Update, BadUpdate> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        // Each has at least a tag and a length: a count that cannot be true reserves nothing.
        let mut changes = Vec::with_capacity(count.min(self.0.len() / 5));
        for _ in 0..count {
            let there = self.byte()?;
            let key = self.part()?;
            let value = match there {
                0 => None,
                1 => Some(self.part()?),
                _ => return Err(BadUpdate("an unknown kind of change")),
            };
            changes.push((key, value));
        }
        match self.0 {
            [] => Ok(Update::Changes { checksum, changes }),
            _ => Err(BadUpdate("bytes after its end")),
        }
    }
}

#[cfg(test)]
mod tests;
