//! Rama: whole backends as one program. What a module author depends on, and nothing else.
//!
//! A module declares depots (partitioned logs), PStates (partitioned, durable, indexed data) and
//! topologies (code that turns depot records into PStates). Start with [`prelude`].

#[doc(hidden)]
pub use rama_runtime::__private;
pub use rama_runtime::{
    Access, Depot, DepotHandle, EventFailure, Key, List, LocalPState, Map, Microbatch, Module,
    PState, Partition, Record, Root, Schema, SelectError, Selectable, Selection, Set, Setup,
    SourceOptions, Start, Stream, Task, TestPState, Topology, Tracked, Untracked, record,
};

/// Everything a module needs: `use rama::prelude::*;`.
pub mod prelude {
    pub use rama_runtime::{
        Depot, DepotHandle, Key, List, LocalPState, Map, Microbatch, Module, PState, Partition,
        Record, Schema, Selectable, Set, Setup, SourceOptions, Start, Stream, Task, TestPState,
        Topology, Tracked, Untracked,
    };
}
