//! Pure protocol machines: they decide, others wait.
//!
//! # What this crate does not do
//! No files, no sockets, no threads, no clock, no random numbers, no `async`, no author code. A
//! machine is a value. Its driver (the engine's task thread, or a test) owns it and
//! 1. tells it what happened: `on_input(now, input)`;
//! 2. calls `on_deadline(now)` when `deadline()` has come;
//! 3. after either, takes every `poll_effect()` and does it, in order, before the next input.
//!
//! Random numbers that a protocol needs come in with `Boot`. Equal inputs give equal effects.
//! Invariants are asserted in release builds after every input (`check`).
//!
//! # Reading order
//! [`ids`] and [`time`] (nouns) → [`policy`] (what failures lead to) → [`microbatch`] (messages,
//! effects; then `coordinator.rs`, its steps in `coordinator/{planning,attempt,commit}.rs` and its
//! crashes in `coordinator/recovery.rs`; then `participant.rs`) → [`stream`] (`tracker.rs`, its
//! `failure.rs` and `limits.rs`, `window.rs`) → [`watermarks`] → [`options`] (no machine: which settings
//! hold). The scripts in `tests/scripts/*.txt` show every
//! rule as a dialogue; reading them first is not cheating.
//!
//! # A microbatch, step by step
//! C is the [`microbatch::Coordinator`] on task 0, P the [`microbatch::Participant`] of each task.
//! Arrows are messages, brackets are durable writes.
//!
//! ```text
//!  append ─► C  DepotEnd                 wake: no polling
//!            C  [ledger: plan n]         1 ranges fixed; every attempt at n reads exactly these
//!            C ─► P  Start n.a           2 when all tasks are ready
//!                 P  run sources, hops   3 into an overlay; hops carry (n.a, random id)
//!            C ◄─ P  Processed xor         XOR of ids started, emitted and consumed = 0: done
//!            C ─► P  Prepare n.a         4
//!                 P  [overlay]             kept aside, invisible
//!            C ◄─ P  Prepared
//!            C  [ledger: decided n,      5 the one moment that decides; the next plan rides along
//!                        plan n+1]
//!            C ─► P  Commit n.a          6
//!                 P  [commit], apply       visible, atomically per task
//!            C ◄─ P  Committed
//!            C  Committed{n, processed}    waiters are served, n+1 starts
//! ```
//!
//! Before 5 everything can be given up: `Abort`, then the same `n` with the same ranges as attempt
//! `a+1`. After 5 everything rolls forward. After a crash C finds the ledger, greets all tasks,
//! hears what they committed and prepared, and is at step 6 (decided) or step 2 (not). Why each
//! check is there: [`mutants`] lists the rules one by one, and the tests show what breaks
//! without them.
//!
//! # A stream record, step by step
//! T is the [`stream::Tracker`] of the source on the task of the depot partition.
//!
//! ```text
//!  append ─► T  Watch (ACK appends), DepotEnd
//!            T ─► Deliver [from, to)      a new tree per record: TreeId, root edge
//!                 events run on any task; each batch of writes becomes durable, then
//!            T ◄─ Ack tree, xor           XOR of edges consumed and emitted; 0: done
//!            T ─► Release                 the append is answered
//!            T ─► Checkpoint progress     contiguous done records, by count or time
//! ```
//!
//! A failed or late tree is retried under a new TreeId by mode and policy, so that acks of the old
//! one are recognized as such.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ids;
pub mod microbatch;
pub mod mirrors;
pub mod mutants;
pub mod options;
pub mod policy;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod time;
pub mod watermarks;
