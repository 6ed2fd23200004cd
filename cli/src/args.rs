//! Everything that can be typed after `rama`, with its help.
//!
//! Relies on clap's derive. Verbs and flags are kebab-case; `spelling` has all of them accepted in
//! Rama's camelCase, too. What must stay true: each `--help` ends with examples that work as
//! printed.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use rama_gateway::dev;

const EXAMPLES: &str = "\
Examples:
  rama quickstart                                  count the words of a book, exactly
  rama dev --example bank                          a server with data in ./.rama
  rama append WordCount/lines '\"hello world\"'
  rama select WordCount/counts '[\"hello\"]' --one

Exit codes:
  0 ok   1 failed   2 usage   3 not found   4 refused by a rule or a safety check
  5 no server reached, or it is not ready   6 no answer: it may have happened
  7 the time of --timeout was over          130 interrupted

A server is found by --url, then RAMA_URL, then conductor.host of rama.toml (that of --config or
RAMA_CONFIG, or in this directory or one above it), then the file .rama/http in this directory or
one above it, which a running `rama dev` writes. Commands and flags may be written as in Rama, too:
moduleStatus, --replicationFactor.";

/// The end of the help of commands that ask a server.
macro_rules! asks {
    ($text:expr) => {
        concat!(
            $text,
            "\n\nExit codes:\n  \
             0 ok   1 failed   2 usage   3 not found   4 refused by a rule or a safety check\n  \
             5 no server reached, or it is not ready   6 no answer: it may have happened\n  \
             7 the time of --timeout was over          130 interrupted"
        )
    };
}

/// The end of the help of commands that work here.
macro_rules! works {
    ($text:expr) => {
        concat!(
            $text,
            "\n\nExit codes:\n  \
             0 ok   1 failed   2 usage   3 not found   4 refused by a rule or a safety check"
        )
    };
}

// Below the macros that they use.
pub mod artifacts;
pub mod certs;
pub mod cluster;
pub mod data;
pub mod deploy;
pub mod license;
pub mod module;
pub mod options;
mod run;
mod server;
mod spelling;
#[cfg(test)]
mod tests;
pub mod tokens;

pub use data::{Ack, Append, DeadLetters, Invoke, Letters, Select, Status, Watch};
pub use run::Run;
pub use server::Server;

/// The command line as it is typed: in our spelling or in Rama's.
pub fn command() -> clap::Command {
    spelling::in_both(Rama::command())
}

const GLOBAL: &str = "Options of every command";

