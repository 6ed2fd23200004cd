//! The layout of a replog entry: a checked header and a payload of physical operations.
//!
//! Relies on [`crate::ids`]. The same bytes lie on disk and travel to followers. What must stay
//! true: every field is little-endian at a fixed place (golden test), an entry names its own
//! segment and position, both checksums are verified before a field is believed, and the crc of
//! the previous header chains the entries, so that a lost or misplaced write is seen.
//!
//! ```text
//! header (56)  0 crc of 4..56 | 4 magic | 8 payload length | 12 payload crc | 16 previous crc
//!              20 start of its write | 24 position | 28 op count | 32 segment | 40 epoch | 48 index
//! op     (24)  0 kind | 1 zero | 2 log or slot | 4 partition | 8 body length
//!              12 count or attempt | 16 time, transaction or offset | 24 body, zero-padded to 8
//! append body  0 first offset | 8 one u32 end per record | record bytes
//! ```

mod records;

use crate::ids::{Index, LogId};

pub use records::Records;

/// Length of an entry header.
pub const HEADER_BYTES: usize = 56;
/// Length of an operation header.
pub const OP_BYTES: usize = 24;
/// Entries and operations begin at multiples of this.
pub const ENTRY_ALIGN: usize = 8;
/// The longest payload of one entry: 256 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"RmE1");
const KIND_APPEND: u8 = 1;
const KIND_WRITE: u8 = 2;
const KIND_PREPARE: u8 = 3;
const KIND_COMMIT: u8 = 4;
const KIND_ABORT: u8 = 5;
const KIND_TRIM: u8 = 6;
const FIRST_OFFSET_BYTES: usize = 8;

const _: () = assert!(HEADER_BYTES.is_multiple_of(ENTRY_ALIGN));
const _: () = assert!(OP_BYTES.is_multiple_of(ENTRY_ALIGN));
const _: () = assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);

/// CRC-32C of `bytes`, in hardware where there is some.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// `length` rounded up to the next multiple of [`ENTRY_ALIGN`].
pub const fn padded(length: usize) -> usize {
    length.next_multiple_of(ENTRY_ALIGN)
}

/// What makes bytes unacceptable as an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// Fewer bytes than the layout needs.
    #[error("{what} needs {expected} bytes, found {found}")]
    Short {
        /// The part that is cut off.
        what: &'static str,
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A field with a value it cannot have.
    #[error("{what}: expected {expected}, found {found}")]
    Field {
        /// The field.
        what: &'static str,
        /// What it had to be.
        expected: u64,
        /// What it is.
        found: u64,
    },
}

impl BadEntry {
    /// `Ok` when `found` is `expected`.
    pub fn check(what: &'static str, expected: u64, found: u64) -> Result<(), BadEntry> {
        if expected == found {
            return Ok(());
        }
        Err(BadEntry::Field {
            what,
            expected,
            found,
        })
    }

    fn enough(what: &'static str, expected: usize, found: usize) -> Result<(), BadEntry> {
        if expected <= found {
            return Ok(());
        }
        Err(BadEntry::Short {
            what,
            expected: expected as u64,
            found: found as u64,
        })
    }

    /// What was wrong, what was expected and what was found.
    pub fn facts(&self) -> (&'static str, u64, u64) {
        match *self {
            BadEntry::Short {
                what,
                expected,
                found,
            }
            | BadEntry::Field {
                what,
                expected,
                found,
            } => (what, expected, found),
        }
    }
}

/// The head of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload that follow, without padding.
    pub payload_bytes: u32,
    /// CRC-32C of the payload.
    pub payload_crc: u32,
    /// Header crc of the entry before; zero before the first.
    pub previous_crc: u32,
    /// Where in the segment the device write began that carried this entry.
    pub write_start: u32,
    /// Where in the segment this header lies.
    pub position: u32,
    /// Operations in the payload.
    pub op_count: u32,
    /// The segment this entry belongs to.
    pub segment: u64,
    /// The epoch of the leader that wrote it.
    pub epoch: u64,
    /// The place in the replog.
    pub index: Index,
}

