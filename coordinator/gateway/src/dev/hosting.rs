//! A cluster with a module in it and HTTP beside it: what `dev` and `quickstart` both run.
//!
//! Relies on `InProcessCluster` for the lock of the directory and for every durability promise.
//! What must stay true: the address is announced after the module is ready and taken back before
//! anything stops; a failure to start leaves no thread behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rama_runtime::{Cluster, ErrorKind, InProcessCluster, Module};

use super::{ADDRESS_FILE, Failure};
use crate::config::{self, Config};
use crate::gate::Door;
use crate::server::{Server, bind};
use crate::tokens::Tokens;

/// A running cluster and its server.
pub struct Hosting {
    cluster: InProcessCluster,
    server: Server,
    dir: PathBuf,
    url: String,
    took: Duration,
}

impl Hosting {
    /// Starts the cluster over its directory, launches the module, listens, announces.
    pub async fn start(config: Config, module: impl Module) -> Result<Hosting, Failure> {
        let began = Instant::now();
        let dir = config.cluster.data_dir.clone();
        let (tasks, threads) = config.cluster.shape();
        let started = InProcessCluster::builder()
            .tasks(tasks)
            .threads(threads)
            .dir(&dir)
            .pinned(true)
            .start()
            .map_err(|error| refused(error, &dir))?;
        started
            .launch(module)
            .await
            .map_err(|error| refused(error, &dir))?;
        let server = listen(&config, &started).await?;
        let url = format!("http://{}", server.address());
        announce(&dir, &url)?;
        Ok(Hosting {
            cluster: started,
            server,
            dir,
            url,
            took: began.elapsed(),
        })
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where HTTP is served.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the data is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How long it took to be ready.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Ends it with every acknowledged record on disk.
    pub async fn close(self) -> Result<(), Failure> {
        if let Err(error) = fs::remove_file(self.dir.join(ADDRESS_FILE)) {
            tracing::warn!(%error, "could not remove the address file");
        }
        self.server.stop().await;
        self.cluster
            .shutdown()
            .await
            .map_err(|error| refused(error, &self.dir))
    }
}

async fn listen(config: &Config, cluster: &Cluster) -> Result<Server, Failure> {
    let (host, port) = (config.http.host, config.http.port);
    let listener = bind(host, port, config.http.port_tries).await;
    let limits = config.http.limits();
    let door = door(&config.security)?;
    let start = |listener| Server::start(listener, cluster.clone(), limits, door);
    let server = listener.and_then(start);
    server.map_err(|cause| {
        let what = format!("could not listen at {host}:{port}: {cause}");
        Failure::new(what, "choose another with --port or --host")
    })
}

/// Who is answered: anyone, unless there are tokens.
fn door(security: &config::Security) -> Result<Door, Failure> {
    if security.tokens.as_os_str().is_empty() {
        return Ok(Door::Open);
    }
    let tokens = Tokens::open(&security.tokens).map_err(|error| {
        let what = format!("could not use security.tokens: {}", crate::chain(&error));
        Failure::new(what, "`rama tokens` writes this file")
    })?;
    Ok(Door::Tokens(tokens))
}

/// Tells commands in this place where the server is. The file is replaced whole, so that a reader
/// never sees half a URL; it is only a hint, because a killed server leaves it behind.
fn announce(dir: &Path, url: &str) -> Result<(), Failure> {
    let fresh = dir.join(format!("{ADDRESS_FILE}.new"));
    let written: io::Result<()> = fs::write(&fresh, format!("{url}\n"))
        .and_then(|()| fs::rename(&fresh, dir.join(ADDRESS_FILE)));
    written.map_err(|cause| {
        let what = format!("could not write {}: {cause}", fresh.display());
        Failure::new(what, "is the disk full?")
    })
}

/// What the engine says, with what to do about it here.
fn refused(error: rama_runtime::Error, dir: &Path) -> Failure {
    let running = fs::read_to_string(dir.join(ADDRESS_FILE)).unwrap_or_default();
    let hint = match error.kind() {
        ErrorKind::Rejected if !running.is_empty() => {
            format!(
                "a server was started here at {}; --data-dir names another",
                running.trim()
            )
        }
        ErrorKind::Rejected => "choose another directory with --data-dir".to_owned(),
        ErrorKind::Corrupt => "restore the directory, or start afresh in another one".to_owned(),
        ErrorKind::Invalid => "fix the module's definition".to_owned(),
        _ => "`rama doctor` checks this machine".to_owned(),
    };
    let exit = if error.kind() == ErrorKind::Rejected {
        4
    } else {
        1
    };
    Failure {
        exit,
        what: format!("{error:#}"),
        hint,
    }
}
