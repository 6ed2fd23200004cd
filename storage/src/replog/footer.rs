//! The footer of a sealed segment: everything that opening needs, and the index of its logs.
//!
//! Relies on `segment`. The trailer is the last thing in the file and says where the rest lies.
//! What must stay true: a file with a valid trailer is whole and is never written again; opening
//! reads trailer and directory only, so its time does not depend on the length of the log; the
//! index is verified with the entries when the segment is mapped.
//!
//! ```text
//! footer    directory | index | zeros | trailer            (begins and ends on 512 bytes)
//! directory 0 log count | 4 store count | 8 transaction count | 12 zero
//!           log (48)   0 partition | 4 log | 6 zero | 8 start | 16 first | 24 end
//!                      32 last time | 40 op count | 44 index position
//!           store (16) 0 partition | 4 zero | 8 last index
//!           txn (32)   0 step | 1 zero | 2 slot | 4 partition | 8 attempt | 12 zero | 16 txn | 24 index
//! index     op (8)     0 first offset, relative | 4 position
//! trailer   0 magic | 8 crc of 12..88 | 12 version | 16 segment | 24 first index | 32 last index
//! (88)      40 epoch | 48 previous crc | 52 last crc | 56 entries end | 60 directory position
//!           64 directory length | 68 directory crc | 72 index length | 76 index crc | 80 zero
//! ```

use std::collections::{BTreeMap, BTreeSet};

use rama_wire::entry::{BadEntry, crc32c};
use rama_wire::{Index, LogId};

use super::segment::{Body, Chain, LogKey, LogSpan, OpIndex, Segment, TxnRecord, TxnStep};
use crate::bytes::{Fields, PutFields};
use crate::superblock::FORMAT_VERSION;

/// Length of the trailer, the last bytes of a sealed segment.
pub(crate) const TRAILER_BYTES: usize = 88;

const MAGIC: u64 = u64::from_le_bytes(*b"RamaFoot");
const BLOCK: usize = 512;

/// What is known of a log at the end of a segment: the directory lists every log of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogBounds {
    /// First offset that is not trimmed.
    pub start: u64,
    /// Offset after the last record.
    pub end: u64,
    /// Time of the last append.
    pub last_time_ms: u64,
}

/// The fixed end of a sealed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub segment: u64,
    pub chain: Chain,
    pub directory_at: u32,
    pub directory_bytes: u32,
    pub directory_crc: u32,
    pub index_bytes: u32,
    pub index_crc: u32,
}

/// A footer ready to be written at `entries_end`.
pub(crate) struct Footer {
    pub bytes: Vec<u8>,
    /// Where each span's index lies.
    pub spans: BTreeMap<LogKey, OpIndex>,
}

impl Footer {
    /// The footer of a segment whose entries are complete. `bounds` lists all logs of the group.
    pub fn encode(segment: &Segment, bounds: &BTreeMap<LogKey, LogBounds>) -> Footer {
        let directory_at = segment.chain.entries_end;
        let directory_bytes =
            16 + bounds.len() * 48 + segment.stores.len() * 16 + segment.txns.len() * 32;
        let index_at = directory_at + directory_bytes as u32;
        let (index, spans) = encode_index(segment, index_at);
        let mut bytes = encode_directory(segment, bounds, &spans, index_at);
        assert_eq!(bytes.len(), directory_bytes, "the directory has its length");
        let trailer = Trailer {
            segment: segment.id,
            chain: segment.chain,
            directory_at,
            directory_bytes: directory_bytes as u32,
            directory_crc: crc32c(&bytes),
            index_bytes: index.len() as u32,
            index_crc: crc32c(&index),
        };
        bytes.put(&index);
        let whole = (bytes.len() + TRAILER_BYTES).next_multiple_of(BLOCK);
        bytes.resize(whole - TRAILER_BYTES, 0);
        bytes.put(&trailer.encode());
        Footer { bytes, spans }
    }
}

