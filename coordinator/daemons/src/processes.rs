//! Worker processes: started, found again, watched, signalled.
//!
//! Relies on Linux: pidfds, `/proc`, start times. A process is known by its id and its start time,
//! because ids are used again. What must stay true: a worker lives on when its supervisor ends; what is
//! signalled is the process that was meant, never another one with its id; an exit is noticed once; of
//! the supervisor's environment a worker gets what is listed here and nothing else, because there may be
//! secrets in it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpgid, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Names a process's slot in its environment: how a supervisor finds what it started just before
/// it died.
pub const SLOT: &str = "RAMA_SLOT";

/// Environment of the supervisor that workers get, too. Everything else is theirs alone.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "RUST_BACKTRACE",
];

/// One process: ids are used again, ids with start times are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessName {
    /// Its id.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub start_time: u64,
}

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub dir: PathBuf,
    /// Where it writes stdout and stderr, appended.
    pub log: PathBuf,
    /// Its environment beside the inherited part.
    pub environment: BTreeMap<String, String>,
    /// The slot it is for.
    pub slot: String,
}

/// A process that is watched.
pub struct Watched {
    name: ProcessName,
    handle: AsyncFd<OwnedFd>,
}

/// Starts a worker in a process group of its own.
///
/// # Errors
/// What the system said.
pub fn start(start: &Start) -> io::Result<Watched> {
    fs::create_dir_all(&start.dir)?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&start.log)?;
    let mut command = Command::new(&start.program);
    command.env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .args(&start.arguments)
        .current_dir(&start.dir)
        .envs(&start.environment)
        .env(SLOT, &start.slot)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    // The handle is dropped: the exit is noticed by pidfd, as of a process that was found.
    let pid = command.spawn()?.id();
    watch_id(pid)
}

/// Watches a process that is running: one of ours, or one found.
///
/// # Errors
/// `NotFound` when it is not running any more.
pub fn watch(name: ProcessName) -> io::Result<Watched> {
    let watched = watch_id(name.pid)?;
    if watched.name == name {
        return Ok(watched);
    }
    Err(io::Error::from(io::ErrorKind::NotFound))
}

fn watch_id(pid: u32) -> io::Result<Watched> {
    let handle = pidfd_open(pid_of(pid)?, PidfdFlags::NONBLOCK)?;
    // Read after the pidfd is there: while that is open the id is not given to another one.
    // It may have ended already.
    let (start_time, _) = start_time(pid).ok_or(io::ErrorKind::NotFound)?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe for files that may be closed meanwhile; an owned one is not"
    )]
    let handle = AsyncFd::with_interest(handle, Interest::READABLE)?;
    let name = ProcessName { pid, start_time };
    Ok(Watched { name, handle })
}

impl Watched {
    /// Which process it is.
    pub fn name(&self) -> ProcessName {
        self.name
    }

    /// Sends a signal to it; one that has ended is fine.
    ///
    /// # Errors
    /// What the system said.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.handle.get_ref(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end and says how it ended, as far as a process that may not be its parent can
    /// know.
    pub async fn ended(&self) -> String {
        if let Err(error) = self.handle.readable().await {
            return format!("lost sight of it: {error}");
        }
        let options = WaitIdOptions::EXITED;
        match waitid(WaitId::PidFd(self.handle.get_ref().as_fd()), options) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "ended".to_owned(),
            },
            // Started by an earlier supervisor: its exit code went to another parent.
            Ok(None) | Err(_) => "ended".to_owned(),
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watched").field(&self.name).finish()
    }
}

/// The process that has an id now.
pub fn at(pid: u32) -> Option<ProcessName> {
    let (start_time, runs) = start_time(pid)?;
    runs.then_some(ProcessName { pid, start_time })
}

/// Signals what a worker started and what is still in its process group; it itself not. Who leaves
/// the group is on its own, unless cgroups hold it.
///
/// Every process is asked by a handle of its own: the id of a group that has ended may be that of
/// another one.
pub fn signal_group(leader: ProcessName, slot: &str, signal: Signal) {
    let Ok(group) = pid_of(leader.pid) else {
        return;
    };
    for member in tagged(slot) {
        let Ok(pid) = pid_of(member.pid) else {
            continue;
        };
        // One that has ended since needs no signal.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if member != leader && getpgid(Some(pid)) == Ok(group) && at(member.pid) == Some(member) {
            let _ = pidfd_send_signal(&handle, signal);
        }
    }
}

/// Whether a process leads a process group: what a worker started has its environment, but not that.
pub fn leads_group(name: ProcessName) -> bool {
    let pid = pid_of(name.pid);
    pid.is_ok_and(|pid| getpgid(Some(pid)) == Ok(pid))
}

/// Running processes that name a slot in their environment, by id.
pub fn tagged(slot: &str) -> Vec<ProcessName> {
    let wanted = format!("{SLOT}={slot}");
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = entries.flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        // Of a process of somebody else it cannot be read; it is none of ours then.
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        variables
            .any(|variable| variable == wanted.as_bytes())
            .then_some(pid)
    });
    let mut found: Vec<_> = ids.filter_map(at).collect();
    found.sort_unstable();
    found
}

/// When a process started, and whether it runs; one that has ended and waits for its parent does not.
fn start_time(pid: u32) -> Option<(u64, bool)> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // Field 22 of proc(5); the state is field 3.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((start_time, !matches!(state, "Z" | "X")))
}

fn pid_of(pid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}
