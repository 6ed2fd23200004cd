//! An operation: what was asked for, how far it has come, and what came of it.
//!
//! Relies on serde. What must stay true: it is written before any effect (rule 1 of §4.0), moves by
//! compare-and-swap only, and its outcome, once there, stays.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is done to a module or the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A new module.
    Launch,
    /// A new instance of a module.
    Update,
    /// Other numbers of threads, workers or replicas.
    Scale,
    /// Other nodes.
    Reassign,
    /// The end of a module.
    Destroy,
    /// The end of all of them, for now.
    Shutdown,
    /// Another release.
    Upgrade,
    /// From a backup.
    Restore,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Outcome {
    /// It was done.
    Succeeded,
    /// It was undone.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// It could be neither done nor undone.
    Failed {
        /// Why.
        reason: String,
    },
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What is done.
    pub kind: OperationKind,
    /// To which module; none when it is the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The instance that it makes or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Uuid>,
    /// What was asked for.
    #[serde(default)]
    pub args: serde_json::Value,
    /// The step in progress.
    pub step: String,
    /// When it was asked for.
    pub started_ms: u64,
    /// When the step began.
    pub step_started_ms: u64,
    /// How often the step was tried.
    #[serde(default)]
    pub attempts: u32,
    /// Whether the operator wants it undone.
    #[serde(default)]
    pub cancelled: bool,
    /// Who asked for it.
    #[serde(default)]
    pub by: String,
    /// What came of it, when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}
