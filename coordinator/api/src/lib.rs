//! What operators and programs ask of a conductor or a supervisor, and what they are answered.
//!
//! Relies on serde. The same JSON travels over HTTP and over QUIC requests (`rama-rpc`); errors are
//! problem+json (RFC 9457). Reading order: `paths` (what is asked where), `operation` (changes),
//! `status` (answers), `options` (settings of running modules), `routes` (where task threads are),
//! `assignment` (what a worker is started with). What
//! must stay true: fields may be added, never renamed; readers pass over fields they do not know;
//! numbers of milliseconds end in `Ms`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assignment;
mod operation;
mod options;
pub mod paths;
mod routes;
mod status;
#[cfg(test)]
mod tests;

pub use assignment::{Assignment, MetastoreAddress, SecurityFiles};
pub use operation::{Accepted, Action, Deploy, Kind, Operation, Outcome, Plan, PlannedWorker};
pub use options::{Level, OptionInfo, OptionSetting, OptionsByLevel};
pub use routes::{ModuleRoutes, ThreadRoute};
pub use status::{
    ClusterStatus, ConductorStatus, Group, InstanceStatus, Leader, ModuleStatus, Replica,
    ReplicaRole, SupervisorStatus, TaskGroups, WorkerPhase, WorkerStatus,
};
