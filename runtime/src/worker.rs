//! A worker: some task threads of one module instance, in a process of its own.
//!
//! Relies on `launcher` for the threads, on `remote::quic` for the way to the others, and on its
//! caller for everything that is decided elsewhere: which threads run here, where the others are,
//! and when to stop. Knows no metastore. What must stay true: ports are bound before any data is
//! opened, so that they can be announced; what was acknowledged is durable whenever the process ends.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rama_io::Category;
use rama_io::glommio::{GlommioEnv, GlommioTransport, Pin, Pool};
use rama_net::{Access, Endpoint, EndpointConfig, Security};
use rama_wire::session::{Role, Roles};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{HostTimer, Hosts};
use crate::in_process_cluster::{Home, define, start_pool};
use crate::launcher::{Launcher, Part, open_catalog};
use crate::module::Module;
use crate::options::Settings;
use crate::remote::quic::{QuicLinks, Route};

/// What a worker is started with.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The cluster.
    pub cluster: Uuid,
    /// The node of this process.
    pub node: Uuid,
    /// The module instance.
    pub instance: Uuid,
    /// New at each start: a peer's messages to an earlier one are refused.
    pub incarnation: u64,
    /// Tasks of the module.
    pub tasks: u32,
    /// Its task threads, in all processes together.
    pub threads: u32,
    /// Those that run here.
    pub local: Vec<u32>,
    /// Where its data is; belongs to one process at a time.
    pub dir: PathBuf,
    /// Address to bind. Each task thread has a UDP port of its own.
    pub bind: IpAddr,
    /// First of the ports, one after the other; 0 for any free ones.
    pub first_port: u16,
    /// How links are protected.
    pub security: Security,
    /// Cores for the task threads, one each in the order of `local`; empty: not pinned.
    pub cores: Vec<usize>,
}

/// A running worker. Dropping it is a crash as far as its data is concerned: nothing acknowledged is
/// lost.
pub struct Worker {
    launcher: Launcher<GlommioEnv>,
    hosts: Hosts<GlommioEnv>,
    links: Arc<QuicLinks>,
    config: WorkerConfig,
    ports: BTreeMap<u32, SocketAddr>,
    pool: Option<Pool>,
    _home: Home,
}

impl Worker {
    /// Starts the executors and binds the ports. No data is opened yet.
    ///
    /// # Errors
    /// `Invalid` for threads that do not exist; `Rejected` when another process uses the directory;
    /// `Unavailable`, with the remedy, when the machine lacks something or a port is taken.
    pub async fn bind(config: WorkerConfig) -> Result<Worker> {
        check(&config)?;
        let home = Home::open(Some(&config.dir))?;
        let count = config.local.len() as u32;
        let (hosts, receivers) = Hosts::<GlommioEnv>::new(GlommioTransport, count);
        let pin = match config.cores.is_empty() {
            true => Pin::Unpinned,
            false => Pin::These(config.cores.clone()),
        };
        let pool = start_pool(pin, receivers)?;
        let links = Arc::new(QuicLinks::new(config.instance, config.incarnation));
        let prepared = prepare(&config, &hosts, &links).await;
        let (launcher, ports) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                release(&config, &hosts, &links);
                hosts.quit();
                return Err(error);
            }
        };
        let part = Part {
            threads: config.threads,
            local: config.local.clone(),
            links: links.clone(),
            metrics: None,
        };
        Ok(Worker {
            launcher: launcher.with_part(part),
            hosts,
            links,
            config,
            ports,
            pool: Some(pool),
            _home: home,
        })
    }

    #[cfg(test)]
    pub(crate) fn config(&self) -> &WorkerConfig {
        &self.config
    }

    /// The address of each local task thread.
    pub fn addresses(&self) -> &BTreeMap<u32, SocketAddr> {
        &self.ports
    }

    /// Tells where the task threads of other processes are; replaces what was told before. Links
    /// that are up stay up; those that break are made anew by the new routes.
    pub fn set_routes(&self, routes: BTreeMap<u32, Route>) {
        self.links.set_routes(routes);
    }

    /// From now on these are the dynamic options of the module, launched or not; replaces what was
    /// told before. Local task threads obey as soon as they come to it; nothing waits for them.
    pub fn set_options(&self, module: &str, options: Settings) {
        drop(
            self.launcher
                .change_settings(module, |settings| *settings = options),
        );
    }

    /// Other modules of the cluster are reached by `others`: a connection, which has to follow what the
    /// module mirrors ([`Cluster::follow_mirrors`]). Once, before the launch.
    ///
    /// # Panics
    /// When it was told before.
    pub fn set_others(&self, others: Cluster) {
        self.launcher.set_others(others);
    }

    /// Opens the data of the local task threads and runs them. Others may be down: what needs them
    /// waits, or answers `unavailable`.
    ///
    /// # Errors
    /// As [`crate::InProcessCluster::launch`].
    pub async fn launch(&self, module: &dyn Module) -> Result<()> {
        let tasks = self.config.tasks;
        self.launcher.launch(define(module)?, tasks).await
    }

    /// A handle for clients in this process; reaches all task threads of the module.
    pub fn cluster(&self) -> Cluster {
        self.launcher.cluster.clone()
    }

    /// Stops the local task threads and ends the process's executors. Everything appended is durable
    /// after that.
    ///
    /// # Errors
    /// `Storage` when a log failed; the executors are ended all the same.
    pub async fn shutdown(mut self) -> Result<()> {
        let mut stopped = Ok(());
        for module in self.launcher.cluster.modules_here() {
            stopped = stopped.and(self.launcher.stop(&module).await);
        }
        for (host, &thread) in self.config.local.iter().enumerate() {
            let links = self.links.clone();
            let close = move |_: GlommioEnv| async move {
                if let Some(endpoint) = links.take_endpoint(thread) {
                    endpoint.close().await;
                }
                Ok(())
            };
            let closed = self.hosts.call(host as u32, Category::Replication, close);
            stopped = stopped.and(closed.await);
        }
        stopped.and(self.end())
    }

    fn end(&mut self) -> Result<()> {
        self.launcher.cluster.end();
        release(&self.config, &self.hosts, &self.links);
        self.hosts.quit();
        let Some(pool) = self.pool.take() else {
            return Ok(());
        };
        let ended = pool.join().map_err(|source| {
            Error::new(ErrorKind::Closed, "a task thread ended early").caused_by(source)
        });
        ended.map(|_| ())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "a worker ended badly");
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("instance", &self.config.instance)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

