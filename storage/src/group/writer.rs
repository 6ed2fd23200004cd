//! The writer loop: from gathered entries to durable ones.
//!
//! Relies on `batch` for the bytes. One device write is under way at a time; what is appended
//! meanwhile gathers and goes with the next. No timers: an idle writer writes at once, a busy one
//! writes as much as came; one that finds memory full waits until tables hold enough (`background`).
//! What must stay true: `durable` moves only after the flush of the write
//! that holds the entries; after the first failure this loop ends and never touches the file again.

use std::mem;
use std::rc::Rc;

use rama_io::{Env, File};
use rama_wire::Index;
use rama_wire::entry::HEADER_BYTES;

use super::batch::Batch;
use super::{Shared, spare};
use crate::error::{Error, Result};
use crate::options::Mutant;
use crate::replog::segment::{Body, Chain, Chunk, HEADER_BLOCK_BYTES, Segment, path_of};

/// Segments stay below this, because positions in them have 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// Zeros are written ahead while the average write is not larger than this.
const FILL_WRITE_BYTES_MAX: u32 = 16 << 10;
/// And while the average write carries fewer entries than this: appends that gather share the price
/// of extending the file, and zeros would double what they write.
const FILL_WRITE_ENTRIES: u32 = 4;

/// The owner of the active segment's file.
pub(super) struct Writer<E: Env> {
    shared: Rc<Shared<E>>,
    file: E::File,
    segment: u64,
    chain: Chain,
    /// The file is written up to here, with entries or zeros.
    filled: u32,
    /// Moving average of the bytes of a write.
    write_bytes: u32,
    /// Moving average of the entries of a write, in sixteenths.
    write_entries: u32,
    /// The file of the next segment was asked for.
    spare_asked: bool,
}

impl<E: Env> Writer<E> {
    /// Enters segment `segment` in the state and becomes its writer.
    pub async fn start(shared: Rc<Shared<E>>, segment: u64, chain: Chain) -> Result<Writer<E>> {
        let file = spare::take(&shared, segment).await?;
        let known = Segment::new(segment, chain.last_crc);
        shared.state.borrow_mut().segments.insert(segment, known);
        Ok(Writer {
            shared,
            file,
            segment,
            chain: Chain {
                first_index: Index::ZERO,
                entries_end: HEADER_BLOCK_BYTES,
                ..chain
            },
            filled: HEADER_BLOCK_BYTES,
            write_bytes: 0,
            write_entries: 0,
            spare_asked: false,
        })
    }

    /// Writes until the group closes or a write fails.
    pub async fn run(mut self) {
        loop {
            self.room().await;
            if self.shared.state.borrow().poison.is_some() {
                break;
            }
            let batch = self.shared.state.borrow_mut().gathering.pop_front();
            let done = match batch {
                Some(batch) => self.write(batch).await,
                None if self.shared.state.borrow().closing => break,
                None => self.idle().await,
            };
            if let Err(error) = done {
                self.shared.poison(&error);
                break;
            }
        }
        self.shared.write_loop.done.notify();
    }

    /// Waits while there is something to write and no memory for what applying it will take. The
    /// house-keeping makes room without this loop, so it comes; who closes the group is not kept.
    async fn room(&mut self) {
        let shared = &self.shared;
        loop {
            {
                let mut state = shared.state.borrow_mut();
                let stopping = state.closing || state.poison.is_some();
                let full = state.memory_bytes() > shared.options.memory_bytes_max;
                state.full = full && !stopping && !state.gathering.is_empty();
                if !state.full {
                    return;
                }
                state.stats.waits_for_room += 1;
            }
            shared.tidy_loop.wake.notify();
            shared.room.wait().await;
        }
    }

