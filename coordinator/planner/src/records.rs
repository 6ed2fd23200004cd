//! What the metastore holds about modules, operations, workers and leaders: the records that the
//! machines of this crate read and write.
//!
//! Relies on serde only; fields carry the names of the metastore's values. What must stay true: a
//! record says enough to resume after any crash; what is assigned (`WorkerAssignment`) and what
//! runs (`WorkerLive`) are two keys; an epoch lives in the ISR record, which no lease can remove,
//! and grows with each leader.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rama_core::mirrors::Offers;
use rama_core::options::{Level, Objects};
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, GroupId, Incarnation, InstanceId, ModuleName, NodeId, OperationId};
use crate::ids::{ReplicaId, WorkerIndex};
use crate::plan::GroupReplica;
use crate::shape::Shape;

/// How a process is spoken to, and since when. No machine looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Host name inside the cluster.
    pub host_internal: String,
    /// Host name for clients outside.
    pub host_external: String,
    /// QUIC port of requests.
    pub rpc_port: u16,
    /// HTTP port, if it serves HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_port: Option<u16>,
    /// Its id on its node.
    pub pid: u32,
    /// Its release.
    pub release: String,
    /// Since when, in milliseconds since 1970.
    pub started_ms: u64,
}

/// A supervisor that runs; dies with its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// How to speak to it.
    #[serde(default)]
    pub process: Process,
    /// Memory that workers may use.
    #[serde(default)]
    pub memory_bytes: u64,
    /// `supervisor.labels`.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Cores that workers may use.
    pub cores: u32,
    /// Why memory and time of its workers are not limited; empty when they are.
    #[serde(default)]
    pub unlimited: String,
}

/// What an operator asked of a node; stays when its supervisor ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFlags {
    /// `disallowLeaders` was said.
    #[serde(default)]
    pub leaders_disallowed: bool,
    /// Nothing is to be placed here.
    #[serde(default)]
    pub draining: bool,
}

/// Where a module stands. The names are those of spec operations §3.4 and §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleState {
    /// Known, but nothing of it runs: a launch failed.
    #[serde(rename = "not-alive")]
    NotAlive,
    /// The launch is accepted; workers are being assigned.
    #[serde(rename = "launching/validated")]
    LaunchingValidated,
    /// Supervisors know; workers start.
    #[serde(rename = "launching/assigned")]
    LaunchingAssigned,
    /// All workers are registered; leaders are elected.
    #[serde(rename = "launching/workers-up")]
    LaunchingWorkersUp,
    /// Every task group has a leader.
    #[serde(rename = "launching/leaders-elected")]
    LaunchingLeadersElected,
    /// The launch is undone.
    #[serde(rename = "launching/undoing")]
    LaunchingUndoing,
    /// It serves.
    #[serde(rename = "running")]
    Running,
    /// Workers stop and delete their data.
    #[serde(rename = "destroying/stopping")]
    DestroyingStopping,
}

impl fmt::Display for ModuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModuleState::NotAlive => "not-alive",
            ModuleState::LaunchingValidated => "launching/validated",
            ModuleState::LaunchingAssigned => "launching/assigned",
            ModuleState::LaunchingWorkersUp => "launching/workers-up",
            ModuleState::LaunchingLeadersElected => "launching/leaders-elected",
            ModuleState::LaunchingUndoing => "launching/undoing",
            ModuleState::Running => "running",
            ModuleState::DestroyingStopping => "destroying/stopping",
        })
    }
}

/// A module across its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleMeta {
    /// Where it stands.
    pub state: ModuleState,
    /// The instance that serves reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_target: Option<InstanceId>,
    /// The instance that takes appends. Setting it is the point of no return of a launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_target: Option<InstanceId>,
    /// The operation in progress: at most one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// The last operation that ended, for `moduleStatus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<OperationId>,
    /// The number of the newest entry of the operation log.
    #[serde(default)]
    pub log_last: u64,
}

/// What is done to a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A new module.
    Launch,
    /// The end of a module.
    Destroy,
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OperationKind::Launch => "launch",
            OperationKind::Destroy => "destroy",
        })
    }
}

/// How far an operation has come: what is being done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Launch: the assignment is written, unseen by supervisors.
    Assign,
    /// Launch: the assignment is published; workers register.
    Start,
    /// Launch: task groups get leaders.
    Elect,
    /// Launch: the targets are switched.
    Open,
    /// Launch: given up; workers stop and delete what they have.
    Undo,
    /// Destroy: workers stop and delete what they have.
    Stop,
    /// It has ended.
    Done,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Assign => "assign",
            Step::Start => "start",
            Step::Elect => "elect",
            Step::Open => "open",
            Step::Undo => "undo",
            Step::Stop => "stop",
            Step::Done => "done",
        })
    }
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Outcome {
    /// It was done. `left` names nodes that were not there; they delete their data on return.
    Succeeded {
        /// Nodes that still owe a deletion.
        #[serde(default)]
        left: BTreeSet<NodeId>,
    },
    /// It was undone.
    RolledBack {
        /// Why.
        reason: String,
        /// Nodes that still owe a deletion.
        #[serde(default)]
        left: BTreeSet<NodeId>,
    },
}

/// An operation: the intent, written by compare-and-swap before any effect (spec §4.0, rule 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What is done.
    pub kind: OperationKind,
    /// To which module.
    pub module: ModuleName,
    /// The instance that it makes or ends; none when nothing of the module is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// What a launch makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<InstanceSpec>,
    /// The step in progress.
    pub step: Step,
    /// Why it is undone, from the moment that this is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was asked for, in milliseconds since 1970.
    pub started_ms: u64,
    /// How often a conductor took it up. Taking it up changes the revision, which fences the
    /// conductor before.
    pub attempts: u32,
    /// The term of the conductor that drives it: one of an earlier term lets go of it.
    pub term: u64,
    /// Who asked for it.
    #[serde(default)]
    pub by: String,
    /// What came of it; stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What an instance is. While this key exists, supervisors start its workers: writing it publishes
