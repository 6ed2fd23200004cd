//! What the HTTP routes need of a cluster, and nothing more.
//!
//! Relies on nothing of the engine: `engine.rs` binds it to `rama_runtime::Cluster`, the fake below
//! stands in for it in tests, so that every failure a client can meet is produced on purpose.
//! What must stay true: a [`Refusal`] says whether the work may have been done, because that is
//! what decides between repeating a request and asking first (spec D-16).

#[cfg(any(test, feature = "fake"))]
pub mod fake;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A future answer of the cluster.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// Values of a watched path: the current one first, then the newest after each change.
pub type Changes = Pin<Box<dyn Stream<Item = Result<Value, Refusal>> + Send>>;

/// A cluster as the gateway sees it.
pub trait Backend: Send + Sync + 'static {
    /// Names of the running modules, sorted.
    fn modules(&self) -> Vec<String>;
    /// What clients can name in a module; `None` when no such module runs.
    fn objects(&self, module: &str) -> Option<Objects>;
    /// The module's manifest: objects, schemas, topology graphs.
    fn describe(&self, module: &str) -> Option<Value>;
    /// Appends one record.
    fn append<'a>(&'a self, at: Target<'a>, data: Value, ack: AckLevel) -> Answer<'a, Appended>;
    /// Reads a path; a list of results, or exactly one.
    fn select<'a>(&'a self, at: Target<'a>, path: Value, amount: Amount) -> Answer<'a, Value>;
    /// Follows a path that has exactly one result.
    fn watch<'a>(&'a self, at: Target<'a>, path: Value) -> Answer<'a, Changes>;
    /// A snapshot of everything an operator asks about.
    fn status(&self) -> Answer<'_, Status>;
    /// Records that a topology gave up on.
    fn dead_letters<'a>(&'a self, module: &'a str) -> Answer<'a, Vec<DeadLetter>>;
    /// Gives dead letters back to their topologies, or forgets them; how many.
    fn settle<'a>(&'a self, module: &'a str, which: Letters, how: Settle) -> Answer<'a, u64>;
    /// `Err` with the reason while requests would be refused.
    fn ready(&self) -> Result<(), String>;
}

/// One depot or PState of one module.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The module's name.
    pub module: &'a str,
    /// The depot's or PState's name with its `*` or `$$`.
    pub object: &'a str,
}

/// Names that exist in one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Depot names with their `*`.
    pub depots: Vec<String>,
    /// PState names with their `$$`.
    pub pstates: Vec<String>,
}

/// When an append is answered (spec D-15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AckLevel {
    /// After the record is durable and every colocated stream topology has processed it.
    #[default]
    #[serde(rename = "ack")]
    Ack,
    /// After the record is durable.
    #[serde(rename = "appendAck", alias = "append_ack")]
    AppendAck,
    /// After the record was handed over.
    #[serde(rename = "none")]
    None,
}

/// How many results a select must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Any number, as a list.
    Any,
    /// Exactly one, bare.
    One,
}

/// An accepted append.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Appended {
    /// Topology name to ack return (spec D-19).
    pub returns: BTreeMap<String, Value>,
    /// Where the record stands: partition and offset. Unknown at ack level none.
    pub position: Option<(u32, u64)>,
}

/// Which dead letters an operation means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letters {
    /// Every dead letter of the module.
    All,
    /// Those with these ids.
    Ids(Vec<String>),
}

/// What becomes of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// They are given to their topology again.
    Replay,
    /// They are forgotten.
    Drop,
}

/// A record that a topology gave up on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// What `replay` and `drop` take.
    pub id: String,
    /// Who gave up.
    pub topology: String,
    /// Where the record came from.
    pub depot: String,
    /// Its partition there.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// The last failure's text.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, milliseconds since 1970.
    pub time_ms: u64,
    /// The record.
    pub data: Value,
}

/// A snapshot of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's identity.
    pub cluster: String,
    /// Version of the program.
    pub version: String,
    /// Milliseconds since it was ready.
    pub uptime_ms: u64,
    /// Running modules.
    pub modules: Vec<ModuleStatus>,
}

/// A module in a [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleStatus {
    /// Its name.
    pub name: String,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many threads run them.
    pub threads: u32,
    /// `running`, `updating` and so on.
    pub state: String,
    /// Its depots.
    pub depots: Vec<DepotStatus>,
    /// Its topologies.
    pub topologies: Vec<TopologyStatus>,
    /// Records in the dead-letter depot that nobody settled.
    pub dead_letters: u64,
}

/// A depot in a [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DepotStatus {
    /// Its name.
    pub name: String,
    /// Records that can be read, over all partitions.
    pub records: u64,
    /// First and next offset of each partition.
    pub partitions: Vec<(u64, u64)>,
}

/// A topology in a [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopologyStatus {
    /// Its name.
    pub name: String,
    /// `stream` or `microbatch`.
    pub kind: String,
    /// Paused by an operator or by its failure policy.
    pub paused: bool,
    /// Source records whose effects are visible.
    pub processed: u64,
    /// Source records still to do.
    pub lag: u64,
    /// Failed attempts since start.
    pub failures: u64,
    /// The last failure's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Why the cluster did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// What the caller has to do about it.
    pub code: Code,
    /// What was attempted on what, and why not.
    pub detail: String,
    /// The next step, if there is a better one than the code's own.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal with the code's own hint.
    pub fn new(code: Code, detail: impl Into<String>) -> Refusal {
        Refusal {
            code,
            detail: detail.into(),
            hint: None,
        }
    }

    /// The same with a hint of its own.
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = Some(hint.into());
        self
    }
}

/// Kinds of refusals; their words are part of the HTTP interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Nothing was done; repeat after a pause.
    Unavailable,
    /// It may have happened (D-16).
    Unknown,
    /// Durably appended, and a topology failed on it (D-20, D-21): do not append it again.
    Failed,
    /// The request makes no sense.
    Invalid,
    /// A rule of the module or cluster forbids it.
    Rejected,
    /// The named thing does not exist.
    NotFound,
    /// Another owner took over.
    Fenced,
    /// Bytes on disk are not what was written.
    Corrupt,
    /// The device failed or is full.
    Storage,
    /// The module or cluster is shut down.
    Closed,
    /// The request is larger than the server takes.
    TooLarge,
    /// The path exists, the method does not.
    Method,
}
