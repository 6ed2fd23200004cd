//! One file per verb; this one decides which.
//!
//! Relies on `args`. What must stay true: a command that speaks to a server holds no state, so that
//! it can be interrupted at any time.

mod append;
mod certs;
mod config;
mod dead_letters;
mod dev;
mod dev_metastore;
mod doctor;
mod inspect;
mod new;
mod paper;
mod quickstart;
mod select;
mod status;
mod watch;

use std::process::ExitCode;

use serde_json::Value;

use crate::args::{Command, Rama};
use crate::client::{Client, segment};
use crate::error::{Exit, Failure, Result};

/// Runs one command.
pub fn run(args: Rama) -> Result<ExitCode> {
    let Rama { output, command } = args;
    match command {
        Command::Append(args) => append::run(&Client::new(&args.server), output, &args)?,
        Command::Select(args) => select::run(&Client::new(&args.server), output, &args)?,
        Command::Watch(args) => watch::run(output, &args)?,
        Command::Status(args) => status::run(&Client::new(&args.server), output, &args)?,
        Command::DeadLetters { command } => dead_letters::run(output, &command)?,
        Command::Config { command } => config::run(output, &command)?,
        Command::Certs { command } => certs::run(output, &command)?,
        Command::Completions { shell } => paper::completions(shell)?,
        Command::Man { dir } => paper::manual(dir.as_deref())?,
        Command::New(args) => new::run(output, &args)?,
        Command::Doctor(args) => doctor::run(output, &args)?,
        Command::Inspect(args) => inspect::run(output, &args)?,
        Command::Quickstart(args) => quickstart::run(output, &args)?,
        Command::DevMetastore(args) => dev_metastore::run(output, &args)?,
        Command::Dev(args) => return dev::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}

/// `MODULE/OBJECT` as the beginning of a path. Module names may hold a `/`; object names do not.
fn object_path(target: &str, kind: &str) -> Result<String> {
    match target.rsplit_once('/') {
        Some((module, object)) if !module.is_empty() && !object.is_empty() => Ok(format!(
            "/rest/{}/{kind}/{}",
            segment(module),
            segment(object)
        )),
        _ => Err(Failure::new(
            Exit::Usage,
            format!("{target} does not name a {kind}"),
            format!(
                "write MODULE/{}; `rama status` lists the modules",
                kind.to_uppercase()
            ),
        )),
    }
}

/// JSON of the command line.
fn parse_json(text: &str, what: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|cause| {
        let hint = if text.starts_with(['[', '{', '"']) {
            "quote it for the shell with '…'".to_owned()
        } else {
            format!("strings need quotes of their own: '\"{text}\"'")
        };
        Failure::new(
            Exit::Usage,
            format!("could not read the {what} {text}: {cause}"),
            hint,
        )
    })
}