    async fn write(&mut self, mut batch: Batch) -> Result<()> {
        let align = <E::File as File>::ALIGN;
        let bytes = batch.bytes.len().next_multiple_of(align);
        let end = u64::from(self.chain.entries_end) + bytes as u64;
        let full = end > u64::from(self.shared.options.segment_bytes) || end > SEGMENT_BYTES_MAX;
        if full && self.chain.entries_end > HEADER_BLOCK_BYTES {
            self.roll().await?;
        }
        let start = self.chain.entries_end;
        batch.place(self.segment, start, &self.chain, align);
        let mut buffer = self.file.buffer(batch.bytes.len());
        buffer.copy_from_slice(&batch.bytes);
        let position = u64::from(start);
        let mutant = self.shared.options.mutant;
        let written = if mutant == Some(Mutant::AckBeforeFlush) {
            self.file.write(position, buffer).await
        } else {
            self.file.write_durable(position, buffer).await
        };
        match written {
            Err(error) if mutant != Some(Mutant::IgnorePoison) => {
                let path = path_of(&self.shared.state.borrow().log_dir, self.segment);
                return Err(Error::io("write and flush", &path, error));
            }
            _ => self.on_durable(batch),
        }
        Ok(())
    }

    /// The only place where `durable` moves.
    fn on_durable(&mut self, batch: Batch) {
        let start = self.chain.entries_end;
        let bytes = batch.bytes;
        let last = batch.entries.last().expect("a batch has entries");
        self.chain.last_crc = last.crc;
        self.chain.last_index = last.index;
        self.chain.entries_end = start + bytes.len() as u32;
        self.filled = self.filled.max(self.chain.entries_end);
        self.write_bytes = ((u64::from(self.write_bytes) * 7 + bytes.len() as u64) / 8) as u32;
        self.write_entries = (self.write_entries * 7 + batch.entries.len() as u32 * 16) / 8;
        let mut state = self.shared.state.borrow_mut();
        let state = &mut *state;
        state.stats.entries += batch.entries.len() as u64;
        state.stats.writes += 1;
        state.stats.entry_bytes += bytes.len() as u64;
        state.stats.applied_bytes += bytes.len() as u64;
        let segment = state.segments.get_mut(&self.segment);
        let segment = segment.expect("the active segment is known");
        segment.chain.entries_end = self.chain.entries_end;
        segment.file_bytes = u64::from(self.filled);
        if let Body::Tail(chunks) = &mut segment.body {
            chunks.push(Rc::new(Chunk { start, bytes }));
        }
        for entry in batch.entries {
            state.on_durable(entry, self.chain.epoch);
        }
        if !self.spare_asked && self.chain.entries_end >= self.shared.options.segment_bytes / 2 {
            self.spare_asked = true;
            self.shared.spare_loop.wake.notify();
        }
        let later = state.waiters.split_off(&state.durable.next());
        let woken = mem::replace(&mut state.waiters, later);
        woken.into_values().flatten().for_each(|waker| waker.wake());
    }

    /// Goes on in a new segment. The old one is complete and will be sealed in the background.
    async fn roll(&mut self) -> Result<()> {
        let segment = self.segment + 1;
        let next = Writer::start(self.shared.clone(), segment, self.chain).await?;
        let (write_bytes, write_entries) = (self.write_bytes, self.write_entries);
        *self = Writer {
            write_bytes,
            write_entries,
            ..next
        };
        self.shared.tidy_loop.wake.notify();
        Ok(())
    }

    /// Nothing to write: prepares for a lone append, then waits for one.
    ///
    /// Overwriting zeros costs one device write; extending a file costs a journal commit on top.
    /// Measured figures are in FORMAT.md, section "Filling ahead". Zeros are written only while
    /// appends come one by one, so that a log under load writes no byte twice.
    async fn idle(&mut self) -> Result<()> {
        let fill = self.shared.options.fill_bytes;
        let ahead = self.filled - self.chain.entries_end;
        let end = self.filled.saturating_add(fill);
        let used = self.chain.entries_end > HEADER_BLOCK_BYTES;
        let small = self.write_bytes <= FILL_WRITE_BYTES_MAX;
        let lone = small && self.write_entries < FILL_WRITE_ENTRIES * 16;
        if used && lone && ahead < fill / 4 && end <= self.shared.options.segment_bytes {
            let zeros = self.file.buffer(fill as usize);
            let filled = self.file.write_durable(u64::from(self.filled), zeros).await;
            let path = self.shared.state.borrow().path_of(self.segment);
            filled.map_err(|error| Error::io("fill", &path, error))?;
            self.filled = end;
            self.shared.state.borrow_mut().stats.fill_bytes += u64::from(fill);
            return Ok(());
        }
        self.shared.write_loop.wake.wait().await;
        Ok(())
    }
}

const _: () = assert!(HEADER_BYTES < HEADER_BLOCK_BYTES as usize);