fn encode_index(segment: &Segment, index_at: u32) -> (Vec<u8>, BTreeMap<LogKey, OpIndex>) {
    let mut index = Vec::new();
    let mut places = BTreeMap::new();
    for (key, span) in &segment.spans {
        let at = index_at + index.len() as u32;
        let count = span.op_count();
        for (first, position) in (0..count).filter_map(|op| span.op(op, None)) {
            index.put_u32(first);
            index.put_u32(position);
        }
        places.insert(*key, OpIndex::Footer { at, count });
    }
    (index, places)
}

fn encode_directory(
    segment: &Segment,
    bounds: &BTreeMap<LogKey, LogBounds>,
    places: &BTreeMap<LogKey, OpIndex>,
    index_at: u32,
) -> Vec<u8> {
    let mut out = Vec::new();
    for count in [bounds.len(), segment.stores.len(), segment.txns.len(), 0] {
        out.put_u32(count as u32);
    }
    for (key, bounds) in bounds {
        let first = segment.spans.get(key).map_or(bounds.end, |span| span.first);
        let (at, count) = match places.get(key) {
            Some(OpIndex::Footer { at, count }) => (*at, *count),
            _ => (index_at, 0),
        };
        out.put_u32(key.0);
        out.put_u16(key.1.0);
        out.put_u16(0);
        out.put_u64(bounds.start);
        out.put_u64(first);
        out.put_u64(bounds.end);
        out.put_u64(bounds.last_time_ms);
        out.put_u32(count);
        out.put_u32(at);
    }
    for (partition, index) in &segment.stores {
        out.put_u32(*partition);
        out.put_u32(0);
        out.put_u64(index.0);
    }
    for txn in &segment.txns {
        out.put(&[txn.step.code(), 0]);
        out.put_u16(txn.key.1);
        out.put_u32(txn.key.0);
        out.put_u32(txn.attempt);
        out.put_u32(0);
        out.put_u64(txn.key.2);
        out.put_u64(txn.index.0);
    }
    out
}

impl Trailer {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.put_u64(MAGIC);
        out.put_u32(0);
        out.put_u32(FORMAT_VERSION);
        out.put_u64(self.segment);
        out.put_u64(self.chain.first_index.0);
        out.put_u64(self.chain.last_index.0);
        out.put_u64(self.chain.epoch);
        out.put_u32(self.chain.previous_crc);
        out.put_u32(self.chain.last_crc);
        out.put_u32(self.chain.entries_end);
        out.put_u32(self.directory_at);
        out.put_u32(self.directory_bytes);
        out.put_u32(self.directory_crc);
        out.put_u32(self.index_bytes);
        out.put_u32(self.index_crc);
        out.put_u64(0);
        assert_eq!(out.len(), TRAILER_BYTES, "the trailer has its length");
        let crc = crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the last bytes of a file of `file_bytes`.
    ///
    /// # Errors
    /// [`BadEntry`] when they are no trailer: the segment is not sealed, or damaged.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Trailer, BadEntry> {
        let mut fields = Fields::new("trailer", bytes);
        BadEntry::check("trailer magic", MAGIC, fields.u64()?)?;
        let crc = fields.u32()?;
        Fields::new("trailer", bytes).take(TRAILER_BYTES)?;
        let actual = crc32c(&bytes[12..TRAILER_BYTES]);
        BadEntry::check("trailer crc", u64::from(actual), u64::from(crc))?;
        let version = u64::from(fields.u32()?);
        BadEntry::check("trailer version", u64::from(FORMAT_VERSION), version)?;
        let segment = fields.u64()?;
        let chain = Chain {
            first_index: Index(fields.u64()?),
            last_index: Index(fields.u64()?),
            epoch: fields.u64()?,
            previous_crc: fields.u32()?,
            last_crc: fields.u32()?,
            entries_end: fields.u32()?,
        };
        let trailer = Trailer {
            segment,
            chain,
            directory_at: fields.u32()?,
            directory_bytes: fields.u32()?,
            directory_crc: fields.u32()?,
            index_bytes: fields.u32()?,
            index_crc: fields.u32()?,
        };
        let parts = trailer.index_at() + u64::from(trailer.index_bytes);
        let whole = (parts + TRAILER_BYTES as u64).next_multiple_of(BLOCK as u64);
        BadEntry::check("sealed file length", whole, file_bytes)?;
        Ok(trailer)
    }

    /// Where the index begins.
    pub fn index_at(&self) -> u64 {
        u64::from(self.directory_at) + u64::from(self.directory_bytes)
    }
}

