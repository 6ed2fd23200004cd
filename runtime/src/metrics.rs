//! Counters of one module: written by its task threads, read by whoever asks.
//!
//! Relies on relaxed atomics: each number has few writers and no number depends on another, so a
//! reader may see one a moment before the other. Names and units for exposition are in [`NAMES`].
//! What must stay true: `processed` never goes back while a module runs, and whoever waits for a
//! count is woken by the write that reaches it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use futures_channel::oneshot;
use rama_core::ids::SourceId;
use rama_core::microbatch::Status as MicrobatchStatus;

use crate::layout::{Layout, SourceLayout};
use crate::migrating::{self, Measured, TaskProgress};
use crate::status::MigrationStatus;
use crate::topology_def::TopologyKind;

/// Every exposed counter: name, unit, meaning.
pub const NAMES: [(&str, &str, &str); 11] = [
    ("rama_appends", "records", "records accepted from clients"),
    (
        "rama_append_bytes",
        "bytes",
        "payload of records accepted from clients",
    ),
    ("rama_selects", "requests", "selects of clients answered"),
    (
        "rama_batch_spilled_bytes",
        "bytes",
        "rows of batches that waited on disk, since the start",
    ),
    (
        "rama_depot_records",
        "records",
        "records that can be read, per depot",
    ),
    (
        "rama_topology_processed",
        "records",
        "source records whose effects are visible",
    ),
    (
        "rama_topology_lag",
        "records",
        "source records appended and not processed",
    ),
    (
        "rama_topology_failures",
        "events",
        "failed events since the start",
    ),
    (
        "rama_topology_skipped",
        "records",
        "records left out by policy or throttle",
    ),
    (
        "rama_topology_dead_letters",
        "records",
        "records given up since the start",
    ),
    (
        "rama_topology_microbatch_id",
        "id",
        "last microbatch that is visible everywhere",
    ),
];

/// Counters of a launched module.
pub(crate) struct ModuleMetrics {
    pub(crate) threads: Vec<ThreadMetrics>,
    pub(crate) topologies: Vec<TopologyMetrics>,
    /// Why a log of this module is dead, if one is.
    pub(crate) log_failure: Mutex<Option<String>>,
    /// How far the migrations were when they were last measured.
    migrations: Mutex<Measured>,
    /// By depot and partition: first and next offset.
    pub(crate) depots: Vec<Vec<(AtomicU64, AtomicU64)>>,
}

#[derive(Default)]
pub(crate) struct ThreadMetrics {
    pub(crate) appends: AtomicU64,
    pub(crate) append_bytes: AtomicU64,
    pub(crate) selects: AtomicU64,
    /// Bytes of rows of batches that went to disk.
    pub(crate) spilled_bytes: AtomicU64,
}

#[derive(Default)]
pub(crate) struct TopologyMetrics {
    pub(crate) processed: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) microbatch_id: AtomicU64,
    pub(crate) paused: AtomicBool,
    pub(crate) last_error: Mutex<Option<String>>,
    /// By source and partition: the first record that is not processed.
    positions: Vec<Vec<AtomicU64>>,
    /// Processed records per task, for streams.
    by_task: Vec<AtomicU64>,
    waiters: Mutex<Vec<(u64, oneshot::Sender<()>)>>,
}

impl ModuleMetrics {
    pub(crate) fn new(layout: &Layout) -> ModuleMetrics {
        let tasks = layout.tasks as usize;
        let topology = |found: &crate::layout::TopologyLayout| TopologyMetrics {
            by_task: match found.kind {
                TopologyKind::Stream => zeros(tasks),
                TopologyKind::Microbatch => Vec::new(),
            },
            positions: found
                .sources
                .iter()
                .map(|source| match &layout.depots[usize::from(source.depot)] {
                    depot if depot.tick.is_some() => Vec::new(),
                    depot => zeros(depot.partitions as usize),
                })
                .collect(),
            ..TopologyMetrics::default()
        };
        ModuleMetrics {
            log_failure: Mutex::default(),
            migrations: Mutex::default(),
            threads: (0..layout.threads)
                .map(|_| ThreadMetrics::default())
                .collect(),
            topologies: layout.topologies.iter().map(topology).collect(),
            depots: layout
                .depots
                .iter()
                .map(|d| pairs(d.partitions as usize))
                .collect(),
        }
    }

    /// Notes how far the migrations of a task are.
    pub(crate) fn set_migrations(&self, task: u32, progress: TaskProgress) {
        let mut measured = self
            .migrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        measured.insert(task, progress);
    }

    /// How far the migrations are.
    pub(crate) fn migrations(&self, layout: &Layout) -> Vec<MigrationStatus> {
        let measured = self
            .migrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        migrating::status(layout, &measured)
    }

    fn topology(&self, topology: u16) -> &TopologyMetrics {
        &self.topologies[usize::from(topology)]
    }

