//! Keys, values and transactions as the machines speak of them; a driver spells them for its
//! metastore.
//!
//! Relies on [`crate::records`]. What must stay true: every change is a transaction that compares
//! revisions; its result is one of three, and after `Unknown` nothing is assumed: the transaction
//! may have been done, may not, and may still be done later.

use std::fmt;

use rama_core::options::Level;

use crate::ids::{GroupId, InstanceId, ModuleName, NodeId, OperationId, WorkerIndex};
use crate::records::{
    Conductor, GroupIsr, GroupLeader, InstanceSpec, ModuleLog, ModuleMeta, NodeFlags, Operation,
    Placement, Supervisor, WorkerAssignment, WorkerExit, WorkerLive,
};

/// One key. Orders keys of one kind and instance together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A node's supervisor that runs; leased.
    Supervisor(NodeId),
    /// What an operator asked of a node.
    Flags(NodeId),
    /// The conductor in office; leased.
    Conductor,
    /// Who placed last.
    Placement,
    /// A module's state, targets, and operation in progress.
    Module(ModuleName),
    /// What a module (first) uses of another (second).
    Dependency(ModuleName, ModuleName),
    /// What an instance is; published while it exists.
    Spec(ModuleName, InstanceId),
    /// Where a worker is to run.
    Worker(ModuleName, InstanceId, WorkerIndex),
    /// A worker that runs; leased.
    Live(ModuleName, InstanceId, WorkerIndex),
    /// How a worker ended last, told by the node that it is assigned to.
    Exit(ModuleName, InstanceId, WorkerIndex),
    /// The replicas in sync, and the epoch.
    Isr(ModuleName, InstanceId, GroupId),
    /// The leader of a task group; leased.
    Leader(ModuleName, InstanceId, GroupId),
    /// A dynamic option of a module. Written with a launch; no machine looks at it.
    Setting(ModuleName, Level, String),
    /// An entry of a module's operation log.
    Log(ModuleName, u64),
    /// An operation.
    Operation(OperationId),
}

impl fmt::Display for Key {
    /// For traces and scripts; the metastore spells keys in its own way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |id: &uuid::Uuid| id.as_u128() & 0xffff_ffff;
        match self {
            Key::Supervisor(node) => write!(f, "sup/{}", short(&node.0)),
            Key::Flags(node) => write!(f, "sup/{}/flags", short(&node.0)),
            Key::Conductor => f.write_str("conductor"),
            Key::Placement => f.write_str("placement"),
            Key::Module(name) => write!(f, "{name}/meta"),
            Key::Dependency(name, other) => write!(f, "{name}/deps/{other}"),
            Key::Spec(name, id) => write!(f, "{name}/{}/spec", short(&id.0)),
            Key::Worker(name, id, w) => write!(f, "{name}/{}/worker/{w}", short(&id.0)),
            Key::Live(name, id, w) => write!(f, "{name}/{}/live/{w}", short(&id.0)),
            Key::Exit(name, id, w) => write!(f, "{name}/{}/exit/{w}", short(&id.0)),
            Key::Isr(name, id, g) => write!(f, "{name}/{}/isr/{g}", short(&id.0)),
            Key::Leader(name, id, g) => write!(f, "{name}/{}/leader/{g}", short(&id.0)),
            Key::Setting(name, level, option) => write!(f, "{name}/opt/{level}/{option}"),
            Key::Log(name, number) => write!(f, "{name}/log/{number}"),
            Key::Operation(id) => write!(f, "op/{}", short(&id.0)),
        }
    }
}

/// A value of any key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each is the record of the key of the same name"
)]
pub enum Value {
    Supervisor(Supervisor),
    Flags(NodeFlags),
    Conductor(Conductor),
    Placement(Placement),
    Module(ModuleMeta),
    Dependency,
    Spec(InstanceSpec),
    Worker(WorkerAssignment),
    Live(WorkerLive),
    Exit(WorkerExit),
    Isr(GroupIsr),
    Leader(GroupLeader),
    Setting(serde_json::Value),
    Log(ModuleLog),
    Operation(Box<Operation>),
}

/// What must hold for a transaction to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(Key),
    /// The key was last written at this revision.
    Revision(Key, u64),
}

/// A key with its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    /// Whether it dies with the lease of the process that writes it.
    pub leased: bool,
}

/// What a transaction removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One key.
    Key(Key),
    /// ISR and leader of every task group of an instance: one prefix.
    Groups(ModuleName, InstanceId),
    /// All dynamic options of a module.
    Settings(ModuleName),
    /// All pauses of topologies of a module.
    Pauses(ModuleName),
}

impl fmt::Display for Target {
    /// For traces and scripts, as keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Key(key) => key.fmt(f),
            Target::Groups(name, _) => write!(f, "{name}/groups"),
            Target::Settings(name) => write!(f, "{name}/opt"),
            Target::Pauses(name) => write!(f, "{name}/paused"),
        }
    }
}

impl Target {
    /// Whether it removes this key.
    #[must_use]
    pub fn covers(&self, key: &Key) -> bool {
        match (self, key) {
            (Target::Key(own), key) => own == key,
            (Target::Groups(name, id), Key::Isr(n, i, _) | Key::Leader(n, i, _)) => {
                name == n && id == i
            }
            (Target::Settings(name), Key::Setting(of, ..)) => name == of,
            // Pauses have no key here.
            (Target::Groups(..) | Target::Settings(_) | Target::Pauses(_), _) => false,
        }
    }
}

/// Comparisons, and what is written when all of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Keys to write.
    pub puts: Vec<Put>,
    /// Keys to remove.
    pub deletes: Vec<Target>,
}

impl Txn {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Only if the key does not exist.
    #[must_use]
    pub fn absent(mut self, key: Key) -> Txn {
        self.compares.push(Compare::Absent(key));
        self
    }

    /// Only if the key was last written at this revision.
    #[must_use]
    pub fn at(mut self, key: Key, revision: u64) -> Txn {
        self.compares.push(Compare::Revision(key, revision));
        self
    }

    /// Only if the key is as it was seen: at its revision, or absent.
    #[must_use]
    pub fn as_seen(self, key: Key, revision: Option<u64>) -> Txn {
        match revision {
            Some(revision) => self.at(key, revision),
            None => self.absent(key),
        }
    }

    /// Writes a key that stays.
    #[must_use]
    pub fn put(mut self, key: Key, value: Value) -> Txn {
        let leased = false;
        self.puts.push(Put { key, value, leased });
        self
    }

    /// Writes a key that dies with the writer's lease.
    #[must_use]
    pub fn put_leased(mut self, key: Key, value: Value) -> Txn {
        let leased = true;
        self.puts.push(Put { key, value, leased });
        self
    }

    /// Removes something.
    #[must_use]
    pub fn delete(mut self, target: Target) -> Txn {
        self.deletes.push(target);
        self
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done, at this revision.
    Done {
        /// The metastore's revision after it.
        revision: u64,
    },
    /// A comparison did not hold; nothing was written.
    Refused,
    /// Nobody can say; it may even be done later.
    Unknown,
}
