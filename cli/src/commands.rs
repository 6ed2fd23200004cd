//! One file per verb; this one decides which.
//!
//! Relies on `args`. What must stay true: a command that speaks to a server holds no state, so that
//! it can be interrupted at any time.

mod append;
mod artifacts;
mod certs;
mod conf_value;
mod config;
mod daemon;
mod dead_letters;
mod deploy;
mod destroy;
mod dev;
mod dev_metastore;
mod doctor;
mod inspect;
mod instance;
mod invoke;
mod license;
mod logs;
mod module_log;
mod module_status;
mod modules;
mod new;
mod operation;
mod operations;
mod options;
mod paper;
mod quickstart;
mod run;
mod select;
mod status;
mod supervisors;
mod tokens;
mod topology;
mod watch;

use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rama_api::paths;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::cluster::OfCluster;
use crate::args::{Command, Format, Rama};
use crate::client::{Client, segment};
use crate::error::{Exit, Failure, Result};

/// Runs one command.
pub fn run(args: Rama) -> Result<ExitCode> {
    let Rama { output, command } = args;
    match command {
        Command::Append(args) => append::run(&Client::new(&args.server)?, output, &args)?,
        Command::Invoke(args) => invoke::run(&Client::new(&args.server)?, output, &args)?,
        Command::Select(args) => select::run(&Client::new(&args.server)?, output, &args)?,
        Command::Watch(args) => watch::run(output, &args)?,
        Command::Status(args) => status::run(&Client::new(&args.server)?, output, &args)?,
        Command::DeadLetters { command } => dead_letters::run(output, &command)?,
        Command::Config { command } => config::run(output, &command)?,
        Command::Certs { command } => certs::run(output, &command)?,
        Command::Tokens { command } => tokens::run(output, &command)?,
        Command::Artifacts { command } => artifacts::run(output, &command)?,
        Command::ConfValue(args) => conf_value::run(output, &args)?,
        Command::Completions { shell } => paper::completions(shell)?,
        Command::Man { dir } => paper::manual(dir.as_deref())?,
        Command::New(args) => new::run(output, &args)?,
        Command::Doctor(args) => doctor::run(output, &args)?,
        Command::Inspect(args) => inspect::run(output, &args)?,
        Command::Quickstart(args) => quickstart::run(output, &args)?,
        Command::DevMetastore(args) => dev_metastore::run(output, &args)?,
        Command::Dev(args) => return dev::run(&args),
        Command::Run(args) => run::run(&args)?,
        Command::UpsertLicense(_) | Command::CleanupLicenses | Command::LicenseInfo => {
            license::run(output)?;
        }
        Command::OfCluster(command) => run_on_cluster(output, command)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that only a cluster understands.
fn run_on_cluster(output: Format, command: OfCluster) -> Result<()> {
    let at = Client::new;
    match command {
        OfCluster::Conductor(args) => daemon::conductor(&args),
        OfCluster::Supervisor(args) => daemon::supervisor(&args),
        OfCluster::Deploy(args) => deploy::run(output, &args),
        OfCluster::Destroy(args) => destroy::run(output, &args),
        OfCluster::ModuleStatus(args) => module_status::run(&at(&args.server)?, output, &args),
        OfCluster::ModuleInstanceStatus(args) => {
            instance::status(&at(&args.server)?, output, &args)
        }
        OfCluster::TaskGroupsStatus(args) => {
            instance::task_groups(&at(&args.server)?, output, &args)
        }
        OfCluster::Modules(args) => modules::run(&at(&args.server)?, output),
        OfCluster::Supervisors(args) => supervisors::run(&at(&args.server)?, output),
        OfCluster::Operations(args) => operations::run(&at(&args.server)?, output, &args),
        OfCluster::PauseTopology(args) => topology::run(&at(&args.server)?, output, &args, true),
        OfCluster::ResumeTopology(args) => topology::run(&at(&args.server)?, output, &args, false),
        OfCluster::SetOption(args) => options::set(&at(&args.server)?, output, &args),
        OfCluster::UnsetOption(args) => options::unset(&at(&args.server)?, output, &args),
        OfCluster::ListOptions(args) => match &args.module {
            Some(module) => options::list(&at(&args.server)?, output, module, args.set),
            None => options::declared(output),
        },
        OfCluster::ModuleLog(args) => module_log::run(&at(&args.server)?, output, &args),
        OfCluster::Logs(args) => logs::run(&at(&args.server)?, output, &args),
    }
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

/// Asks a conductor; says so when what answers is none.
fn ask_cluster<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    client
        .get(path)
        .map_err(|failure| no_conductor(client, failure))
}

/// What is not found by a server that is no conductor was asked of the wrong one.
fn no_conductor(client: &Client, failure: Failure) -> Failure {
    if failure.exit != Exit::NotFound || client.has(paths::CLUSTER).unwrap_or(true) {
        return failure;
    }
    Failure::new(
        Exit::Unreachable,
        format!("what answers at {} is no conductor", client.place()),
        "name one with --url, or as conductor.host in rama.toml",
    )
}

/// Asks for the name of what is about to be gone: `--yes NAME`, or typed on a terminal.
fn confirm(name: &str, yes: Option<&str>, consequence: &str) -> Result<()> {
    let typed = match yes {
        Some(typed) => typed.to_owned(),
        None if stdin().is_terminal() => {
            eprint!("{consequence} Type {name} to go on: ");
            // Without a prompt the question is still there for who types.
            let _ = stderr().flush();
            let mut line = String::new();
            // What cannot be read is no yes.
            let _ = stdin().read_line(&mut line);
            line.trim().to_owned()
        }
        None => {
            return Err(Failure::new(
                Exit::Refused,
                format!("{consequence} It wants a yes, and stdin is not a terminal"),
                format!("add --yes {name}"),
            ));
        }
    };
    if typed == name {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        format!("nothing was done: {typed} is not {name}"),
        format!("write the name of the module: --yes {name}"),
    ))
}

/// A bare name is a file here, not something on the PATH.
fn program(binary: &Path) -> PathBuf {
    if binary.components().count() == 1 {
        Path::new(".").join(binary)
    } else {
        binary.into()
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