impl Header {
    /// Writes the header with its checksum, which is returned: the next entry's `previous_crc`.
    pub fn encode(&self, out: &mut [u8; HEADER_BYTES]) -> u32 {
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &MAGIC.to_le_bytes());
        put(8, &self.payload_bytes.to_le_bytes());
        put(12, &self.payload_crc.to_le_bytes());
        put(16, &self.previous_crc.to_le_bytes());
        put(20, &self.write_start.to_le_bytes());
        put(24, &self.position.to_le_bytes());
        put(28, &self.op_count.to_le_bytes());
        put(32, &self.segment.to_le_bytes());
        put(40, &self.epoch.to_le_bytes());
        put(48, &self.index.0.to_le_bytes());
        let crc = crc32c(&out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads a header and verifies its own checksum. Returns it with that checksum.
    ///
    /// # Errors
    /// [`BadEntry`] when the bytes are too short, carry another magic or a wrong checksum.
    pub fn decode(bytes: &[u8]) -> Result<(Header, u32), BadEntry> {
        BadEntry::enough("entry header", HEADER_BYTES, bytes.len())?;
        let bytes = &bytes[..HEADER_BYTES];
        BadEntry::check("entry magic", u64::from(MAGIC), u64::from(u32_at(bytes, 4)))?;
        let crc = crc32c(&bytes[4..]);
        BadEntry::check(
            "entry header crc",
            u64::from(crc),
            u64::from(u32_at(bytes, 0)),
        )?;
        let header = Header {
            payload_bytes: u32_at(bytes, 8),
            payload_crc: u32_at(bytes, 12),
            previous_crc: u32_at(bytes, 16),
            write_start: u32_at(bytes, 20),
            position: u32_at(bytes, 24),
            op_count: u32_at(bytes, 28),
            segment: u64_at(bytes, 32),
            epoch: u64_at(bytes, 40),
            index: Index(u64_at(bytes, 48)),
        };
        Ok((header, crc))
    }

    /// Bytes from this header to the place where the next entry may begin.
    pub fn stride(&self) -> usize {
        HEADER_BYTES + padded(self.payload_bytes as usize)
    }

    /// The verified payload behind this header, `bytes` beginning with the header.
    ///
    /// # Errors
    /// [`BadEntry`] when the payload is cut off or its checksum is wrong.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], BadEntry> {
        let end = HEADER_BYTES + self.payload_bytes as usize;
        BadEntry::enough("entry payload", end, bytes.len())?;
        let payload = &bytes[HEADER_BYTES..end];
        let found = u64::from(crc32c(payload));
        BadEntry::check("entry payload crc", u64::from(self.payload_crc), found)?;
        Ok(payload)
    }
}

/// One physical operation of an entry. Batches of key-value writes are opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Records added to a log.
    Append {
        /// The partition of the log.
        partition: u32,
        /// The log.
        log: LogId,
        /// Wall clock of the append, milliseconds since the Unix epoch.
        time_ms: u64,
        /// Offset of the first record.
        first_offset: u64,
        /// The records.
        records: Records<'a>,
    },
    /// Key-value writes, applied with the entry.
    Write {
        /// The partition of the store.
        partition: u32,
        /// The encoded batch.
        batch: &'a [u8],
    },
    /// Key-value writes, kept aside until their transaction commits.
    Prepare {
        /// The partition of the store.
        partition: u32,
        /// Who prepares: transactions of different slots are independent.
        slot: u16,
        /// The transaction within the slot.
        txn: u64,
        /// The attempt at the transaction.
        attempt: u32,
        /// The encoded batch.
        batch: &'a [u8],
    },
    /// Applies the prepared writes of a transaction.
    Commit {
        /// The partition of the store.
        partition: u32,
        /// As in [`Op::Prepare`].
        slot: u16,
        /// As in [`Op::Prepare`].
        txn: u64,
    },
    /// Drops the prepared writes of an attempt.
    Abort {
        /// The partition of the store.
        partition: u32,
        /// As in [`Op::Prepare`].
        slot: u16,
        /// As in [`Op::Prepare`].
        txn: u64,
        /// As in [`Op::Prepare`].
        attempt: u32,
    },
    /// Gives up the records of a log before an offset.
    Trim {
        /// The partition of the log.
        partition: u32,
        /// The log.
        log: LogId,
        /// The first offset that stays.
        before: u64,
    },
}

