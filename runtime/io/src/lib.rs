//! The `Env` seam and its two implementations. Reading order: `env` (the contract), then
//! `glommio` (production) or `sim` (seeded simulator).
//!
//! This crate alone names glommio. It knows nothing of ids, messages or file formats.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod env;
pub mod glommio;
pub mod probe;
pub mod sim;

pub use env::{
    Category, CategoryShares, Env, File, Mapping, Open, Receiver, Sender, Tick, Transport,
};
