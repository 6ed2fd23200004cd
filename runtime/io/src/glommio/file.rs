//! Files of the glommio implementation: O_DIRECT, read and write, durable in one round trip.
//!
//! Relies on glommio's `DmaFile`, opened through `OpenOptions` (its `create` is write-only). A
//! durable write goes through a second descriptor with O_DSYNC, or is followed by fdatasync,
//! whichever `durability` found faster; always by fdatasync when plain writes came before it, for
//! O_DSYNC promises nothing about those. What must stay true: `flushed` never runs ahead of the
//! changes that were complete when the flush began.

use std::cell::{Cell, OnceCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use rustix::fs::OFlags;

use crate::env::{File, Open};

use super::blocking::about;
use super::durability::DurableWrite;
use super::executor::{InFlight, Local};

/// Reads are done in pieces of this size.
const READ_BYTES_MAX: usize = 1 << 20;

/// An open file on its executor.
#[derive(Clone)]
pub struct GlommioFile(Rc<OpenFile>);

struct OpenFile {
    local: Rc<Local>,
    path: PathBuf,
    plain: DmaFile,
    /// The same file with O_DSYNC; opened by the first durable write.
    synced: OnceCell<Option<DmaFile>>,
    durable_write: DurableWrite,
    /// Completed changes that are not durable by themselves.
    changes: Cell<u64>,
    /// How many of them a flush has made durable.
    flushed: Cell<u64>,
}

/// An aligned buffer that is written without a copy.
pub struct Buffer(DmaBuffer);

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_bytes_mut()
    }
}

impl GlommioFile {
    pub(super) async fn open(
        local: Rc<Local>,
        path: &Path,
        how: Open,
        durable_write: DurableWrite,
    ) -> io::Result<GlommioFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let verb = match how {
            Open::Create => {
                options.create_new(true);
                "create"
            }
            Open::Existing => "open",
        };
        let opened = options.dma_open(path).await.map_err(io::Error::from);
        let plain = opened.map_err(|error| about(verb, path, &error))?;
        if plain.alignment() > Self::ALIGN as u64 {
            let text = format!("the device wants blocks of {} bytes", plain.alignment());
            return Err(about(
                verb,
                path,
                &io::Error::new(io::ErrorKind::Unsupported, text),
            ));
        }
        Ok(GlommioFile(Rc::new(OpenFile {
            local,
            path: path.to_owned(),
            plain,
            synced: OnceCell::new(),
            durable_write,
            changes: Cell::new(0),
            flushed: Cell::new(0),
        })))
    }
}

impl OpenFile {
    fn begin(&self) -> io::Result<InFlight> {
        self.local.begin_io()
    }

    fn about(&self, verb: &str, error: impl Into<io::Error>) -> io::Error {
        about(verb, &self.path, &error.into())
    }

    async fn write_to(&self, file: &DmaFile, position: u64, buffer: Buffer) -> io::Result<()> {
        let len = buffer.len();
        if !position.is_multiple_of(GlommioFile::ALIGN as u64)
            || !len.is_multiple_of(GlommioFile::ALIGN)
            || len == 0
        {
            let text = format!("{len} bytes at {position} are not whole blocks of 512 bytes");
            return Err(self.about("write", io::Error::new(io::ErrorKind::InvalidInput, text)));
        }
        let wrote = file.write_at(buffer.0, position).await;
        let wrote = wrote.map_err(|error| self.about("write", error))?;
        if wrote != len {
            let text = format!("only {wrote} of {len} bytes were taken at {position}");
            return Err(self.about("write", io::Error::new(io::ErrorKind::WriteZero, text)));
        }
        self.local.counters().add_written(len);
        Ok(())
    }

    async fn flush(&self) -> io::Result<()> {
        let covered = self.changes.get();
        self.plain
            .fdatasync()
            .await
            .map_err(|error| self.about("flush", error))?;
        self.local.counters().add_flush();
        self.flushed.set(self.flushed.get().max(covered));
        Ok(())
    }

    fn changed(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// The descriptor with O_DSYNC, if that is the faster way and can be had.
    async fn synced(&self) -> Option<&DmaFile> {
        if self.durable_write == DurableWrite::Fdatasync {
            return None;
        }
        if self.synced.get().is_none() {
            // Through /proc, so that it is this file whatever its name is by now.
            let path = format!("/proc/self/fd/{}", self.plain.as_raw_fd());
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .custom_flags(OFlags::DSYNC.bits() as i32);
            let _ = self.synced.set(options.dma_open(path).await.ok());
        }
        self.synced.get().and_then(Option::as_ref)
    }
}

impl File for GlommioFile {
    type Buffer = Buffer;

    fn buffer(&self, len: usize) -> Buffer {
        assert!(
            len.is_multiple_of(Self::ALIGN),
            "a buffer is a multiple of {}",
            Self::ALIGN
        );
        let mut buffer = self.0.plain.alloc_dma_buffer(len);
        buffer.as_bytes_mut().fill(0);
        Buffer(buffer)
    }

    fn write(
        &self,
        position: u64,
        buffer: Buffer,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        let file = self.0.clone();
        async move {
            let _in_flight = file.begin()?;
            let wrote = file.write_to(&file.plain, position, buffer).await;
            file.changed();
            wrote
        }
    }

    fn write_durable(
        &self,
        position: u64,
        buffer: Buffer,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        let file = self.0.clone();
        async move {
            let _in_flight = file.begin()?;
            if file.flushed.get() == file.changes.get()
                && let Some(synced) = file.synced().await
            {
                file.write_to(synced, position, buffer).await?;
                file.local.counters().add_flush();
                return Ok(());
            }
            let wrote = file.write_to(&file.plain, position, buffer).await;
            file.changed();
            wrote?;
            file.flush().await
        }
    }

    fn flush(&self) -> impl Future<Output = io::Result<()>> + 'static {
        let file = self.0.clone();
        async move {
            let _in_flight = file.begin()?;
            file.flush().await
        }
    }

    fn read(
        &self,
        position: u64,
        len: usize,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + 'static {
        let file = self.0.clone();
        async move {
            let _in_flight = file.begin()?;
            let align = GlommioFile::ALIGN as u64;
            let skip = (position % align) as usize;
            let end = position.saturating_add(len as u64).next_multiple_of(align);
            let mut at = position - skip as u64;
            let mut bytes = Vec::with_capacity(len.min(READ_BYTES_MAX) + 2 * GlommioFile::ALIGN);
            while at < end {
                let size = (end - at).min(READ_BYTES_MAX as u64) as usize;
                let piece = file.plain.read_at_aligned(at, size).await;
                let piece = piece.map_err(|error| file.about("read", error))?;
                bytes.extend_from_slice(&piece);
                at += piece.len() as u64;
                if piece.is_empty() || !at.is_multiple_of(align) {
                    break;
                }
            }
            bytes.drain(..skip.min(bytes.len()));
            bytes.truncate(len);
            Ok(bytes)
        }
    }

    fn len(&self) -> impl Future<Output = io::Result<u64>> + 'static {
        let file = self.0.clone();
        async move {
            let _in_flight = file.begin()?;
            file.plain
                .file_size()
                .await
                .map_err(|error| file.about("ask the length of", error))
        }
    }

    fn set_len(&self, len: u64) -> impl Future<Output = io::Result<()>> + 'static {
        let file = self.0.clone();
        async move {
            let _in_flight = file.begin()?;
            let cut = file.plain.truncate(len).await;
            file.changed();
            cut.map_err(|error| file.about("set the length of", error))
        }
    }
}
