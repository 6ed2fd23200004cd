//! The cluster under measurement, and what it wrote.
//!
//! Relies on `InProcessCluster` with pinned threads: the production engine in this process, so that
//! CPU and bytes written can be attributed. Bytes come from the kernel's account of this process,
//! not from the engine's own counters.

use std::path::Path;

use rama::prelude::*;

/// A result that any workload may end in.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Starts a cluster with a task thread per core, on a fresh directory under `dir`.
pub fn start(dir: &Path, tasks: u32) -> Outcome<(InProcessCluster, tempfile::TempDir)> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as u32;
    let scratch = tempfile::tempdir_in(dir)?;
    let cluster = InProcessCluster::builder()
        .tasks(tasks.max(threads.next_power_of_two()))
        .threads(threads)
        .dir(scratch.path().join("data"))
        .pinned(true)
        .start()?;
    Ok((cluster, scratch))
}

/// Bytes this process has caused to be written to devices so far.
pub fn device_bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("write_bytes:")?.trim().parse().ok())
        .unwrap_or(0)
}

/// A module with depots and nothing else.
pub struct Records;

/// Opaque records.
pub const RECORDS: Depot<Vec<u8>> = Depot::named("*records");

/// Records as HTTP clients write them.
pub const TEXTS: Depot<String> = Depot::named("*texts");

impl Module for Records {
    fn define(&self, m: &mut Setup) {
        m.depot(RECORDS, Partition::random());
        m.depot(TEXTS, Partition::random());
    }
}
