//! What can be typed about one module of a cluster.
//!
//! Relies on clap's derive. What must stay true: an instance that is not named is the one that
//! serves reads.

use clap::Args;
use uuid::Uuid;

use super::Server;

pub const MODULE_STATUS: &str = asks!(
    "\
Examples:
  rama module-status Bank
  rama moduleStatus Bank --output json
  rama moduleStatus Bank --url quic://conductor.example.org:1973"
);

/// `rama module-status`
#[derive(Args, Debug)]
pub struct ModuleStatus {
    /// The module.
    pub module: String,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

pub const MODULE_INSTANCE_STATUS: &str = asks!(
    "\
Examples:
  rama module-instance-status Bank
  rama moduleInstanceStatus Bank 7c9e6679-7425-40de-944b-e07fc1f90ae7 --output json"
);

pub const TASK_GROUPS_STATUS: &str = asks!(
    "\
Examples:
  rama task-groups-status Bank
  rama taskGroupsStatus Bank 7c9e6679-7425-40de-944b-e07fc1f90ae7 --output json"
);

/// An instance of a module.
#[derive(Args, Debug)]
pub struct Instance {
    /// The module.
    pub module: String,
    /// The instance; without it the one that serves reads.
    pub instance: Option<Uuid>,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

pub const PAUSE_TOPOLOGY: &str = asks!(
    "\
For microbatch topologies. What is under way is finished first. The pause lasts until it is lifted,
also over restarts.

Examples:
  rama pause-topology Bank transfers
  rama pauseTopology Bank transfers --output json"
);

pub const RESUME_TOPOLOGY: &str = asks!(
    "\
Examples:
  rama resume-topology Bank transfers
  rama resumeTopology Bank transfers"
);

/// A topology of a module.
#[derive(Args, Debug)]
pub struct Topology {
    /// The module.
    pub module: String,
    /// Its topology.
    pub topology: String,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

pub const MODULE_LOG: &str = asks!(
    "\
Operations that have ended, options that were set and unset, pauses; the oldest first. The log of a
module outlives it.

Examples:
  rama module-log Bank
  rama moduleLog Bank --output jsonl"
);

/// `rama module-log`
#[derive(Args, Debug)]
pub struct ModuleLog {
    /// The module.
    pub module: String,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

pub const LOGS: &str = asks!(
    "\
WORKER is a number as `rama module-instance-status` shows it. The log comes from the supervisor of
the worker's node; with --output json or jsonl each line is a JSON value.

Examples:
  rama logs Bank 0
  rama logs Bank 1 --lines 1000 --follow
  rama logs Bank 1 --instance 7c9e6679-7425-40de-944b-e07fc1f90ae7"
);

/// `rama logs`
#[derive(Args, Debug)]
pub struct Logs {
    /// The module.
    pub module: String,
    /// The worker's number.
    pub worker: u32,
    /// The instance; without it the one that serves reads.
    #[arg(long, value_name = "ID")]
    pub instance: Option<Uuid>,
    /// So many of the last lines.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub lines: u32,
    /// Go on with what is written from now on, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}
