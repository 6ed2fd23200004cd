//! Names of the things a cluster is made of.
//!
//! Relies on nothing. Ids that come from outside (module names) are checked here, because they
//! become parts of keys and paths. What must stay true: an instance id is never used twice, so that
//! data found under one belongs to it and to no later deployment.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::limits::MODULE_NAME_BYTES_MAX;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $of:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $of);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// A node: the stable id of its supervisor.
    NodeId
}
uuid_id! {
    /// One deployment of one version of a module.
    InstanceId
}
uuid_id! {
    /// One operation on a module (launch, destroy …).
    OperationId
}
number_id! {
    /// A task group within an instance: the tasks that share a thread and a replog.
    GroupId, u32
}
number_id! {
    /// A worker process within an instance; `0..workers * replication`.
    WorkerIndex, u32
}
number_id! {
    /// A replica of a task group; `0..replication`.
    ReplicaId, u32
}
number_id! {
    /// The leader epoch of a task group: +1 with each new leader, never reused. 0: no leader yet.
    Epoch, u64
}
number_id! {
    /// One life of a worker process: a random number drawn at its start. Lives are ordered by the
    /// metastore revision of their registration, not by this number.
    Incarnation, u64
}

impl Epoch {
    /// The epoch of the next leader.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

/// A module's name, checked to be safe as a part of a key or of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleName(String);

/// Why a text is no module name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModuleNameError {
    /// Empty, or over the limit.
    #[error(
        "could not take a module name of {len} bytes: give it 1 to {} bytes",
        MODULE_NAME_BYTES_MAX
    )]
    Length {
        /// How long it is.
        len: usize,
    },
    /// A character that keys or paths do not take.
    #[error(
        "could not take module name {name:?}: {bad:?} is not allowed; use letters, digits, `_`, \
         `-`, `.` and `:`, beginning with a letter or `_`"
    )]
    Character {
        /// The name.
        name: String,
        /// Its first offending character.
        bad: char,
    },
}

impl ModuleName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// When it is empty, too long, or holds what a key or a path does not take.
    pub fn new(name: &str) -> Result<ModuleName, ModuleNameError> {
        if name.is_empty() || name.len() > MODULE_NAME_BYTES_MAX {
            return Err(ModuleNameError::Length { len: name.len() });
        }
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let rest = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        let bad = name
            .char_indices()
            .find(|(at, c)| !(first(*c) || (*at > 0 && rest(*c))));
        match bad {
            None => Ok(ModuleName(name.to_owned())),
            Some((_, bad)) => Err(ModuleNameError::Character {
                name: name.to_owned(),
                bad,
            }),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ModuleName {
    type Error = ModuleNameError;

    fn try_from(name: String) -> Result<ModuleName, ModuleNameError> {
        ModuleName::new(&name)
    }
}

impl From<ModuleName> for String {
    fn from(name: ModuleName) -> String {
        name.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
