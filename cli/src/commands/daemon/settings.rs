//! What the daemons are started with, from rama.toml.
//!
//! Relies on `rama_gateway::config` for the values and where they came from. What must stay true: nothing
//! is bound before every setting was read.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rama_api::{MetastoreAddress, SecurityFiles};
use rama_coordinator::artifacts::TrustRoots;
use rama_coordinator::cores::Topology;
use rama_coordinator::daemon::{self, DaemonError, Identity, Listen};
use rama_coordinator::ports::PortRange;
use rama_gateway::config::{Config, Protection, daemons};
use rama_gateway::{chain, dev, logging};
use rama_io::probe;
use rama_metastore::{Etcd, EtcdConfig, EtcdTls, Secret, Space};
use rama_net::credentials::CertificatePaths;
use rama_planner::ids::ModuleName;
use rama_planner::place::{Dedicated, Scheduler};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::cluster::Daemon;
use crate::client::settings;
use crate::error::{Exit, Failure, Result};

/// Between two tries to reach a metastore that is not there yet.
const CONNECT_RETRY: Duration = Duration::from_secs(1);

/// Everything that was set.
pub struct Daemons {
    config: Config,
    space: Space,
    lease: Duration,
    roots: TrustRoots,
    scheduler: Scheduler,
    etcd: EtcdConfig,
}

impl Daemons {
    pub fn load(args: &Daemon) -> Result<Daemons> {
        let config = settings(args.config.as_deref())?.config();
        let config = config.map_err(|error| usage(error.what, error.hint))?;
        let space = Space::new(&config.metastore.root)
            .map_err(|error| usage(format!("metastore.root: {error}"), "use letters"))?;
        let roots = TrustRoots::parse(daemons::list(&config.supervisor.trust_roots))
            .map_err(|error| usage(format!("supervisor.trust_roots: {error}"), "see rama.toml"))?;
        Ok(Daemons {
            space,
            lease: Duration::from_millis(config.metastore.lease_ms),
            roots,
            scheduler: scheduler(&config.scheduler.isolation)?,
            etcd: etcd(&config.metastore)?,
            config,
        })
    }

    pub fn conductor(self) -> Result<()> {
        let (rpc, http) = (self.config.conductor.port, self.config.conductor.http_port);
        let (identity, _) = self.identity("conductor")?;
        let listen = self.listen(rpc, http);
        self.run(async |it, store, stopped| {
            let settings = daemon::conductor::Settings {
                identity,
                listen,
                store,
                space: it.space,
                lease: it.lease,
                dir: it.config.node.dir,
                scheduler: it.scheduler,
                roots: it.roots,
            };
            daemon::conductor::run(settings, stopped).await
        })
    }

    pub fn supervisor(self) -> Result<()> {
        let (rpc, http) = (
            self.config.supervisor.port,
            self.config.supervisor.http_port,
        );
        let (identity, certificates) = self.identity("supervisor")?;
        let listen = self.listen(rpc, http);
        let labels: BTreeSet<String> = daemons::list(&self.config.supervisor.labels)
            .map(str::to_owned)
            .collect();
        let usable = probe::cores();
        let cores = match self.config.supervisor.cores {
            0 => u32::try_from(usable.len()).unwrap_or(1),
            cores => cores,
        };
        let dir = std::path::absolute(&self.config.node.dir);
        let dir = dir.unwrap_or_else(|_| self.config.node.dir.clone());
        let metastore = address(&self.config.metastore);
        self.run(async |it, store, stopped| {
            let settings = daemon::supervisor::Settings {
                identity,
                listen,
                store,
                space: it.space,
                lease: it.lease,
                dir,
                labels,
                cores,
                topology: Topology::here(&usable),
                ports: PortRange::new(it.config.supervisor.port_range),
                resources: it.config.worker.resources,
                memory_bytes: memory(),
                roots: it.roots,
                metastore,
                certificates,
            };
            daemon::supervisor::run(settings, stopped).await
        })
    }

