//! `worker`: the module's task threads over a directory, alone or as a part of a cluster.
//!
//! Relies on `InProcessCluster` for the lock of the directory and for every durability promise; as a
//! part of a cluster on `member`. What
//! must stay true: the line that says `ready` is printed after the module has opened its data and
//! before anything else appears on stdout.

#[cfg(feature = "etcd")]
mod member;

use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use rama_gateway::dev::{self, Failure};
use rama_gateway::logging;
use rama_runtime::{Error, ErrorKind, InProcessCluster};
use tokio::signal::unix::{SignalKind, signal};

use crate::Module;

/// Flags of a worker. The rest comes from `rama.toml` and the environment, as for `dev`.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct Args {
    /// Where data is kept [default: ./.rama].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Task threads; 0 is one per core [default: 0].
    #[arg(long)]
    threads: Option<u32>,
    /// Tasks of a new module, a power of two; 0 fits the threads [default: 0].
    #[arg(long)]
    tasks: Option<u32>,
    /// Settings from this file instead of ./rama.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Work for a cluster, as this file says, which a supervisor has written. Needs a program that
    /// was built with the feature `etcd`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "threads", "tasks", "config"])]
    assignment: Option<PathBuf>,
}

/// Runs the module until a signal; what went wrong is told on stderr.
pub(super) fn run(module: Box<dyn Module>, args: &Args) -> ExitCode {
    let ended = match &args.assignment {
        Some(path) => join(module, path),
        None => try_run(module, args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}\nhint:  {}", failure.what, failure.hint);
            ExitCode::from(failure.exit)
        }
    }
}

#[cfg(feature = "etcd")]
fn join(module: Box<dyn Module>, path: &Path) -> Result<(), Failure> {
    member::run(module, path)
}

#[cfg(not(feature = "etcd"))]
fn join(module: Box<dyn Module>, path: &Path) -> Result<(), Failure> {
    let what = format!(
        "could not take the assignment {} for {}: this program was built for one machine",
        path.display(),
        module.name()
    );
    Err(Failure::new(what, "build it with `--features etcd`"))
}

fn try_run(module: Box<dyn Module>, args: &Args) -> Result<(), Failure> {
    let settings = dev::Args {
        data_dir: args.data_dir.clone(),
        threads: args.threads,
        tasks: args.tasks,
        config: args.config.clone(),
        ..dev::Args::default()
    };
    let config = settings.settings()?;
    logging::start(&config.log)?;
    dev::runtime(1)?.block_on(async {
        let stopped = interrupted()?;
        let began = Instant::now();
        let name = module.name();
        let (tasks, threads) = config.cluster.shape();
        let dir = &config.cluster.data_dir;
        let builder = InProcessCluster::builder().tasks(tasks).threads(threads);
        let cluster = builder.dir(dir).pinned(true).start().map_err(failed)?;
        cluster.launch(module).await.map_err(failed)?;
        let (took, dir) = (began.elapsed().as_millis(), dir.display());
        say(&format!(
            "ready: module {name}, {tasks} tasks on {threads} threads, data in {dir}, {took} ms"
        ));
        stopped.await;
        cluster.shutdown().await.map_err(failed)?;
        say(&format!("stopped: data kept in {dir}"));
        Ok(())
    })
}

/// Who started the worker may wait for the line through a pipe, or may be gone; the work goes on.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Completes at the first SIGINT or SIGTERM. The handlers are in place when this returns.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|cause| {
            Failure::new(
                format!("could not handle signals: {cause}"),
                "see `ulimit -n`",
            )
        })
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn failed(error: Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::Rejected => "use the shape that is named, or another --data-dir",
        ErrorKind::Corrupt => "restore the directory, or start afresh in another one",
        ErrorKind::Invalid => "fix the module's definition",
        _ => "`rama doctor` checks this machine",
    };
    let failure = Failure::new(format!("{error:#}"), hint);
    match error.kind() {
        ErrorKind::Rejected => Failure { exit: 4, ..failure },
        _ => failure,
    }
}
