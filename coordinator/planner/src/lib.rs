//! What decides in a cluster: placement, operations, life cycles, leaders. Others wait.
//!
//! # What this crate does not do
//! No files, no sockets, no processes, no clock, no random numbers, no `async`, no metastore. What
//! it decides comes out as data. Equal inputs give equal outputs.
//!
//! # Reading order
//! [`ids`], [`shape`], [`cluster`] (nouns) → [`plan`] and [`place`] (which worker where) →
//! [`leaders`] (who should lead). The scripts in `tests/scripts/*.txt` show every rule as a
//! dialogue; reading them first is not cheating.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cluster;
pub mod ids;
pub mod leaders;
pub mod limits;
pub mod place;
pub mod plan;
pub mod shape;
#[cfg(test)]
mod tests;
