//! Every option, once: name, what it is about, values, default, help.
//!
//! Relies on the runtime to read each of them where its effect is (`tuning`). Names, levels and
//! meanings are those of spec operations §6.3. What must stay true: names are sorted; a default
//! lies within its range; what would have no effect is not declared.

use super::Kind::{Switch, Weights, Whole};
use super::{Declaration, Scope};

macro_rules! declare {
    ($($ident:ident: $scope:ident, $name:literal, $kind:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $ident: Declaration = Declaration {
                name: $name,
                scope: Scope::$scope,
                kind: $kind,
                help: $help,
            };
        )*

        /// Every option, sorted by name.
        pub static DECLARED: &[&Declaration] = &[$(&$ident),*];
    };
}

/// How a contended task thread divides its time when nothing is set.
pub const EVENT_CATEGORIES: &[(&str, u64)] = &[
    ("isr.replication", 1000),
    ("client", 500),
    ("low.latency", 500),
    ("flex.latency", 250),
    ("mirror.client", 250),
    ("background", 100),
];

declare! {
    ACK_FAILURE_ON_ANY: Depot, "depot.ack.failure.on.any.streaming.failure",
        Switch { default: true },
        "Whether an ACK append fails with the first failed attempt of a stream, although a retry may \
         succeed; otherwise it waits for the retries.";
    DEPOT_EXCESS: Depot, "depot.excess.proportion",
        Whole { default: 25, min: 0, max: 1000, unit: "percent" },
        "How much more than its limits a partition may hold before it is trimmed to them.";
    DEPOT_MAX_AGE: Depot, "depot.max.age.millis",
        Whole { default: 0, min: 0, max: 1 << 53, unit: "ms" },
        "Records older than this are trimmed; 0: at any age they stay.";
    DEPOT_MAX_BYTES: Depot, "depot.max.bytes.per.partition",
        Whole { default: 0, min: 0, max: 1 << 53, unit: "bytes" },
        "About so many bytes of the newest records of a partition are kept; 0: all.";
    DEPOT_MAX_ENTRIES: Depot, "depot.max.entries.per.partition",
        Whole { default: 0, min: 0, max: 1 << 53, unit: "records" },
        "So many of the newest records of a partition are kept; 0: all.";
    DEPOT_MAX_FETCH: Depot, "depot.max.fetch",
        Whole { default: 512, min: 1, max: 65_536, unit: "records" },
        "How many records of a partition one event takes.";
    DEPOT_MAX_PENDING: Depot, "depot.max.pending.streaming.per.partition",
        Whole { default: 65_536, min: 1, max: 1_048_576, unit: "appends" },
        "How many ACK appends to a partition may wait for one stream; more are answered as \
         throttled.";
    MICROBATCH_MAX_BYTES: Depot, "depot.microbatch.max.bytes",
        Whole { default: 4 << 20, min: 1, max: 1 << 30, unit: "bytes" },
        "About how many bytes of a partition one microbatch takes.";
    MICROBATCH_MAX_RECORDS: Depot, "depot.microbatch.max.records",
        Whole { default: 16_384, min: 1, max: 16_777_216, unit: "records" },
        "How many records of a partition one microbatch takes.";
    DEPOT_TRIM_COORDINATE: Depot, "depot.trim.coordinate.local.topologies",
        Switch { default: true },
        "Whether records stay until every topology of the module has processed them; otherwise one \
         that lags goes on at the first record still there.";
    DEPOT_TRIM_COORDINATE_REMOTE: Depot, "depot.trim.coordinate.remote.topologies",
        Switch { default: true },
        "Whether records stay until every mirror in another module has fetched them; otherwise one \
         that lags goes on at the first record still there.";
    DEPOT_TRIM_INTERVAL: Module, "depot.trim.interval.seconds",
        Whole { default: 60, min: 1, max: 86_400, unit: "s" },
        "How often depots with limits are looked at, and trimmed.";
    FOREIGN_TIMEOUT: Module, "foreign.pstate.operation.timeout.millis",
        Whole { default: 30_000, min: 1, max: 3_600_000, unit: "ms" },
        "How long topologies try to reach other modules, for a read or an append, before it has failed.";
    PROXY_LIMIT: PState, "pstate.proxy.limit",
        Whole { default: 20_000, min: 1, max: 1_000_000, unit: "proxies" },
        "How many proxies and watches of the PState one task has; more are refused.";
    REACTIVITY_QUEUE_LIMIT: PState, "pstate.reactivity.queue.limit",
        Whole { default: 1024, min: 1, max: 1_000_000, unit: "changes" },
        "How many changes wait for one proxy; for one that is further behind the value is read \
         again.";
    SELECT_PAGE_SIZE: PState, "pstate.yielding.select.page.size",
        Whole { default: 1000, min: 1, max: 1_000_000, unit: "elements" },
        "How many elements of the PState a select reads before others have their turn; it goes on \
         over a snapshot.";
    MICROBATCH_EMPTY_SLEEP: Microbatch, "topology.microbatch.empty.sleep.time.millis",
        Whole { default: 0, min: 0, max: 86_400_000, unit: "ms" },
        "Without new records an empty microbatch runs after so long; 0: never. New records end the \
         wait at once.";
    MICROBATCH_FORCE_DELAY: Microbatch, "topology.microbatch.force.delay.millis",
        Whole { default: 0, min: 0, max: 3_600_000, unit: "ms" },
        "The shortest pause between two microbatches.";
    MICROBATCH_MIGRATION_BATCH: Microbatch, "topology.microbatch.migration.max.paths.per.batch",
        Whole { default: 256, min: 1, max: 1_048_576, unit: "values" },
        "While a PState of the topology is migrated a task writes so many values again, then rests.";
    MICROBATCH_MIGRATION_SECOND: Microbatch, "topology.microbatch.migration.max.paths.per.second",
        Whole { default: 50_000, min: 1, max: 1_000_000_000, unit: "values" },
        "About so many values of a PState that is migrated a task writes again in a second.";
    MICROBATCH_PHASE_TIMEOUT: Microbatch, "topology.microbatch.phase.timeout.seconds",
        Whole { default: 60, min: 1, max: 86_400, unit: "s" },
        "A phase of a microbatch that takes longer ends the attempt, which is made again.";
    QUERY_TIMEOUT: Module, "topology.query.timeout.millis",
        Whole { default: 30_000, min: 1, max: 3_600_000, unit: "ms" },
        "A query that takes longer is given up, and forgotten on every task.";
    STREAM_CHECKPOINT_THRESHOLD: Stream, "topology.stream.checkpoint.progress.threshold",
        Whole { default: 1000, min: 1, max: 1_000_000, unit: "records" },
        "After so many records a stream stores how far it is, if no write has done so.";
    STREAM_EVENTS_PER_BATCH: Stream, "topology.stream.max.events.per.batch",
        Whole { default: 4096, min: 1, max: 65_536, unit: "events" },
        "How many events share one write of a stream on one task.";
    STREAM_MAX_EXECUTING: Stream, "topology.stream.max.executing.per.task",
        Whole { default: 4096, min: 1, max: 65_536, unit: "records" },
        "How many records of a source may be unfinished on a task; more wait in the depot, and \
         their ACK appends are answered as throttled.";
    STREAM_MIGRATION_BATCH: Stream, "topology.stream.migration.max.paths.per.batch",
        Whole { default: 256, min: 1, max: 1_048_576, unit: "values" },
        "While a PState of the topology is migrated a task writes so many values again, then rests.";
    STREAM_MIGRATION_SECOND: Stream, "topology.stream.migration.max.paths.per.second",
        Whole { default: 50_000, min: 1, max: 1_000_000_000, unit: "values" },
        "About so many values of a PState that is migrated a task writes again in a second.";
    STREAM_CHECKPOINT_SECONDS: Stream, "topology.stream.periodic.checkpoint.seconds",
        Whole { default: 5, min: 1, max: 3600, unit: "s" },
        "A busy stream stores at least this often how far it is.";
    STREAM_TIMEOUT: Stream, "topology.stream.timeout.seconds",
        Whole { default: 30, min: 1, max: 86_400, unit: "s" },
        "A record that is not done after so long has failed.";
    BATCH_MEMORY: Module, "worker.batch.memory.bytes",
        Whole { default: 256 << 20, min: 1024, max: 1 << 40, unit: "bytes" },
        "About how much memory a task thread gives the rows that wait at one step of a batch (an \
         aggregation by key, a join, a materialization); more of them wait on disk.";
    EVENT_CATEGORY_PROPORTIONS: Module, "worker.event.category.proportions",
        Weights { parts: EVENT_CATEGORIES, max: 1000 },
        "How a task thread that is never idle divides its time.";
    EVENT_TARGET_MILLIS: Module, "worker.event.target.max.millis",
        Whole { default: 5, min: 1, max: 1000, unit: "ms" },
        "An event of a topology takes no more records after so long, and lets others run.";
}
