//! The daemons of a cluster: conductor and supervisor.
//!
//! Relies on `rama-planner` for every decision; this crate waits, and does. Reading order: `artifacts`
//! (programs by hash), `processes` (workers of the operating system). What must stay true: nothing is
//! decided here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod artifacts;
pub mod processes;
