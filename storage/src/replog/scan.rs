//! Walks over the entries of a segment and believes nothing.
//!
//! Relies on `rama_wire::entry`. An entry is accepted when its header and payload have their
//! checksums, it names this segment and this place, it is the successor of the entry before, and it
//! belongs to the same device write or begins the next. What must stay true: the scan stops at the
//! first place where any of this fails and says why; whether that is the end of the log or
//! corruption is decided by [`Scan::later_write`] and by the caller, never here.

use rama_wire::Index;
use rama_wire::entry::{BadEntry, HEADER_BYTES, Header, PAYLOAD_BYTES_MAX};

use super::segment::{Chain, HEADER_BLOCK_BYTES};
use crate::options::Mutant;

/// Device writes begin at multiples of this.
const BLOCK: usize = 512;

/// An accepted entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub header: Header,
    pub crc: u32,
    pub payload: &'a [u8],
}

/// A place where no acceptable entry lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub position: u32,
    pub bad: BadEntry,
}

/// A walk over the content of one segment file.
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    segment: u64,
    at: usize,
    write_start: usize,
    next_index: Option<Index>,
    pub chain: Chain,
    mutant: Option<Mutant>,
}

impl<'a> Scan<'a> {
    /// Starts at the first entry. `bytes` begin with the header block. The first entry must have
    /// `first_index`, if that is known, and follow `previous_crc`.
    pub fn new(
        bytes: &'a [u8],
        segment: u64,
        first_index: Option<Index>,
        previous_crc: u32,
        mutant: Option<Mutant>,
    ) -> Scan<'a> {
        let start = HEADER_BLOCK_BYTES as usize;
        Scan {
            bytes,
            segment,
            at: start,
            write_start: start,
            next_index: first_index,
            chain: Chain {
                previous_crc,
                last_crc: previous_crc,
                entries_end: start as u32,
                ..Chain::default()
            },
            mutant,
        }
    }

    /// The next entry, or why there is none.
    pub fn next(&mut self) -> Result<Found<'a>, Stop> {
        self.skip_padding();
        let position = self.at as u32;
        let found = self.entry().map_err(|bad| Stop { position, bad })?;
        let Header {
            index,
            epoch,
            write_start,
            ..
        } = found.header;
        self.at += found.header.stride();
        self.write_start = write_start as usize;
        self.next_index = Some(index.next());
        if self.chain.first_index == Index::ZERO {
            self.chain.first_index = index;
        }
        self.chain.last_index = index;
        self.chain.last_crc = found.crc;
        self.chain.epoch = epoch;
        self.chain.entries_end = self.at.next_multiple_of(BLOCK) as u32;
        Ok(found)
    }

    /// Where the write began that holds the last entry.
    pub fn last_write(&self) -> u32 {
        self.write_start as u32
    }

    /// A write ends with zeros up to the next block.
    fn skip_padding(&mut self) {
        let boundary = self.at.next_multiple_of(BLOCK);
        let padding = self.bytes.get(self.at..boundary).unwrap_or_default();
        if padding.iter().all(|byte| *byte == 0) {
            self.at = boundary;
        }
    }

    fn entry(&self) -> Result<Found<'a>, BadEntry> {
        let bytes = self.bytes.get(self.at..).unwrap_or_default();
        let (header, crc) = Header::decode(bytes)?;
        BadEntry::check("entry segment", self.segment, header.segment)?;
        BadEntry::check("entry position", self.at as u64, u64::from(header.position))?;
        if self.mutant != Some(Mutant::SkipChain) {
            let (expected, found) = (self.chain.last_crc, header.previous_crc);
            BadEntry::check("previous entry crc", u64::from(expected), u64::from(found))?;
        }
        if let Some(next) = self.next_index {
            BadEntry::check("entry index", next.0, header.index.0)?;
        }
        if header.epoch < self.chain.epoch {
            BadEntry::check("entry epoch", self.chain.epoch, header.epoch)?;
        }
        let start = header.write_start as usize;
        if start != self.write_start && !(start == self.at && start.is_multiple_of(BLOCK)) {
            BadEntry::check("start of write", self.write_start as u64, start as u64)?;
        }
        if header.payload_bytes as usize > PAYLOAD_BYTES_MAX {
            let (most, found) = (PAYLOAD_BYTES_MAX as u64, u64::from(header.payload_bytes));
            BadEntry::check("entry payload length", most, found)?;
        }
        Ok(Found {
            header,
            crc,
            payload: self.payload(&header, bytes)?,
        })
    }

    fn payload(&self, header: &Header, bytes: &'a [u8]) -> Result<&'a [u8], BadEntry> {
        let verified = header.payload(bytes);
        if self.mutant == Some(Mutant::SkipPayloadCrc) {
            let end = HEADER_BYTES + header.payload_bytes as usize;
            return bytes.get(HEADER_BYTES..end).map_or(verified, Ok);
        }
        verified
    }

    /// A device write that began behind `stop`. Writes are issued one after the other, each when
    /// the one before is durable; so if there is one, the bytes at `stop` were durable and rotted.
    /// If there is none, `stop` lies in the last write, which nobody was told is durable.
    pub fn later_write(&self, stop: u32) -> Option<u32> {
        let first = (stop as usize + 1).next_multiple_of(BLOCK);
        let mut places = (first..self.bytes.len()).step_by(BLOCK);
        let place = places.find(|at| {
            let header = self.header_at(*at);
            header.is_some_and(|header| header.write_start > stop)
        });
        place.map(|at| at as u32)
    }

    /// The first place that carries the header of an entry of this segment: proof that a write to
    /// it was begun, whatever became of it.
    pub fn any_write(&self) -> Option<Header> {
        let first = HEADER_BLOCK_BYTES as usize;
        let mut places = (first..self.bytes.len()).step_by(BLOCK);
        places.find_map(|at| self.header_at(at))
    }

    /// Whether the entry at `stop` is whole as far as its header goes, and yet not the successor of
    /// the last one. No torn write makes that; a lost or misplaced earlier one does.
    pub fn contradicts(&self, stop: u32) -> bool {
        let last = &self.chain;
        self.header_at(stop as usize).is_some_and(|header| {
            let index = self.next_index.is_some_and(|next| next != header.index);
            index || header.previous_crc != last.last_crc
        })
    }

    fn header_at(&self, at: usize) -> Option<Header> {
        let (header, _) = Header::decode(self.bytes.get(at..)?).ok()?;
        let own = header.segment == self.segment && header.position as usize == at;
        own.then_some(header)
    }
}
