//! Where the task threads of a module are.
//!
//! Relies on what workers registered. What must stay true: a route is a hint; who is reached by it
//! refuses what is meant for another instance or another start of its process.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// How to reach a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModuleRoutes {
    /// Grows with each change.
    pub revision: u64,
    /// The cluster, for the handshake.
    pub cluster: Uuid,
    /// The instance that takes appends and serves reads.
    pub instance: Uuid,
    /// Its tasks.
    pub tasks: u32,
    /// Its task threads; task `t` is on thread `t % threads`.
    pub threads: u32,
    /// Fingerprint of the objects that the code declares which runs, in hexadecimal, once a worker of
    /// the instance has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What its program has that other modules may use, as the conductor keeps it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub offers: Value,
    /// Those that have a leader, by thread.
    pub routes: Vec<ThreadRoute>,
    /// Who else may be asked for routes: the supervisors.
    #[serde(default)]
    pub daemons: Vec<DaemonAddress>,
}

/// Where a daemon answers requests over QUIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaemonAddress {
    /// Host name or address, of the kind that was asked for.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
}

/// One task thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadRoute {
    /// Which.
    pub thread: u32,
    /// Host name or address, of the kind that was asked for (`?hosts=internal`).
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// The node; its certificate says so.
    pub node: Uuid,
    /// The start of its process.
    pub incarnation: u64,
    /// The leader's epoch.
    pub epoch: u64,
}
