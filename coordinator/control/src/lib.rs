//! The planner's machines over a metastore.
//!
//! Relies on `rama-planner` for decisions and on `rama-metastore` for keys that are written once.
//! Reading order: `codec` (how records stand in the metastore), `follower` (a view that keeps up),
//! `writer` (transactions), `clock`, `worker` (the loop
//! of a worker's own life). What must stay
//! true: what cannot be read is skipped with a warning and never guessed; a write has one of three results.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
pub mod codec;
mod follower;
pub mod worker;

mod writer;

pub use follower::{Change, Follower};
pub use writer::write;
