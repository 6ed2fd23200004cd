//! What can be typed after `rama tokens`.
//!
//! Relies on clap's derive. What must stay true: scopes and times are checked while they are read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use rama_api::Scope;

pub const TOKENS: &str = works!(
    "\
A token lets its holder ask over HTTP what its scopes say: read (select, watch, schemas), append,
status (what runs where), operate (deploy, destroy, options, logs, dead letters, and status),
metrics. The file of tokens is that of --file, or security.tokens of rama.toml; it holds hashes and
belongs to the user of the daemons, on each machine that has one. Running daemons read a changed
file within a second. Where a file is named, nobody is answered over HTTP without a token, health
aside. Without certificates that is all it guards: processes of the same machine may speak QUIC.

Examples:
  rama tokens create --name shop --scope append --scope read --module Bank --file tokens.toml
  rama tokens create --name prometheus --scope metrics --expires 365d
  rama tokens list --output json
  rama tokens revoke shop"
);

const CREATE: &str = works!(
    "\
The token is printed once and kept nowhere. Where results are columns nothing else is on stdout.

Examples:
  rama tokens create --name ci --scope operate --expires 90d > ci.token
  rama tokens create --name shop --scope append --module Bank --output json"
);

const LIST: &str = works!(
    "\
Examples:
  rama tokens list
  rama tokens list --file /etc/rama/tokens.toml --output jsonl"
);

const REVOKE: &str = works!(
    "\
Examples:
  rama tokens revoke shop
  rama tokens revoke ci --file /etc/rama/tokens.toml --output json"
);

/// `rama tokens`
#[derive(Subcommand, Debug)]
pub enum Tokens {
    /// Make a token.
    #[command(after_help = CREATE)]
    Create(Create),
    /// Show the tokens, without their secrets.
    #[command(after_help = LIST)]
    List(File),
    /// Take a token back.
    #[command(after_help = REVOKE)]
    Revoke {
        /// Its name.
        name: String,
        /// Where.
        #[command(flatten)]
        file: File,
    },
}

/// `rama tokens create`
#[derive(Args, Debug)]
pub struct Create {
    /// Its name, for lists and logs.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// What it is good for: read, append, status, operate or metrics; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<Scope>,
    /// The only module that it is good for.
    #[arg(long, value_name = "MODULE")]
    pub module: Option<String>,
    /// For how long, such as 12h or 90d [default: until it is revoked].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub expires: Option<Duration>,
    /// Where.
    #[command(flatten)]
    pub file: File,
}

/// Where tokens are kept.
#[derive(Args, Debug)]
pub struct File {
    /// The file of tokens; otherwise security.tokens of the settings.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Settings from this file; otherwise from RAMA_CONFIG, ./rama.toml or one in a directory above.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `30m`, `12h`, `90d`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "write a whole number with m, h or d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}