/// What a directory says: the segment, cold, and the bounds of all logs at its end.
pub(crate) struct Directory {
    pub segment: Segment,
    pub bounds: BTreeMap<LogKey, LogBounds>,
}

impl Directory {
    /// Reads the directory that `trailer` points to.
    ///
    /// # Errors
    /// [`BadEntry`] when the checksum or a field is wrong.
    pub fn decode(trailer: &Trailer, bytes: &[u8], file_bytes: u64) -> Result<Directory, BadEntry> {
        let crc = u64::from(crc32c(bytes));
        BadEntry::check("directory crc", u64::from(trailer.directory_crc), crc)?;
        let mut fields = Fields::new("directory", bytes);
        let (log_count, store_count) = (fields.u32()?, fields.u32()?);
        let txn_count = fields.u32()?;
        fields.u32()?;
        let mut segment = Segment {
            sealed: true,
            chain: trailer.chain,
            body: Body::Cold,
            file_bytes,
            ..Segment::new(trailer.segment, trailer.chain.previous_crc)
        };
        let mut bounds = BTreeMap::new();
        for _ in 0..log_count {
            decode_log(&mut fields, &mut segment, &mut bounds)?;
        }
        for _ in 0..store_count {
            let partition = fields.u32()?;
            fields.u32()?;
            segment.stores.insert(partition, Index(fields.u64()?));
        }
        for _ in 0..txn_count {
            segment.txns.push(decode_txn(&mut fields)?);
        }
        BadEntry::check(
            "directory length",
            bytes.len() as u64,
            fields.position() as u64,
        )?;
        segment.open = BTreeSet::new();
        Ok(Directory { segment, bounds })
    }
}

fn decode_log(
    fields: &mut Fields<'_>,
    segment: &mut Segment,
    bounds: &mut BTreeMap<LogKey, LogBounds>,
) -> Result<(), BadEntry> {
    let partition = fields.u32()?;
    let key = (partition, LogId(fields.u16()?));
    fields.u16()?;
    let (start, first) = (fields.u64()?, fields.u64()?);
    let (end, last_time_ms) = (fields.u64()?, fields.u64()?);
    let (count, at) = (fields.u32()?, fields.u32()?);
    bounds.insert(
        key,
        LogBounds {
            start,
            end,
            last_time_ms,
        },
    );
    if count > 0 {
        let ops = OpIndex::Footer { at, count };
        let span = LogSpan {
            first,
            end,
            last_time_ms,
            ops,
        };
        segment.spans.insert(key, span);
    }
    Ok(())
}

fn decode_txn(fields: &mut Fields<'_>) -> Result<TxnRecord, BadEntry> {
    let code = fields.u8()?;
    fields.u8()?;
    let slot = fields.u16()?;
    let partition = fields.u32()?;
    let attempt = fields.u32()?;
    fields.u32()?;
    let txn = fields.u64()?;
    Ok(TxnRecord {
        step: TxnStep::of(code)?,
        key: (partition, slot, txn),
        attempt,
        index: Index(fields.u64()?),
    })
}

impl TxnStep {
    fn code(self) -> u8 {
        match self {
            TxnStep::Prepared => 1,
            TxnStep::Committed => 2,
            TxnStep::Aborted => 3,
        }
    }

    fn of(code: u8) -> Result<TxnStep, BadEntry> {
        match code {
            1 => Ok(TxnStep::Prepared),
            2 => Ok(TxnStep::Committed),
            3 => Ok(TxnStep::Aborted),
            _ => Err(BadEntry::Field {
                what: "transaction step",
                expected: 3,
                found: u64::from(code),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