/// The fixed part of an operation.
#[derive(Default)]
struct Raw {
    kind: u8,
    small: u16,
    partition: u32,
    count: u32,
    large: u64,
}

impl Raw {
    /// Writes the operation header; the body must follow and be padded by `finish`.
    fn write(&self, out: &mut Vec<u8>, body_bytes: usize) {
        assert!(
            body_bytes <= PAYLOAD_BYTES_MAX,
            "op body of {body_bytes} bytes"
        );
        out.extend_from_slice(&[self.kind, 0]);
        out.extend_from_slice(&self.small.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&(body_bytes as u32).to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.large.to_le_bytes());
    }

    fn write_with(&self, out: &mut Vec<u8>, body: &[u8]) {
        self.write(out, body.len());
        out.extend_from_slice(body);
        pad(out, body.len());
    }
}

/// The place of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendTo {
    /// The partition of the log.
    pub partition: u32,
    /// The log.
    pub log: LogId,
    /// Wall clock of the append, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Offset of the first record.
    pub first_offset: u64,
}

/// Bytes [`encode_append`] will write for these records.
pub fn append_bytes(records: &[&[u8]]) -> usize {
    let bytes: usize = records.iter().map(|record| record.len()).sum();
    OP_BYTES + padded(FIRST_OFFSET_BYTES + records.len() * 4 + bytes)
}

/// Adds an append operation to a payload.
pub fn encode_append(out: &mut Vec<u8>, to: AppendTo, records: &[&[u8]]) {
    let bytes: usize = records.iter().map(|record| record.len()).sum();
    let body_bytes = FIRST_OFFSET_BYTES + records.len() * 4 + bytes;
    let raw = Raw {
        kind: KIND_APPEND,
        small: to.log.0,
        partition: to.partition,
        count: records.len() as u32,
        large: to.time_ms,
    };
    out.reserve(OP_BYTES + padded(body_bytes));
    raw.write(out, body_bytes);
    out.extend_from_slice(&to.first_offset.to_le_bytes());
    let mut end = 0u32;
    for record in records {
        end += record.len() as u32;
        out.extend_from_slice(&end.to_le_bytes());
    }
    for record in records {
        out.extend_from_slice(record);
    }
    pad(out, body_bytes);
}

/// Adds an operation other than an append to a payload.
///
/// # Panics
/// On [`Op::Append`], which is written from separate records by [`encode_append`].
pub fn encode_op(out: &mut Vec<u8>, op: &Op<'_>) {
    match *op {
        Op::Append { .. } => panic!("appends are encoded by encode_append"),
        Op::Write { partition, batch } => {
            Raw {
                kind: KIND_WRITE,
                partition,
                ..Raw::default()
            }
            .write_with(out, batch);
        }
        Op::Prepare {
            partition,
            slot,
            txn,
            attempt,
            batch,
        } => {
            Raw {
                kind: KIND_PREPARE,
                small: slot,
                partition,
                count: attempt,
                large: txn,
            }
            .write_with(out, batch);
        }
        Op::Commit {
            partition,
            slot,
            txn,
        } => {
            Raw {
                kind: KIND_COMMIT,
                small: slot,
                partition,
                count: 0,
                large: txn,
            }
            .write_with(out, &[]);
        }
        Op::Abort {
            partition,
            slot,
            txn,
            attempt,
        } => {
            Raw {
                kind: KIND_ABORT,
                small: slot,
                partition,
                count: attempt,
                large: txn,
            }
            .write_with(out, &[]);
        }
        Op::Trim {
            partition,
            log,
            before,
        } => {
            Raw {
                kind: KIND_TRIM,
                small: log.0,
                partition,
                count: 0,
                large: before,
            }
            .write_with(out, &[]);
        }
    }
}

