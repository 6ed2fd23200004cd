//! Records of the planner as they stand in the metastore: small JSON objects with `"v":1`.
//!
//! Relies on `rama-metastore` for the spelling of keys. What must stay true: fields that this release
//! does not know are passed over when it reads; a record is written whole by one writer; bytes that
//! are no record of their key are refused with the key named.

#[cfg(test)]
mod tests;

use rama_core::options::Level;
use rama_metastore::value::{Setting, decode, encode};
use rama_metastore::{Key as StoredKey, Level as StoredLevel, Scope};
use rama_planner::ids::{GroupId, InstanceId, ModuleName, NodeId, OperationId, WorkerIndex};
use rama_planner::store::{Key, Target, Value};

pub use rama_metastore::value::ValueError;

/// The metastore's name of a key.
#[must_use]
pub fn stored_key(key: &Key) -> StoredKey {
    let name = |module: &ModuleName| module.as_str().to_owned();
    match key {
        Key::Supervisor(node) => StoredKey::Supervisor(node.0),
        Key::Flags(node) => StoredKey::SupervisorFlags(node.0),
        Key::Conductor => StoredKey::Conductor,
        Key::Placement => StoredKey::Placement,
        Key::Module(module) => StoredKey::ModuleMeta(name(module)),
        Key::Dependency(module, other) => StoredKey::Dependency(name(module), name(other)),
        Key::Spec(module, id) => StoredKey::InstanceSpec(name(module), id.0),
        Key::Worker(module, id, index) => StoredKey::Worker(name(module), id.0, index.0),
        Key::Live(module, id, index) => StoredKey::WorkerLive(name(module), id.0, index.0),
        Key::Exit(module, id, index) => StoredKey::WorkerExit(name(module), id.0, index.0),
        Key::Isr(module, id, group) => StoredKey::GroupIsr(name(module), id.0, group.0),
        Key::Leader(module, id, group) => StoredKey::GroupLeader(name(module), id.0, group.0),
        Key::Setting(module, level, option) => {
            StoredKey::Setting(name(module), stored_level(level), option.clone())
        }
        Key::Log(module, number) => StoredKey::ModuleLog(name(module), *number),
        Key::Operation(id) => StoredKey::Operation(id.0),
    }
}

/// The planner's name of a key; none for keys that its machines do not look at.
#[must_use]
pub fn planner_key(key: &StoredKey) -> Option<Key> {
    let name = |module: &String| ModuleName::new(module).ok();
    Some(match key {
        StoredKey::Supervisor(id) => Key::Supervisor(NodeId(*id)),
        StoredKey::SupervisorFlags(id) => Key::Flags(NodeId(*id)),
        StoredKey::Conductor => Key::Conductor,
        StoredKey::Placement => Key::Placement,
        StoredKey::ModuleMeta(module) => Key::Module(name(module)?),
        StoredKey::Dependency(module, other) => Key::Dependency(name(module)?, name(other)?),
        StoredKey::InstanceSpec(module, id) => Key::Spec(name(module)?, InstanceId(*id)),
        StoredKey::Worker(module, id, index) => {
            Key::Worker(name(module)?, InstanceId(*id), WorkerIndex(*index))
        }
        StoredKey::WorkerLive(module, id, index) => {
            Key::Live(name(module)?, InstanceId(*id), WorkerIndex(*index))
        }
        StoredKey::WorkerExit(module, id, index) => {
            Key::Exit(name(module)?, InstanceId(*id), WorkerIndex(*index))
        }
        StoredKey::GroupIsr(module, id, group) => {
            Key::Isr(name(module)?, InstanceId(*id), GroupId(*group))
        }
        StoredKey::GroupLeader(module, id, group) => {
            Key::Leader(name(module)?, InstanceId(*id), GroupId(*group))
        }
        StoredKey::ModuleLog(module, number) => Key::Log(name(module)?, *number),
        StoredKey::Operation(id) => Key::Operation(OperationId(*id)),
        StoredKey::ClusterId
        | StoredKey::ClusterState
        | StoredKey::ClusterVersion
        | StoredKey::GroupResign(..)
        | StoredKey::Setting(..)
        | StoredKey::Paused(..)
        | StoredKey::BackupLast(_)
        | StoredKey::BackupLock(_) => return None,
    })
}

