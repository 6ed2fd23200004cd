//! A guide for module authors: a first module from nothing to a cluster, what Rama's constructs are
//! here, and what goes wrong with its fix.
//!
//! Relies on nothing but the author's API; every program in it is compiled, and those that can be are
//! run, by the tests. What must stay true: `modules/page_analytics` is what the first module leads to.

/// From an empty directory to a module that counts visits exactly once on a cluster.
#[doc = include_str!("guide/first_module.md")]
pub mod first_module {}

/// What every construct of Rama is in Rust.
#[doc = include_str!("guide/rama-for-rustaceans.md")]
pub mod rama_for_rustaceans {}

/// What fails, when, with which text, and what to do.
#[doc = include_str!("guide/errors.md")]
pub mod errors {}