    /// Runs a daemon on a runtime until a signal.
    fn run<F>(
        self,
        daemon: impl FnOnce(Daemons, Etcd, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
    ) -> Result<()>
    where
        F: Future<Output = std::result::Result<(), DaemonError>>,
    {
        logging::start(&self.config.log).map_err(|error| usage(error.what, error.hint))?;
        let runtime =
            dev::runtime(2).map_err(|error| Failure::new(Exit::Failed, error.what, error.hint))?;
        runtime.block_on(async {
            let stopped = Box::pin(interrupted()?);
            let store = connect(self.etcd.clone()).await;
            daemon(self, store, stopped).await.map_err(failed)
        })
    }

    fn listen(&self, rpc_port: u16, http_port: u16) -> Listen {
        let node = &self.config.node;
        Listen {
            bind: node.bind,
            rpc_port,
            http_port,
            host_internal: node.inside().to_owned(),
            host_external: node.host.clone(),
        }
    }

    fn identity(&self, daemon: &str) -> Result<(Identity, SecurityFiles)> {
        let protection = self.config.security.protection();
        let protection = protection.map_err(|error| usage(error.what, error.hint))?;
        let (identity, files) = self.proof(protection, daemon)?;
        match set(&self.config.security.tokens) {
            Some(tokens) => Ok((identity.with_tokens(&tokens).map_err(failed)?, files)),
            None => Ok((identity, files)),
        }
    }

    fn proof(&self, protection: Protection, daemon: &str) -> Result<(Identity, SecurityFiles)> {
        match protection {
            Protection::Insecure => {
                let dir = self.config.node.dir.join(daemon);
                let identity = Identity::claimed(&dir).map_err(failed)?;
                Ok((identity, SecurityFiles::InsecureLoopback))
            }
            Protection::Certificates { ca, cert, key } => {
                let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
                let (authority, certificate, key) = (whole(ca), whole(cert), whole(key));
                let paths = CertificatePaths {
                    authority: authority.clone(),
                    certificate: certificate.clone(),
                    key: key.clone(),
                };
                let identity = Identity::proved(paths).map_err(failed)?;
                let files = SecurityFiles::Mutual {
                    authority,
                    certificate,
                    key,
                };
                Ok((identity, files))
            }
        }
    }
}

/// The metastore; it may come later than the daemon.
async fn connect(config: EtcdConfig) -> Etcd {
    loop {
        match Etcd::connect(config.clone()).await {
            Ok(store) => return store,
            Err(error) => tracing::warn!(%error, "the metastore is not there yet"),
        }
        tokio::time::sleep(CONNECT_RETRY).await;
    }
}

/// Completes at the first SIGINT or SIGTERM. The handlers are in place when this returns.
fn interrupted() -> Result<impl Future<Output = ()> + Send + use<>> {
    let listen = |kind| {
        signal(kind).map_err(|cause| {
            let text = format!("could not handle signals: {cause}");
            Failure::new(Exit::Failed, text, "see `ulimit -n`")
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

fn etcd(settings: &daemons::Metastore) -> Result<EtcdConfig> {
    let mut config = EtcdConfig::new(daemons::list(&settings.endpoints));
    if !settings.user.is_empty() {
        let path = &settings.password_file;
        let password = std::fs::read_to_string(path).map_err(|error| {
            let text = format!(
                "could not read metastore.password_file {}: {error}",
                path.display()
            );
            usage(text, "it holds the password of metastore.user")
        })?;
        config.user = Some((settings.user.clone(), Secret::new(password.trim_end())));
    }
    if let Some(ca) = set(&settings.ca) {
        config.tls = Some(EtcdTls {
            ca,
            identity: set(&settings.cert).zip(set(&settings.key)),
            server_name: None,
        });
    }
    Ok(config)
}

fn address(settings: &daemons::Metastore) -> MetastoreAddress {
    MetastoreAddress {
        endpoints: daemons::list(&settings.endpoints)
            .map(str::to_owned)
            .collect(),
        root: settings.root.clone(),
        lease_ms: settings.lease_ms,
        user: Some(settings.user.clone()).filter(|user| !user.is_empty()),
        password_file: set(&settings.password_file),
        authority: set(&settings.ca),
        certificate: set(&settings.cert),
        key: set(&settings.key),
    }
}

/// A path that was set, whole: workers run elsewhere.
fn set(path: &Path) -> Option<PathBuf> {
    let given = !path.as_os_str().is_empty();
    given.then(|| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// `Module=NODES` or `Module=NODES@LABEL`, with commas.
fn scheduler(isolation: &str) -> Result<Scheduler> {
    let mut modules = BTreeMap::new();
    for part in daemons::list(isolation) {
        let wrong = || {
            let text = format!("could not read {part:?} of scheduler.isolation");
            usage(text, "write Module=NODES or Module=NODES@LABEL")
        };
        let (name, rest) = part.split_once('=').ok_or_else(wrong)?;
        let (nodes, label) = match rest.split_once('@') {
            Some((nodes, label)) => (nodes, Some(label.to_owned())),
            None => (rest, None),
        };
        let module = ModuleName::new(name.trim()).map_err(|_| wrong())?;
        let nodes = nodes.trim().parse().map_err(|_| wrong())?;
        modules.insert(module, Dedicated { nodes, label });
    }
    Ok(match modules.is_empty() {
        true => Scheduler::Dev,
        false => Scheduler::Isolation(modules),
    })
}

/// Memory of this machine.
fn memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}

fn usage(what: impl std::fmt::Display, hint: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, what, hint)
}

fn failed(error: DaemonError) -> Failure {
    Failure::new(
        Exit::Failed,
        chain(&error),
        "`rama config show` prints what is in force",
    )
}
