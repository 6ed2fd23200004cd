//! Ids, key and value encodings, replog entries: everything with a fixed layout, and nothing else.
//!
//! Relies on nothing of the workspace. This crate never does I/O, reads no clock and holds no
//! configuration. Reading order: [`ids`], [`entry`], then [`hash`] (which task is home to a key),
//! [`key`] (order-preserving encodings), [`record`] (values), [`type_desc`] (fingerprints, JSON
//! schemas), [`session`] (what processes say before they exchange messages).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod entry;
pub mod hash;
pub mod ids;
pub mod key;
pub mod record;
pub mod session;
pub mod type_desc;

pub use ids::{Index, LogId, SpaceId, TaskId};
pub use key::{AsKey, Key, KeyDesc, KeyError, KeyShape, KeySink};
pub use record::{Record, RecordError};
pub use type_desc::TypeDesc;
