//! Where log lines go and how they look.
//!
//! Relies on `tracing-subscriber`. Lines go to stderr: compact on a terminal, JSON otherwise. What
//! must stay true: no record's data is ever logged, and starting twice in one process is harmless.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Error, Log, LogFormat};

/// Starts logging for the process.
pub fn start(log: &Log) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|cause| Error {
        what: format!("could not use {} for log.filter: {cause}", log.filter),
        hint: "use something like \"info\" or \"info,rama_runtime=debug\"".to_owned(),
    })?;
    let terminal = stderr().is_terminal();
    let compact = match log.format {
        LogFormat::Compact => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    // An error means that a test or an embedding program has already started its own.
    let _ = if compact {
        let colored = terminal && std::env::var_os("NO_COLOR").is_none();
        builder.compact().with_ansi(colored).try_init()
    } else {
        builder.json().try_init()
    };
    Ok(())
}
