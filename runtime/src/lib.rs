//! The engine's runtime: what module authors write against, and what runs it.
//!
//! Reading order for the author's side: `schema` (what a PState holds, and where it lies), `pstate`
//! (its name), `path` (reads and writes), `nav` (the same inside one value), `task` (what an author's closure holds), `access` (what a
//! task may ask of the engine), `failure` (how an event ends early), `plan` (what clients ask),
//! `module` and `setup` (what `define` says), `dataflow` and `partition` (the steps of a topology),
//! `stage` (the same, erased for an engine), `definition` (everything an engine needs to run a module).
//!
//! Reading order for the engine: `in_process_cluster` and `simulation` (where it runs), `launcher`
//! (starting modules), `catalog` and `layout` (names to ids), `cluster` and `client` (how programs
//! reach it), `directory` and `remote_cluster` (the same from outside), `message`, `task_thread`
//! (queues and loops), `depot`, `commit`, `proxy` (values that follow changes), `context` (what
//! events stand on), `tuning` (what options come to), `stream_driver`, `microbatch_driver`,
//! `query_driver`, `dead_letters`, `metrics`, `status`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// Generated code says `::rama`; inside this crate that is this crate.
#[cfg(test)]
extern crate self as rama;

mod appends;
mod async_task;
mod block_on;
mod catalog;
mod category_queue;
mod client;
mod clock;
mod cluster;
mod commit;
mod context;
mod dead_letters;
mod depot;
mod directory;
mod error;
mod handlers;
mod host;
mod in_process_cluster;
mod launcher;
mod layout;
mod limits;
mod message;
pub mod metrics;
mod microbatch_driver;
mod migrating;
pub mod migration;
#[cfg(any(test, feature = "mutants"))]
pub mod mutants;
mod origin;
mod processed;
mod producers;
mod proxy;
mod query_driver;
mod reader;
mod remote;
mod remote_cluster;
mod removal;
pub mod simulation;
mod spill;
mod start;
pub mod status;
mod step;
mod stream_driver;
mod system_keys;
mod task_thread;
#[cfg(test)]
mod testing;
mod trimming;

pub mod access;
pub mod aggregate;
pub mod dataflow;
pub mod definition;
pub mod depot_def;
pub mod external;
pub mod failure;
pub mod gather;
pub mod graph;
pub mod helpers;
pub mod json_path;
pub mod manifest;
pub mod mirror;
pub mod module;
pub mod nav;
pub mod partition;
pub mod path;
pub mod plan;
#[doc(hidden)]
pub mod private;
pub mod pstate;
pub mod query_def;
mod rows;
pub mod schema;
pub mod schema_desc;
pub mod setup;
pub mod stage;
pub mod task;
pub mod task_global;
pub mod test_pstate;
pub mod topology_def;
mod tuning;
mod waits;
pub mod worker;

pub use access::{Access, Order, ReadAccess};
pub use aggregate::{Aggregator, Aggs, Stored};
pub use async_task::{AsyncTask, Called, CalledAll, Waiting};
pub use block_on::block_on;
pub use client::{
    Change, DepotClient, ModuleClient, PStateClient, Proxy, ProxyStatus, QueryClient, Watch,
};
pub use cluster::Cluster;
pub use dataflow::{Begin, Flow, Grouped, Local, Temporary, Turn, Updated};
pub use dead_letters::{DeadLetter, DeadLetterRecord, DeadLetterV1};
pub use definition::{Definition, DefinitionError};
pub use depot_def::{Depot, DepotHandle, Partition};
pub use directory::{Directory, Routing};
pub use error::{Error, ErrorKind, Outcome, Result};
pub use failure::EventFailure;
pub use in_process_cluster::{Builder, InProcessCluster};
pub use json_path::{JsonSelect, PathError};
pub use message::{AckLevel, Appended};
pub use migration::{Elements, Subindexed, Whole};
pub use mirror::{MirrorDepot, MirrorPState, MirrorQuery, SourceDepot};
pub use module::Module;
pub use nav::{Nav, Navigator};
pub use path::{ListPath, ListRange, MapPath, MapRange, SetPath, SetRange, ValuePath};
pub use plan::{
    Applied, Callable, Function, FunctionDef, Functions, Limits, Plan, SelectError, Selectable,
    Selection, Viewed, ViewedValue,
};
#[doc(hidden)]
pub use private as __private;
pub use proxy::{Diff, Following, Handler, Processor, Proxied};
pub use pstate::{LocalPState, PState};
pub use query_def::Query;
pub use rama_core::mirrors::Offers;
pub use rama_core::options;
pub use rama_macros::{Key, Schema, record};
pub use rama_wire::{AsKey, Key, KeyError, Record, RecordError};
pub use remote::quic::Route;
pub use remote_cluster::RemoteConfig;
pub use schema::{List, Map, Root, Schema, Set, Tracked, Untracked};
pub use schema_desc::{KeyCodec, SchemaDesc, ValueCodec};
pub use setup::{DepotDecl, Mirrors, Setup, Topology};
pub use simulation::{Faults, Simulated, SimulatedCluster, Simulation};
pub use status::Status;
pub use step::{At, Step};
pub use task::Task;
pub use task_global::{MakeError, TaskContext, TaskGlobal};
pub use test_pstate::TestPState;
pub use topology_def::{Asked, Microbatch, SourceOptions, Start, Stream};
pub use waits::Waiter;
pub use worker::{Worker, WorkerConfig};
