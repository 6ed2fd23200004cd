//! What an operator sets on a module that runs: dynamic options and pauses.
//!
//! Relies on serde. What must stay true: these hold across instances of a module.

use serde::{Deserialize, Serialize};

/// A dynamic option as it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its value; the declaration of the option says which are allowed.
    pub value: serde_json::Value,
}

/// A topology that is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub since_ms: u64,
    /// Who asked for it.
    #[serde(default)]
    pub by: String,
}
