//! Ids, encodings and layouts: what bytes mean, and nothing about where they go.
//!
//! Pure: no I/O, no clock, no randomness, no configuration.

pub mod ids;

pub use ids::{Index, LogId, SpaceId, TaskId};
