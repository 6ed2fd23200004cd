//! Marks: which letters of a task are open.
//!
//! Relies on the system space of the task. A mark is keyed by the record and names the letter's
//! offset in its depot. What must stay true: a mark is written with its letter and deleted by
//! whoever settles it, in a durable write each.

use rama_io::Env;
use rama_wire::LogId;

use crate::error::{Error, Result};
use crate::system_keys;
use crate::task_thread::Thread;

/// The open letter of a record: the depot the letter is in, the partition and offset of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) log: LogId,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

impl Mark {
    pub(crate) fn key(&self) -> [u8; system_keys::DEAD_LETTER_BYTES] {
        system_keys::dead_letter(self.log, self.partition, self.offset)
    }

    pub(super) fn from_key(key: &[u8]) -> Option<Mark> {
        let key: &[u8; system_keys::DEAD_LETTER_BYTES] = key.try_into().ok()?;
        let (_, key) = key.split_first()?;
        let (log, key) = key.split_first_chunk()?;
        let (partition, offset) = key.split_first_chunk()?;
        Some(Mark {
            log: LogId(u16::from_be_bytes(*log)),
            partition: u32::from_be_bytes(*partition),
            offset: u64::from_be_bytes(offset.try_into().ok()?),
        })
    }

    /// What people call it.
    pub(super) fn id(&self, task: u32) -> String {
        let Mark {
            log: LogId(log),
            partition,
            offset,
        } = self;
        format!("{task}-{log}-{partition}-{offset}")
    }

    /// The task and the mark that an id names.
    pub(crate) fn parse(id: &str) -> Result<(u32, Mark)> {
        let parse = || {
            let mut parts = id.split('-');
            let task = parts.next()?.parse().ok()?;
            let mark = Mark {
                log: LogId(parts.next()?.parse().ok()?),
                partition: parts.next()?.parse().ok()?,
                offset: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some((task, mark))
        };
        parse().ok_or_else(|| {
            Error::invalid(format!(
                "{id:?} is not the id of a dead letter; take ids from their list"
            ))
        })
    }

    /// Where the letter is in its depot, while it is open.
    pub(crate) fn letter<E: Env>(&self, thread: &Thread<E>, task: u32) -> Result<Option<u64>> {
        thread.system_value(task, &self.key(), letter_offset)
    }
}

/// Reads the value of a mark.
pub(super) fn letter_offset(bytes: &[u8]) -> Result<u64, std::array::TryFromSliceError> {
    bytes.try_into().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_from_its_key_and_its_id() {
        let mark = Mark {
            log: LogId(300),
            partition: 7,
            offset: 1 << 50,
        };
        assert_eq!(Mark::from_key(&mark.key()), Some(mark));
        assert_eq!(Mark::parse(&mark.id(3)).unwrap(), (3, mark));
        for wrong in ["", "1-2-3", "1-2-3-4-5", "1-2-3-x", "1-70000-3-4"] {
            assert!(Mark::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Mark::from_key(b"o"), None);
    }
}
