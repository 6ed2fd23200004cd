//! What can be typed about the dynamic options of a module.
//!
//! Relies on clap's derive. What must stay true: the order of words is Rama's; a module has no
//! object to be named, everything else has one.

use clap::{Args, ValueEnum};

use super::Server;

pub const SET_OPTION: &str = asks!(
    "\
Running workers obey within a second. VALUE is JSON. OBJECT is left out for the level module.

Examples:
  rama set-option module Bank replication.min.isr 2
  rama setOption topology Bank transfers topology.microbatch.records.max 1000
  rama setOption depot Bank deposits depot.read.bytes.max 1048576"
);

pub const UNSET_OPTION: &str = asks!(
    "\
What is above holds again: the option of the module, or its default.

Examples:
  rama unset-option module Bank replication.min.isr
  rama unsetOption topology Bank transfers topology.microbatch.records.max"
);

pub const LIST_OPTIONS: &str = asks!(
    "\
Examples:
  rama list-options Bank
  rama listOptions Bank --set --output jsonl"
);

/// What an option is set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// A whole module.
    Module,
    /// One of its topologies.
    Topology,
    /// One of its PStates.
    Pstate,
    /// One of its depots.
    Depot,
}

/// `rama set-option`
#[derive(Args, Debug)]
pub struct SetOption {
    /// What it is set on.
    #[arg(value_enum)]
    pub level: Level,
    /// The module.
    pub module: String,
    /// The object of that level (not for a module), the option, and its value as JSON.
    #[arg(value_names = ["OBJECT", "OPTION", "VALUE"], num_args = 2..=3, required = true)]
    #[arg(allow_negative_numbers = true)]
    pub words: Vec<String>,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

/// `rama unset-option`
#[derive(Args, Debug)]
pub struct UnsetOption {
    /// What it was set on.
    #[arg(value_enum)]
    pub level: Level,
    /// The module.
    pub module: String,
    /// The object of that level (not for a module), and the option.
    #[arg(value_names = ["OBJECT", "OPTION"], num_args = 1..=2, required = true)]
    pub words: Vec<String>,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

/// `rama list-options`
#[derive(Args, Debug)]
pub struct ListOptions {
    /// The module.
    pub module: String,
    /// Only those that were set.
    #[arg(long)]
    pub set: bool,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}
