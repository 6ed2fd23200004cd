//! What can be typed about the dynamic options of a module.
//!
//! Relies on clap's derive. What must stay true: the order of words is Rama's; a module has no
//! object to be named, everything else has one.

use clap::{Args, ValueEnum};
use rama_runtime::options::DECLARED;

use super::Server;

const SET_OPTION: &str = asks!(
    "\
Examples:
  rama set-option module Bank worker.event.target.max.millis 2
  rama setOption topology Bank bank topology.microbatch.force.delay.millis 100
  rama setOption depot Bank '*deposits' depot.microbatch.max.records 1000
  rama setOption pstate Bank funds pstate.proxy.limit 100"
);

/// The end of the help of `rama set-option`: every option there is.
pub fn set_option() -> String {
    let mut help = "\
Running workers obey within a second. VALUE is JSON. OBJECT is left out for the level module; what
is set there holds for all objects that have no value of their own. `rama module-log` tells who
set what, and when.

Options (`rama list-options` without a module explains them):
"
    .to_owned();
    for option in DECLARED {
        let range = option.range();
        let takes = range.split(',').next().unwrap_or_default();
        let levels = option.scope.levels();
        help += &format!("  {:<50}{levels:<19}{takes}\n", option.name);
    }
    help + "\n" + SET_OPTION
}

pub const UNSET_OPTION: &str = asks!(
    "\
What is above holds again: the option of the module, or its default.

Examples:
  rama unset-option module Bank worker.event.target.max.millis
  rama unsetOption depot Bank '*deposits' depot.microbatch.max.records"
);

pub const LIST_OPTIONS: &str = asks!(
    "\
Without MODULE: every option that there is, asked of nobody. With it: what holds for the module,
then what is set below it.

Examples:
  rama list-options
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
    pub module: Option<String>,
    /// Only those that were set.
    #[arg(long, requires = "module")]
    pub set: bool,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}
