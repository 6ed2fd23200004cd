//! One simulated file: what readers see, and what a power cut may leave of it.
//!
//! Relies on `rng` for choices. For each 512-byte sector that was written and not flushed the file
//! keeps the durable version and every later one. A flush moves the durable version forward to the
//! newest write that completed before the flush *began*. A power cut picks, per sector, any of the
//! versions. What must stay true: a flushed sector has one version only; a mapped file never
//! changes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};

use super::config::Faults;
use super::rng::Rng;

pub(super) const SECTOR: usize = 512;
const CHUNK: usize = 4096;

type Sector = Box<[u8; SECTOR]>;

/// A simulated file without its names.
#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) id: u64,
    content: Content,
    len: u64,
    durable_len: u64,
    /// Lengths that are not durable yet, oldest first.
    lengths: Vec<Length>,
    /// Sectors that are not durable yet.
    pending: BTreeMap<u64, Pending>,
    /// Counts completed changes; the age of a version.
    sequence: u64,
    /// Writes that were issued and have not completed.
    in_flight: BTreeMap<u64, Write>,
    mapped: Weak<Mapped>,
}

/// The bytes of a mapped file.
#[derive(Debug)]
pub(super) struct Mapped(Vec<u8>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Debug)]
struct Length {
    sequence: u64,
    len: u64,
}

#[derive(Debug)]
struct Pending {
    durable: Sector,
    versions: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    sequence: u64,
    bytes: Sector,
    /// Made by cutting the file: exists exactly if that length was taken.
    cut: bool,
    /// A failed flush gave up on it: no later flush makes it durable.
    doomed: bool,
}

#[derive(Debug)]
struct Write {
    position: u64,
    bytes: Box<[u8]>,
}

