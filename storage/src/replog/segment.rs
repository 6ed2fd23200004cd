//! One segment of the replog, in memory: what it holds, and where its bytes are served from.
//!
//! Relies on `footer` for the sealed form. A segment is *open* while it is written and served from
//! the written batches; once it has a footer it is *sealed*, and served from its map, or *cold*
//! until somebody asks. What must stay true: the lists below say exactly what the entries say,
//! whether they were written, scanned or read from a footer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rama_io::Mapping;
use rama_wire::entry::BadEntry;
use rama_wire::{Index, LogId};

use crate::error::{Error, Result};
use crate::options::Identity;
use crate::superblock::{FORMAT_VERSION, decode_block, encode_block};

/// Length of the block at the start of a segment; the first entry follows.
pub(crate) const HEADER_BLOCK_BYTES: u32 = 512;

const MAGIC: u64 = u64::from_le_bytes(*b"RamaSegm");
const SUFFIX: &str = ".segment";

/// A depot log of a partition.
pub(crate) type LogKey = (u32, LogId);
/// A transaction: partition, slot, number.
pub(crate) type TxnKey = (u32, u16, u64);

/// The file of a segment.
pub(crate) fn path_of(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:016x}{SUFFIX}"))
}

/// The segment a file name stands for.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let canonical = digits.len() == 16 && !digits.bytes().any(|byte| byte.is_ascii_uppercase());
    canonical.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// The first block of a segment.
pub(crate) fn header_block(identity: Identity, segment: u64) -> Vec<u8> {
    encode_block(MAGIC, identity, segment)
}

/// Verifies the first block of a segment.
pub(crate) fn verify_header(
    path: &Path,
    block: &[u8],
    identity: Identity,
    segment: u64,
) -> Result<()> {
    let corrupt = |bad: BadEntry| Error::corrupt(path, 0, &bad);
    let (owner, id) = read_header(block).map_err(corrupt)?;
    if owner != identity {
        return Err(Error::Mismatch {
            path: path.to_owned(),
            what: "its owner",
            expected: identity.to_string(),
            found: owner.to_string(),
        });
    }
    BadEntry::check("segment id", segment, id).map_err(corrupt)
}

/// What the first block of a segment says, whoever's it is: owner, segment.
pub(crate) fn read_header(block: &[u8]) -> Result<(Identity, u64), BadEntry> {
    let (owner, version, id) = decode_block("segment header", MAGIC, block)?;
    let expected = u64::from(FORMAT_VERSION);
    BadEntry::check("segment format version", expected, u64::from(version))?;
    Ok((owner, id))
}

/// The ends of the chain of entries in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Index of the first entry; zero while there is none.
    pub first_index: Index,
    /// Index of the last entry.
    pub last_index: Index,
    /// Header crc of the entry before the first.
    pub previous_crc: u32,
    /// Header crc of the last entry. Each header covers its payload's crc and the crc before it,
    /// so this one number depends on every byte of every entry.
    pub last_crc: u32,
    /// Epoch of the last entry.
    pub epoch: u64,
    /// Where the last write ended: a multiple of the block size.
    pub entries_end: u32,
}

/// What happened to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TxnStep {
    Prepared,
    Committed,
    Aborted,
}

/// A step of a transaction, as listed in a footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TxnRecord {
    pub step: TxnStep,
    pub key: TxnKey,
    pub attempt: u32,
    pub index: Index,
}

/// Where the appends to one log lie in one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSpan {
    /// Offset of the first record.
    pub first: u64,
    /// Offset after the last record.
    pub end: u64,
    /// Time of the last append.
    pub last_time_ms: u64,
    /// The operations.
    pub ops: OpIndex,
}

/// First offset (relative to the span) and position of every append operation, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpIndex {
    Memory(Vec<(u32, u32)>),
    /// In the footer: position in the file, and how many.
    Footer {
        at: u32,
        count: u32,
    },
}

impl Default for OpIndex {
    fn default() -> OpIndex {
        OpIndex::Memory(Vec::new())
    }
}

/// Written bytes from one position on.
pub(crate) struct Chunk {
    pub start: u32,
    pub bytes: Vec<u8>,
}

/// Where the bytes of a segment are.
pub(crate) enum Body {
    /// The written batches, in order.
    Tail(Vec<Rc<Chunk>>),
    /// On disk only.
    Cold,
    /// Verified since it was mapped.
    Mapped(Mapping),
}

/// A segment with at least the knowledge its footer has.
pub(crate) struct Segment {
    pub id: u64,
    pub sealed: bool,
    pub chain: Chain,
    pub spans: BTreeMap<LogKey, LogSpan>,
    /// The last entry of this segment that writes to each store, or that applies to it what was
    /// prepared here.
    pub stores: BTreeMap<u32, Index>,
    pub txns: Vec<TxnRecord>,
    /// Prepared here and not decided.
    pub open: BTreeSet<TxnKey>,
    pub body: Body,
    pub file_bytes: u64,
}

