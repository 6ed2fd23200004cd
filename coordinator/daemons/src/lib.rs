//! The daemons of a cluster: conductor and supervisor.
//!
//! Relies on `rama-planner` for every decision; this crate waits, and does. Reading order:
//! `conductor` (takes office, drives operations), `supervisor` (drives the slots of a node),
//! `machine` (does what slots want on this machine), `artifacts` (programs by hash), `processes`
//! (workers of the operating system), `ports`, `cores` and `cgroups` (what of the machine they get),
//! `snapshot` (what is known), `routes` (all that is answered), `api` (what operators ask), `rest`
//! (the way to modules), `openapi` (what others are told of it), `daemon` (processes with sockets).
//! `tests/cluster.rs` runs all of it. What must stay true: nothing is decided here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod artifacts;
pub mod cgroups;
pub mod conductor;
pub mod cores;
pub mod daemon;
pub mod machine;
mod openapi;
pub mod ports;
pub mod processes;
pub mod rest;
mod routes;
pub mod snapshot;
pub mod supervisor;

/// The wall clock, for records that people read: milliseconds since 1970.
fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
