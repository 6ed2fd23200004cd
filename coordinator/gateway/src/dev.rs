//! The development server: one command, one directory, one embedded cluster, HTTP beside it.
//!
//! Relies on `config`, `server` and on the cluster that `embedded` starts. What must stay true: two
//! servers never share a directory (an advisory lock that the kernel drops with the process, so
//! that `kill -9` leaves nothing to clean up); the address file names a server that is ready; a
//! Ctrl-C ends with every acknowledged record on disk and exit code 0.

mod banner;
mod directory;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use toml::Value;

pub use directory::{ADDRESS_FILE, Directory};

use crate::backend::Backend;
use crate::config::{self, Config, Layers, Origin};
use crate::logging;
use crate::server::{Server, bind};

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

    fn refused(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure {
            exit: 4,
            ..Failure::new(what, hint)
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

/// A running cluster and how to end it.
pub struct Hosted {
    /// What HTTP asks.
    pub backend: Arc<dyn Backend>,
    /// Ends it with every acknowledged record on disk.
    pub close: Close,
}

/// Ends a cluster.
pub type Close = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<(), Failure>>>>>;

/// Runs a server until Ctrl-C or SIGTERM, and reports how it went on stderr.
pub fn serve<S, F>(args: &Args, start: S) -> ExitCode
where
    S: FnOnce(Config) -> F,
    F: Future<Output = Result<Hosted, Failure>>,
{
    match try_serve(args, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}\nhint:  {}", failure.what, failure.hint);
            ExitCode::from(failure.exit)
        }
    }
}

fn try_serve<S, F>(args: &Args, start: S) -> Result<(), Failure>
where
    S: FnOnce(Config) -> F,
    F: Future<Output = Result<Hosted, Failure>>,
{
    let config = args.settings()?;
    logging::start(&config.log)?;
    let directory = Directory::lock(&config.cluster.data_dir)?;
    runtime(config.http.threads)?.block_on(async {
        let stopped = interrupted()?;
        let (server, close) = open(&config, &directory, start).await?;
        stopped.await;
        tracing::info!("stopping");
        directory.withdraw();
        server.stop().await;
        close().await?;
        println!("Stopped. Data kept in {}", directory.path().display());
        Ok(())
    })
}

async fn open<S, F>(
    config: &Config,
    directory: &Directory,
    start: S,
) -> Result<(Server, Close), Failure>
where
    S: FnOnce(Config) -> F,
    F: Future<Output = Result<Hosted, Failure>>,
{
    let began = Instant::now();
    let Hosted { backend, close } = start(config.clone()).await?;
    let (host, port) = (config.http.host, config.http.port);
    let listening = bind(host, port, config.http.port_tries).await;
    let server = listening
        .and_then(|socket| Server::start(socket, Arc::clone(&backend), config.http.limits()));
    let server = server.map_err(|cause| {
        let what = format!("could not listen at {host}:{port}: {cause}");
        Failure::new(what, "choose another with --port or --host")
    })?;
    let url = format!("http://{}", server.address());
    directory.announce(&url)?;
    let took = began.elapsed();
    println!(
        "{}",
        banner::text(&*backend, &url, directory.path(), took).await
    );
    Ok((server, close))
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
