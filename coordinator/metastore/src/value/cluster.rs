//! The cluster as a whole: who it is, its phase, its releases.
//!
//! Relies on serde. What must stay true: the identity is written once and compared by every process
//! that joins.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who the cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterId {
    /// Never changes.
    pub id: Uuid,
    /// Grows when the metastore is restored from a copy; a process that has seen a higher one
    /// stops.
    pub generation: u64,
    /// When it was made.
    pub created_ms: u64,
}

/// What a cluster as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// At work.
    Open,
    /// On the way to `Stopped`.
    Draining,
    /// Nothing runs.
    Stopped,
    /// Between two releases.
    Upgrading,
}

/// What phase it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// The phase.
    pub phase: Phase,
    /// Why it is to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// The operation that changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Uuid>,
}

/// Releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterVersion {
    /// The one that the cluster runs.
    pub running: String,
    /// Those that it may be upgraded to.
    #[serde(default)]
    pub available: Vec<String>,
}
