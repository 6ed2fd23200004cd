//! The cluster under measurement, and what it wrote.
//!
//! Relies on `InProcessCluster` with pinned threads: the production engine in this process, so that
//! CPU and bytes written can be attributed. Bytes come from the kernel's account of this process,
//! not from the engine's own counters.

use std::path::Path;
use std::time::Duration;

use rama::prelude::*;

use crate::environment::{CpuMeter, CpuUse};

/// A result that any workload may end in.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Starts a cluster with a task thread per core and a task for each at least, on a fresh directory
/// under `dir`.
pub fn start(dir: &Path, tasks: u32) -> Outcome<(InProcessCluster, tempfile::TempDir)> {
    start_of(dir, tasks.max(cores().next_power_of_two()))
}

/// Starts a cluster of so many tasks: on as many threads as there are cores, or fewer tasks.
pub fn start_of(dir: &Path, tasks: u32) -> Outcome<(InProcessCluster, tempfile::TempDir)> {
    let scratch = tempfile::tempdir_in(dir)?;
    let cluster = InProcessCluster::builder()
        .tasks(tasks)
        .threads(cores().min(tasks))
        .dir(scratch.path().join("data"))
        .pinned(true)
        .start()?;
    Ok((cluster, scratch))
}

/// What clients run on: one thread, so that load costs the task threads as little as it can.
pub fn clients() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}

/// Cores this process may use.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get()) as u32
}

/// Bytes this process has caused to be written to devices so far.
pub fn device_bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("write_bytes:")?.trim().parse().ok())
        .unwrap_or(0)
}

/// What processing a backlog took.
pub struct Processed {
    /// CPU while it was processed.
    pub cpu: CpuUse,
    /// Bytes written to devices meanwhile.
    pub written: u64,
}

/// Appends all records while a topology that has no other source is paused, and then measures how
/// long it takes to process them.
///
/// # Errors
/// Those of the cluster; also when it takes more than a minute.
pub async fn process_backlog<T: Record + Sync>(
    server: &InProcessCluster,
    (module, topology): (&str, &str),
    depot: Depot<T>,
    records: &[T],
) -> Outcome<Processed> {
    const RECORDS_PER_CALL: usize = 1000;
    let cluster = server.cluster();
    cluster.pause(module, topology).await?;
    let depot = cluster.depot(depot);
    for some in records.chunks(RECORDS_PER_CALL) {
        depot.append_many(some, AckLevel::AppendAck).await?;
    }
    // The topology hears of the last records a moment after whoever appended them.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = device_bytes_written();
    let meter = CpuMeter::start();
    cluster.resume(module, topology).await?;
    let count = records.len() as u64;
    server.wait_for_processed(module, topology, count).await?;
    Ok(Processed {
        cpu: meter.stop(),
        written: device_bytes_written() - before,
    })
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