fn check(config: &WorkerConfig) -> Result<()> {
    let bad = config
        .local
        .iter()
        .find(|&&thread| thread >= config.threads);
    if let Some(thread) = bad {
        let threads = config.threads;
        return Err(Error::invalid(format!(
            "could not start a worker with task thread {thread}: the module has {threads}"
        )));
    }
    let distinct: std::collections::BTreeSet<_> = config.local.iter().collect();
    if config.local.is_empty() || distinct.len() < config.local.len() {
        return Err(Error::invalid(
            "could not start a worker: it needs at least one task thread, and each once",
        ));
    }
    if config.threads > config.tasks {
        let (tasks, threads) = (config.tasks, config.threads);
        return Err(Error::invalid(format!(
            "could not start a worker: {threads} task threads are more than {tasks} tasks"
        )));
    }
    Ok(())
}

async fn prepare(
    config: &WorkerConfig,
    hosts: &Hosts<GlommioEnv>,
    links: &Arc<QuicLinks>,
) -> Result<(Launcher<GlommioEnv>, BTreeMap<u32, SocketAddr>)> {
    let mut ports = BTreeMap::new();
    for (host, &thread) in config.local.iter().enumerate() {
        let port = match config.first_port {
            0 => 0,
            first => first + host as u16,
        };
        let endpoint = endpoint_config(config, SocketAddr::new(config.bind, port));
        let links = links.clone();
        let bind = move |env: GlommioEnv| async move {
            let bound = Endpoint::on_glommio(&env, Category::Replication, endpoint)
                .and_then(|endpoint| Ok((endpoint.local_address()?, endpoint)));
            let (address, endpoint) = bound.map_err(|source| {
                let text = format!("could not bind task thread {thread}");
                Error::unavailable(text).caused_by(source)
            })?;
            links.set_endpoint(thread, endpoint);
            Ok(address)
        };
        let address = hosts.call(host as u32, Category::Replication, bind).await?;
        ports.insert(thread, address);
    }
    let cluster_id = config.cluster.as_u128();
    let dir = config.dir.clone();
    let catalog = open_catalog(hosts, &dir, cluster_id).await?;
    if catalog.cluster_id()? != cluster_id {
        return Err(Error::rejected(format!(
            "could not start a worker over {}: its data belongs to cluster {:032x}, not {:032x}",
            dir.display(),
            catalog.cluster_id()?,
            cluster_id
        )));
    }
    let timer = Arc::new(HostTimer(hosts.clone()));
    let cluster = Cluster::new(cluster_id, Uuid::new_v4().as_u128() as u64, timer);
    let storage = rama_storage::GroupOptions::default();
    let launcher = Launcher::new(cluster, hosts.clone(), dir, catalog, storage)?;
    Ok((launcher, ports))
}

fn endpoint_config(config: &WorkerConfig, bind: SocketAddr) -> EndpointConfig {
    let security = config.security.clone();
    let mut endpoint = EndpointConfig::new(
        bind,
        security,
        config.cluster,
        config.node,
        Role::Worker,
        config.incarnation,
    );
    // Programs speak to the core that owns their data; what they may say is checked per stream.
    endpoint.access = Access {
        worp: Roles::of(&[Role::Worker, Role::Client, Role::Operator]),
        ..Access::default()
    };
    endpoint
}

/// Drops the endpoints where they live.
fn release(config: &WorkerConfig, hosts: &Hosts<GlommioEnv>, links: &Arc<QuicLinks>) {
    for (host, &thread) in config.local.iter().enumerate() {
        let links = links.clone();
        // An executor that is gone has no use for it either.
        let _ = hosts.run(host as u32, move |_: GlommioEnv| {
            drop(links.take_endpoint(thread))
        });
    }
}

#[cfg(test)]
mod tests;
