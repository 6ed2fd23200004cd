//! A cgroup for each worker, below the supervisor's own: limits of memory and time, and an end for
//! everything that a worker started.
//!
//! Relies on cgroup v2, and on the supervisor's cgroup being its alone: a service of systemd with
//! `Delegate=` and `DelegateSubgroup=supervisor`, or a container that may write its cgroups. Layout,
//! below that cgroup:
//!
//! ```text
//! supervisor/            the supervisor itself: who hands controllers down has no processes
//! worker-<name>-<pid>/   one process of a worker, and what it started
//! ```
//!
//! What must stay true: nothing is changed where other processes live; without cgroups everything else
//! works, and the reason can be shown.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The supervisor's own; systemd makes it, too (`DelegateSubgroup=supervisor`).
const OWN: &str = "supervisor";

/// What is handed down.
const CONTROLLERS: [&str; 2] = ["cpu", "memory"];

/// Period of `cpu.max`, in microseconds.
const PERIOD: u64 = 100_000;

/// What a worker may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most memory; none: no limit.
    pub memory_bytes_max: Option<u64>,
    /// So many cores' worth of time; 0: no limit.
    pub cpus: u32,
    /// Its share when time is short.
    pub cpu_weight: u32,
}

/// The cgroup below which workers get theirs.
#[derive(Clone, Debug)]
pub struct Cgroups {
    dir: PathBuf,
}

impl Cgroups {
    /// Takes the cgroup of this process.
    ///
    /// # Errors
    /// Why workers cannot have cgroups.
    pub fn open() -> Result<Cgroups, String> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|error| format!("could not read {path}: {error}"))
        };
        let own = own(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
        let service = std::env::var_os("NOTIFY_SOCKET").is_some();
        if service && own.file_name().is_none_or(|name| name != OWN) {
            // It could not start the supervisor again: a cgroup with workers' below takes no process.
            return Err(
                "systemd made no cgroup for the supervisor alone: DelegateSubgroup= of its \
                        unit needs systemd 254"
                    .to_owned(),
            );
        }
        Cgroups::below(&own, std::process::id())
    }

    /// Takes the cgroup `own`, which the process `pid` is in.
    fn below(own: &Path, pid: u32) -> Result<Cgroups, String> {
        let failed = |what: &str, path: &Path, error: io::Error| {
            format!("could not {what} {}: {error}", path.display())
        };
        let moved = own.file_name().is_some_and(|name| name == OWN);
        let dir = match own.parent() {
            Some(parent) if moved => parent,
            _ => own,
        };
        let listed = |file: &str| {
            let path = dir.join(file);
            let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, error))?;
            Ok::<Vec<String>, String>(text.split_whitespace().map(str::to_owned).collect())
        };
        let there = listed("cgroup.controllers")?;
        if !CONTROLLERS
            .iter()
            .all(|name| there.iter().any(|other| other == name))
        {
            let at = dir.display();
            return Err(format!(
                "cgroup {at} has no controllers cpu and memory of version 2"
            ));
        }
        let home = dir.join(OWN);
        if !moved {
            if listed("cgroup.procs")? != [pid.to_string()] {
                let at = dir.display();
                return Err(format!("other processes are in cgroup {at}, too"));
            }
            let made = fs::create_dir(&home).or_else(there_already);
            made.map_err(|error| failed("make cgroup", &home, error))?;
            write(&home, "cgroup.procs", &pid.to_string())?;
        }
        let handed = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
        if let Err(text) = write(dir, "cgroup.subtree_control", &handed) {
            if !moved {
                // As it was: the reason is told, and nobody has to clean up.
                let _ = write(dir, "cgroup.procs", &pid.to_string());
                let _ = fs::remove_dir(&home);
            }
            return Err(text);
        }
        Ok(Cgroups {
            dir: dir.to_owned(),
        })
    }

    /// Puts a worker that has just been started below its limits.
    ///
    /// # Errors
    /// What could not be written.
    pub fn confine(&self, name: &str, pid: u32, limits: Limits) -> Result<(), String> {
        self.sweep(name);
        let dir = self.of(name, pid);
        fs::create_dir(&dir)
            .or_else(there_already)
            .map_err(|error| format!("could not make cgroup {}: {error}", dir.display()))?;
        let number = |limit: Option<u64>| limit.map_or("max".to_owned(), |limit| limit.to_string());
        let quota = (limits.cpus > 0).then(|| u64::from(limits.cpus) * PERIOD);
        write(&dir, "memory.max", &number(limits.memory_bytes_max))?;
        // One worker is one thing: half of one is of no use to anybody.
        write(&dir, "memory.oom.group", "1")?;
        write(&dir, "cpu.max", &format!("{} {PERIOD}", number(quota)))?;
        write(&dir, "cpu.weight", &limits.cpu_weight.to_string())?;
        write(&dir, "cgroup.procs", &pid.to_string())
    }

    /// Kills whatever is left of a worker's process that has ended.
    pub fn end(&self, name: &str, pid: u32) {
        let dir = self.of(name, pid);
        if dir.is_dir()
            && let Err(error) = write(&dir, "cgroup.kill", "1")
        {
            tracing::warn!(error, "what a worker started may live on");
        }
        self.sweep(name);
    }

    /// Removes the cgroups of a worker that hold nothing any more. Those whose processes are only
    /// about to be gone are swept the next time.
    pub fn sweep(&self, name: &str) {
        let prefix = format!("worker-{name}-");
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let is_its = entry
                .file_name()
                .to_str()
                .is_some_and(|found| found.starts_with(&prefix));
            if is_its {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }

    fn of(&self, name: &str, pid: u32) -> PathBuf {
        self.dir.join(format!("worker-{name}-{pid}"))
    }
}

fn there_already(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    }
}

fn write(dir: &Path, file: &str, text: &str) -> Result<(), String> {
    let path = dir.join(file);
    let written = fs::write(&path, text);
    written.map_err(|error| format!("could not write {text:?} to {}: {error}", path.display()))
}

/// Where the cgroup of this process is, by `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn own(mounts: &str, cgroup: &str) -> Result<PathBuf, String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    let path = path.ok_or("this process has no cgroup of version 2")?;
    let mount = mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        (source.split(' ').next() == Some("cgroup2")).then_some((root, at))
    });
    let (root, at) = mount.ok_or("no cgroups of version 2 are mounted")?;
    let below = Path::new(path).strip_prefix(root);
    let below = below.ok().filter(|below| !below.starts_with(".."));
    let below = below.ok_or_else(|| format!("cgroup {path} of this process is not below {at}"))?;
    Ok(Path::new(at).join(below))
}
