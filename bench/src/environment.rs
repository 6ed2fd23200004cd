//! What a figure must be read with: the machine, its state, and how much of it others took.
//!
//! Relies on `/proc`. A figure whose run shows more than ten percent foreign CPU is void for
//! latency: the report says so beside it.

use std::fs;
use std::time::Instant;

use serde::Serialize;

/// The machine and the build, captured once per run.
#[derive(Debug, Clone, Serialize)]
pub struct Environment {
    /// Processor model.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// File system type of the directory under test.
    pub file_system: String,
    /// One-minute load average at the start.
    pub load_average: f64,
    /// Version of the harness and of what it measures.
    pub version: String,
    /// Debug or release.
    pub profile: &'static str,
}

impl Environment {
    /// Looks around. Fields that cannot be read say `unknown`.
    pub fn capture(dir: &std::path::Path) -> Environment {
        Environment {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            memory_mib: field("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            file_system: file_system(dir),
            load_average: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split_whitespace().next()?.parse().ok())
                .unwrap_or(0.0),
            version: env!("CARGO_PKG_VERSION").into(),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        }
    }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn file_system(dir: &std::path::Path) -> String {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut best = (0, "unknown".to_string());
    for line in mounts.lines() {
        let mut words = line.split_whitespace().skip(1);
        let (Some(mount), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        if dir.starts_with(mount) && mount.len() >= best.0 {
            best = (mount.len(), kind.to_string());
        }
    }
    best.1
}

/// CPU used between `start` and [`CpuMeter::stop`], ours and foreign.
pub struct CpuMeter {
    own: f64,
    all: f64,
    at: Instant,
}

/// What a [`CpuMeter`] saw.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CpuUse {
    /// Wall seconds.
    pub seconds: f64,
    /// CPU seconds of this process, user and system.
    pub own_seconds: f64,
    /// Share of the machine that other processes took, 0 to 1.
    pub foreign_share: f64,
}

impl CpuMeter {
    /// Starts measuring.
    pub fn start() -> CpuMeter {
        CpuMeter {
            own: own_seconds(),
            all: busy_seconds(),
            at: Instant::now(),
        }
    }

    /// Ends measuring.
    pub fn stop(self) -> CpuUse {
        let seconds = self.at.elapsed().as_secs_f64();
        let own_seconds = own_seconds() - self.own;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get()) as f64;
        let foreign = (busy_seconds() - self.all - own_seconds).max(0.0);
        CpuUse {
            seconds,
            own_seconds,
            foreign_share: foreign / (seconds * cores).max(1e-9),
        }
    }
}

fn own_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command name may hold spaces; fields are counted after its closing parenthesis.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal: all but idle and iowait.
    let busy: u64 = ticks
        .iter()
        .enumerate()
        .filter(|(i, _)| ![3, 4].contains(i) && *i < 8)
        .map(|(_, t)| t)
        .sum();
    busy as f64 / rustix::param::clock_ticks_per_second() as f64
}
