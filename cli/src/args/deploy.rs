//! What can be typed to change which modules a cluster has.
//!
//! Relies on clap's derive. What must stay true: every flag of Rama's `deploy` that a launch knows
//! is accepted in Rama's spelling.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Server;

pub const DEPLOY: &str = asks!(
    "\
BINARY is a module's own program (made with `rama::main!`, built with the feature `etcd`). It is
asked what it defines (`BINARY describe`) and sent to the conductor unless that has it. The command
ends well when the module is RUNNING; a launch that was rolled back ends it with exit code 4 and the
reason. A conductor that goes away meanwhile is waited for, up to a minute.

A signature (--signature, or BINARY.sig where there is one) is sent, too; supervisors with trust
roots run nothing else.

Options are those of `rama list-options`; their values are JSON or bare words; options of several
objects are 'object,option=value;…'. They hold from the first moment of the workers and stay set:
`rama set-option` changes them.

Examples:
  rama deploy --action launch --binary target/release/word_count --module WordCount \\
      --tasks 8 --threads 4 --workers 2
  rama deploy --action launch --jar ./bank --module Bank --tasks 64 --threads 16 --workers 8 \\
      --replicationFactor 3 --targetLabel ssd --metadata 'first try' --dry-run
  rama deploy --action launch --binary ./bank --module Bank --tasks 8 --threads 4 --workers 2 \\
      --config-overrides bank.toml --no-wait --output json
  rama deploy --action launch --binary ./bank --module Bank --tasks 8 --threads 4 --workers 2 \\
      --depotOptions '*deposits,depot.microbatch.max.records=1000;*transfers,depot.max.fetch=64'"
);

/// `rama deploy`
#[derive(Args, Debug)]
pub struct Deploy {
    /// What is done.
    #[arg(long, value_enum)]
    pub action: Action,
    /// The module's program.
    #[arg(long, alias = "jar", value_name = "PATH")]
    pub binary: PathBuf,
    /// Who signed the program [default: BINARY.sig, where there is one].
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// The module that the program has to define.
    #[arg(long, value_name = "NAME")]
    pub module: String,
    /// Partitions of everything; a power of two, fixed for life.
    #[arg(long, value_name = "2^N")]
    pub tasks: u32,
    /// Task threads, at most as many as tasks.
    #[arg(long, value_name = "N")]
    pub threads: u32,
    /// Processes of a replica set, at most as many as threads.
    #[arg(long, value_name = "N")]
    pub workers: u32,
    /// Replicas of each task group.
    #[arg(
        long,
        alias = "replicationFactor",
        value_name = "N",
        default_value_t = 1
    )]
    pub replication_factor: u32,
    /// Settings below [worker.resources] in which this instance's workers differ from their nodes.
    #[arg(long, alias = "configOverrides", value_name = "FILE.toml")]
    pub config_overrides: Option<PathBuf>,
    /// Options of the module: 'option=value;…'.
    #[arg(long, alias = "moduleOptions", value_name = "OPTIONS")]
    pub module_options: Option<String>,
    /// Options of topologies: 'topology,option=value;…'.
    #[arg(long, alias = "topologyOptions", value_name = "OPTIONS")]
    pub topology_options: Option<String>,
    /// Options of depots: 'depot,option=value;…'.
    #[arg(long, alias = "depotOptions", value_name = "OPTIONS")]
    pub depot_options: Option<String>,
    /// Options of PStates: 'pstate,option=value;…'.
    #[arg(long, alias = "pstateOptions", value_name = "OPTIONS")]
    pub pstate_options: Option<String>,
    /// Only nodes with this label.
    #[arg(long, alias = "targetLabel", value_name = "LABEL")]
    pub target_label: Option<String>,
    /// Words for people, shown with the instance.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub metadata: String,
    /// Print the plan; change nothing.
    #[arg(long, alias = "dryRun", conflicts_with = "no_wait")]
    pub dry_run: bool,
    /// Whether the end is waited for.
    #[command(flatten)]
    pub waiting: Waiting,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

/// What a deployment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// A new module.
    Launch,
}

/// Whether a command waits for what it began.
#[derive(Args, Clone, Copy, Debug)]
pub struct Waiting {
    /// Wait for the end [default].
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// End as soon as the conductor has begun.
    #[arg(long, alias = "noWait", overrides_with = "wait")]
    no_wait: bool,
}

impl Waiting {
    /// Whether it waits.
    pub fn waits(self) -> bool {
        self.wait || !self.no_wait
    }
}

pub const DESTROY: &str = asks!(
    "\
The data of the module is gone after it. On a terminal the name has to be typed once more; elsewhere
--yes has to say it.

Examples:
  rama destroy Bank
  rama destroy Bank --yes Bank --timeout 2m
  rama destroy Bank --yes Bank --no-wait --output json"
);

/// `rama destroy`
#[derive(Args, Debug)]
pub struct Destroy {
    /// The module.
    pub module: String,
    /// Do not ask: the name once more.
    #[arg(long, short, value_name = "NAME")]
    pub yes: Option<String>,
    /// Whether the end is waited for.
    #[command(flatten)]
    pub waiting: Waiting,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}
