//! The engine's runtime: what module authors write against, and what runs it.
//!
//! Reading order for the author's side: `task` (what an author's closure holds), `access` (what a
//! task may ask of the engine), `failure` (how an event ends early), `module` and `setup` (what `define`
//! says), `dataflow` and `partition` (the steps of a topology), `stage` (the same, erased for an
//! engine), `definition` (everything an engine needs to run a module).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access;
pub mod dataflow;
pub mod definition;
pub mod depot_def;
pub mod failure;
pub mod graph;
pub mod module;
pub mod partition;
pub mod setup;
pub mod stage;
pub mod task;
pub mod topology_def;

pub use access::{Access, Order, ReadAccess};
pub use definition::{Definition, DefinitionError};
pub use depot_def::{Depot, DepotHandle, Partition};
pub use failure::EventFailure;
pub use module::Module;
pub use setup::{DepotDecl, Setup, Topology};
pub use task::Task;
pub use topology_def::{Microbatch, SourceOptions, Start, Stream};
