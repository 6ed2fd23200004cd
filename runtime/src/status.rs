//! A snapshot of a cluster for operators.
//!
//! Relies on the counters; takes no lock that a task thread waits for.

use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::definition::DepotKind;
use crate::layout::Layout;
use crate::metrics::ModuleMetrics;

/// A snapshot of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster's identity, in hexadecimal.
    pub cluster: String,
    /// Its modules, by name.
    pub modules: Vec<ModuleStatus>,
}

/// One module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// Its name.
    pub name: String,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many threads run them.
    pub threads: u32,
    /// `running`; `stopped` while it restarts; `failed` when a log died and the cluster must be
    /// started again.
    pub state: String,
    /// Its depots, ticks left out.
    pub depots: Vec<DepotStatus>,
    /// Its topologies.
    pub topologies: Vec<TopologyStatus>,
    /// Changes of stored values that the code declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrations: Vec<MigrationStatus>,
    /// Records accepted from clients since the start.
    pub appends: u64,
    /// Their bytes.
    pub append_bytes: u64,
    /// Selects of clients answered since the start.
    pub selects: u64,
    /// Bytes of rows of batches that waited on disk, since the start.
    #[serde(default)]
    pub spilled_bytes: u64,
}

/// One depot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DepotStatus {
    /// Its name.
    pub name: String,
    /// Records that can be read, over all partitions.
    pub records: u64,
    /// First and next offset of each partition.
    pub partitions: Vec<(u64, u64)>,
}

/// One topology.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyStatus {
    /// Its name.
    pub name: String,
    /// `stream` or `microbatch`.
    pub kind: String,
    /// Paused by an operator or by a failure policy.
    pub paused: bool,
    /// Source records whose effects are visible.
    pub processed: u64,
    /// Source records still to do.
    pub lag: u64,
    /// Failed events since the start.
    pub failures: u64,
    /// Records left out since the start.
    pub skipped: u64,
    /// Records given up since the start.
    pub dead_letters: u64,
    /// The last microbatch that is visible everywhere; 0 for streams.
    pub microbatch_id: u64,
    /// The last failure's text.
    pub last_error: Option<String>,
}

/// How far a migration is. What it concerns is read in its new form from the first moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationStatus {
    /// The PState, or the depot.
    pub object: String,
    /// Its id.
    pub id: String,
    /// Nothing is left to do: it may go from the code.
    pub complete: bool,
    /// Tasks that are not through.
    pub tasks_left: u32,
    /// Bytes of old values that have yet to be written again.
    pub bytes_left: u64,
    /// Bytes of all values of the object.
    pub bytes: u64,
    /// Old records of a depot that can be read, and pass at each read.
    pub records_left: u64,
    /// Values written in their new form since the start.
    pub values: u64,
    /// Why it does not go on, if it does not.
    pub failure: Option<String>,
}

/// The snapshot of one module.
pub(crate) fn of(layout: &Layout, metrics: &ModuleMetrics, running: bool) -> ModuleStatus {
    let depots = layout.definition.depots.iter().zip(&metrics.depots);
    let own = |kind: DepotKind| matches!(kind, DepotKind::Partitioned | DepotKind::Global);
    let depots = depots
        .filter(|(depot, _)| own(depot.kind))
        .map(|(depot, partitions)| {
            let partitions: Vec<(u64, u64)> = partitions
                .iter()
                .map(|(start, end)| (start.load(Relaxed), end.load(Relaxed)))
                .collect();
            let records = partitions
                .iter()
                .map(|(start, end)| end.saturating_sub(*start))
                .sum();
            DepotStatus {
                name: depot.name.clone(),
                records,
                partitions,
            }
        });
    let topologies = (0_u16..).zip(layout.topologies.iter().zip(&metrics.topologies));
    let topologies = topologies.map(|(index, (topology, found))| TopologyStatus {
        name: topology.name.clone(),
        kind: topology.kind.as_str().to_owned(),
        paused: found.paused.load(Relaxed),
        processed: found.processed.load(Relaxed),
        lag: metrics.lag(layout, index),
        failures: found.failures.load(Relaxed),
        skipped: found.skipped.load(Relaxed),
        dead_letters: found.dead_letters.load(Relaxed),
        microbatch_id: found.microbatch_id.load(Relaxed),
        last_error: found.last_error.lock().map_or(None, |error| error.clone()),
    });
    let sum =
        |count: fn(&crate::metrics::ThreadMetrics) -> u64| metrics.threads.iter().map(count).sum();
    ModuleStatus {
        name: layout.module.clone(),
        tasks: layout.tasks,
        threads: layout.threads,
        state: state(metrics, running).to_owned(),
        depots: depots.collect(),
        topologies: topologies.collect(),
        migrations: metrics.migrations(layout),
        appends: sum(|thread| thread.appends.load(Relaxed)),
        append_bytes: sum(|thread| thread.append_bytes.load(Relaxed)),
        selects: sum(|thread| thread.selects.load(Relaxed)),
        spilled_bytes: sum(|thread| thread.spilled_bytes.load(Relaxed)),
    }
}

fn state(metrics: &ModuleMetrics, running: bool) -> &'static str {
    let failed = metrics
        .log_failure
        .lock()
        .is_ok_and(|failure| failure.is_some());
    match (running, failed) {
        (false, _) => "stopped",
        (true, true) => "failed",
        (true, false) => "running",
    }
}
