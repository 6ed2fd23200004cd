//! What the HTTP routes need of a cluster, and nothing more.
//!
//! Relies on the engine's types only: `engine` binds it to `rama_runtime::Cluster`, `fake`
//! stands in for it in tests, so that every failure a client can meet is produced on purpose.
//! What must stay true: a [`Refusal`] says whether the work may have been done, because that is
//! what decides between repeating a request and asking first (spec D-16).

mod engine;
#[cfg(any(test, feature = "fake"))]
pub mod fake;

use std::future::Future;
use std::pin::Pin;

use futures_util::Stream;
use rama_runtime::{AckLevel, Appended, Status};
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
    fn status(&self) -> Status;
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

/// How many results a select must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Any number, as a list.
    Any,
    /// Exactly one, bare.
    One,
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

/// A dead letter with its record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// What the engine knows of it.
    #[serde(flatten)]
    pub letter: rama_runtime::DeadLetter,
    /// The record; null when it was trimmed meanwhile.
    pub data: Value,
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
