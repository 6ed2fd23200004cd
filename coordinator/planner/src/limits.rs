//! Limits and time-outs of the planner, with the reason of each.
//!
//! Relies on nothing. Times are durations between inputs: this crate reads no clock.

/// Longest module name: it is part of every key of the module.
pub const MODULE_NAME_BYTES_MAX: usize = 128;

/// Most tasks of a module: one key per task group stays small, and plans stay fast.
pub const TASKS_MAX: u32 = 1 << 16;

/// Most replicas of a task group. Every entry is flushed by all of them.
pub const REPLICATION_MAX: u32 = 9;

const _: () = assert!(TASKS_MAX.is_power_of_two());
