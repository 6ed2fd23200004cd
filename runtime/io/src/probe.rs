//! What the machine offers: the checks of `rama doctor`, and those a pool insists on.
//!
//! Relies on system calls and /proc alone; nothing here needs a running executor, and nothing is
//! left behind in the data directory. What must stay true: every check that does not pass names
//! its remedy, as a command where there is one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getrlimit};

use crate::glommio::PoolError;

/// glommio refuses to start below this.
const MEMLOCK_MIN: u64 = 512 << 10;
/// What the rings and buffers of one executor take from the limit of locked memory.
const MEMLOCK_GOOD: u64 = 8 << 20;
/// MADV_POPULATE_READ came with it.
const KERNEL_MIN: (u32, u32) = (5, 14);
const KERNEL_GOOD: (u32, u32) = (6, 1);
const DISK_MIN: u64 = 256 << 20;
const DISK_GOOD: u64 = 5 << 30;
const FILES_MIN: u64 = 256;
const FILES_GOOD: u64 = 4096;
const FLUSH_GOOD: Duration = Duration::from_millis(5);
/// No device answers a flush that fast; something on the way lies.
const FLUSH_TOO_GOOD: Duration = Duration::from_micros(4);
const FLUSH_ROUNDS: usize = 31;
const BLOCK: usize = 4096;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but slowly or not for long.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub remedy: String,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, found: String, remedy: &str) -> Check {
        let remedy = if verdict == Verdict::Ok { "" } else { remedy };
        Check {
            name,
            verdict,
            found,
            remedy: remedy.to_owned(),
        }
    }
}

/// Looks at the machine and at the place where `data_dir` is or will be. Writes an unnamed file
/// there for a moment; creates nothing.
pub fn checks(data_dir: &Path) -> Vec<Check> {
    let dir = data_dir
        .ancestors()
        .find(|dir| dir.is_dir())
        .unwrap_or(Path::new("."));
    vec![
        kernel(),
        io_uring(),
        memlock(memlock_limit()),
        processors(),
        open_files(),
        file_system(dir),
        disk_space(dir),
        direct_io(dir),
        flush_latency(dir),
    ]
}

/// The cores this process may run on, by number.
pub fn cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect()
}

/// Sets up a small ring and lets it go.
pub(crate) fn open_ring() -> io::Result<()> {
    io_uring::IoUring::new(8).map(drop)
}

/// The limit of locked memory in bytes; `None` is unlimited.
pub(crate) fn memlock_limit() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// glommio panics where io_uring is missing; this is an error instead.
pub(crate) fn require_io_uring(
    open_ring: impl FnOnce() -> io::Result<()>,
) -> Result<(), PoolError> {
    open_ring().map_err(|source| {
        let remedy = io_uring_remedy(&source, io_uring_sysctl());
        PoolError::IoUring { source, remedy }
    })
}

/// glommio fails below [`MEMLOCK_MIN`]; this names the remedy.
pub(crate) fn require_memlock(limit: Option<u64>) -> Result<(), PoolError> {
    match limit {
        Some(found) if found < MEMLOCK_MIN => {
            let remedy = MEMLOCK_REMEDY.to_owned();
            Err(PoolError::Memlock {
                found,
                needed: MEMLOCK_MIN,
                remedy,
            })
        }
        _ => Ok(()),
    }
}

const MEMLOCK_REMEDY: &str = "run `ulimit -l 8192` in this shell, or set `memlock` in \
    /etc/security/limits.conf, LimitMEMLOCK=8M in the systemd unit, --ulimit memlock=8388608 for \
    a container";

fn io_uring_sysctl() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn io_uring_remedy(error: &io::Error, disabled: u32) -> String {
    let remedy = match error.kind() {
        _ if disabled > 0 => "run `sysctl -w kernel.io_uring_disabled=0` as root",
        io::ErrorKind::PermissionDenied => {
            "a seccomp profile forbids it: allow io_uring_setup, io_uring_enter and \
             io_uring_register, or start the container with --security-opt seccomp=unconfined"
        }
        io::ErrorKind::Unsupported => "this kernel is built without it: use Linux 5.14 or later",
        io::ErrorKind::OutOfMemory => MEMLOCK_REMEDY,
        _ => "raise the limit of open files (`ulimit -n 65536`) and try again",
    };
    remedy.to_owned()
}

