//! The program that [`main!`](crate::main) makes of a module.
//!
//! Relies on the gateway for `dev`. What must stay true: results go to stdout and everything else to
//! stderr; the exit codes are those that `--help` lists, the same as of the `rama` command.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use rama_gateway::dev;

use crate::{Definition, DefinitionError, Module};

/// A definition has mistakes, or something else did not work.
const FAILED: u8 = 1;

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  it did not work; the definition of the module has mistakes
  2  the command line or a setting makes no sense
  4  another server uses the data directory, or the data is of another shape of the module";

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
    /// Run the module as a server with its data in ./.rama, HTTP beside it.
    Dev(dev::Args),
}

/// Runs the command line of the process.
pub fn main(module: impl Module) -> ExitCode {
    run(module, std::env::args_os())
}

fn run(module: impl Module, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
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
        Command::Describe => describe(&module),
        Command::Dev(arguments) => dev::run(module, &arguments),
    }
}

fn describe(module: &dyn Module) -> ExitCode {
    match Definition::of(module) {
        Ok(definition) => {
            println!("{:#}", definition.manifest());
            ExitCode::SUCCESS
        }
        Err(error) => mistakes(&error),
    }
}

fn mistakes(error: &DefinitionError) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(FAILED)
}
