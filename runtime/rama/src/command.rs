//! The program that [`main!`](crate::main) makes of a module.
//!
//! Relies on `rama_gateway` for `dev` and for settings, and on `InProcessCluster` for `worker`. What
//! must stay true: results go to stdout and everything else to stderr; the exit codes are those that
//! `--help` lists, the same as of the `rama` command; a signal ends a server with every acknowledged
//! record on disk and exit code 0.

mod worker;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rama_gateway::dev;

use crate::{Definition, DefinitionError, Module};

/// The definition of the module has mistakes, or something else did not work.
const FAILED: u8 = 1;

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked; a server was ended by Ctrl-C or SIGTERM
  1  it did not work; the definition of the module has mistakes
  2  the command line or a setting makes no sense
  4  a safety check forbids it: the directory is in use, or its data has another shape";

/// A module's own program.
#[derive(Parser)]
#[command(arg_required_else_help = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the manifest as JSON: objects, schemas, topology graphs, versions.
    Describe,
    /// Run the module on this machine, with HTTP beside it, until Ctrl-C or SIGTERM.
    #[command(after_help = EXIT_CODES)]
    Dev(dev::Args),
    /// Run the module's task threads over a directory, without HTTP, until Ctrl-C or SIGTERM.
    ///
    /// Prints one line on stdout when the module is ready and one when it has stopped.
    #[command(after_help = EXIT_CODES)]
    Worker(worker::Args),
}

/// Runs the command line of the process.
pub fn main(module: impl Module) -> ExitCode {
    // Of one type, so that the servers behind are compiled once here and not in every module.
    let module: Box<dyn Module> = Box::new(module);
    run(module, std::env::args_os().collect())
}

fn run(module: Box<dyn Module>, arguments: Vec<OsString>) -> ExitCode {
    let command = Arguments::command()
        .about(format!("The module {}, as a program.", module.name()))
        .version(env!("CARGO_PKG_VERSION"));
    let parsed = command
        .try_get_matches_from(arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to tell anyone when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match arguments.command {
        Command::Describe => describe(&*module),
        Command::Dev(args) => dev::run(module, &args),
        Command::Worker(args) => worker::run(module, &args),
    }
}

fn describe(module: &dyn Module) -> ExitCode {
    match Definition::of(module) {
        Ok(definition) => {
            let mut manifest = definition.manifest();
            // Whether the program can work for a cluster: `rama deploy` asks.
            manifest["cluster"] = cfg!(feature = "etcd").into();
            println!("{manifest:#}");
            ExitCode::SUCCESS
        }
        Err(error) => mistakes(&error),
    }
}

fn mistakes(error: &DefinitionError) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(FAILED)
}

#[cfg(test)]
mod tests;
