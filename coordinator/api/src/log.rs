//! The operation log of a module: what was done to it, by whom, and when.
//!
//! Relies on serde. What must stay true: every change of a module has one entry, written with the
//! change or never; entries are numbered from 1 and never change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::operation::{Kind, Outcome};
use crate::options::{Level, OptionSetting};

/// An entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Its number.
    pub number: u64,
    /// When it was asked for.
    pub at_ms: u64,
    /// Who asked.
    pub by: String,
    /// What was done, together.
    pub done: Vec<Done>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Done {
    /// An operation has ended.
    Operation {
        /// Its name.
        operation: Uuid,
        /// Which kind.
        kind: Kind,
        /// What came of it.
        outcome: Outcome,
    },
    /// An option was set.
    SetOption(OptionSetting),
    /// An option was unset.
    UnsetOption(Unset),
    /// A topology was paused.
    Pause {
        /// Which.
        topology: String,
    },
    /// A topology goes on.
    Resume {
        /// Which.
        topology: String,
    },
}

/// What was unset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unset {
    /// On what.
    #[serde(flatten)]
    pub level: Level,
    /// The option.
    pub option: String,
}
