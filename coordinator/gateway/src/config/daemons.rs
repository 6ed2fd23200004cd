//! Settings of the daemons of a cluster: where they listen and keep things, and their metastore.
//!
//! Relies on `config` for layers and origins. What must stay true: lists are texts with commas, so that the
//! environment can say them; an empty text is "not set".

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, error};

/// Section `[node]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Where the daemons of this machine keep everything, workers' data included.
    pub dir: PathBuf,
    /// Address that they and the workers listen on.
    pub bind: IpAddr,
    /// Host name or address by which clients outside find this machine.
    pub host: String,
    /// The same inside of the cluster; empty when it is the same.
    pub host_internal: String,
}

/// Section `[supervisor]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervisor {
    /// UDP port of requests (QUIC).
    pub port: u16,
    /// TCP port of HTTP.
    pub http_port: u16,
    /// First and last UDP port of workers; two zeros: any free ones.
    pub port_range: [u16; 2],
    /// What this node is good for, with commas.
    pub labels: String,
    /// Cores that workers may use; 0 is all.
    pub cores: u32,
    /// Public keys (Ed25519, hexadecimal, with commas) of those whose programs are run; empty: all.
    pub trust_roots: String,
}

/// Section `[metastore]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metastore {
    /// Addresses of etcd's members, with commas.
    pub endpoints: String,
    /// First part of every key: clusters that share an etcd have different ones.
    pub root: String,
    /// Length of the leases of daemons and workers.
    pub lease_ms: u64,
    /// User name.
    pub user: String,
    /// File with the password.
    pub password_file: PathBuf,
    /// Authority of etcd's certificates.
    pub ca: PathBuf,
    /// Certificate shown to etcd.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Section `[scheduler]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheduler {
    /// `Module=NODES` or `Module=NODES@LABEL`, with commas: each gets so many nodes for itself, and
    /// modules that are not listed are refused. Empty: modules share all nodes.
    pub isolation: String,
}

impl Default for Node {
    fn default() -> Node {
        Node {
            dir: PathBuf::from("./rama-data"),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: "127.0.0.1".to_owned(),
            host_internal: String::new(),
        }
    }
}

impl Node {
    /// The host name inside of the cluster.
    pub fn inside(&self) -> &str {
        if self.host_internal.is_empty() {
            &self.host
        } else {
            &self.host_internal
        }
    }
}

impl Default for Supervisor {
    fn default() -> Supervisor {
        Supervisor {
            port: 3000,
            http_port: 3001,
            port_range: [3000, 4000],
            labels: String::new(),
            cores: 0,
            trust_roots: String::new(),
        }
    }
}

impl Supervisor {
    pub(super) fn check(&self) -> Result<(), Error> {
        let [first, last] = self.port_range;
        if (first == 0) == (last == 0) && first <= last {
            return Ok(());
        }
        let what = format!("supervisor.port_range from {first} to {last} holds no ports");
        Err(error(
            what,
            "name the first and the last, such as [3000, 4000]",
        ))
    }
}

impl Default for Metastore {
    fn default() -> Metastore {
        Metastore {
            endpoints: "http://127.0.0.1:2379".to_owned(),
            root: "rama".to_owned(),
            lease_ms: 5000,
            user: String::new(),
            password_file: PathBuf::new(),
            ca: PathBuf::new(),
            cert: PathBuf::new(),
            key: PathBuf::new(),
        }
    }
}

/// The parts of a list with commas.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}
