//! The `Env` seam and its two implementations. Reading order: `env` (the contract), then
//! `glommio` (production) or `sim` (seeded simulator).
//!
//! This crate alone names glommio. It knows nothing of ids, messages or file formats.

pub mod env;

pub use env::{Category, Env, File, Mapping, Open, Receiver, Sender, Tick, Transport};
