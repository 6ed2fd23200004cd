//! What can be typed to write and read data.
//!
//! Relies on clap's derive. What must stay true: the same words work on a development server and
//! on a cluster.

use clap::{Args, Subcommand, ValueEnum};

use super::Server;

pub const APPEND: &str = asks!(
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

pub const SELECT: &str = asks!(
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

pub const INVOKE: &str = asks!(
    "\
ARGS is JSON: one argument is bare, several are a list, none is left out.

Examples:
  rama invoke Social/reach '[1, 2, 3]'
  rama invoke TimeSeries/window-stats '[\"example.com\", 0, 60]' --output json
  rama invoke Social/size"
);

/// `rama invoke`
#[derive(Args, Debug)]
pub struct Invoke {
    /// Which query: MODULE/QUERY.
    #[arg(value_name = "MODULE/QUERY")]
    pub query: String,
    /// The arguments.
    #[arg(value_name = "ARGS", default_value = "null")]
    pub args: String,
    /// Which server.
    #[command(flatten)]
    pub server: Server,
}

pub const WATCH: &str = asks!(
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

pub const STATUS: &str = asks!(
    "\
Of a cluster: its conductor, supervisors and modules. Of a development server: its modules.

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

pub const DEAD_LETTERS: &str = asks!(
    "\
Examples:
  rama dead-letters list Bank
  rama dead-letters replay Bank 0-3-0-7 1-3-1-12
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
