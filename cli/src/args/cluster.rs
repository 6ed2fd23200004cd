//! The verbs that only a cluster understands, and what can be typed about it as a whole.
//!
//! Relies on clap's derive. What must stay true: each verb is accepted in Rama's spelling, too.

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{Server, deploy, module, options};

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum OfCluster {
    /// Run a conductor: it carries out operations on modules.
    #[command(after_help = CONDUCTOR)]
    Conductor(Daemon),
    /// Run the supervisor of this machine: it runs the workers of modules.
    #[command(after_help = SUPERVISOR)]
    Supervisor(Daemon),
    /// Bring a module to a cluster.
    #[command(after_help = deploy::DEPLOY)]
    Deploy(Box<deploy::Deploy>),
    /// Stop a module of a cluster and delete its data.
    #[command(after_help = deploy::DESTROY)]
    Destroy(deploy::Destroy),
    /// Show how a module of a cluster is.
    #[command(after_help = module::MODULE_STATUS, alias = "moduleStatus")]
    ModuleStatus(module::ModuleStatus),
    /// Show one instance of a module with its workers.
    #[command(after_help = module::MODULE_INSTANCE_STATUS, alias = "moduleInstanceStatus")]
    ModuleInstanceStatus(module::Instance),
    /// Show the task groups of an instance with their leaders.
    #[command(after_help = module::TASK_GROUPS_STATUS, alias = "taskGroupsStatus")]
    TaskGroupsStatus(module::Instance),
    /// Show the modules of a cluster.
    #[command(after_help = MODULES)]
    Modules(Modules),
    /// Show the supervisors of a cluster.
    #[command(after_help = SUPERVISORS)]
    Supervisors(Supervisors),
    /// Show what a conductor does, or cancel it.
    #[command(after_help = OPERATIONS)]
    Operations(Operations),
    /// Pause a topology.
    #[command(after_help = module::PAUSE_TOPOLOGY, alias = "pauseTopology")]
    PauseTopology(module::Topology),
    /// Let a paused topology go on.
    #[command(after_help = module::RESUME_TOPOLOGY, alias = "resumeTopology")]
    ResumeTopology(module::Topology),
    /// Set an option of a running module.
    #[command(after_help = options::set_option(), alias = "setOption")]
    SetOption(options::SetOption),
    /// Unset an option of a running module.
    #[command(after_help = options::UNSET_OPTION, alias = "unsetOption")]
    UnsetOption(options::UnsetOption),
    /// Show the options of a running module, or all that there are.
    #[command(after_help = options::LIST_OPTIONS, alias = "listOptions")]
    ListOptions(options::ListOptions),
    /// Show what was done to a module, by whom and when.
    #[command(after_help = module::MODULE_LOG, alias = "moduleLog")]
    ModuleLog(module::ModuleLog),
    /// Show what a worker wrote.
    #[command(after_help = module::LOGS)]
    Logs(module::Logs),
}

pub const CONDUCTOR: &str = works!(
    "\
Reads [conductor], [node], [metastore], [scheduler] and [security] of rama.toml and runs until
Ctrl-C or SIGTERM. Several may run: one is in office, the others wait for it. Needs a `rama` that
was built with the feature `etcd`.

Examples:
  rama conductor
  rama conductor --config /etc/rama/rama.toml"
);

pub const SUPERVISOR: &str = works!(
    "\
Reads [supervisor], [node], [metastore] and [security] of rama.toml and runs until Ctrl-C or
SIGTERM. Its workers live on without it, and it takes them over when it is started again. Needs a
`rama` that was built with the feature `etcd`.

Examples:
  rama supervisor
  rama supervisor --config /etc/rama/rama.toml"
);

/// `rama conductor`, `rama supervisor`
#[derive(Args, Debug)]
pub struct Daemon {
    /// Settings from this file; otherwise from RAMA_CONFIG or ./rama.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
}

pub const SUPERVISORS: &str = asks!(
    "\
Examples:
  rama supervisors
  rama supervisors --output jsonl"
);

/// `rama supervisors`
#[derive(Args, Debug)]
pub struct Supervisors {
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

pub const MODULES: &str = asks!(
    "\
Examples:
  rama modules
  rama modules --output jsonl"
);

/// `rama modules`
#[derive(Args, Debug)]
pub struct Modules {
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

pub const OPERATIONS: &str = asks!(
    "\
An operation that is cancelled is rolled back, unless it has come too far for that.

Examples:
  rama operations
  rama operations --all --output jsonl
  rama operations --cancel 7c9e6679-7425-40de-944b-e07fc1f90ae7"
);

/// `rama operations`
#[derive(Args, Debug)]
pub struct Operations {
    /// Those that have ended, too.
    #[arg(long)]
    pub all: bool,
    /// Cancel this one.
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub cancel: Option<Uuid>,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}
