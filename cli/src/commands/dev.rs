//! `rama dev`: a module as a server, whoever holds its code.
//!
//! Relies on `rama_gateway::dev` for built-in examples. A module's own program is not loaded but
//! becomes this process, so that signals, output and exit code are its own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rama_gateway::dev;

use super::program;
use crate::args::{Dev, Example};
use crate::error::{Exit, Failure, Result};

pub fn run(args: &Dev) -> Result<ExitCode> {
    if let Some(example) = args.example {
        return Ok(match example {
            Example::WordCount => dev::run(Box::new(word_count::WordCount), &args.server),
            Example::Bank => dev::run(Box::new(bank::Bank), &args.server),
            Example::Profiles => dev::run(Box::new(profiles::Profiles), &args.server),
            Example::TimeSeries => dev::run(Box::new(time_series::TimeSeries), &args.server),
        });
    }
    let mut command = match &args.binary {
        Some(binary) => Command::new(program(binary)),
        None if Path::new("Cargo.toml").exists() => {
            let mut cargo = Command::new("cargo");
            cargo.args(["run", "--release", "--quiet", "--"]);
            cargo
        }
        None => {
            return Err(Failure::new(
                Exit::Usage,
                "which module? There is no Cargo.toml here",
                "try `rama dev --example bank`, or `rama new my_project`",
            ));
        }
    };
    let failed = command.arg("dev").args(flags(&args.server)).exec();
    let text = format!(
        "could not run {}: {failed}",
        command.get_program().display()
    );
    let exit = if failed.kind() == std::io::ErrorKind::NotFound {
        Exit::NotFound
    } else {
        Exit::Failed
    };
    Err(Failure::new(
        exit,
        text,
        "give the path of a module's program",
    ))
}

/// The server's flags again, for the module's own program.
fn flags(args: &dev::Args) -> Vec<OsString> {
    let dev::Args {
        data_dir,
        port,
        host,
        threads,
        tasks,
        config,
    } = args;
    let given = [
        (
            "--data-dir",
            data_dir.as_ref().map(|dir| dir.clone().into_os_string()),
        ),
        ("--port", port.map(|port| port.to_string().into())),
        ("--host", host.map(|host| host.to_string().into())),
        (
            "--threads",
            threads.map(|threads| threads.to_string().into()),
        ),
        ("--tasks", tasks.map(|tasks| tasks.to_string().into())),
        (
            "--config",
            config.as_ref().map(|file| file.clone().into_os_string()),
        ),
    ];
    let given = given
        .into_iter()
        .filter_map(|(flag, value)| Some([flag.into(), value?]));
    given.flatten().collect()
}