/// the assignment, all of it at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// SHA-256 of the artifact, in hexadecimal.
    pub artifact: String,
    /// Its numbers.
    pub shape: Shape,
    /// Only nodes with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Settings that differ from the defaults, each value as JSON text.
    #[serde(default)]
    pub overrides: BTreeMap<String, String>,
    /// What the operator wrote on it.
    #[serde(default)]
    pub metadata: String,
    /// When it was asked for, in milliseconds since 1970.
    #[serde(default)]
    pub created_ms: u64,
    /// What its program has that options are set on.
    #[serde(default, skip_serializing_if = "Objects::is_empty")]
    pub objects: Objects,
    /// What its program has that other modules may use.
    #[serde(default, skip_serializing_if = "Offers::is_empty")]
    pub offers: Offers,
}

/// What shall become of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// It runs, once its instance is published.
    Run,
    /// It stops, its data is deleted, and then its node deletes this key: the confirmation.
    Destroy,
}

/// The conductor that is in office; dies with its lease. The revision that wrote it is its *term*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conductor {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// How to speak to it.
    #[serde(default)]
    pub process: Process,
}

/// Who placed last: placements are made one after the other, each knowing those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The operation.
    pub operation: OperationId,
}

/// Where a worker is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerAssignment {
    /// The node.
    pub node: NodeId,
    /// Its replica set.
    pub replica_set: ReplicaId,
    /// The task group replicas it holds.
    pub groups: Vec<GroupReplica>,
    /// What shall become of it.
    pub desired: Desired,
}

/// How far a worker process is, for people, and for a launch, which ends when all serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerPhase {
    /// It opens its files.
    #[default]
    Recovering,
    /// It serves.
    Serving,
    /// It stops.
    Draining,
}

/// What a worker says of itself beside who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerDetails {
    /// How to speak to it.
    pub process: Process,
    /// The UDP port of each task group that it holds.
    pub ports: BTreeMap<u32, u16>,
    /// How far it is.
    pub phase: WorkerPhase,
    /// Fingerprint of the objects that its code declares, in hexadecimal: programs outside compare it
    /// with theirs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
}

/// A worker that runs; dies with its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLive {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Where.
    pub node: NodeId,
    /// The rest.
    #[serde(default)]
    pub details: WorkerDetails,
}

/// How a worker ended last. Its node removes it with the assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerExit {
    /// Where.
    pub node: NodeId,
    /// When: milliseconds since 1970.
    pub at_ms: u64,
    /// How often in a row it failed, without having been well in between.
    pub failures: u32,
    /// Why.
    pub cause: String,
}

/// The replicas of a task group that may lead it, and the newest epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupIsr {
    /// The epoch of the newest leader; 0 before the first.
    pub epoch: Epoch,
    /// In sync.
    pub isr: BTreeSet<ReplicaId>,
    /// Out of sync: never electable.
    #[serde(default)]
    pub osr: BTreeSet<ReplicaId>,
}

/// The leader of a task group; dies with its worker's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLeader {
    /// Which replica.
    pub replica: ReplicaId,
    /// Its worker.
    pub worker: WorkerIndex,
    /// That worker's life: a restarted process never resumes leadership.
    pub incarnation: Incarnation,
    /// One more than that of the leader before.
    pub epoch: Epoch,
}

/// An entry of a module's operation log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ModuleLog {
    /// An operation has ended.
    Operation(OperationLog),
    /// Settings were changed, at once.
    Change(ChangeLog),
}

/// An operation that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationLog {
    /// The operation.
    pub operation: OperationId,
    /// What was done.
    pub kind: OperationKind,
    /// When it was asked for.
    pub started_ms: u64,
    /// Who asked for it.
    #[serde(default)]
    pub by: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// Changes that hold from the moment of their entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeLog {
    /// What was changed.
    pub changes: Vec<Change>,
    /// When.
    pub at_ms: u64,
    /// Who asked for it.
    #[serde(default)]
    pub by: String,
}

/// What an operator changes without an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Change {
    /// A dynamic option was set.
    SetOption {
        /// `module`, `topology`, `depot` or `pstate`.
        level: String,
        /// The object; none for a module.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        object: Option<String>,
        /// The option.
        option: String,
        /// Its new value.
        value: serde_json::Value,
    },
    /// A dynamic option was unset.
    UnsetOption {
        /// `module`, `topology`, `depot` or `pstate`.
        level: String,
        /// The object; none for a module.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        object: Option<String>,
        /// The option.
        option: String,
    },
    /// A topology was paused.
    Pause {
        /// Which.
        topology: String,
    },
    /// A topology goes on.
    Resume {
        /// Which.
        topology: String,
    },
}

impl Change {
    /// An option is set on something, or unset.
    #[must_use]
    pub fn option(level: &Level, option: &str, value: Option<&serde_json::Value>) -> Change {
        let object = level.object().map(str::to_owned);
        let (level, option) = (level.kind().to_owned(), option.to_owned());
        match value.cloned() {
            Some(value) => Change::SetOption {
                level,
                object,
                option,
                value,
            },
            None => Change::UnsetOption {
                level,
                object,
                option,
            },
        }
    }
}

/// A task group as an operator names it, for messages.
pub(crate) fn groups_text(groups: &[GroupId]) -> String {
    let names: Vec<String> = groups.iter().take(5).map(GroupId::to_string).collect();
    let more = if groups.len() > 5 { " …" } else { "" };
    format!("{}{more}", names.join(", "))
}
