//! The writer loop: from gathered entries to durable ones.
//!
//! Relies on `batch` for the bytes. One device write is under way at a time; what is appended
//! meanwhile gathers and goes with the next. No timers: an idle writer writes at once, a busy one
//! writes as much as came. What must stay true: `durable` moves only after the flush of the write
//! that holds the entries; after the first failure this loop ends and never touches the file again.

use std::mem;
use std::rc::Rc;

use rama_io::{Env, File, Open};
use rama_wire::Index;
use rama_wire::entry::HEADER_BYTES;

use super::Shared;
use super::batch::Batch;
use crate::error::{Error, Result};
use crate::options::{Identity, Mutant};
use crate::replog::segment::{
    Body, Chain, Chunk, HEADER_BLOCK_BYTES, Segment, header_block, path_of,
};

/// Segments stay below this, because positions in them have 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// Zeros are written ahead while the average write is not larger than this: a few records.
const FILL_WRITE_BYTES_MAX: u32 = 16 << 10;

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
}

impl<E: Env> Writer<E> {
    /// Creates segment `segment` and becomes its writer.
    pub async fn start(shared: Rc<Shared<E>>, segment: u64, chain: Chain) -> Result<Writer<E>> {
        let file = create_segment(&shared, segment).await?;
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
        })
    }

    /// Writes until the group closes or a write fails.
    pub async fn run(mut self) {
        loop {
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
        self.shared.writer_done.notify();
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
        let later = state.waiters.split_off(&state.durable.next());
        let woken = mem::replace(&mut state.waiters, later);
        woken.into_values().flatten().for_each(|waker| waker.wake());
    }

    /// Goes on in a new segment. The old one is complete and will be sealed in the background.
    async fn roll(&mut self) -> Result<()> {
        let segment = self.segment + 1;
        let next = Writer::start(self.shared.clone(), segment, self.chain).await?;
        let write_bytes = self.write_bytes;
        *self = Writer {
            write_bytes,
            ..next
        };
        self.shared.background_signal.notify();
        Ok(())
    }

    /// Nothing to write: prepares for a lone append, then waits for one.
    ///
    /// Overwriting zeros costs one device write; extending a file costs a journal commit on top.
    /// Measured figures are in FORMAT.md, section "Filling ahead". Zeros are written only while
    /// writes are small, so that a log under load writes no byte twice.
    async fn idle(&mut self) -> Result<()> {
        let fill = self.shared.options.fill_bytes;
        let ahead = self.filled - self.chain.entries_end;
        let end = self.filled.saturating_add(fill);
        let used = self.chain.entries_end > HEADER_BLOCK_BYTES;
        let lone = self.write_bytes <= FILL_WRITE_BYTES_MAX;
        if used && lone && ahead < fill / 4 && end <= self.shared.options.segment_bytes {
            let zeros = self.file.buffer(fill as usize);
            let filled = self.file.write_durable(u64::from(self.filled), zeros).await;
            let path = self.shared.state.borrow().path_of(self.segment);
            filled.map_err(|error| Error::io("fill", &path, error))?;
            self.filled = end;
            self.shared.state.borrow_mut().stats.fill_bytes += u64::from(fill);
            return Ok(());
        }
        self.shared.write_signal.wait().await;
        Ok(())
    }
}

/// Makes the file of a segment, with its header, durable under its name; enters it in the state.
async fn create_segment<E: Env>(shared: &Shared<E>, id: u64) -> Result<E::File> {
    let log_dir = shared.state.borrow().log_dir.clone();
    let path = path_of(&log_dir, id);
    let file = write_header(&shared.env, shared.identity, &path, id).await;
    let file = file.map_err(|error| Error::io("create segment", &path, error))?;
    let mut state = shared.state.borrow_mut();
    let last_crc = state
        .segments
        .last_key_value()
        .map_or(0, |(_, s)| s.chain.last_crc);
    state.segments.insert(id, Segment::new(id, last_crc));
    state.stats.segment_bytes += u64::from(HEADER_BLOCK_BYTES);
    Ok(file)
}

async fn write_header<E: Env>(
    env: &E,
    identity: Identity,
    path: &std::path::Path,
    id: u64,
) -> std::io::Result<E::File> {
    let fresh = path.with_extension("new");
    // The name may be left from a creation that was cut short.
    env.remove(&fresh).await.ok();
    let file = env.open(&fresh, Open::Create).await?;
    let mut block = file.buffer(HEADER_BLOCK_BYTES as usize);
    block.copy_from_slice(&header_block(identity, id));
    file.write_durable(0, block).await?;
    env.rename(&fresh, path).await?;
    let dir = path.parent().expect("a segment is in a directory");
    env.sync_dir(dir).await?;
    Ok(file)
}

const _: () = assert!(HEADER_BYTES < HEADER_BLOCK_BYTES as usize);