impl Inode {
    pub(super) fn new(id: u64) -> Inode {
        Inode {
            id,
            ..Inode::default()
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The age up to which a flush that begins now makes changes durable.
    pub(super) fn barrier(&self) -> u64 {
        self.sequence
    }

    pub(super) fn read(&self, position: u64, len: usize) -> Vec<u8> {
        let end = self.len.min(position.saturating_add(len as u64));
        let len = end.saturating_sub(position) as usize;
        let mut bytes = vec![0; len];
        self.content.read(position, &mut bytes);
        bytes
    }

    /// A snapshot that lives as long as it is mapped. Later writes to the file are engine bugs.
    pub(super) fn map(&mut self) -> Arc<Mapped> {
        if let Some(mapped) = self.mapped.upgrade() {
            return mapped;
        }
        let mapped = Arc::new(Mapped(self.read(0, self.len as usize)));
        self.mapped = Arc::downgrade(&mapped);
        mapped
    }

    pub(super) fn begin_write(&mut self, operation: u64, position: u64, bytes: Box<[u8]>) {
        assert!(
            self.mapped.strong_count() == 0,
            "a mapped file must never be written"
        );
        self.in_flight.insert(operation, Write { position, bytes });
    }

    /// Whether the write under way makes the file longer.
    pub(super) fn grows(&self, operation: u64) -> bool {
        let end = |write: &Write| write.position + write.bytes.len() as u64;
        self.in_flight
            .get(&operation)
            .is_some_and(|write| end(write) > self.len)
    }

    /// Completes a write that the disk had no room for: nothing changed.
    pub(super) fn refuse_write(&mut self, operation: u64) {
        self.in_flight.remove(&operation);
    }

    /// Sends a write under way to another place of the file, if there is one.
    pub(super) fn misdirect(&mut self, operation: u64, rng: &mut Rng) {
        if let Some(write) = self.in_flight.get_mut(&operation) {
            let room = self.len.saturating_sub(write.bytes.len() as u64);
            write.position = rng.below(room / SECTOR as u64 + 1) * SECTOR as u64;
        }
    }

    /// Completes a write without making it durable.
    pub(super) fn finish_write(&mut self, operation: u64) {
        let Some(write) = self.in_flight.remove(&operation) else {
            return;
        };
        self.sequence += 1;
        self.extend_to(write.position + write.bytes.len() as u64);
        self.add_versions(&write, |_| true);
        self.content.write(write.position, &write.bytes);
    }

    /// Completes a write that is durable when it completes, and everything before `barrier` too.
    pub(super) fn finish_durable(&mut self, operation: u64, barrier: u64) {
        let Some(write) = self.in_flight.remove(&operation) else {
            return;
        };
        self.sequence += 1;
        let end = write.position + write.bytes.len() as u64;
        self.len = self.len.max(end);
        self.durable_len = self.len;
        self.lengths.clear();
        self.content.write(write.position, &write.bytes);
        let sectors = write.position / SECTOR as u64..end / SECTOR as u64;
        if !self.pending.is_empty() {
            for sector in sectors {
                self.pending.remove(&sector);
            }
        }
        self.flush(barrier);
    }

    /// Completes a write with an error: any subset of its sectors may have changed.
    pub(super) fn fail_write(&mut self, operation: u64, rng: &mut Rng) {
        let Some(write) = self.in_flight.remove(&operation) else {
            return;
        };
        self.sequence += 1;
        let end = write.position + write.bytes.len() as u64;
        if rng.below(2) == 0 {
            self.extend_to(end);
        }
        let sectors = write.bytes.len() / SECTOR;
        let kept: Vec<bool> = (0..sectors).map(|_| rng.below(2) == 0).collect();
        self.add_versions(&write, |sector| kept[sector]);
        for sector in (0..sectors).filter(|sector| kept[*sector]) {
            let from = sector * SECTOR;
            let position = write.position + from as u64;
            if position < self.len {
                self.content
                    .write(position, &write.bytes[from..from + SECTOR]);
            }
        }
    }

    /// Makes durable what completed up to `barrier`.
    pub(super) fn flush(&mut self, barrier: u64) {
        if let Some(last) = self
            .lengths
            .iter()
            .rposition(|length| length.sequence <= barrier)
        {
            self.durable_len = self.lengths[last].len;
            self.lengths.drain(..=last);
        }
        self.pending.retain(|_, pending| {
            let sound = |version: &Version| version.sequence <= barrier && !version.doomed;
            if let Some(last) = pending.versions.iter().rposition(sound) {
                let durable = pending.versions.drain(..=last).next_back();
                pending.durable = durable.expect("the range ends at an element").bytes;
            }
            !pending.versions.is_empty()
        });
    }

    /// A failed flush: some of what it covered becomes durable, some never will by flushing.
    pub(super) fn fail_flush(&mut self, barrier: u64, rng: &mut Rng) {
        for pending in self.pending.values_mut() {
            let doomed = rng.below(2) == 0;
            for version in &mut pending.versions {
                version.doomed |= doomed && version.sequence <= barrier;
            }
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.sequence += 1;
        if len < self.len {
            assert!(
                self.mapped.strong_count() == 0,
                "a mapped file must never be cut"
            );
            self.cut(len);
        }
        self.len = len;
        self.lengths.push(Length {
            sequence: self.sequence,
            len,
        });
    }

    /// Changes one bit, on the disk and in every view but mapped ones.
    pub(super) fn flip_bit(&mut self, position: u64, bit: u8) {
        let mut byte = [0];
        self.content.read(position, &mut byte);
        byte[0] ^= 1 << (bit % 8);
        self.content.write(position, &byte);
        self.mapped = Weak::new();
    }

    /// The process died and the kernel lives: each write under way happened wholly or not at all.
    pub(super) fn kill(&mut self, rng: &mut Rng) {
        let operations: Vec<u64> = self.in_flight.keys().copied().collect();
        for operation in operations {
            if rng.below(2) == 0 {
                self.finish_write(operation);
            }
        }
        self.in_flight.clear();
        self.mapped = Weak::new();
    }

    /// The power went: of everything not durable some versions survive, sector by sector.
    pub(super) fn power_cut(&mut self, faults: &Faults, rng: &mut Rng) {
        self.sequence += 1;
        for (_, write) in std::mem::take(&mut self.in_flight) {
            self.extend_to(write.position + write.bytes.len() as u64);
            self.add_versions(&write, |_| true);
            self.sequence += 1;
        }
        let fate = Fate::choose(faults, self.oldest_pending()..self.sequence, rng);
        let (length_sequence, len) = self.surviving_length(&fate, rng);
        for (sector, pending) in std::mem::take(&mut self.pending) {
            let bytes = pending.surviving(length_sequence, &fate, rng);
            self.content.write(sector * SECTOR as u64, &bytes[..]);
        }
        self.content.truncate(len);
        self.len = len;
        self.durable_len = len;
        self.lengths.clear();
        self.mapped = Weak::new();
    }

    /// The age of the oldest change that is not durable.
    fn oldest_pending(&self) -> u64 {
        let sectors = self
            .pending
            .values()
            .map(|pending| pending.versions[0].sequence);
        let lengths = self.lengths.first().map(|length| length.sequence);
        sectors.chain(lengths).min().unwrap_or(self.sequence)
    }

    fn surviving_length(&self, fate: &Fate, rng: &mut Rng) -> (u64, u64) {
        let oldest = (0, self.durable_len);
        let Some(last) = self.lengths.last() else {
            return (self.sequence, self.durable_len);
        };
        match fate {
            Fate::Everything => (last.sequence, last.len),
            Fate::Nothing => oldest,
            Fate::Until(age) => {
                let kept = self
                    .lengths
                    .iter()
                    .rev()
                    .find(|length| length.sequence <= *age);
                kept.map_or(oldest, |length| (length.sequence, length.len))
            }
            Fate::Scattered => match rng.index(self.lengths.len() + 1) {
                0 => oldest,
                n => (self.lengths[n - 1].sequence, self.lengths[n - 1].len),
            },
        }
    }

    fn extend_to(&mut self, end: u64) {
        if end > self.len {
            self.len = end;
            self.lengths.push(Length {
                sequence: self.sequence,
                len: end,
            });
        }
    }

    fn add_versions(&mut self, write: &Write, keep: impl Fn(usize) -> bool) {
        let first = write.position / SECTOR as u64;
        let (sectors, _) = write.bytes.as_chunks::<SECTOR>();
        for (index, bytes) in sectors.iter().enumerate().filter(|(index, _)| keep(*index)) {
            self.add_version(first + index as u64, Box::new(*bytes), false);
        }
    }

    fn add_version(&mut self, sector: u64, bytes: Sector, cut: bool) {
        let (content, sequence) = (&self.content, self.sequence);
        let pending = self.pending.entry(sector).or_insert_with(|| {
            let mut durable = Box::new([0; SECTOR]);
            content.read(sector * SECTOR as u64, &mut durable[..]);
            Pending {
                durable,
                versions: Vec::new(),
            }
        });
        pending.versions.push(Version {
            sequence,
            bytes,
            cut,
            doomed: false,
        });
    }

    /// Removes what lies behind `len`; each touched sector gets a version that says so.
    fn cut(&mut self, len: u64) {
        let first = len / SECTOR as u64;
        for sector in first..self.len.div_ceil(SECTOR as u64) {
            if !self.content.holds(sector * SECTOR as u64) && !self.pending.contains_key(&sector) {
                continue;
            }
            let mut bytes = Box::new([0; SECTOR]);
            let kept = len
                .saturating_sub(sector * SECTOR as u64)
                .min(SECTOR as u64) as usize;
            self.content
                .read(sector * SECTOR as u64, &mut bytes[..kept]);
            self.add_version(sector, bytes, true);
        }
        self.content.truncate(len);
    }
}

impl Pending {
    /// The version a power cut leaves, given the age of the length that survived.
    fn surviving(mut self, length_sequence: u64, fate: &Fate, rng: &mut Rng) -> Sector {
        let cut = |version: &Version| version.cut && version.sequence <= length_sequence;
        if let Some(last) = self.versions.iter().rposition(cut) {
            let base = self.versions.drain(..=last).next_back();
            self.durable = base.expect("the range ends at an element").bytes;
        }
        self.versions.retain(|version| !version.cut);
        let kept = match fate {
            Fate::Everything => self.versions.len(),
            Fate::Nothing => 0,
            Fate::Until(age) => self.versions.iter().filter(|v| v.sequence <= *age).count(),
            Fate::Scattered => rng.index(self.versions.len() + 1),
        };
        match kept {
            0 => self.durable,
            kept => self.versions.swap_remove(kept - 1).bytes,
        }
    }
}

/// What a power cut does to one file. The extremes are as interesting as the mixtures.
enum Fate {
    Everything,
    Nothing,
    /// Whole changes survive, up to this age.
    Until(u64),
    /// Each sector on its own.
    Scattered,
}

impl Fate {
    fn choose(faults: &Faults, ages: std::ops::Range<u64>, rng: &mut Rng) -> Fate {
        if !faults.lost_writes {
            return Fate::Everything;
        }
        match (rng.below(8), faults.torn_writes) {
            (0, _) => Fate::Everything,
            (1, _) => Fate::Nothing,
            (2..=3, _) | (_, false) => {
                Fate::Until(ages.start.saturating_sub(1) + rng.below(ages.end - ages.start + 2))
            }
            _ => Fate::Scattered,
        }
    }
}

/// Sparse bytes: what was never written reads as zero and costs nothing.
#[derive(Debug, Default)]
struct Content {
    chunks: Vec<Option<Box<[u8; CHUNK]>>>,
}

impl Content {
    fn read(&self, position: u64, into: &mut [u8]) {
        each_chunk(position, into.len(), |chunk, within, range| {
            match self.chunks.get(chunk).and_then(Option::as_ref) {
                Some(bytes) => into[range.clone()].copy_from_slice(&bytes[within..][..range.len()]),
                None => into[range].fill(0),
            }
        });
    }

    fn write(&mut self, position: u64, from: &[u8]) {
        each_chunk(position, from.len(), |chunk, within, range| {
            if self.chunks.len() <= chunk {
                self.chunks.resize_with(chunk + 1, || None);
            }
            let bytes = self.chunks[chunk].get_or_insert_with(|| Box::new([0; CHUNK]));
            bytes[within..][..range.len()].copy_from_slice(&from[range]);
        });
    }

    fn holds(&self, position: u64) -> bool {
        let chunk = (position / CHUNK as u64) as usize;
        self.chunks.get(chunk).is_some_and(Option::is_some)
    }

    fn truncate(&mut self, len: u64) {
        self.chunks.truncate(len.div_ceil(CHUNK as u64) as usize);
        let within = (len % CHUNK as u64) as usize;
        let last = (len / CHUNK as u64) as usize;
        if let Some(Some(bytes)) = self.chunks.get_mut(last) {
            bytes[within..].fill(0);
        }
    }
}

/// Cuts a range at chunk borders: (chunk, position within it, range of the caller's slice).
fn each_chunk(
    position: u64,
    len: usize,
    mut visit: impl FnMut(usize, usize, std::ops::Range<usize>),
) {
    let mut done = 0;
    while done < len {
        let at = position + done as u64;
        let within = (at % CHUNK as u64) as usize;
        let count = (CHUNK - within).min(len - done);
        visit((at / CHUNK as u64) as usize, within, done..done + count);
        done += count;
    }
}

/// Refuses what the device would refuse.
pub(super) fn check_aligned(position: u64, len: usize) -> io::Result<()> {
    if position.is_multiple_of(SECTOR as u64) && len.is_multiple_of(SECTOR) && len > 0 {
        return Ok(());
    }
    let text = format!("could not write {len} bytes at {position}: not multiples of {SECTOR}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}
