//! Everything that can be typed after `rama`, with its help.
//!
//! Relies on clap's derive. Verbs are kebab-case; where Rama has a camelCase verb it is accepted
//! too. What must stay true: each `--help` ends with examples that work as printed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
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

A server is found by --url, then RAMA_URL, then the file .rama/http in this directory or one above
it, which a running `rama dev` writes.";

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

// Below the macros that it uses.
pub mod certs;

const GLOBAL: &str = "Options of every command";
const SERVER: &str = "The server";

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

/// Which server a command asks, and for how long.
#[derive(Args, Clone, Debug)]
pub struct Server {
    /// Address of the server, such as http://127.0.0.1:8888 [env: RAMA_URL].
    #[arg(long, env = "RAMA_URL", hide_env = true, value_name = "URL")]
    #[arg(help_heading = SERVER, display_order = 800)]
    pub url: Option<String>,
    /// Give up after this long, such as 500ms, 10s or 2m, with exit code 7; what was sent by then
    /// may have happened [default: no limit for the command, 65s for each answer].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    #[arg(help_heading = SERVER, display_order = 801)]
    pub timeout: Option<Duration>,
}

/// `500ms`, `10s`, `2m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return Err("write a number with ms, s or m".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number with ms, s or m")?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "it is not a time that can pass".to_owned())
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
    #[command(after_help = APPEND)]
    Append(Append),
    /// Read a path of a PState.
    #[command(after_help = SELECT)]
    Select(Select),
    /// Print the value at a path of a PState, again after each change.
    #[command(after_help = WATCH)]
    Watch(Watch),
    /// Show modules, depots and topologies with their progress.
    #[command(after_help = STATUS, alias = "moduleStatus", alias = "module-status")]
    Status(Status),
    /// List, replay or drop records that a topology gave up on.
    #[command(after_help = DEAD_LETTERS, alias = "deadLetters", subcommand_required = true)]
    DeadLetters {
        /// Which of them.
        #[command(subcommand)]
        command: DeadLetters,
    },
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

const APPEND: &str = asks!(
    "\
JSON is one record; `-` reads records from stdin, one JSON value a line. Strings need their quotes:
'\"text\"'. The depot's * may be left out.

Examples:
  rama append WordCount/lines '\"hello world\"'
  rama append Bank/deposits '{\"user\": 1, \"cents\": 500}' --ack append-ack
  jq -c .[] records.json | rama append Bank/transfers - --batch 500"
);

/// `rama append`
#[derive(Args, Debug)]
pub struct Append {
    /// Where to: MODULE/DEPOT.
    #[arg(value_name = "MODULE/DEPOT")]
    pub depot: String,
    /// The record, or `-`.
    #[arg(value_name = "JSON")]
    pub data: String,
    /// What must have happened before the answer.
    #[arg(long, value_enum, default_value_t)]
    pub ack: Ack,
    /// With `-`: send so many lines at once; each is answered, in order.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub batch: u16,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

/// Ack levels (spec D-15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(clippy::enum_variant_names, reason = "the names are Rama's")]
pub enum Ack {
    /// Durable, and processed by every stream topology of the module.
    #[default]
    Ack,
    /// Durable.
    #[value(alias = "appendAck", alias = "append_ack")]
    AppendAck,
    /// Handed over.
    None,
}

const SELECT: &str = asks!(
    "\
PATH is a JSON list of keys and navigators: [\"key\"], [\"key\", [\"all\"]],
[\"key\", [\"sortedMapRange\", 1, 9]]. The PState's $$ may be left out.

Examples:
  rama select WordCount/counts '[\"hello\"]' --one
  rama select Bank/funds '[1]' --one --output json
  rama select Bank/outgoing '[1, [\"all\"]]' --output jsonl
  rama select Bank/funds '[1]' --one --timeout 500ms"
);

/// `rama select`
#[derive(Args, Debug)]
pub struct Select {
    /// Where from: MODULE/PSTATE.
    #[arg(value_name = "MODULE/PSTATE")]
    pub pstate: String,
    /// The path.
    #[arg(value_name = "PATH")]
    pub path: String,
    /// Exactly one result, printed bare; anything else is refused.
    #[arg(long)]
    pub one: bool,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

const WATCH: &str = asks!(
    "\
The path must have one result. The current value comes first; a slow reader skips values, never the
newest one. A server that goes away is waited for, with growing pauses; when it is back, stderr says
so and the current value is printed if it is another one.

Examples:
  rama watch WordCount/counts '[\"hello\"]'
  rama watch Bank/funds '[1]' --count 3 --output jsonl
  rama watch Bank/funds '[1]' --count 1 --no-reconnect --timeout 5s"
);

/// `rama watch`
#[derive(Args, Debug)]
pub struct Watch {
    /// Where: MODULE/PSTATE.
    #[arg(value_name = "MODULE/PSTATE")]
    pub pstate: String,
    /// The path.
    #[arg(value_name = "PATH")]
    pub path: String,
    /// End after so many values.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End with exit code 5 when the server goes away, instead of waiting for it to come back.
    #[arg(long)]
    pub no_reconnect: bool,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

const STATUS: &str = asks!(
    "\
Examples:
  rama status
  rama status Bank
  rama status --output json"
);

/// `rama status`
#[derive(Args, Debug)]
pub struct Status {
    /// Only this module.
    pub module: Option<String>,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

const DEAD_LETTERS: &str = asks!(
    "\
Examples:
  rama dead-letters list Bank
  rama dead-letters replay Bank 0-7 1-3
  rama dead-letters drop Bank --all --yes"
);

/// `rama dead-letters`
#[derive(Subcommand, Debug)]
pub enum DeadLetters {
    /// Show them.
    #[command(after_help = DEAD_LETTERS)]
    List {
        /// The module.
        module: String,
        /// Which server.
        #[command(flatten)]
        server: Server,
    },
    /// Give them to their topology again.
    #[command(after_help = DEAD_LETTERS)]
    Replay(Letters),
    /// Forget them; asks first.
    #[command(after_help = DEAD_LETTERS)]
    Drop {
        /// Which.
        #[command(flatten)]
        letters: Letters,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which dead letters.
#[derive(Args, Debug)]
pub struct Letters {
    /// The module.
    pub module: String,
    /// Ids as `list` prints them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
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

const CONFIG: &str = works!(
    "\
Precedence: defaults, then ./rama.toml or --config FILE, then RAMA_<SECTION>__<KEY>, then flags.

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
