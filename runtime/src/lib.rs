//! The engine's runtime: what module authors write against, and what runs it.
//!
//! Reading order for the author's side: `schema` (what a PState holds, and where it lies), `pstate`
//! (its name), `path` (reads and writes), `task` (what an author's closure holds), `access` (what a
//! task may ask of the engine), `failure` (how an event ends early), `plan` (what clients ask),
//! `module` and `setup` (what `define` says), `dataflow` and `partition` (the steps of a topology),
//! `stage` (the same, erased for an engine), `definition` (everything an engine needs to run a module).

#![cfg_attr(test, allow(clippy::unwrap_used))]

// Generated code says `::rama`; inside this crate that is this crate.
#[cfg(test)]
extern crate self as rama;

pub mod access;
pub mod dataflow;
pub mod definition;
pub mod depot_def;
pub mod failure;
pub mod graph;
pub mod json_path;
pub mod manifest;
pub mod module;
pub mod partition;
pub mod path;
pub mod plan;
#[doc(hidden)]
pub mod private;
pub mod pstate;
pub mod schema;
pub mod schema_desc;
pub mod setup;
pub mod stage;
pub mod task;
pub mod test_pstate;
pub mod topology_def;

pub use access::{Access, Order, ReadAccess};
pub use definition::{Definition, DefinitionError};
pub use depot_def::{Depot, DepotHandle, Partition};
pub use failure::EventFailure;
pub use json_path::{JsonSelect, PathError};
pub use module::Module;
pub use path::{ListPath, ListRange, MapPath, MapRange, SetPath, SetRange, ValuePath};
pub use plan::{Limits, Plan, SelectError, Selectable, Selection};
#[doc(hidden)]
pub use private as __private;
pub use pstate::{LocalPState, PState};
pub use rama_macros::{Key, Schema, record};
pub use rama_wire::{AsKey, Key, KeyError, Record, RecordError};
pub use schema::{List, Map, Root, Schema, Set, Tracked, Untracked};
pub use schema_desc::{KeyCodec, SchemaDesc, ValueCodec};
pub use setup::{DepotDecl, Setup, Topology};
pub use task::Task;
pub use test_pstate::TestPState;
pub use topology_def::{Microbatch, SourceOptions, Start, Stream};