/// Walks over the operations of a verified payload.
pub struct Ops<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Ops<'a> {
    /// Starts at the first operation.
    pub fn new(payload: &'a [u8]) -> Ops<'a> {
        Ops { payload, at: 0 }
    }
}

impl<'a> Iterator for Ops<'a> {
    /// The operation with its place in the payload.
    type Item = Result<(usize, Op<'a>), BadEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.payload.len() {
            return None;
        }
        let at = self.at;
        match decode_op(&self.payload[at..]) {
            Ok((op, bytes)) => {
                self.at += bytes;
                Some(Ok((at, op)))
            }
            Err(bad) => {
                self.at = self.payload.len();
                Some(Err(bad))
            }
        }
    }
}

/// Reads the operation at the start of `bytes` and says how many bytes it takes with padding.
///
/// # Errors
/// [`BadEntry`] when the bytes are no operation. Never panics, whatever the bytes.
pub fn decode_op(bytes: &[u8]) -> Result<(Op<'_>, usize), BadEntry> {
    BadEntry::enough("op header", OP_BYTES, bytes.len())?;
    let raw = Raw {
        kind: bytes[0],
        small: u16::from_le_bytes([bytes[2], bytes[3]]),
        partition: u32_at(bytes, 4),
        count: u32_at(bytes, 12),
        large: u64_at(bytes, 16),
    };
    let body_bytes = u32_at(bytes, 8) as usize;
    let stride = OP_BYTES + padded(body_bytes);
    BadEntry::enough("op body", stride, bytes.len())?;
    let body = &bytes[OP_BYTES..OP_BYTES + body_bytes];
    Ok((op_of(raw, body)?, stride))
}

fn op_of<'a>(raw: Raw, body: &'a [u8]) -> Result<Op<'a>, BadEntry> {
    let Raw {
        kind,
        small,
        partition,
        count,
        large,
    } = raw;
    Ok(match kind {
        KIND_APPEND => {
            BadEntry::enough("append first offset", FIRST_OFFSET_BYTES, body.len())?;
            Op::Append {
                partition,
                log: LogId(small),
                time_ms: large,
                first_offset: u64_at(body, 0),
                records: Records::decode(&body[FIRST_OFFSET_BYTES..], count as usize)?,
            }
        }
        KIND_WRITE => Op::Write {
            partition,
            batch: body,
        },
        KIND_PREPARE => Op::Prepare {
            partition,
            slot: small,
            txn: large,
            attempt: count,
            batch: body,
        },
        KIND_COMMIT => Op::Commit {
            partition,
            slot: small,
            txn: large,
        },
        KIND_ABORT => Op::Abort {
            partition,
            slot: small,
            txn: large,
            attempt: count,
        },
        KIND_TRIM => Op::Trim {
            partition,
            log: LogId(small),
            before: large,
        },
        _ => {
            let (expected, found) = (u64::from(KIND_TRIM), u64::from(kind));
            return Err(BadEntry::Field {
                what: "op kind",
                expected,
                found,
            });
        }
    })
}

fn pad(out: &mut Vec<u8>, body_bytes: usize) {
    let zeros = [0u8; ENTRY_ALIGN];
    out.extend_from_slice(&zeros[..padded(body_bytes) - body_bytes]);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

#[cfg(test)]
mod tests;