fn kernel() -> Check {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let verdict = match kernel_version(&release) {
        Some(version) if version >= KERNEL_GOOD => Verdict::Ok,
        Some(version) if version >= KERNEL_MIN => Verdict::Warn,
        _ => Verdict::Fail,
    };
    let remedy = "use Linux 6.1 or later; below 5.14 mapped files cannot be read in safely";
    Check::new("kernel", verdict, format!("Linux {release}"), remedy)
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn io_uring() -> Check {
    match open_ring() {
        Ok(()) => Check::new("io_uring", Verdict::Ok, "available".to_owned(), ""),
        Err(error) => {
            let remedy = io_uring_remedy(&error, io_uring_sysctl());
            Check::new("io_uring", Verdict::Fail, error.to_string(), &remedy)
        }
    }
}

fn memlock(limit: Option<u64>) -> Check {
    let verdict = match limit {
        Some(limit) if limit < MEMLOCK_MIN => Verdict::Fail,
        Some(limit) if limit < MEMLOCK_GOOD => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let found = limit.map_or("unlimited".to_owned(), |limit| {
        format!("{} KiB", limit >> 10)
    });
    Check::new("locked memory", verdict, found, MEMLOCK_REMEDY)
}

fn processors() -> Check {
    let allowed = cores().len();
    let all = std::fs::read_dir("/sys/bus/cpu/devices").map_or(allowed, Iterator::count);
    let verdict = if allowed >= 2 {
        Verdict::Ok
    } else {
        Verdict::Warn
    };
    let remedy = "give it at least two cores: one task thread per core, others share theirs";
    Check::new(
        "cores",
        verdict,
        format!("{allowed} of {all} usable"),
        remedy,
    )
}

fn open_files() -> Check {
    let limit = getrlimit(Resource::Nofile).current;
    let verdict = match limit {
        Some(limit) if limit < FILES_MIN => Verdict::Fail,
        Some(limit) if limit < FILES_GOOD => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let found = limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    Check::new(
        "open files",
        verdict,
        found,
        "run `ulimit -n 65536`, or LimitNOFILE=65536",
    )
}

fn file_system(dir: &Path) -> Check {
    let name = "file system";
    let found = match rustix::fs::statfs(dir) {
        Ok(found) => found,
        Err(error) => {
            let remedy = "check the path and its permissions";
            return Check::new(name, Verdict::Fail, error.to_string(), remedy);
        }
    };
    let (verdict, found, remedy) = match found.f_type as u32 {
        0xef53 => (Verdict::Ok, "ext4", ""),
        0x5846_5342 => (Verdict::Ok, "xfs", ""),
        0x0102_1994 => (
            Verdict::Warn,
            "tmpfs",
            "it is memory: data ends with the machine",
        ),
        0x794c_7630 => (
            Verdict::Warn,
            "overlayfs",
            "mount a volume for the data directory",
        ),
        0x9123_683e => (
            Verdict::Warn,
            "btrfs",
            "copy on write makes flushes slow: use ext4 or xfs",
        ),
        0x6969 => (
            Verdict::Warn,
            "nfs",
            "use a local disk: flushes are slow and promise little",
        ),
        0x6573_5546 => (
            Verdict::Warn,
            "fuse",
            "use ext4 or xfs: promises depend on the driver",
        ),
        _ => (
            Verdict::Warn,
            "another one",
            "use ext4 or xfs: only these are tested",
        ),
    };
    Check::new(
        name,
        verdict,
        format!("{found} at {}", dir.display()),
        remedy,
    )
}

fn disk_space(dir: &Path) -> Check {
    let name = "disk space";
    let remedy = "free space, or choose another data directory";
    let Ok(found) = rustix::fs::statvfs(dir) else {
        return Check::new(name, Verdict::Fail, "unknown".to_owned(), remedy);
    };
    let free = found.f_bavail * found.f_frsize;
    let verdict = match free {
        free if free < DISK_MIN => Verdict::Fail,
        free if free < DISK_GOOD => Verdict::Warn,
        _ => Verdict::Ok,
    };
    Check::new(name, verdict, format!("{} MiB free", free >> 20), remedy)
}

fn direct_io(dir: &Path) -> Check {
    let name = "direct I/O";
    let remedy = "choose a data directory on ext4 or xfs, on a device with 512-byte blocks";
    let attempt = || {
        let file = unnamed(dir, OFlags::DIRECT)?;
        let mut block = AlignedBlock::new();
        file.write_all_at(&block.bytes()[..512], 0)?;
        file.read_exact_at(&mut block.bytes()[..512], 0)
    };
    match attempt() {
        Ok(()) => Check::new(name, Verdict::Ok, "works in 512-byte blocks".to_owned(), ""),
        Err(error) => Check::new(name, Verdict::Fail, error.to_string(), remedy),
    }
}

fn flush_latency(dir: &Path) -> Check {
    let name = "flush latency";
    let median = match flush_median(dir) {
        Ok(median) => median,
        Err(error) => {
            let remedy = "the data directory must be writable, with direct I/O";
            return Check::new(name, Verdict::Fail, error.to_string(), remedy);
        }
    };
    let (verdict, remedy) = match median {
        median if median > FLUSH_GOOD => (
            Verdict::Warn,
            "every acknowledged append waits that long: use a faster disk",
        ),
        median if median < FLUSH_TOO_GOOD => (
            Verdict::Warn,
            "too fast to be true: the device may ignore flushes",
        ),
        _ => (Verdict::Ok, ""),
    };
    let found = format!(
        "{} µs for 4 KiB with O_DIRECT and O_DSYNC (median)",
        median.as_micros()
    );
    Check::new(name, verdict, found, remedy)
}

/// The median time of a durable 4 KiB overwrite.
///
/// # Errors
/// When the directory cannot be written with direct I/O.
pub fn flush_median(dir: &Path) -> io::Result<Duration> {
    let file = unnamed(dir, OFlags::DIRECT | OFlags::DSYNC)?;
    let mut block = AlignedBlock::new();
    for index in 0..FLUSH_ROUNDS {
        file.write_all_at(block.bytes(), (index * BLOCK) as u64)?;
    }
    let mut times = Vec::with_capacity(FLUSH_ROUNDS);
    for index in 0..FLUSH_ROUNDS {
        let begun = Instant::now();
        file.write_all_at(block.bytes(), (index * BLOCK) as u64)?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times[FLUSH_ROUNDS / 2])
}

/// A file without a name in `dir`; it is gone when it is closed.
fn unnamed(dir: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(
        dir,
        flags,
        Mode::RUSR | Mode::WUSR,
    )?))
}

/// One block at an address that direct I/O accepts.
struct AlignedBlock {
    memory: Vec<u8>,
    from: usize,
}

impl AlignedBlock {
    fn new() -> AlignedBlock {
        let memory = vec![0; 2 * BLOCK];
        let from = memory.as_ptr().align_offset(BLOCK);
        AlignedBlock { memory, from }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.from..][..BLOCK]
    }
}

#[cfg(test)]
mod tests;
