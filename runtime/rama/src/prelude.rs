//! What a module's source needs, in one `use rama::prelude::*`.
//!
//! Names of things an author declares and says, nothing of an engine. `#[rama::record]` is written
//! with its path.

pub use std::process::ExitCode;

pub use crate::ClientConfig;
pub use rama_runtime::{
    AckLevel, Cluster, Depot, DepotClient, Faults, Function, InProcessCluster, Key, List, Map,
    Module, PState, PStateClient, Partition, Query, Record, Schema, Set, Setup, Simulation,
    SourceOptions, Start, Task, TaskContext, TaskGlobal, TestPState, Turn,
};
