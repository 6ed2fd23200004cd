//! `rama run`: a program of the user's, told which cluster is meant.
//!
//! Relies on `RAMA_CONFIG`, from which programs take their settings. The program becomes this
//! process, so that signals, output and exit code are its own.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rama_gateway::config::FILE_VARIABLE;

use super::program;
use crate::args::Run;
use crate::client::{settings, settings_file};
use crate::error::{Exit, Failure, Result};

pub fn run(args: &Run) -> Result<()> {
    let mut command = Command::new(program(&args.binary));
    command.args(&args.args);
    if let Some(file) = settings_file(args.config.as_deref()) {
        // A mistake in it is told here, and not by every program in its own way.
        settings(Some(&file))?;
        // The program may go elsewhere.
        let file = std::path::absolute(&file).unwrap_or(file);
        command.env(FILE_VARIABLE, file);
    }
    let failed = command.exec();
    let exit = match failed.kind() {
        std::io::ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::Failed,
    };
    let text = format!("could not run {}: {failed}", args.binary.display());
    Err(Failure::new(exit, text, "give the path of a program"))
}
