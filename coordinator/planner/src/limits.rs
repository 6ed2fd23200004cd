//! Limits and time-outs of the planner, with the reason of each.
//!
//! Relies on nothing. Times are durations between inputs: this crate reads no clock.

use core::time::Duration;

/// Longest module name: it is part of every key of the module.
pub const MODULE_NAME_BYTES_MAX: usize = 128;

/// Most tasks of a module: one key per task group stays small, and plans stay fast.
pub const TASKS_MAX: u32 = 1 << 16;

/// Most replicas of a task group. Every entry is flushed by all of them.
pub const REPLICATION_MAX: u32 = 9;

/// Most keys that a step writes at a time: a metastore takes 100 operations a transaction.
pub const TXN_PUTS_MAX: usize = 96;

/// Most modules that a module uses: they are written, and removed, in one transaction.
pub const USES_MAX: usize = 32;

/// Most dynamic options that a launch begins with: they are written with its intent.
pub const SETTINGS_MAX: usize = 24;

/// How long a launch waits for all workers: artifacts are fetched and processes started in it.
pub const START_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a launch waits for leaders, longer than a lease that a dead worker left.
pub const ELECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long workers may take to stop and delete, before an operation goes on without them.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// Entries that the log of a module keeps.
pub const LOG_KEPT: u64 = 200;

/// Ended operations that are kept, of the whole cluster: who asks for one knows its id.
pub const OPERATIONS_KEPT: usize = 1_000;

/// Most old records of a kind that the end of an operation removes: more than it adds.
pub const PRUNED_MAX: usize = 8;

/// Until something that was refused, or is late, is looked at again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// First and longest pause before a worker that ended is started again (appendix B).
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// See [`BACKOFF_MIN`].
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A worker that ran so long is well: its next pause is the first again.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Exits of a worker that are kept with their cause.
pub const EXITS_KEPT: usize = 10;

/// A worker that failed so often in a row while its module is launched will not come: the launch
/// is undone, and says why.
pub const LAUNCH_FAILURES_MAX: u32 = 5;

/// Longest cause of an exit that is told to the cluster; the log has the rest.
pub const CAUSE_CHARS_MAX: usize = 500;

/// Until the first heartbeat (`supervisor.worker.launch.timeout`).
pub const LAUNCH_TIMEOUT: Duration = Duration::from_secs(15);

/// Between heartbeats (`supervisor.worker.heartbeat.timeout`).
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a worker may take to drain after SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Between SIGTERM and SIGKILL for a worker that is not well, and between two SIGKILLs.
pub const KILL_GRACE: Duration = Duration::from_secs(3);

/// A worker stops serving this long before its lease ends in the metastore: the TTL counts from
/// when a keep-alive was sent, and clocks drift (reliability §2.2).
pub const LEASE_MARGIN: Duration = Duration::from_millis(500);

/// How long a replica that is not preferred leaves the leadership to the one that is.
pub const CLAIM_GRACE: Duration = Duration::from_secs(2);

const _: () = assert!(TASKS_MAX.is_power_of_two());
const _: () = assert!(2 * USES_MAX + SETTINGS_MAX + 4 <= TXN_PUTS_MAX);
const _: () = assert!(TXN_PUTS_MAX + 4 <= 100);
const _: () = assert!(USES_MAX + SETTINGS_MAX + 2 * PRUNED_MAX + 4 <= 100);
const _: () = assert!(BACKOFF_MIN.as_nanos() < BACKOFF_MAX.as_nanos());
