//! The records of one append operation: their bytes side by side, and where each ends.
//!
//! Relies on `super` for the place of the body inside an entry. What must stay true: every end is
//! verified when the operation is decoded, so that reading a record takes constant time and cannot
//! fail.

use super::{BadEntry, u32_at};

/// The records of one append, side by side in the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records<'a> {
    ends: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Records<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 4
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Record `at`, in constant time. The bounds were verified when the operation was decoded.
    pub fn get(&self, at: usize) -> &'a [u8] {
        let start = if at == 0 {
            0
        } else {
            u32_at(self.ends, (at - 1) * 4)
        };
        &self.bytes[start as usize..u32_at(self.ends, at * 4) as usize]
    }

    /// All records in order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).map(move |at| self.get(at))
    }

    pub(super) fn decode(body: &'a [u8], count: usize) -> Result<Records<'a>, BadEntry> {
        BadEntry::enough("append record ends", count.saturating_mul(4), body.len())?;
        let (ends, bytes) = body.split_at(count * 4);
        let mut before = 0;
        for end in ends.chunks_exact(4).map(|end| u32_at(end, 0)) {
            if end < before {
                let (expected, found) = (u64::from(before), u64::from(end));
                return Err(BadEntry::Field {
                    what: "append record end",
                    expected,
                    found,
                });
            }
            before = end;
        }
        BadEntry::check("append record bytes", u64::from(before), bytes.len() as u64)?;
        Ok(Records { ends, bytes })
    }
}
