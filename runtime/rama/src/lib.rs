//! Whole backends as one program: depots, PStates and topologies on one runtime.
//!
//! This is the crate a module author depends on. It re-exports the author's side of the runtime and
//! adds [`main!`], which makes a command of a module. [`guide::first_module`] shows all of it step by
//! step; to look things up, read in this order: the two programs below, [`prelude`], [`Setup`],
//! [`dataflow::Flow`], [`path`].
//!
//! # A module
//!
//! A **depot** is a log that clients append to. A **topology** consumes it and turns records into
//! **PStates**: partitioned, durable, sorted data structures that clients read. A module declares
//! all of them, each once, as typed constants; it runs as 2^n *tasks*, each with its partition of
//! every depot and PState.
//!
//! ```no_run
//! use rama::prelude::*;
//!
//! pub const LINES: Depot<String> = Depot::named("*lines");
//! pub const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
//!
//! # fn words(line: String) -> Vec<String> { line.split(' ').map(str::to_owned).collect() }
//! pub struct WordCount;
//!
//! impl Module for WordCount {
//!     fn define(&self, m: &mut Setup) {
//!         m.depot(LINES, Partition::random());
//!         let mut s = m.stream("count");
//!         let counts = s.pstate(COUNTS);
//!         s.source(LINES)
//!             .flat_map(|_, line| words(line))
//!             .hash_partition(|word| word)
//!             .each(move |task, word| counts.key(&word).update(task, |n| n.unwrap_or(0) + 1));
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     rama::main!(WordCount)
//! }
//! ```
//!
//! # Events and hops
//!
//! Between two partitioners, code is one *event*: it runs on one task, uninterrupted, and reads and
//! writes every PState partition on that task at once. A partitioner moves the value to where the
//! next key lives. A keyed access on a task that is not the key's home fails the event and names
//! both tasks.
//!
//! In a stream topology each event's writes commit by themselves, and a failed record is retried: at
//! least once. In a microbatch topology everything that a batch of records does on all tasks commits
//! as one transaction: exactly once, whatever fails.
//!
//! ```
//! use rama::prelude::*;
//!
//! #[rama::record]
//! pub struct Transfer { id: u64, from: u64, to: u64, cents: i64 }
//!
//! #[rama::record]
//! pub struct Outgoing { to: u64, cents: i64, ok: bool }
//!
//! #[rama::record]
//! pub struct Incoming { from: u64, cents: i64, ok: bool }
//!
//! pub const TRANSFERS: Depot<Transfer> = Depot::named("*transfers");
//! pub const FUNDS: PState<Map<u64, i64>> = PState::named("$$funds");
//! pub const OUTGOING: PState<Map<u64, Map<u64, Outgoing>>> = PState::named("$$outgoing");
//! pub const INCOMING: PState<Map<u64, Map<u64, Incoming>>> = PState::named("$$incoming");
//!
//! pub struct Bank;
//!
//! impl Module for Bank {
//!     fn define(&self, m: &mut Setup) {
//!         m.depot(TRANSFERS, Partition::hash_by(|t: &Transfer| t.from));
//!         // Exactly-once transfers across partitions: microbatch.
//!         let mut mb = m.microbatch("banking");
//!         let (funds, outgoing, incoming) =
//!             (mb.pstate(FUNDS), mb.pstate(OUTGOING), mb.pstate(INCOMING));
//!         mb.source(TRANSFERS)
//!             .map(move |task, t| {
//!                 let ok = funds.key(&t.from).get(task).unwrap_or(0) >= t.cents;
//!                 if ok { funds.key(&t.from).update(task, |f| f.unwrap_or(0) - t.cents); }
//!                 outgoing.key(&t.from).key(&t.id)
//!                     .set(task, Outgoing { to: t.to, cents: t.cents, ok });
//!                 (t, ok)
//!             })
//!             .hash_partition(|(t, _)| t.to)
//!             .each(move |task, (t, ok)| {
//!                 if ok { funds.key(&t.to).update(task, |f| f.unwrap_or(0) + t.cents); }
//!                 incoming.key(&t.to).key(&t.id)
//!                     .set(task, Incoming { from: t.from, cents: t.cents, ok });
//!             });
//!     }
//! }
//!
//! let bank = rama::Definition::of(&Bank)?;
//! assert_eq!(bank.topologies[0].graph.nodes().len(), 4);
//! # Ok::<(), rama::DefinitionError>(())
//! ```
//!
//! # Failure
//!
//! A panic, an `Err` from a `try_` step, or [`Task::fail`] fails the event. The record is retried
//! with growing pauses, and then dead-lettered, skipped, or the topology pauses: see
//! [`SourceOptions`]. The process never dies of author code.
//!
//! Mistakes in `define` are told all at once, each with its place in the source and the fix.
//!
//! # From outside
//!
//! A program connects to a cluster with [`Cluster::connect`] and a [`ClientConfig`], opens modules by
//! their code and uses the same handles as within a process. [`ClientConfig`] tells what happens when
//! something is down.

mod client;
pub mod command;
pub mod guide;
pub mod prelude;

pub use client::ClientConfig;
pub use rama_runtime::{
    Access, AckLevel, Appended, Applied, AsKey, Builder, Callable, Cluster, DeadLetter,
    DeadLetterRecord, DeadLetterV1, Definition, DefinitionError, Depot, DepotClient, DepotDecl,
    DepotHandle, Elements, Error, ErrorKind, EventFailure, Faults, Function, FunctionDef,
    Functions, InProcessCluster, Key, KeyError, Limits, List, ListPath, ListRange, LocalPState,
    Map, MapPath, MapRange, Microbatch, Module, ModuleClient, Nav, Navigator, Outcome, PState,
    PStateClient, Partition, Plan, Record, RecordError, Result, Root, Schema, SchemaDesc,
    SelectError, Selectable, Selection, Set, SetPath, SetRange, Setup, Simulated, SimulatedCluster,
    Simulation, SourceOptions, Start, Status, Stream, Subindexed, Task, TestPState, Topology,
    Tracked, Untracked, ValuePath, Viewed, ViewedValue, Watch, Whole, block_on, record,
};
pub use rama_runtime::{
    Aggregator, Aggs, Asked, Flow, Query, QueryClient, Stored, Temporary, Turn, Waiter,
};
pub use rama_runtime::{AsyncTask, At, Called, CalledAll, Step, Waiting};
pub use rama_runtime::{Change, Diff, Handler, Processor, Proxied, Proxy, ProxyStatus};
pub use rama_runtime::{MakeError, TaskContext, TaskGlobal};
pub use rama_runtime::{
    aggregate, dataflow, definition, external, field, graph, helpers, manifest, nav, options, path,
    stage,
};

#[doc(hidden)]
pub use rama_runtime::__private;

/// Makes the whole `main` of a module's program: the commands `describe`, `dev` and `worker` (see
/// [`command`]). The argument is the module's value; the expression's type is
/// [`ExitCode`](std::process::ExitCode).
///
/// ```no_run
/// # struct Empty;
/// # impl rama::Module for Empty { fn define(&self, _: &mut rama::Setup) {} }
/// fn main() -> std::process::ExitCode {
///     rama::main!(Empty)
/// }
/// ```
#[macro_export]
macro_rules! main {
    ($module:expr $(,)?) => {
        $crate::command::main($module)
    };
}
