//! What a cluster keeps under its keys: small JSON objects with `"v":1`.
//!
//! Relies on `key` for which value stands where ([`Record`]). What must stay true: values stay
//! readable with etcdctl; fields that this release does not know are passed over, so a newer
//! release may add some; a value of another version, too large, or without a needed field is
//! refused with its key named, never half read.

mod backup;
mod cluster;
mod instance;
mod module;
mod node;
mod operation;
#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use backup::{BackupLast, BackupLock};
pub use cluster::{ClusterId, ClusterState, ClusterVersion, Conductor, Phase};
pub use instance::{
    Executor, GroupIsr, GroupLeader, GroupReplica, GroupResign, InstanceSpec, Worker, WorkerLive,
    WorkerPhase,
};
pub use module::{Dependency, ModuleLog, ModuleMeta, Object, Paused, Setting};
pub use node::{Supervisor, SupervisorFlags};
pub use operation::{Operation, OperationKind, Outcome};

use crate::key::{FORMAT, Key};
use crate::limits::VALUE_BYTES_MAX;

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not read {key}: {cause}")]
pub struct ValueError {
    /// Where it stands.
    pub key: String,
    /// What is wrong with it.
    pub cause: String,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// A value as bytes for the store.
fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let versioned = Versioned { v: FORMAT, value };
    // Every value type is a struct with string keys: nothing in it can fail to serialize.
    serde_json::to_vec(&versioned).expect("plain structs serialize")
}

fn decode<T: DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<T, ValueError> {
    let error = |cause: String| ValueError {
        key: key.to_string(),
        cause,
    };
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(error(format!(
            "{} bytes, at most {VALUE_BYTES_MAX}",
            bytes.len()
        )));
    }
    let version: Version = serde_json::from_slice(bytes)
        .map_err(|cause| error(format!("not a JSON object with a version: {cause}")))?;
    if version.v != FORMAT {
        return Err(error(format!(
            "its version is {}, this release reads {FORMAT}; use the release that wrote it",
            version.v
        )));
    }
    serde_json::from_slice(bytes).map_err(|cause| error(cause.to_string()))
}

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident($value:ty) at $key:pat,)*) => {
        /// A value of any key. Which one stands where is said here and nowhere else.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Record {
            $($(#[$doc])* $name($value),)*
        }

        impl Record {
            /// Reads what stands under a key.
            ///
            /// # Errors
            /// It is not such a value; its key and the reason are named.
            pub fn decode(key: &Key, bytes: &[u8]) -> Result<Record, ValueError> {
                Ok(match key {
                    $($key => Record::$name(decode(key, bytes)?),)*
                })
            }

            /// As bytes for the store.
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Record::$name(value) => encode(value),)*
                }
            }

            /// Whether it may stand under this key.
            pub fn belongs_to(&self, key: &Key) -> bool {
                matches!((self, key), $((Record::$name(_), $key))|*)
            }
        }

        $(impl From<$value> for Record {
            fn from(value: $value) -> Record {
                Record::$name(value)
            }
        })*
    };
}

records! {
    /// `cluster/id`
    ClusterId(ClusterId) at Key::ClusterId,
    /// `cluster/state`
    ClusterState(ClusterState) at Key::ClusterState,
    /// `cluster/version`
    ClusterVersion(ClusterVersion) at Key::ClusterVersion,
    /// `cluster/conductor`
    Conductor(Conductor) at Key::Conductor,
    /// `sup/<id>`
    Supervisor(Supervisor) at Key::Supervisor(..),
    /// `sup/<id>/flags`
    SupervisorFlags(SupervisorFlags) at Key::SupervisorFlags(..),
    /// `mod/<name>/meta`
    ModuleMeta(ModuleMeta) at Key::ModuleMeta(..),
    /// `…/spec`
    InstanceSpec(InstanceSpec) at Key::InstanceSpec(..),
    /// `…/worker/<index>`
    Worker(Worker) at Key::Worker(..),
    /// `…/live/<index>`
    WorkerLive(WorkerLive) at Key::WorkerLive(..),
    /// `…/g/<group>/isr`
    GroupIsr(GroupIsr) at Key::GroupIsr(..),
    /// `…/g/<group>/leader`
    GroupLeader(GroupLeader) at Key::GroupLeader(..),
    /// `…/g/<group>/resign`
    GroupResign(GroupResign) at Key::GroupResign(..),
    /// `…/opt/…`
    Setting(Setting) at Key::Setting(..),
    /// `…/paused/<topology>`
    Paused(Paused) at Key::Paused(..),
    /// `…/deps/<other>`
    Dependency(Dependency) at Key::Dependency(..),
    /// `…/log/<number>`
    ModuleLog(ModuleLog) at Key::ModuleLog(..),
    /// `op/<id>`
    Operation(Operation) at Key::Operation(..),
    /// `backup/<name>/last`
    BackupLast(BackupLast) at Key::BackupLast(..),
    /// `backup/<name>/lock`
    BackupLock(BackupLock) at Key::BackupLock(..),
}