/// Rama in Rust: depots, topologies and PStates on thread-per-core io_uring.
#[derive(Parser, Debug)]
#[command(name = "rama", version, after_help = EXAMPLES, infer_subcommands = true)]
#[command(
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Rama {
    /// How results are printed: table (for people), json, or jsonl (one line per result)
    /// [env: RAMA_OUTPUT] [default: table].
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        env = "RAMA_OUTPUT",
        default_value_t
    )]
    #[arg(
        hide_env = true,
        hide_default_value = true,
        hide_possible_values = true
    )]
    #[arg(help_heading = GLOBAL, display_order = 900, value_name = "FORM")]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document per line and result.
    Jsonl,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start an embedded cluster, count the words of a book exactly, and print the result.
    #[command(after_help = QUICKSTART, alias = "quick-start")]
    Quickstart(Quickstart),
    /// Run a module as a server with its data in ./.rama.
    #[command(after_help = DEV)]
    Dev(Dev),
    /// Start a local etcd for experiments.
    #[command(after_help = DEV_METASTORE, alias = "devMetastore", alias = "devZookeeper")]
    DevMetastore(DevMetastore),
    /// Create a project with a module and a test.
    #[command(after_help = NEW)]
    New(New),
    /// Append a record to a depot.
    #[command(after_help = data::APPEND)]
    Append(Append),
    /// Read a path of a PState.
    #[command(after_help = data::SELECT)]
    Select(Select),
    /// Run a query topology.
    #[command(after_help = data::INVOKE)]
    Invoke(Invoke),
    /// Print the value at a path of a PState, again after each change.
    #[command(after_help = data::WATCH)]
    Watch(Watch),
    /// Show a cluster, or modules, depots and topologies of a server with their progress.
    #[command(after_help = data::STATUS)]
    Status(Status),
    /// List, replay or drop records that a topology gave up on.
    #[command(after_help = data::DEAD_LETTERS, alias = "deadLetters", subcommand_required = true)]
    DeadLetters {
        /// Which of them.
        #[command(subcommand)]
        command: DeadLetters,
    },
    /// Commands that only a cluster understands.
    #[command(flatten)]
    OfCluster(cluster::OfCluster),
    /// Print one setting.
    #[command(after_help = CONF_VALUE, alias = "confValue")]
    ConfValue(ConfValue),
    /// Run a program that uses the cluster of the settings.
    #[command(after_help = run::RUN)]
    Run(Run),
    /// Install a licence: none is needed.
    #[command(after_help = license::LICENSE, alias = "upsertLicense", hide = true)]
    UpsertLicense(license::UpsertLicense),
    /// Delete expired licences: none is needed.
    #[command(after_help = license::LICENSE, alias = "cleanupLicenses", hide = true)]
    CleanupLicenses,
    /// Show licences: none is needed.
    #[command(after_help = license::LICENSE, alias = "licenseInfo", hide = true)]
    LicenseInfo,
    /// Check this machine: kernel, io_uring, memlock, disk, cores.
    #[command(after_help = DOCTOR)]
    Doctor(Doctor),
    /// Read the files of a data directory and name what is damaged. Changes nothing.
    #[command(after_help = INSPECT)]
    Inspect(Inspect),
    /// Show or check the settings of a server.
    #[command(after_help = CONFIG, subcommand_required = true)]
    Config {
        /// Show or check.
        #[command(subcommand)]
        command: Config,
    },
    /// Make and show the certificates of a cluster.
    #[command(after_help = certs::CERTS, subcommand_required = true)]
    Certs {
        /// Which of them.
        #[command(subcommand)]
        command: certs::Certs,
    },
    /// Make, show and revoke tokens: who is answered over HTTP.
    #[command(after_help = tokens::TOKENS, subcommand_required = true)]
    Tokens {
        /// Which of them.
        #[command(subcommand)]
        command: tokens::Tokens,
    },
    /// Make keys and sign programs with them.
    #[command(after_help = artifacts::ARTIFACTS, subcommand_required = true)]
    Artifacts {
        /// Which of them.
        #[command(subcommand)]
        command: artifacts::Artifacts,
    },
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages.
    #[command(after_help = MAN)]
    Man {
        /// Where to; without it the main page goes to stdout.
        dir: Option<PathBuf>,
    },
}

const QUICKSTART: &str = works!(
    "\
A word is a maximal run of alphabetic characters (Unicode), lower-cased. Lines are appended to the
depot *lines of the module WordCount; a microbatch topology counts them exactly once into
$$exact_counts. Without --data-dir the data goes to a temporary directory and is removed at the end.

Examples:
  rama quickstart
  rama quickstart --file some.txt --counts counts.json
  rama quickstart --data-dir /var/tmp/words
  rama quickstart --output json"
);

/// `rama quickstart`
#[derive(Args, Debug)]
pub struct Quickstart {
    /// Any UTF-8 text instead of the bundled book.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Write every word with its count, as a JSON object sorted by word.
    #[arg(long, value_name = "OUT.json")]
    pub counts: Option<PathBuf>,
    /// Keep the data here instead of in a temporary directory.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How many words are printed.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
}

const DEV: &str = works!(
    "\
BINARY is a module's own program (made with `rama::main!`); it is run as `BINARY dev …`. Without it
and without --example, in a directory with a Cargo.toml, the project there is built and run.
Data survives Ctrl-C and kill -9. The next free port is taken when 8888 is not free.

Examples:
  rama dev --example bank
  rama dev ./target/release/my_module --port 9000
  cd my_project && rama dev"
);

/// `rama dev`
#[derive(Args, Debug)]
pub struct Dev {
    /// A module's program.
    #[arg(conflicts_with = "example")]
    pub binary: Option<PathBuf>,
    /// A module that is built into this command.
    #[arg(long, value_enum, value_name = "NAME")]
    pub example: Option<Example>,
    /// The server's own flags.
    #[command(flatten)]
    pub server: dev::Args,
}

/// Modules that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Example {
    /// Counts words, by stream and exactly by microbatch.
    #[value(alias = "word_count")]
    WordCount,
    /// Exactly-once transfers between accounts.
    Bank,
    /// Registration without races, unique ids, edits.
    Profiles,
    /// Windowed statistics with range reads.
    #[value(alias = "time_series")]
    TimeSeries,
}

