//! The development server: one command, one directory, one embedded cluster, HTTP beside it.
//!
//! Relies on `config` and on `hosting`, which is the cluster with its server. What must stay true: two
//! servers never share a directory (the cluster's lock dies with its process, so that `kill -9`
//! leaves nothing to clean up); a Ctrl-C ends with every acknowledged record on disk and exit
//! code 0.

mod banner;
mod hosting;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io::{self, Write, stdout};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use toml::Value;

use rama_runtime::Module;

pub use hosting::Hosting;

use crate::config::{self, Config, Layers, Origin};
use crate::logging;

/// Name of the file in the data directory that holds the server's address.
pub const ADDRESS_FILE: &str = "http";

/// Flags of a server.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Where data is kept [default: ./.rama].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// First port to try [default: 8888].
    #[arg(long)]
    pub port: Option<u16>,
    /// Address to listen on [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    pub host: Option<IpAddr>,
    /// Task threads; 0 is one per core [default: 0].
    #[arg(long)]
    pub threads: Option<u32>,
    /// Tasks of a new module, a power of two; 0 fits the threads [default: 0].
    #[arg(long)]
    pub tasks: Option<u32>,
    /// Settings from this file instead of ./rama.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Args {
    /// The settings in force: defaults, file, environment, these flags.
    pub fn settings(&self) -> Result<Config, config::Error> {
        let mut layers = Layers::load(self.config.as_deref(), std::env::vars())?;
        let text = |value: String| Value::String(value);
        let number = |value: u32| Value::Integer(i64::from(value));
        let flags = [
            (
                "cluster.data_dir",
                self.data_dir
                    .as_ref()
                    .map(|dir| text(dir.display().to_string())),
            ),
            ("cluster.threads", self.threads.map(number)),
            ("cluster.tasks", self.tasks.map(number)),
            ("http.host", self.host.map(|host| text(host.to_string()))),
            ("http.port", self.port.map(|port| number(u32::from(port)))),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                layers.set(key, value, Origin::Flag)?;
            }
        }
        layers.config()
    }
}

/// Why a server did not start or end well.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// Exit code, as the `rama` command documents them.
    pub exit: u8,
    /// What was attempted on what, and why it failed.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure {
            exit: 1,
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Failure {
        Failure {
            exit: 2,
            ..Failure::new(error.what, error.hint)
        }
    }
}

/// Runs a module as a server until Ctrl-C or SIGTERM; what went wrong is told on stderr.
pub fn run(module: Box<dyn Module>, args: &Args) -> ExitCode {
    match try_run(module, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}\nhint:  {}", failure.what, failure.hint);
            ExitCode::from(failure.exit)
        }
    }
}

fn try_run(module: Box<dyn Module>, args: &Args) -> Result<(), Failure> {
    let config = args.settings()?;
    logging::start(&config.log)?;
    runtime(config.http.threads)?.block_on(async {
        let stopped = interrupted()?;
        let hosting = Hosting::start(config, module).await?;
        let dir = hosting.dir().to_owned();
        let text = banner::text(hosting.cluster(), hosting.url(), &dir, hosting.took());
        let _ = writeln!(stdout(), "{text}");
        stopped.await;
        tracing::info!("stopping");
        hosting.close().await?;
        // Whoever started the server may have closed its output: that must not spoil a clean end.
        let _ = writeln!(stdout(), "Stopped. Data kept in {}", dir.display());
        Ok(())
    })
}

/// The runtime that HTTP is served on. One thread is the default: on few cores a second one only
/// takes turns with the task threads (figures in bench/RESULTS.md).
pub fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().map_err(|cause| {
        let what = format!("could not start {threads} threads for HTTP: {cause}");
        Failure::new(what, "see `ulimit -u` and `ulimit -n`")
    })
}

/// Completes at the first SIGINT or SIGTERM. The handlers are in place when this returns.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |cause: io::Error| {
        Failure::new(
            format!("could not handle signals: {cause}"),
            "see `ulimit -n`",
        )
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
