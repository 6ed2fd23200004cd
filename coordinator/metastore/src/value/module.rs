//! A module across its instances: state, targets, options, pauses, dependencies, log.
//!
//! Relies on serde. What must stay true: at most one operation of a module is in progress, and it
//! is named in `meta`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A module's state, targets, and operation in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleMeta {
    /// Such as `running` or `updating-prepare-handover`.
    pub state: String,
    /// The instance that serves reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_target: Option<Uuid>,
    /// The instance that takes appends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_target: Option<Uuid>,
    /// The operation in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Uuid>,
    /// The number of the newest entry of the operation log.
    #[serde(default)]
    pub log_last: u64,
}

/// A dynamic option as it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its value; the declaration of the option says which are allowed.
    pub value: serde_json::Value,
}

/// A topology that is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub since_ms: u64,
    /// Who asked for it.
    #[serde(default)]
    pub by: String,
}

/// What a module uses of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The objects.
    pub objects: Vec<Object>,
}

/// A depot, PState or query of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// `depot`, `pstate` or `query`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// An entry of the operation log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleLog {
    /// When it ended.
    pub at_ms: u64,
    /// The operation, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Uuid>,
    /// What was done.
    pub action: String,
    /// What came of it.
    pub outcome: String,
    /// Who asked for it.
    #[serde(default)]
    pub by: String,
}