const DEV_METASTORE: &str = works!(
    "\
One member on loopback, without replicas, password or backup. History is compacted after an hour.
Without --data-dir the data goes to ./.rama/metastore. Ctrl-C stops it; the data stays.

Examples:
  rama dev-metastore
  rama dev-metastore --data-dir /var/tmp/etcd --port 12379 --peer-port 12380
  sudo rama dev-metastore --install"
);

/// `rama dev-metastore`
#[derive(Args, Debug)]
pub struct DevMetastore {
    /// Where its data is.
    #[arg(long, value_name = "DIR", default_value = "./.rama/metastore")]
    pub data_dir: PathBuf,
    /// Where clients connect.
    #[arg(long, value_name = "PORT", default_value_t = 2379)]
    pub port: u16,
    /// Where other members would connect.
    #[arg(long, value_name = "PORT", default_value_t = 2380)]
    pub peer_port: u16,
    /// Install etcd where it is missing (Debian, as root).
    #[arg(long)]
    pub install: bool,
}

const NEW: &str = works!(
    "\
The project depends on the crate `rama` by path: this command's own checkout, or the one named with
--rama. With it comes that checkout's Cargo.lock, so that `cargo test` needs no network.

Examples:
  rama new clicks
  rama new shop --template bank
  rama new clicks --rama ~/src/rama && cd clicks && cargo test"
);

/// `rama new`
#[derive(Args, Debug)]
pub struct New {
    /// Name of the project and its directory.
    pub name: String,
    /// What to start from.
    #[arg(long, value_enum, default_value_t)]
    pub template: Template,
    /// The checkout of Rama to depend on.
    #[arg(long, value_name = "DIR")]
    pub rama: Option<PathBuf>,
}

/// Projects to start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// A depot, a stream topology, a PState.
    #[default]
    Counter,
    /// Transfers between accounts by microbatch.
    Bank,
}

const DOCTOR: &str = works!(
    "\
Each check that fails prints what to do. Exit code 1 when a needed one fails.

Examples:
  rama doctor
  rama doctor --dir /var/lib/rama
  rama doctor --output json"
);

/// `rama doctor`
#[derive(Args, Debug)]
pub struct Doctor {
    /// Where data will be kept.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
}

const INSPECT: &str = works!(
    "\
Every checksum of every segment and table is compared. Works without a server, on any directory with
data of task groups below it; of one in use, inspect a copy, in which the end of the newest segment
may be torn. States: sealed, open, empty, torn (the end of a last write that nobody was told is
durable), whole, leftover (a file that nothing names), damaged. Exit code 1 when something is damaged.

Examples:
  rama inspect .rama
  rama inspect /var/lib/rama --output json"
);

/// `rama inspect`
#[derive(Args, Debug)]
pub struct Inspect {
    /// A data directory, or any directory in it.
    pub path: PathBuf,
}

const CONF_VALUE: &str = works!(
    "\
Examples:
  rama conf-value conductor.host
  rama confValue http.port --origin
  rama confValue http.port --config deploy/rama.toml --output json"
);

/// `rama conf-value`
#[derive(Args, Debug)]
pub struct ConfValue {
    /// The setting: SECTION.KEY.
    pub name: String,
    /// Say where the value comes from.
    #[arg(long)]
    pub origin: bool,
    /// Settings from this file; otherwise from RAMA_CONFIG, ./rama.toml or one in a directory above.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const CONFIG: &str = works!(
    "\
Precedence: defaults, then a file (--config, RAMA_CONFIG, ./rama.toml or one above), then
RAMA_<SECTION>__<KEY>, then flags. A server does not look above.

Examples:
  rama config show
  RAMA_HTTP__PORT=9000 rama config show
  rama config check deploy/rama.toml"
);

/// `rama config`
#[derive(Subcommand, Debug)]
pub enum Config {
    /// Print every setting in force with its origin.
    #[command(after_help = CONFIG)]
    Show {
        /// This file instead of ./rama.toml.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check a file.
    #[command(after_help = CONFIG)]
    Check {
        /// The file.
        file: PathBuf,
    },
}

const COMPLETIONS: &str = works!(
    "\
Examples:
  rama completions bash > ~/.local/share/bash-completion/completions/rama
  rama completions zsh > ~/.zfunc/_rama
  rama completions fish > ~/.config/fish/completions/rama.fish"
);

const MAN: &str = works!(
    "\
Examples:
  rama man | man -l -
  rama man ~/.local/share/man/man1"
);
