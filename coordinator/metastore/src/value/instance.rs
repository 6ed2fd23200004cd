//! An instance of a module: what it is, where its workers are to run, and what runs.
//!
//! Relies on serde. What must stay true: what is assigned (`worker`) and what runs (`live`) are two
//! keys with one writer each; the create revision of a `live` key orders the incarnations of a
//! worker; an epoch grows with each leader of a task group.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// SHA-256 of the artifact, in hexadecimal.
    pub artifact: String,
    /// Partitions of everything.
    pub tasks: u32,
    /// Task threads of one replica set.
    pub threads: u32,
    /// Processes of one replica set.
    pub workers: u32,
    /// Replicas.
    pub replication: u32,
    /// Only nodes with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Settings that differ from the defaults.
    #[serde(default)]
    pub overrides: BTreeMap<String, serde_json::Value>,
    /// What the operator wrote on it.
    #[serde(default)]
    pub metadata: String,
    /// When it was made.
    pub created_ms: u64,
}

/// Where a worker is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// The node.
    pub supervisor: Uuid,
    /// Where it is spoken to, once the node has chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Which of the replica sets it belongs to.
    #[serde(default)]
    pub replica_set: u32,
    /// The task groups it runs.
    pub groups: Vec<GroupReplica>,
}

/// A replica of a task group on a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReplica {
    /// The task group.
    pub group: u32,
    /// Which of its replicas.
    pub replica: u32,
    /// Whether it is the one to lead when all are well.
    #[serde(default)]
    pub preferred_leader: bool,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerPhase {
    /// Opens its files and recovers.
    Recovering,
    /// Serves.
    Serving,
    /// Stops.
    Draining,
}

/// A worker that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLive {
    /// Told apart from one that ran before.
    pub incarnation: u64,
    /// The node.
    pub supervisor: Uuid,
    /// Its process there.
    pub pid: u32,
    /// Host name inside the cluster.
    pub host_internal: String,
    /// Host name for clients outside.
    pub host_external: String,
    /// One for each task thread.
    pub executors: Vec<Executor>,
    /// How far it is.
    pub phase: WorkerPhase,
    /// The release it was built with.
    pub release: String,
    /// Since when.
    pub started_ms: u64,
}

/// A task thread with its own endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executor {
    /// The task group.
    pub group: u32,
    /// Its UDP port.
    pub port: u16,
}

/// The replicas of a task group that are in sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupIsr {
    /// The epoch of the leader that wrote it.
    pub epoch: u64,
    /// In sync.
    pub isr: BTreeSet<u32>,
    /// Out of sync.
    #[serde(default)]
    pub osr: BTreeSet<u32>,
    /// The fewest there have been.
    #[serde(default)]
    pub min_seen: u32,
}

/// The leader of a task group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLeader {
    /// Which replica.
    pub replica: u32,
    /// The worker that runs it.
    pub worker: u32,
    /// That worker's incarnation.
    pub incarnation: u64,
    /// One more than that of the leader before.
    pub epoch: u64,
}

/// A request to a leader to hand over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupResign {
    /// Which replica is to lead.
    pub target: u32,
    /// Until when it makes sense.
    pub deadline_ms: u64,
}
