//! Changes of modules: what is asked, how far it is, what came of it.
//!
//! Relies on serde. What must stay true: an operation is named from the moment it is accepted until
//! its outcome is forgotten; asking for the same twice is refused with the name of the first.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::options::OptionsByLevel;

/// What is done to a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A new module.
    Launch,
}

/// A deployment (spec operations §2.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deploy {
    /// What is done.
    pub action: Action,
    /// The module.
    pub module: String,
    /// SHA-256 of its program, in hexadecimal; uploaded before.
    pub artifact: String,
    /// What the program says of itself (`describe`).
    pub manifest: Value,
    /// Partitions of everything; a power of two, fixed for life.
    pub tasks: u32,
    /// Task threads, at most as many as tasks.
    pub threads: u32,
    /// Processes of a replica set, at most as many as threads.
    pub workers: u32,
    /// Replicas of each task group.
    #[serde(default = "one")]
    pub replication_factor: u32,
    /// Only nodes with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// Worker settings of this instance that differ from the nodes' files.
    #[serde(default)]
    pub config_overrides: BTreeMap<String, Value>,
    /// Dynamic options that hold from the first moment.
    #[serde(default)]
    pub options: OptionsByLevel,
    /// Free text for people.
    #[serde(default)]
    pub metadata: String,
    /// Plans only: nothing is changed.
    #[serde(default)]
    pub dry_run: bool,
}

fn one() -> u32 {
    1
}

/// The answer to what begins an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Its name.
    pub operation: Uuid,
    /// The instance that it makes or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Uuid>,
}

/// What a launch would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Every process.
    pub workers: Vec<PlannedWorker>,
}

/// One process of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedWorker {
    /// Which.
    pub worker: u32,
    /// Its replica set.
    pub replica_set: u32,
    /// The node's id.
    pub supervisor: Uuid,
    /// The node's name.
    pub host: String,
    /// Its task groups: those that it should lead first are marked.
    pub groups: Vec<u32>,
    /// Of them, those that it should lead.
    pub leads: Vec<u32>,
}

/// Which kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A new module.
    Launch,
    /// The end of a module.
    Destroy,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its name.
    pub id: Uuid,
    /// What is done.
    pub kind: Kind,
    /// To which module.
    pub module: String,
    /// The instance that it makes or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Uuid>,
    /// The step in progress, such as `start`.
    pub step: String,
    /// What the step waits for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub waits_for: String,
    /// When it was asked for.
    pub started_ms: u64,
    /// Who asked.
    pub by: String,
    /// What came of it; none while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Outcome {
    /// It was done.
    Succeeded,
    /// It was undone.
    RolledBack {
        /// Why.
        reason: String,
    },
}

/// Who signed a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// Ed25519, over the 64 hexadecimal digits of the program's SHA-256; 128 hexadecimal digits.
    pub signature: String,
}
