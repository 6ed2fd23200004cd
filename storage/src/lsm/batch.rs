//! A list of writes in the form in which it is logged, replayed and applied.
//!
//! Relies on nothing. What must stay true: the encoding is fixed (storage/FORMAT.md, golden test);
//! decoding is checked once as a whole, and iterating a checked batch cannot fail.
//!
//! ```text
//! op           0 kind (1 put, 2 delete, 3 delete range, 4 clear) | 1 space, u16 LE
//! put          varint key length | varint value length | key | value
//! delete       varint key length | key
//! delete range varint lo length | varint hi length | lo | hi
//! clear        nothing more
//! ```

use rama_wire::SpaceId;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;
const CLEAR: u8 = 4;

/// The longest key a store takes, in bytes.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// The longest value a store takes, in bytes.
pub const VALUE_BYTES_MAX: usize = 256 << 20;

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Sets a key.
    Put {
        /// The PState.
        space: SpaceId,
        /// The key.
        key: &'a [u8],
        /// Its new value.
        value: &'a [u8],
    },
    /// Removes a key.
    Delete {
        /// The PState.
        space: SpaceId,
        /// The key.
        key: &'a [u8],
    },
    /// Removes every key with `lo <= key < hi`.
    DeleteRange {
        /// The PState.
        space: SpaceId,
        /// The first key that goes.
        lo: &'a [u8],
        /// The first key above that stays.
        hi: &'a [u8],
    },
    /// Removes every key of a space.
    Clear {
        /// The PState.
        space: SpaceId,
    },
}

impl Op<'_> {
    /// The PState.
    pub fn space(&self) -> SpaceId {
        match *self {
            Op::Put { space, .. }
            | Op::Delete { space, .. }
            | Op::DeleteRange { space, .. }
            | Op::Clear { space } => space,
        }
    }
}

/// Why bytes are not a write batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct BatchError {
    /// What is wrong.
    pub problem: &'static str,
    /// Where.
    pub offset: usize,
}

/// Writes in order, owned and already encoded. Later writes win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    bytes: Vec<u8>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Checks and copies an encoded batch.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`WriteBatch::as_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<WriteBatch, BatchError> {
        Batch::parse(bytes)?;
        Ok(WriteBatch {
            bytes: bytes.to_vec(),
        })
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded form, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// True when it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds: set `key` to `value`.
    ///
    /// # Panics
    /// When the key is over 64 KiB - 1 or the value over 256 MiB.
    pub fn put(&mut self, space: SpaceId, key: &[u8], value: &[u8]) {
        assert!(
            key.len() <= KEY_BYTES_MAX,
            "a key has at most {KEY_BYTES_MAX} bytes"
        );
        assert!(
            value.len() <= VALUE_BYTES_MAX,
            "a value has at most {VALUE_BYTES_MAX} bytes"
        );
        self.bytes.reserve(key.len() + value.len() + 10);
        self.head(PUT, space);
        self.varint(key.len());
        self.varint(value.len());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// Adds: remove `key`.
    ///
    /// # Panics
    /// When the key is over 64 KiB - 1.
    pub fn delete(&mut self, space: SpaceId, key: &[u8]) {
        assert!(
            key.len() <= KEY_BYTES_MAX,
            "a key has at most {KEY_BYTES_MAX} bytes"
        );
        self.head(DELETE, space);
        self.varint(key.len());
        self.bytes.extend_from_slice(key);
    }

    /// Adds: remove every key with `lo <= key < hi`. Nothing when the range is empty.
    ///
    /// # Panics
    /// When a bound is over 64 KiB - 1.
    pub fn delete_range(&mut self, space: SpaceId, lo: &[u8], hi: &[u8]) {
        assert!(
            lo.len() <= KEY_BYTES_MAX,
            "a key has at most {KEY_BYTES_MAX} bytes"
        );
        assert!(
            hi.len() <= KEY_BYTES_MAX,
            "a key has at most {KEY_BYTES_MAX} bytes"
        );
        if lo >= hi {
            return;
        }
        self.head(DELETE_RANGE, space);
        self.varint(lo.len());
        self.varint(hi.len());
        self.bytes.extend_from_slice(lo);
        self.bytes.extend_from_slice(hi);
    }

    /// Adds: remove every key of `space`.
    pub fn clear(&mut self, space: SpaceId) {
        self.head(CLEAR, space);
    }

    /// Adds a write of another batch.
    pub fn add(&mut self, op: Op<'_>) {
        match op {
            Op::Put { space, key, value } => self.put(space, key, value),
            Op::Delete { space, key } => self.delete(space, key),
            Op::DeleteRange { space, lo, hi } => self.delete_range(space, lo, hi),
            Op::Clear { space } => self.clear(space),
        }
    }

    /// Adds every write of `other` after the present ones.
    pub fn append(&mut self, other: &WriteBatch) {
        self.bytes.extend_from_slice(&other.bytes);
    }

    /// The writes in order.
    pub fn ops(&self) -> Batch<'_> {
        Batch { bytes: &self.bytes }
    }

    fn head(&mut self, kind: u8, space: SpaceId) {
        let space = space.0.to_le_bytes();
        self.bytes.extend_from_slice(&[kind, space[0], space[1]]);
    }

    fn varint(&mut self, len: usize) {
        let mut rest = len;
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }
}

