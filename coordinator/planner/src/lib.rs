//! What decides in a cluster: placement, operations, life cycles, leaders. Others wait.
//!
//! # What this crate does not do
//! No files, no sockets, no processes, no clock, no random numbers, no `async`, no metastore. What
//! it decides comes out as data. Equal inputs give equal outputs.
//!
//! A machine is a value. Its driver (a daemon's loop, or a test) owns it and
//! 1. tells it what happened: `on_input(now, input)`, some with the [`view::View`] of the
//!    metastore;
//! 2. calls `on_deadline(now)` when `deadline()` has come;
//! 3. after either, takes every `poll_effect()` and does it, in order.
//!
//! Times (`Now`) are monotonic and run while the machine is suspended. Machines that look at the
//! metastore decide from levels, not edges: a watch event that comes late, twice or never delays
//! them, until the driver lists anew, and nothing else. What they decide is a transaction that
//! compares what they saw.
//!
//! # Reading order
//! [`ids`], [`shape`], [`cluster`] (nouns) → [`plan`] and [`place`] (which worker where) →
//! [`leaders`] (who should lead) → [`records`], [`store`], [`view`] (the metastore as machines see
//! it) → [`operation`] (launch and destroy, in the conductor) → [`slot`] (a worker process, in its
//! supervisor) → [`worker`] and [`election`] (the process itself). The scripts in
//! `tests/scripts/*.txt` show every rule as a dialogue; reading them first is not cheating. The
//! storm in `tests/storm` runs all machines together over faults; [`mutants`] lists the rules it
//! proves.
//!
//! # A launch, from end to end
//! ```text
//! conductor   [intent: op, module]        1 compare-and-swap, before any effect
//!             [workers, ISRs …]           2 unseen: not published
//!             [spec, op: start]           3 published
//! supervisor  fetch, spawn                4 for each worker assigned to its node
//! worker      lease, [live]               5 registers under its lease
//! conductor   [op: elect]                 6 all are registered
//! worker      [leader, ISR epoch + 1]     7 takes its groups
//! conductor   [op: open] [op: done,       8 all are led; the point of no return
//!             module: running, log]
//! ```
//! A destruction flips the workers to `destroy` and withdraws the spec; each supervisor stops,
//! deletes and removes the worker's key; when all are gone the conductor forgets the module.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cluster;
pub mod election;
pub mod ids;
pub mod leaders;
pub mod limits;
pub mod mutants;
pub mod operation;
pub mod place;
pub mod plan;
pub mod records;
pub mod shape;
pub mod slot;
pub mod store;
#[cfg(test)]
mod tests;
pub mod view;
pub mod worker;
