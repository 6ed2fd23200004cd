//! The entries that gather for one device write.
//!
//! Relies on `rama_wire::entry`. Bytes are laid out when an entry is appended; what depends on the
//! place of the write (position, chain) is filled in when the writer takes the batch. What must
//! stay true: a batch is written exactly once, in the order of appends.

use rama_wire::entry::{HEADER_BYTES, Header, crc32c};
use rama_wire::{Index, LogId};
use smallvec::SmallVec;

use crate::lsm::WriteBatch;
use crate::replog::segment::{Chain, TxnKey};

/// What applying an operation does, and where its bytes lie.
#[derive(Debug)]
pub(crate) enum Effect {
    Append {
        partition: u32,
        log: LogId,
        time_ms: u64,
        first: u64,
        count: u32,
        /// Relative to the batch until it is taken, then in the segment.
        position: u32,
    },
    Write {
        partition: u32,
        batch: WriteBatch,
    },
    Prepare {
        key: TxnKey,
        attempt: u32,
        batch: WriteBatch,
    },
    Commit {
        key: TxnKey,
    },
    Abort {
        key: TxnKey,
        attempt: u32,
    },
    Trim {
        partition: u32,
        log: LogId,
        before: u64,
    },
}

/// An entry that is appended and not applied yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub index: Index,
    pub segment: u64,
    pub effects: SmallVec<[Effect; 1]>,
    /// Where the header lies in the batch.
    at: usize,
    payload_bytes: u32,
    payload_crc: u32,
    /// The header's own checksum, once it is encoded.
    pub crc: u32,
}

impl Pending {
    /// An entry that was read back from a segment.
    pub fn recovered(
        index: Index,
        segment: u64,
        crc: u32,
        effects: SmallVec<[Effect; 1]>,
    ) -> Pending {
        Pending {
            index,
            segment,
            effects,
            crc,
            at: 0,
            payload_bytes: 0,
            payload_crc: 0,
        }
    }
}

/// Entries that will share one device write.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub bytes: Vec<u8>,
    pub entries: Vec<Pending>,
}

impl Batch {
    /// An empty batch that can take `bytes` without growing.
    pub fn with_capacity(bytes: usize, entries: usize) -> Batch {
        Batch {
            bytes: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(entries),
        }
    }

    /// Leaves room for a header; the payload follows. Returns the place of the header.
    pub fn begin(&mut self) -> usize {
        let at = self.bytes.len();
        self.bytes.resize(at + HEADER_BYTES, 0);
        at
    }

    /// Closes the entry begun at `at`.
    pub fn finish(&mut self, at: usize, index: Index, effects: SmallVec<[Effect; 1]>) {
        let payload = &self.bytes[at + HEADER_BYTES..];
        let (payload_bytes, payload_crc) = (payload.len() as u32, crc32c(payload));
        self.entries.push(Pending {
            index,
            segment: 0,
            effects,
            at,
            payload_bytes,
            payload_crc,
            crc: 0,
        });
    }

    /// Fills in the headers for a write at `start` of `segment`, after an entry whose header crc
    /// is `previous_crc`, and pads to `align`.
    pub fn place(&mut self, segment: u64, start: u32, chain: &Chain, align: usize) {
        let mut previous_crc = chain.last_crc;
        for entry in &mut self.entries {
            entry.segment = segment;
            let header = Header {
                payload_bytes: entry.payload_bytes,
                payload_crc: entry.payload_crc,
                previous_crc,
                write_start: start,
                position: start + entry.at as u32,
                op_count: entry.effects.len() as u32,
                segment,
                epoch: chain.epoch,
                index: entry.index,
            };
            let mut head = [0; HEADER_BYTES];
            previous_crc = header.encode(&mut head);
            entry.crc = previous_crc;
            self.bytes[entry.at..entry.at + HEADER_BYTES].copy_from_slice(&head);
            for effect in &mut entry.effects {
                if let Effect::Append { position, .. } = effect {
                    *position += start;
                }
            }
        }
        self.bytes
            .resize(self.bytes.len().next_multiple_of(align), 0);
    }
}
