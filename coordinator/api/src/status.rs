//! Answers to operators: what runs, where, and how far it is.
//!
//! Relies on serde. The names of `ModuleStatus` that Rama has are Rama's (spec operations §2.1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::operation::Operation;

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Its identity.
    pub cluster: Uuid,
    /// The conductor that leads; none while another one takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conductor: Option<ConductorStatus>,
    /// How many supervisors are alive.
    pub supervisors: u32,
    /// Names of the modules.
    pub modules: Vec<String>,
}

/// A conductor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConductorStatus {
    /// Host name inside the cluster.
    pub host_internal: String,
    /// Host name for clients outside.
    pub host_external: String,
    /// QUIC port of requests.
    pub rpc_port: u16,
    /// HTTP port.
    pub http_port: u16,
    /// Its release.
    pub release: String,
    /// Since when.
    pub started_ms: u64,
}

/// A module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// Its name.
    pub module: String,
    /// `RUNNING`, `NOT_ALIVE`, `LAUNCHING`, `DESTROYING`.
    pub module_state: String,
    /// How far it is within that, such as `workers-up`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The instance that serves reads.
    #[serde(default)]
    pub read_target_id: Option<Uuid>,
    /// The instance that takes appends.
    #[serde(default)]
    pub append_target_id: Option<Uuid>,
    /// All its instances.
    pub instances: Vec<Uuid>,
    /// What is being done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// What was done last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<Operation>,
    /// Topologies that are paused.
    #[serde(default)]
    pub paused: Vec<String>,
}

/// An instance of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its module.
    pub module: String,
    /// Its id.
    pub instance: Uuid,
    /// SHA-256 of its program.
    pub artifact: String,
    /// Partitions of everything.
    pub tasks: u32,
    /// Task threads.
    pub threads: u32,
    /// Processes of a replica set.
    pub workers: u32,
    /// Replicas.
    pub replication_factor: u32,
    /// Only nodes with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// Free text.
    #[serde(default)]
    pub metadata: String,
    /// When it was made.
    pub created_ms: u64,
    /// Its processes.
    pub processes: Vec<WorkerStatus>,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerPhase {
    /// It is not registered: it starts, or its node is down.
    Absent,
    /// It opens its files.
    Recovering,
    /// It serves.
    Serving,
    /// It stops.
    Draining,
}

/// A worker process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Which.
    pub worker: u32,
    /// The node's id.
    pub supervisor: Uuid,
    /// The node's name; empty while the node is not known.
    #[serde(default)]
    pub host: String,
    /// How far it is.
    pub phase: WorkerPhase,
    /// Its process; 0 while it is absent.
    pub pid: u32,
    /// The start of its process.
    pub incarnation: u64,
    /// Its task groups.
    pub groups: Vec<u32>,
    /// Since when; 0 while it is absent.
    pub started_ms: u64,
    /// How it ended last, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<WorkerFailure>,
}

/// How a worker ended last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerFailure {
    /// When: milliseconds since 1970.
    pub at_ms: u64,
    /// How often in a row, without having been well for a minute in between.
    pub failures: u32,
    /// Why.
    pub cause: String,
}

/// The task groups of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskGroups {
    /// Its module.
    pub module: String,
    /// The instance.
    pub instance: Uuid,
    /// All groups, by number.
    pub groups: Vec<Group>,
}

/// A task group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its number: that of its task thread.
    pub group: u32,
    /// Its tasks.
    pub tasks: Vec<u32>,
    /// The epoch of the newest leader.
    pub epoch: u64,
    /// Who leads; none while nobody does.
    #[serde(default)]
    pub leader: Option<Leader>,
    /// All replicas.
    pub replicas: Vec<Replica>,
}

/// The leader of a task group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Leader {
    /// Which replica.
    pub replica: u32,
    /// Its worker.
    pub worker: u32,
    /// The start of its process.
    pub incarnation: u64,
}

/// What a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaRole {
    /// It leads.
    Leader,
    /// It is in sync.
    Isr,
    /// It is not in sync.
    Osr,
}

/// A replica of a task group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// Which.
    pub replica: u32,
    /// Its worker.
    pub worker: u32,
    /// The node's id.
    pub supervisor: Uuid,
    /// What it is.
    pub role: ReplicaRole,
}

/// A supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorStatus {
    /// Its stable id.
    pub id: Uuid,
    /// Host name inside the cluster.
    pub host_internal: String,
    /// Host name for clients outside.
    pub host_external: String,
    /// QUIC port of requests.
    pub rpc_port: u16,
    /// HTTP port, if it serves HTTP.
    #[serde(default)]
    pub http_port: Option<u16>,
    /// Its labels.
    pub labels: Vec<String>,
    /// Cores that workers may use.
    pub cores: u32,
    /// Memory that workers may use.
    pub memory_bytes: u64,
    /// Why memory and time of its workers are not limited; empty when they are.
    #[serde(default)]
    pub unlimited: String,
    /// Workers assigned to it.
    pub workers: u32,
    /// No task group is to be led there.
    pub leaders_disallowed: bool,
    /// Its release.
    pub release: String,
    /// Since when.
    pub started_ms: u64,
}
