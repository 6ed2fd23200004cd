//! The raw limit of the device under a directory, measured through the `io-uring` crate: sequential
//! bandwidth, latency of one durable 4 KiB write, random 4 KiB reads.
//!
//! Relies on O_DIRECT. Every other workload quotes its ratio to these figures of the same run. What
//! must stay true: nothing between this file and the kernel but the ring, so that no change of the
//! engine can move the yardstick.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{IoUring, opcode, types};
use memmap2::MmapMut;
use serde::Serialize;

use crate::environment::{CpuMeter, CpuUse};
use crate::report::{Latency, Row, histogram};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// What the device can do at most, for ratios.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceLimit {
    /// Sequential O_DIRECT bandwidth, bytes per second.
    pub write_bytes_per_second: f64,
    /// One O_DIRECT+O_DSYNC 4 KiB write over existing blocks, queue depth 1.
    pub durable_write: Latency,
    /// Random 4 KiB O_DIRECT reads per second at queue depth 32.
    pub reads_per_second: f64,
}

/// One scratch file of zeros, removed when dropped.
struct Scratch {
    path: PathBuf,
    bytes: u64,
}

impl Scratch {
    fn create(dir: &Path, bytes: u64) -> io::Result<Scratch> {
        let path = dir.join("rama-bench-device.tmp");
        let scratch = Scratch { path, bytes };
        let file = scratch.open(0)?;
        let mut ring = Ring::new(file, 4, MIB)?;
        ring.run(
            bytes / MIB as u64,
            |i| (i * MIB as u64, Kind::Write),
            |_| (),
        )?;
        rustix::fs::fsync(&ring.file)?;
        Ok(scratch)
    }

    fn open(&self, flags: i32) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_DIRECT | flags)
            .open(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: a scratch file left behind is overwritten by the next run.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
}

/// A ring with `depth` page-aligned buffers of `block` bytes over one file.
struct Ring {
    ring: IoUring,
    file: File,
    buffers: Vec<MmapMut>,
    block: usize,
}

impl Ring {
    fn new(file: File, depth: u32, block: usize) -> io::Result<Ring> {
        let buffers = (0..depth)
            .map(|_| MmapMut::map_anon(block))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Ring {
            ring: IoUring::new(depth.max(8))?,
            file,
            buffers,
            block,
        })
    }

    /// Runs `count` operations keeping every buffer busy; `done` gets each one's latency.
    fn run(
        &mut self,
        count: u64,
        mut plan: impl FnMut(u64) -> (u64, Kind),
        mut done: impl FnMut(Duration),
    ) -> io::Result<()> {
        let mut started = vec![Instant::now(); self.buffers.len()];
        let mut idle: Vec<usize> = (0..self.buffers.len()).collect();
        let (mut sent, mut finished) = (0, 0);
        while finished < count {
            while sent < count
                && let Some(slot) = idle.pop()
            {
                let (offset, kind) = plan(sent);
                started[slot] = Instant::now();
                self.push(slot, offset, kind)?;
                sent += 1;
            }
            self.ring.submit_and_wait(1)?;
            while let Some(completion) = self.ring.completion().next() {
                let slot = completion.user_data() as usize;
                if completion.result() < 0 {
                    return Err(io::Error::from_raw_os_error(-completion.result()));
                }
                if completion.result() as usize != self.block {
                    return Err(io::Error::other(format!(
                        "short transfer of {} bytes of {}",
                        completion.result(),
                        self.block
                    )));
                }
                done(started[slot].elapsed());
                idle.push(slot);
                finished += 1;
            }
        }
        Ok(())
    }

    fn push(&mut self, slot: usize, offset: u64, kind: Kind) -> io::Result<()> {
        let fd = types::Fd(self.file.as_raw_fd());
        let (buffer, len) = (self.buffers[slot].as_mut_ptr(), self.block as u32);
        let entry = match kind {
            Kind::Read => opcode::Read::new(fd, buffer, len).offset(offset).build(),
            Kind::Write => opcode::Write::new(fd, buffer, len).offset(offset).build(),
        };
        // SAFETY: the file and the buffer of this slot live in `self` longer than the ring's
        // request: `run` reuses a slot only after its completion was reaped, and returns early
        // only with an error, after which `IoUring`'s drop closes the ring before the buffers
        // (declared later) are unmapped.
        // WORTH: the io-uring crate has no safe submission; this is the yardstick itself.
        unsafe { self.ring.submission().push(&entry.user_data(slot as u64)) }
            .map_err(|_| io::Error::other("the submission queue is full"))
    }
}

