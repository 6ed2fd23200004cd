//! The daemons of a cluster: conductor and supervisor.
//!
//! Relies on `rama-planner` for every decision; this crate waits, and does. Reading order:
//! `conductor` (takes office, drives operations), `supervisor` (drives the slots of a node),
//! `machine` (does what slots want on this machine), `artifacts` (programs by hash), `processes`
//! (workers of the operating system). `tests/cluster.rs` runs all of it. What must stay true:
//! nothing is decided here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod artifacts;
pub mod conductor;
pub mod machine;
pub mod processes;
pub mod supervisor;
