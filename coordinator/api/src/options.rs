//! Dynamic options: settings that take effect on running workers.
//!
//! Relies on the declarations of the runtime for names, types and defaults. What must stay true: an
//! option is named by level, object and name; a level above holds where none below is set.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an option is set on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "level", content = "object")]
pub enum Level {
    /// A whole module.
    Module,
    /// One of its topologies.
    Topology(String),
    /// One of its depots.
    Depot(String),
    /// One of its PStates.
    Pstate(String),
}

/// Options of a deployment: by level, object and name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OptionsByLevel {
    /// `--moduleOptions`
    pub module: BTreeMap<String, Value>,
    /// `--topologyOptions`
    pub topology: BTreeMap<String, BTreeMap<String, Value>>,
    /// `--depotOptions`
    pub depot: BTreeMap<String, BTreeMap<String, Value>>,
    /// `--pstateOptions`
    pub pstate: BTreeMap<String, BTreeMap<String, Value>>,
}

/// One option to be set or unset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OptionSetting {
    /// On what.
    #[serde(flatten)]
    pub level: Level,
    /// Its name.
    pub option: String,
    /// Its value; passed over when it is unset.
    #[serde(default)]
    pub value: Value,
}

/// One option as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OptionInfo {
    /// On what.
    #[serde(flatten)]
    pub level: Level,
    /// Its name.
    pub option: String,
    /// What holds.
    pub value: Value,
    /// Whether it was set here; otherwise it comes from above.
    pub set: bool,
    /// What holds when nothing is set.
    pub default: Value,
    /// What it does.
    pub help: String,
    /// What it takes, with its unit.
    #[serde(default)]
    pub takes: String,
}