/// Measures the device under `dir` and returns the limit with its rows.
///
/// # Errors
/// Any I/O error of the scratch file; `EINVAL` means the file system has no O_DIRECT.
pub fn measure(dir: &Path, seconds: f64) -> io::Result<(DeviceLimit, Vec<Row>)> {
    let scratch = Scratch::create(dir, 512 * MIB as u64)?;
    let (bandwidth, write_row) = sequential(&scratch, seconds)?;
    let (durable, durable_row) = durable_latency(&scratch, seconds)?;
    let (reads, read_row) = random_reads(&scratch, seconds)?;
    let limit = DeviceLimit {
        write_bytes_per_second: bandwidth,
        durable_write: durable,
        reads_per_second: reads,
    };
    Ok((limit, vec![write_row, durable_row, read_row]))
}

fn timed(
    ring: &mut Ring,
    seconds: f64,
    chunk: u64,
    mut plan: impl FnMut(u64) -> (u64, Kind),
) -> io::Result<(u64, CpuUse, Histogram<u64>)> {
    let mut latencies = histogram();
    let meter = CpuMeter::start();
    let start = Instant::now();
    let mut operations = 0;
    while start.elapsed().as_secs_f64() < seconds {
        let base = operations;
        ring.run(
            chunk,
            |i| plan(base + i),
            |took| {
                latencies.saturating_record(took.as_nanos() as u64);
            },
        )?;
        operations += chunk;
    }
    Ok((operations, meter.stop(), latencies))
}

fn sequential(scratch: &Scratch, seconds: f64) -> io::Result<(f64, Row)> {
    let mut ring = Ring::new(scratch.open(0)?, 4, MIB)?;
    let blocks = scratch.bytes / MIB as u64;
    let (count, cpu, latencies) = timed(&mut ring, seconds, 64, |i| {
        ((i % blocks) * MIB as u64, Kind::Write)
    })?;
    let bytes = count * MIB as u64;
    let row = Row::new("device: sequential write, 1 MiB × 4, O_DIRECT", count, cpu)
        .latency(&latencies)
        .payload(bytes);
    Ok((bytes as f64 / cpu.seconds, row))
}

fn durable_latency(scratch: &Scratch, seconds: f64) -> io::Result<(Latency, Row)> {
    let mut ring = Ring::new(scratch.open(libc::O_DSYNC)?, 1, PAGE)?;
    let blocks = scratch.bytes / PAGE as u64;
    let (count, cpu, latencies) = timed(&mut ring, seconds, 64, |i| {
        ((i % blocks) * PAGE as u64, Kind::Write)
    })?;
    let row = Row::new(
        "device: durable write, 4 KiB × 1, O_DIRECT+O_DSYNC",
        count,
        cpu,
    )
    .latency(&latencies)
    .payload(count * PAGE as u64);
    Ok((Latency::of(&latencies), row))
}

fn random_reads(scratch: &Scratch, seconds: f64) -> io::Result<(f64, Row)> {
    let mut ring = Ring::new(scratch.open(0)?, 32, PAGE)?;
    let blocks = scratch.bytes / PAGE as u64;
    // A fixed odd multiplier walks the blocks in a scattered order without a random source.
    let (count, cpu, latencies) = timed(&mut ring, seconds, 1024, |i| {
        (
            (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % blocks) * PAGE as u64,
            Kind::Read,
        )
    })?;
    let row = Row::new("device: random read, 4 KiB × 32, O_DIRECT", count, cpu)
        .latency(&latencies)
        .payload(count * PAGE as u64);
    Ok((count as f64 / cpu.seconds, row))
}
