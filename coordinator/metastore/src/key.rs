//! Every key of a cluster, as a type: appendix A of the operations specification.
//!
//! Relies on names being escaped: a module's name may hold any character. What must stay true: this
//! is the only place that knows how a key is spelled; every key has one spelling, so what
//! [`Space::parse`] accepts it also builds; and a key of a newer format is refused, not guessed.

#[cfg(test)]
mod tests;
mod text;

use std::fmt::{self, Display, Formatter};

use uuid::Uuid;

use text::{Parts, escape};

/// The version of the key layout and of the values.
pub const FORMAT: u32 = 1;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Who the cluster is.
    ClusterId,
    /// What phase it is in.
    ClusterState,
    /// Releases that run and that may.
    ClusterVersion,
    /// The conductor that runs; leased.
    Conductor,
    /// Who placed last.
    Placement,
    /// A node's supervisor that runs; leased.
    Supervisor(Uuid),
    /// What an operator asked of a node.
    SupervisorFlags(Uuid),
    /// A module's state, targets, and operation in progress.
    ModuleMeta(String),
    /// What an instance of a module is.
    InstanceSpec(String, Uuid),
    /// Where a worker of an instance is to run.
    Worker(String, Uuid, u32),
    /// A worker that runs; leased.
    WorkerLive(String, Uuid, u32),
    /// How a worker ended last, where it is assigned.
    WorkerExit(String, Uuid, u32),
    /// The replicas of a task group that are in sync.
    GroupIsr(String, Uuid, u32),
    /// The leader of a task group; leased.
    GroupLeader(String, Uuid, u32),
    /// A request to its leader to hand over.
    GroupResign(String, Uuid, u32),
    /// A dynamic option.
    Setting(String, Level, String),
    /// A topology that is paused.
    Paused(String, String),
    /// What a module uses of another.
    Dependency(String, String),
    /// An entry of a module's operation log.
    ModuleLog(String, u64),
    /// An operation, with how far it has come.
    Operation(Uuid),
    /// The last backup of a name.
    BackupLast(String),
    /// Held while old backups of a name are removed.
    BackupLock(String),
}

/// What a dynamic option is set on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The whole module.
    Module,
    /// One topology.
    Topology(String),
    /// One depot.
    Depot(String),
    /// One PState.
    PState(String),
}

/// Keys that are listed or watched together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything of the cluster.
    All,
    /// Cluster state, version and conductor.
    Cluster,
    /// Supervisors and their flags.
    Supervisors,
    /// Every module.
    Modules,
    /// One module.
    Module(String),
    /// One instance of a module.
    Instance(String, Uuid),
    /// The assigned workers of an instance.
    Workers(String, Uuid),
    /// The running workers of an instance.
    WorkersLive(String, Uuid),
    /// The task groups of an instance.
    Groups(String, Uuid),
    /// The dynamic options of a module.
    Settings(String),
    /// The paused topologies of a module.
    Paused(String),
    /// What a module uses of others.
    Dependencies(String),
    /// The operation log of a module.
    ModuleLog(String),
    /// Operations.
    Operations,
    /// Backups.
    Backups,
}

/// A key that is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is not a key of this cluster: {cause}")]
pub struct KeyError {
    /// What was read.
    pub key: String,
    /// The rule it breaks.
    pub cause: String,
}

/// The keys of one cluster: everything under `/<root>/v1/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    base: String,
}

impl Space {
    /// The space under a root, which separates clusters that share an etcd.
    ///
    /// # Errors
    /// The root is empty or holds something other than letters, digits, `-`, `_` and `.`.
    pub fn new(root: &str) -> Result<Space, KeyError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if root.is_empty() || root.len() > 64 || !root.chars().all(plain) {
            return Err(KeyError {
                key: root.into(),
                cause: "a prefix is 1 to 64 letters, digits, -, _ or .".into(),
            });
        }
        Ok(Space {
            base: format!("/{root}/v{FORMAT}/"),
        })
    }

    /// The spelling of a key.
    pub fn key(&self, key: &Key) -> String {
        format!("{}{key}", self.base)
    }

    /// The prefix that the keys of a scope begin with, and no others.
    pub fn prefix(&self, scope: &Scope) -> String {
        format!("{}{scope}", self.base)
    }

    /// The key behind a spelling.
    ///
    /// # Errors
    /// It is of another cluster, of another format, unknown, or not spelled as we spell it.
    pub fn parse(&self, text: &str) -> Result<Key, KeyError> {
        let error = |cause: String| KeyError {
            key: text.chars().take(200).collect(),
            cause,
        };
        let rest = text
            .strip_prefix(self.base.as_str())
            .ok_or_else(|| error(format!("it does not begin with {}", self.base)))?;
        let key = parse(rest).ok_or_else(|| error("it is not in the layout".into()))?;
        if self.key(&key) != text {
            return Err(error(format!("it is spelled {}", self.key(&key))));
        }
        Ok(key)
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Key::ClusterId => f.write_str("cluster/id"),
            Key::ClusterState => f.write_str("cluster/state"),
            Key::ClusterVersion => f.write_str("cluster/version"),
            Key::Conductor => f.write_str("cluster/conductor"),
            Key::Placement => f.write_str("cluster/placement"),
            Key::Supervisor(id) => write!(f, "sup/{id}"),
            Key::SupervisorFlags(id) => write!(f, "sup/{id}/flags"),
            Key::ModuleMeta(module) => write!(f, "{}meta", Scope::Module(module.clone())),
            Key::InstanceSpec(module, instance) => {
                write!(f, "{}spec", Scope::Instance(module.clone(), *instance))
            }
            Key::Worker(module, instance, worker) => {
                write!(f, "{}{worker}", Scope::Workers(module.clone(), *instance))
            }
            Key::WorkerLive(module, instance, worker) => {
                write!(
                    f,
                    "{}{worker}",
                    Scope::WorkersLive(module.clone(), *instance)
                )
            }
            Key::WorkerExit(module, instance, worker) => {
                let instance = Scope::Instance(module.clone(), *instance);
                write!(f, "{instance}exit/{worker}")
            }
            Key::GroupIsr(module, instance, group) => {
                write!(f, "{}{group}/isr", Scope::Groups(module.clone(), *instance))
            }
            Key::GroupLeader(module, instance, group) => {
                write!(
                    f,
                    "{}{group}/leader",
                    Scope::Groups(module.clone(), *instance)
                )
            }
            Key::GroupResign(module, instance, group) => {
                write!(
                    f,
                    "{}{group}/resign",
                    Scope::Groups(module.clone(), *instance)
                )
            }
            Key::Setting(module, level, option) => {
                let settings = Scope::Settings(module.clone());
                write!(f, "{settings}{level}/{}", escape(option))
            }
            Key::Paused(module, topology) => {
                write!(f, "{}{}", Scope::Paused(module.clone()), escape(topology))
            }
            Key::Dependency(module, other) => {
                write!(
                    f,
                    "{}{}",
                    Scope::Dependencies(module.clone()),
                    escape(other)
                )
            }
            // Digits to the full width, so that the order of keys is the order of entries.
            Key::ModuleLog(module, number) => {
                write!(f, "{}{number:020}", Scope::ModuleLog(module.clone()))
            }
            Key::Operation(id) => write!(f, "op/{id}"),
            Key::BackupLast(name) => write!(f, "backup/{}/last", escape(name)),
            Key::BackupLock(name) => write!(f, "backup/{}/lock", escape(name)),
        }
    }
}