/// The metastore's name of what an option is set on.
#[must_use]
pub fn stored_level(level: &Level) -> StoredLevel {
    match level.clone() {
        Level::Module => StoredLevel::Module,
        Level::Topology(name) => StoredLevel::Topology(name),
        Level::Depot(name) => StoredLevel::Depot(name),
        Level::PState(name) => StoredLevel::PState(name),
    }
}

/// What an option is set on.
#[must_use]
pub fn level(stored: StoredLevel) -> Level {
    match stored {
        StoredLevel::Module => Level::Module,
        StoredLevel::Topology(name) => Level::Topology(name),
        StoredLevel::Depot(name) => Level::Depot(name),
        StoredLevel::PState(name) => Level::PState(name),
    }
}

/// A record as bytes.
#[must_use]
pub fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Supervisor(record) => encode(record),
        Value::Flags(record) => encode(record),
        Value::Conductor(record) => encode(record),
        Value::Placement(record) => encode(record),
        Value::Module(record) => encode(record),
        Value::Dependency => encode(&Nothing {}),
        Value::Spec(record) => encode(record),
        Value::Worker(record) => encode(record),
        Value::Live(record) => encode(record),
        Value::Exit(record) => encode(record),
        Value::Isr(record) => encode(record),
        Value::Leader(record) => encode(record),
        Value::Setting(value) => encode(&Setting {
            value: value.clone(),
        }),
        Value::Log(record) => encode(record),
        Value::Operation(record) => encode(record),
    }
}

/// The record under a key.
///
/// # Errors
/// It is none; the key and the reason are named.
pub fn value(key: &Key, bytes: &[u8]) -> Result<Value, ValueError> {
    let stored = stored_key(key);
    Ok(match key {
        Key::Supervisor(_) => Value::Supervisor(decode(&stored, bytes)?),
        Key::Flags(_) => Value::Flags(decode(&stored, bytes)?),
        Key::Conductor => Value::Conductor(decode(&stored, bytes)?),
        Key::Placement => Value::Placement(decode(&stored, bytes)?),
        Key::Module(_) => Value::Module(decode(&stored, bytes)?),
        Key::Dependency(..) => {
            let Nothing {} = decode(&stored, bytes)?;
            Value::Dependency
        }
        Key::Spec(..) => Value::Spec(decode(&stored, bytes)?),
        Key::Worker(..) => Value::Worker(decode(&stored, bytes)?),
        Key::Live(..) => Value::Live(decode(&stored, bytes)?),
        Key::Exit(..) => Value::Exit(decode(&stored, bytes)?),
        Key::Isr(..) => Value::Isr(decode(&stored, bytes)?),
        Key::Leader(..) => Value::Leader(decode(&stored, bytes)?),
        Key::Setting(..) => {
            let Setting { value } = decode(&stored, bytes)?;
            Value::Setting(value)
        }
        Key::Log(..) => Value::Log(decode(&stored, bytes)?),
        Key::Operation(_) => Value::Operation(decode(&stored, bytes)?),
    })
}

/// The prefix that a target removes, when it is no single key.
pub(crate) fn scope(target: &Target) -> Result<StoredKey, Scope> {
    match target {
        Target::Key(key) => Ok(stored_key(key)),
        Target::Groups(module, id) => Err(Scope::Groups(module.as_str().to_owned(), id.0)),
        Target::Settings(module) => Err(Scope::Settings(module.as_str().to_owned())),
        Target::Pauses(module) => Err(Scope::Paused(module.as_str().to_owned())),
    }
}

/// A record without fields.
#[derive(serde::Serialize, serde::Deserialize)]
struct Nothing {}