    pub(crate) fn on_append(&self, thread: u32, records: u64, bytes: u64) {
        let thread = &self.threads[thread as usize];
        thread.appends.fetch_add(records, Relaxed);
        thread.append_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn on_select(&self, thread: u32) {
        self.threads[thread as usize].selects.fetch_add(1, Relaxed);
    }

    pub(crate) fn set_depot(&self, depot: u16, partition: u32, start: u64, end: u64) {
        let (known_start, known_end) = &self.depots[usize::from(depot)][partition as usize];
        known_start.store(start, Relaxed);
        known_end.store(end, Relaxed);
    }

    pub(crate) fn on_failure(&self, topology: u16, text: &str) {
        let topology = self.topology(topology);
        topology.failures.fetch_add(1, Relaxed);
        *lock(&topology.last_error) = Some(text.to_owned());
    }

    pub(crate) fn on_skipped(&self, topology: u16, records: u64) {
        self.topology(topology).skipped.fetch_add(records, Relaxed);
    }

    pub(crate) fn on_dead_letter(&self, topology: u16) {
        self.topology(topology).dead_letters.fetch_add(1, Relaxed);
    }

    pub(crate) fn set_paused(&self, topology: u16, paused: bool) {
        self.topology(topology).paused.store(paused, Relaxed);
    }

    /// Microbatch `id` is visible on every task.
    pub(crate) fn on_microbatch_committed(&self, topology: u16, id: u64, processed: u64) {
        let topology = self.topology(topology);
        topology.microbatch_id.store(id, Relaxed);
        topology.reach(processed);
    }

    pub(crate) fn set_microbatch(&self, layout: &Layout, topology: u16, status: &MicrobatchStatus) {
        self.set_paused(topology, status.paused);
        self.set_positions(layout, topology, &status.progress);
    }

    /// What the ledger of a microbatch topology says.
    pub(crate) fn set_positions(
        &self,
        layout: &Layout,
        topology: u16,
        progress: &BTreeMap<SourceId, Vec<u64>>,
    ) {
        let sources = &layout.topologies[usize::from(topology)].sources;
        for (source, known) in sources.iter().zip(&self.topology(topology).positions) {
            let offsets = progress.get(&SourceId(source.id)).map_or(&[][..], |at| at);
            for (known, offset) in known.iter().zip(offsets) {
                known.store(*offset, Relaxed);
            }
        }
    }

    /// Every record before `offset` of a source partition is processed.
    pub(crate) fn set_position(&self, topology: u16, source: usize, partition: u32, offset: u64) {
        let positions = &self.topology(topology).positions[source];
        positions[partition as usize].store(offset, Relaxed);
    }

    /// A source begins at `offset` of a partition, unless it is known to be farther.
    pub(crate) fn set_begin(&self, topology: u16, source: usize, partition: u32, offset: u64) {
        let positions = &self.topology(topology).positions[source];
        positions[partition as usize].fetch_max(offset, Relaxed);
    }

    /// Records of the sources of a topology that are there and not processed: known as soon as the
    /// task threads are open, because each publishes the ends and positions of its partitions.
    pub(crate) fn lag(&self, layout: &Layout, topology: u16) -> u64 {
        let sources = &layout.topologies[usize::from(topology)].sources;
        let behind = |(source, positions): (&SourceLayout, &Vec<AtomicU64>)| {
            let ends = &self.depots[usize::from(source.depot)];
            let behind = |((start, end), at): (&(AtomicU64, AtomicU64), &AtomicU64)| {
                let from = at.load(Relaxed).max(start.load(Relaxed));
                end.load(Relaxed).saturating_sub(from)
            };
            ends.iter().zip(positions).map(behind).sum::<u64>()
        };
        let known = &self.topology(topology).positions;
        sources.iter().zip(known).map(behind).sum()
    }

    /// What one task of a stream topology has processed.
    pub(crate) fn set_stream_processed(&self, topology: u16, task: u32, processed: u64) {
        let topology = self.topology(topology);
        let old = topology.by_task[task as usize].swap(processed, Relaxed);
        if old != processed {
            let more = processed.wrapping_sub(old);
            let total = topology
                .processed
                .fetch_add(more, Relaxed)
                .wrapping_add(more);
            topology.wake(total);
        }
    }

    /// A task thread can make nothing durable any more.
    pub(crate) fn on_log_failure(&self, why: &str) {
        lock(&self.log_failure).get_or_insert_with(|| why.to_owned());
    }

    /// The module stopped: whoever waits for a count is told.
    pub(crate) fn on_stop(&self) {
        for topology in &self.topologies {
            lock(&topology.waiters).clear();
        }
    }

    /// Completes when a topology has processed `count` records.
    pub(crate) fn processed(&self, topology: u16, count: u64) -> oneshot::Receiver<()> {
        let (reached, wait) = oneshot::channel();
        let topology = self.topology(topology);
        lock(&topology.waiters).push((count, reached));
        topology.wake(topology.processed.load(Relaxed));
        wait
    }
}

impl TopologyMetrics {
    fn reach(&self, processed: u64) {
        self.processed.store(processed, Relaxed);
        self.wake(processed);
    }

    fn wake(&self, processed: u64) {
        let mut waiters = lock(&self.waiters);
        let mut at = 0;
        while at < waiters.len() {
            if waiters[at].0 <= processed {
                let _ = waiters.swap_remove(at).1.send(());
            } else {
                at += 1;
            }
        }
    }
}

fn zeros(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn pairs(count: usize) -> Vec<(AtomicU64, AtomicU64)> {
    (0..count)
        .map(|_| (AtomicU64::new(0), AtomicU64::new(0)))
        .collect()
}

/// A panic while holding one of these locks leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
