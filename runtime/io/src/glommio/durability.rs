//! Which way of writing durably is faster on a device: O_DSYNC, or write and fdatasync.
//!
//! Relies on `file` for both ways. Asked once per executor and device, by the first file opened
//! there; measured once per process and device, on an unnamed file that disappears by itself.
//! Measured with idle and with busy cores, because times differ: on a virtio disk with a write-back
//! cache, 0.15 ms were seen for an O_DSYNC write while the cores were idle and 4 ms while threads
//! spun on all of them. Why is not proven – a completion that waits for a kernel thread, which
//! waits a tick for its core, would look like that – and nothing relies on the reason: O_DSYNC is
//! chosen only when it wins in both measurements. The measured file is not
//! empty, which is a guard of its own: O_DIRECT reads were seen to fail with EOPNOTSUPP
//! for a whole executor when the first file it opened on a device was empty.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::env::{File, Open};
use crate::probe;

use super::blocking;
use super::executor::Local;
use super::file::GlommioFile;

const PROBE_BYTES: u64 = 64 << 10;
const PROBE_BLOCK: usize = 4096;
const PROBE_ROUNDS: u64 = 11;
/// Of each of the two measurements.
const PROBE_MAX: Duration = Duration::from_millis(100);

/// How a file is written durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurableWrite {
    /// Through a descriptor opened with O_DSYNC: one round trip.
    Dsync,
    /// Write, then fdatasync: two round trips.
    Fdatasync,
}

/// What was measured in this process, by device number.
static MEASURED: Mutex<BTreeMap<u64, DurableWrite>> = Mutex::new(BTreeMap::new());

/// The faster way on the device that `path` lies on.
pub(super) async fn of_device(local: &Rc<Local>, path: &Path) -> DurableWrite {
    let forced = local.shared.durable_write;
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    let Ok(device) = fs::metadata(&dir).map(|dir| dir.dev()) else {
        return forced.unwrap_or(DurableWrite::Fdatasync);
    };
    if let Some(known) = local.devices.borrow().get(&device) {
        return *known;
    }
    let measured = MEASURED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&device)
        .copied();
    let wanted = forced.or(measured);
    let found = measure(local, dir, wanted)
        .await
        .unwrap_or(DurableWrite::Fdatasync);
    if wanted.is_none() {
        tracing::debug!(device, ?found, "measured durable writes");
        MEASURED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(device, found);
    }
    local.devices.borrow_mut().insert(device, found);
    found
}

/// Reads and, unless the answer is known, writes an unnamed file in `dir`.
async fn measure(
    local: &Rc<Local>,
    dir: PathBuf,
    known: Option<DurableWrite>,
) -> io::Result<DurableWrite> {
    let unnamed = blocking::run(move || unnamed(&dir)).await?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", unnamed.as_raw_fd()));
    let open = |way| GlommioFile::open(local.clone(), &path, Open::Existing, way);
    let files = [
        open(DurableWrite::Dsync).await?,
        open(DurableWrite::Fdatasync).await?,
    ];
    files[0].read(0, PROBE_BLOCK).await?;
    if let Some(known) = known {
        return Ok(known);
    }
    let [dsync, fdatasync] = medians(&files).await?;
    if dsync >= fdatasync {
        return Ok(DurableWrite::Fdatasync);
    }
    let busy = BusyCores::start();
    let [dsync, fdatasync] = medians(&files).await?;
    drop(busy);
    Ok(if dsync <= fdatasync {
        DurableWrite::Dsync
    } else {
        DurableWrite::Fdatasync
    })
}

/// The median time of a durable overwrite of each file, taking turns.
async fn medians(files: &[GlommioFile; 2]) -> io::Result<[Duration; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    let started = Instant::now();
    for round in 0..PROBE_ROUNDS {
        for (file, times) in files.iter().zip(&mut times) {
            let position = round * PROBE_BLOCK as u64 % PROBE_BYTES;
            let begun = Instant::now();
            file.write_durable(position, file.buffer(PROBE_BLOCK))
                .await?;
            times.push(begun.elapsed());
        }
        if started.elapsed() > PROBE_MAX {
            break;
        }
    }
    Ok(times.map(median))
}

/// A spinning thread per core, until dropped.
struct BusyCores(Arc<AtomicBool>);

impl BusyCores {
    fn start() -> BusyCores {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in probe::cores() {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        BusyCores(stop)
    }
}

impl Drop for BusyCores {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn unnamed(dir: &Path) -> io::Result<fs::File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?;
    let file = fs::File::from(file);
    file.write_all_at(&vec![0; PROBE_BYTES as usize], 0)?;
    file.sync_data()?;
    Ok(file)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or(Duration::MAX)
}