/// A checked batch in borrowed bytes; iterates its writes in order.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Checks every byte of an encoded batch.
    ///
    /// # Errors
    /// Names the first byte that cannot be right.
    pub fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let mut rest = Cursor { bytes, at: 0 };
        while rest.at < bytes.len() {
            rest.op()?;
        }
        Ok(Batch { bytes })
    }

    /// True when it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Op<'a>;

    #[inline]
    fn next(&mut self) -> Option<Op<'a>> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut cursor = Cursor {
            bytes: self.bytes,
            at: 0,
        };
        let op = cursor.op().expect("the batch was checked when it was made");
        self.bytes = &self.bytes[cursor.at..];
        Some(op)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn op(&mut self) -> Result<Op<'a>, BatchError> {
        let start = self.at;
        let head = self.take(3)?;
        let space = SpaceId(u16::from_le_bytes([head[1], head[2]]));
        match head[0] {
            PUT => {
                let key = self.len(KEY_BYTES_MAX)?;
                let value = self.len(VALUE_BYTES_MAX)?;
                Ok(Op::Put {
                    space,
                    key: self.take(key)?,
                    value: self.take(value)?,
                })
            }
            DELETE => {
                let key = self.len(KEY_BYTES_MAX)?;
                Ok(Op::Delete {
                    space,
                    key: self.take(key)?,
                })
            }
            DELETE_RANGE => {
                let lo = self.len(KEY_BYTES_MAX)?;
                let hi = self.len(KEY_BYTES_MAX)?;
                Ok(Op::DeleteRange {
                    space,
                    lo: self.take(lo)?,
                    hi: self.take(hi)?,
                })
            }
            CLEAR => Ok(Op::Clear { space }),
            _ => Err(BatchError {
                problem: "unknown kind of write",
                offset: start,
            }),
        }
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], BatchError> {
        let rest = &self.bytes[self.at..];
        if rest.len() < len {
            return Err(BatchError {
                problem: "the batch ends inside a write",
                offset: self.at,
            });
        }
        self.at += len;
        Ok(&rest[..len])
    }

    #[inline]
    fn len(&mut self, max: usize) -> Result<usize, BatchError> {
        let offset = self.at;
        let mut value = 0usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= max {
                    Ok(value)
                } else {
                    Err(BatchError {
                        problem: "length over the limit",
                        offset,
                    })
                };
            }
        }
        Err(BatchError {
            problem: "length over five bytes",
            offset,
        })
    }
}

#[cfg(test)]
mod tests;