impl Segment {
    pub fn new(id: u64, previous_crc: u32) -> Segment {
        let chain = Chain {
            previous_crc,
            last_crc: previous_crc,
            entries_end: HEADER_BLOCK_BYTES,
            ..Chain::default()
        };
        Segment {
            id,
            sealed: false,
            chain,
            spans: BTreeMap::new(),
            stores: BTreeMap::new(),
            txns: Vec::new(),
            open: BTreeSet::new(),
            body: Body::Tail(Vec::new()),
            file_bytes: u64::from(HEADER_BLOCK_BYTES),
        }
    }

    /// Takes note of an entry that is durable.
    pub fn on_entry(&mut self, index: Index, epoch: u64, crc: u32) {
        if self.chain.first_index == Index::ZERO {
            self.chain.first_index = index;
        }
        assert!(self.chain.last_index < index, "entries are noted in order");
        self.chain.last_index = index;
        self.chain.last_crc = crc;
        self.chain.epoch = epoch;
    }

    /// Takes note of an append at `position`.
    pub fn on_append(&mut self, key: LogKey, first: u64, count: u32, time_ms: u64, position: u32) {
        let span = self.spans.entry(key).or_insert_with(|| LogSpan {
            first,
            end: first,
            ..LogSpan::default()
        });
        assert_eq!(span.end, first, "offsets of a log are dense");
        let OpIndex::Memory(ops) = &mut span.ops else {
            unreachable!("a sealed segment takes no appends");
        };
        ops.push(((first - span.first) as u32, position));
        span.end += u64::from(count);
        span.last_time_ms = time_ms;
    }

    /// Takes note of a step of a transaction.
    pub fn on_txn(&mut self, record: TxnRecord) {
        self.txns.push(record);
    }

    /// Takes note that entry `index` writes to a store with bytes of this segment.
    pub fn on_write(&mut self, partition: u32, index: Index) {
        let last = self.stores.entry(partition).or_default();
        *last = index.max(*last);
    }

    /// The bytes from `position` to the end of what lies together; `None` when cold.
    pub fn bytes_at(&self, position: u32) -> Option<Bytes> {
        match &self.body {
            Body::Cold => None,
            Body::Mapped(mapping) => Some(Bytes::Mapped(mapping.clone())),
            Body::Tail(chunks) => {
                let after = chunks.partition_point(|chunk| chunk.start <= position);
                Some(Bytes::Chunk(chunks.get(after.checked_sub(1)?)?.clone()))
            }
        }
    }
}

/// Bytes of a segment that stay alive while they are read.
#[derive(Clone)]
pub(crate) enum Bytes {
    Chunk(Rc<Chunk>),
    Mapped(Mapping),
}

impl Bytes {
    /// From `position` of the segment on; empty when it is beyond the end.
    pub fn from(&self, position: u32) -> &[u8] {
        let (start, bytes) = match self {
            Bytes::Chunk(chunk) => (chunk.start, chunk.bytes.as_slice()),
            Bytes::Mapped(mapping) => (0, &mapping[..]),
        };
        let at = position.checked_sub(start).map(|at| at as usize);
        at.and_then(|at| bytes.get(at..)).unwrap_or_default()
    }
}

impl LogSpan {
    /// The number of append operations.
    pub fn op_count(&self) -> u32 {
        match &self.ops {
            OpIndex::Memory(ops) => ops.len() as u32,
            OpIndex::Footer { count, .. } => *count,
        }
    }

    /// First offset (relative) and position of operation `at`. `file` is the mapped segment.
    pub fn op(&self, at: u32, file: Option<&Mapping>) -> Option<(u32, u32)> {
        match &self.ops {
            OpIndex::Memory(ops) => ops.get(at as usize).copied(),
            OpIndex::Footer { at: start, count } => {
                let place = *start as usize + at as usize * 8;
                let raw = file?.get(place..place + 8).filter(|_| at < *count)?;
                let word = |at: usize| {
                    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
                };
                Some((word(0), word(4)))
            }
        }
    }

    /// The operation that holds `offset`, which is in the span.
    pub fn op_of(&self, offset: u64, file: Option<&Mapping>) -> u32 {
        let relative = offset.saturating_sub(self.first) as u32;
        self.partition_point(file, |first, _| first <= relative)
            .saturating_sub(1)
    }

    /// The first operation for which `before` is false; operations are partitioned by it.
    pub fn partition_point(
        &self,
        file: Option<&Mapping>,
        mut before: impl FnMut(u32, u32) -> bool,
    ) -> u32 {
        let (mut lo, mut hi) = (0, self.op_count());
        while lo < hi {
            let middle = lo + (hi - lo) / 2;
            match self.op(middle, file) {
                Some((first, position)) if before(first, position) => lo = middle + 1,
                _ => hi = middle,
            }
        }
        lo
    }
}
