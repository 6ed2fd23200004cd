//! The engine's runtime: what module authors write against, and what runs it.
//!
//! Reading order for the author's side: `task` (what an author's closure holds), `access` (what a
//! task may ask of the engine), `failure` (how an event ends early).

pub mod access;
pub mod failure;
pub mod task;

pub use access::{Access, Order, ReadAccess};
pub use failure::EventFailure;
pub use task::Task;
