//! A node of the cluster: its supervisor, and what an operator asked of it.
//!
//! Relies on serde. What must stay true: what dies with the process is leased (`sup/<id>`), what
//! must outlive it is not (`…/flags`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A supervisor that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// Told apart from one that ran before.
    pub incarnation: u64,
    /// Host name inside the cluster.
    pub host_internal: String,
    /// Host name for clients outside.
    pub host_external: String,
    /// Where it is spoken to.
    pub port: u16,
    /// Where HTTP is, if it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_port: Option<u16>,
    /// What the node is good for.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Cores that workers may use.
    pub cores: u32,
    /// Memory that workers may use.
    pub memory_bytes: u64,
    /// Its release.
    pub release: String,
    /// Since when.
    pub started_ms: u64,
    /// Busy cores, in thousandths of all.
    #[serde(default)]
    pub load_permille: u32,
}

/// What an operator asked of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorFlags {
    /// No task group is to be led here.
    #[serde(default)]
    pub leaders_disallowed: bool,
    /// Nothing new is to be placed here.
    #[serde(default)]
    pub draining: bool,
}
