//! Ids, key and value encodings, replog entries: everything with a fixed layout, and nothing else.
//!
//! Relies on nothing of the workspace. This crate never does I/O, reads no clock and holds no
//! configuration. Reading order: [`ids`], then [`entry`].

pub mod entry;
pub mod ids;

pub use ids::{Index, LogId, SpaceId, TaskId};