impl Display for Level {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Level::Module => f.write_str("module"),
            Level::Topology(name) => write!(f, "topology/{}", escape(name)),
            Level::Depot(name) => write!(f, "depot/{}", escape(name)),
            Level::PState(name) => write!(f, "pstate/{}", escape(name)),
        }
    }
}

impl Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => Ok(()),
            Scope::Cluster => f.write_str("cluster/"),
            Scope::Supervisors => f.write_str("sup/"),
            Scope::Modules => f.write_str("mod/"),
            Scope::Module(module) => write!(f, "mod/{}/", escape(module)),
            Scope::Instance(module, id) => write!(f, "mod/{}/inst/{id}/", escape(module)),
            Scope::Workers(module, id) => write!(f, "mod/{}/inst/{id}/worker/", escape(module)),
            Scope::WorkersLive(module, id) => write!(f, "mod/{}/inst/{id}/live/", escape(module)),
            Scope::Groups(module, id) => write!(f, "mod/{}/inst/{id}/g/", escape(module)),
            Scope::Settings(module) => write!(f, "mod/{}/opt/", escape(module)),
            Scope::Paused(module) => write!(f, "mod/{}/paused/", escape(module)),
            Scope::Dependencies(module) => write!(f, "mod/{}/deps/", escape(module)),
            Scope::ModuleLog(module) => write!(f, "mod/{}/log/", escape(module)),
            Scope::Operations => f.write_str("op/"),
            Scope::Backups => f.write_str("backup/"),
        }
    }
}

/// The key behind a spelling, leniently: [`Space::parse`] spells it again and compares.
fn parse(text: &str) -> Option<Key> {
    let mut parts = Parts::new(text);
    let key = match parts.word()? {
        "cluster" => match parts.word()? {
            "id" => Key::ClusterId,
            "state" => Key::ClusterState,
            "version" => Key::ClusterVersion,
            "conductor" => Key::Conductor,
            "placement" => Key::Placement,
            _ => return None,
        },
        "sup" => {
            let id = parts.number()?;
            match parts.word() {
                None => Key::Supervisor(id),
                Some("flags") => Key::SupervisorFlags(id),
                Some(_) => return None,
            }
        }
        "mod" => {
            let module = parts.name()?;
            parse_module(module, &mut parts)?
        }
        "op" => Key::Operation(parts.number()?),
        "backup" => {
            let name = parts.name()?;
            match parts.word()? {
                "last" => Key::BackupLast(name),
                "lock" => Key::BackupLock(name),
                _ => return None,
            }
        }
        _ => return None,
    };
    parts.ended().then_some(key)
}

fn parse_module(module: String, parts: &mut Parts<'_>) -> Option<Key> {
    Some(match parts.word()? {
        "meta" => Key::ModuleMeta(module),
        "inst" => {
            let instance = parts.number()?;
            match parts.word()? {
                "spec" => Key::InstanceSpec(module, instance),
                "worker" => Key::Worker(module, instance, parts.number()?),
                "live" => Key::WorkerLive(module, instance, parts.number()?),
                "exit" => Key::WorkerExit(module, instance, parts.number()?),
                "g" => {
                    let group = parts.number()?;
                    match parts.word()? {
                        "isr" => Key::GroupIsr(module, instance, group),
                        "leader" => Key::GroupLeader(module, instance, group),
                        "resign" => Key::GroupResign(module, instance, group),
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        "opt" => {
            let level = match parts.word()? {
                "module" => Level::Module,
                "topology" => Level::Topology(parts.name()?),
                "depot" => Level::Depot(parts.name()?),
                "pstate" => Level::PState(parts.name()?),
                _ => return None,
            };
            Key::Setting(module, level, parts.name()?)
        }
        "paused" => Key::Paused(module, parts.name()?),
        "deps" => Key::Dependency(module, parts.name()?),
        "log" => Key::ModuleLog(module, parts.number()?),
        _ => return None,
    })
}
