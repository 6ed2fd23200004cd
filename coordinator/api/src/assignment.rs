//! What a supervisor tells a worker when it starts it: one JSON file, read once.
//!
//! Relies on the supervisor for every choice; the worker looks nothing up. What must stay true: no
//! secret stands in it, only paths of files that the worker may read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Everything a worker needs to know before it can speak to the metastore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The cluster.
    pub cluster: Uuid,
    /// The node it runs on.
    pub node: Uuid,
    /// The module, as the artifact names it.
    pub module: String,
    /// The instance.
    pub instance: Uuid,
    /// Which of the instance's workers it is.
    pub worker: u32,
    /// Tasks of the module.
    pub tasks: u32,
    /// Its task threads, in all workers of a replica set together.
    pub threads: u32,
    /// Its replicas.
    pub replication: u32,
    /// The task groups of this worker.
    pub groups: Vec<u32>,
    /// Its data; nobody else's.
    pub data_dir: PathBuf,
    /// Written once a second while it is well: how the supervisor knows.
    pub beat: PathBuf,
    /// Address to bind.
    pub bind: IpAddr,
    /// First UDP port: one for each task thread, then one for requests. 0: any free ones.
    pub first_port: u16,
    /// Host name inside the cluster.
    pub host_internal: String,
    /// Host name for clients outside.
    pub host_external: String,
    /// Cores for its task threads, one each; empty: not pinned.
    pub cores: Vec<usize>,
    /// Daemons to be asked where other modules run, as `host:port`.
    #[serde(default)]
    pub daemons: Vec<String>,
    /// How to reach the metastore.
    pub metastore: MetastoreAddress,
    /// How connections are protected.
    pub security: SecurityFiles,
    /// `worker.*` settings that differ from the defaults.
    pub overrides: BTreeMap<String, Value>,
}

/// Where the metastore is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetastoreAddress {
    /// Addresses of its members, such as `http://10.0.0.2:2379`.
    pub endpoints: Vec<String>,
    /// First part of every key.
    pub root: String,
    /// Length of a worker's lease.
    pub lease_ms: u64,
    /// User name, when it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with the password of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// File with the authority of its certificates, for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
    /// File with the certificate shown to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// File with that certificate's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// Files of the cluster's own certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityFiles {
    /// None, on loopback only.
    InsecureLoopback,
    /// Mutual TLS.
    Mutual {
        /// The cluster's authority.
        authority: PathBuf,
        /// The node's certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}
