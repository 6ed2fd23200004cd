//! What operators and programs ask of a conductor or a supervisor, and what they are answered.
//!
//! Relies on serde. The same JSON travels over HTTP and over QUIC requests (`rama-rpc`); errors are
//! problem+json (RFC 9457). Reading order: `paths` (what is asked where), `operation` (changes),
//! `status` (answers), `options` (settings of running modules), `log` (what was done to a module),
//! `routes` (where task threads are), `access` and `endpoints` (who may ask what: the table of all
//! routes), `assignment` (what a worker is started with). What must stay true: fields may be added,
//! never renamed; readers pass over fields they do not know; numbers of milliseconds end in `Ms`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod assignment;
pub mod endpoints;
mod log;
mod operation;
mod options;
pub mod paths;
mod routes;
mod status;
#[cfg(test)]
mod tests;

pub use access::{Access, Scope};
pub use assignment::{Assignment, MetastoreAddress, SecurityFiles};
pub use log::{Done, LogEntry, Unset};
pub use operation::{
    Accepted, Action, Deploy, Kind, Operation, Outcome, Plan, PlannedWorker, Signature,
};
pub use options::{Level, OptionInfo, OptionSetting, OptionsByLevel};
pub use routes::{DaemonAddress, ModuleRoutes, ThreadRoute};
pub use status::{
    ClusterStatus, ConductorStatus, Group, InstanceStatus, Leader, ModuleStatus, Replica,
    ReplicaRole, SupervisorStatus, TaskGroups, WorkerFailure, WorkerPhase, WorkerStatus,
};
