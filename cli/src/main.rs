//! The `rama` command: reads the command line, runs one command, ends with a documented code.
//!
//! Relies on `rama-gateway` for everything a server is, and speaks HTTP to a running one, or QUIC to a
//! cluster. Read `args` (what can be typed), `client` (how a server is found and asked), `output` (how
//! answers look), then `commands`. What must stay true: results go to stdout and everything else to stderr;
//! every failure has a hint and one of the codes of `error::Exit`.

mod args;
mod client;
mod commands;
mod error;
mod output;
mod progress;

use std::process::ExitCode;

use clap::FromArgMatches;

fn main() -> ExitCode {
    let matches = args::command().get_matches();
    let args = args::Rama::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let format = args.output;
    match commands::run(args) {
        Ok(code) => code,
        Err(failure) => {
            failure.print(format);
            failure.exit.into()
        }
    }
}
