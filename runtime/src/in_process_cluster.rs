//! A whole cluster inside this process: the real engine on its own threads, for tests, for `dev`
//! and for programs that embed it.
//!
//! Relies on `rama_io::glommio` for executors and on `launcher` for everything else. What must stay
//! true: several clusters live side by side in one process; a persistent directory belongs to one
//! process at a time; dropping a cluster is a crash as far as its data is concerned, and loses
//! nothing that was acknowledged.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rama_io::glommio::{GlommioEnv, GlommioTransport, Pin, Pool, PoolConfig};

use crate::cluster::Cluster;
use crate::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{self, HostTimer, Hosts, JobReceiver};
use crate::launcher::{Launcher, open_catalog, options};
use crate::module::Module;
use crate::options::{Level, Settings};
use crate::status::MigrationStatus;

/// How to build an [`InProcessCluster`].
#[derive(Clone, Debug)]
#[must_use = "a builder builds nothing until `start`"]
pub struct Builder {
    tasks: u32,
    threads: u32,
    dir: Option<PathBuf>,
    pinned: bool,
    options: Settings,
}

impl Builder {
    /// Tasks of each module: a power of two, fixed for the life of a module's data. Default 4.
    pub fn tasks(mut self, tasks: u32) -> Builder {
        self.tasks = tasks;
        self
    }

    /// Task threads. Default 2.
    pub fn threads(mut self, threads: u32) -> Builder {
        self.threads = threads;
        self
    }

    /// Keeps the data in `dir`, over restarts. Default: a temporary directory that goes with the
    /// cluster.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Builder {
        self.dir = Some(dir.into());
        self
    }

    /// Gives each task thread a core of its own when there are enough, and lets it poll briefly
    /// before it sleeps. For a process that serves one cluster. Default: unpinned, never polling.
    pub fn pinned(mut self, pinned: bool) -> Builder {
        self.pinned = pinned;
        self
    }

    /// Options that hold for each module from its first moment, until others are set on it.
    ///
    /// ```
    /// use rama_runtime::InProcessCluster;
    /// use rama_runtime::options::{Level, Settings};
    ///
    /// let options = Settings::new().with(Level::Module, "depot.microbatch.max.records", 100);
    /// let cluster = InProcessCluster::builder().options(options);
    /// ```
    pub fn options(mut self, options: Settings) -> Builder {
        self.options = options;
        self
    }

    /// Starts the executors and opens the directory. Modules are launched afterwards.
    ///
    /// # Errors
    /// With the remedy, when the machine lacks something (io_uring, locked memory); `Rejected` when
    /// another process uses the directory; `Corrupt` when its catalog is damaged; `Invalid` for
    /// options that do not exist.
    pub fn start(self) -> Result<InProcessCluster> {
        crate::block_on(self.start_async())
    }

    async fn start_async(self) -> Result<InProcessCluster> {
        if self.threads == 0 {
            return Err(Error::invalid("a cluster needs at least one task thread"));
        }
        options::usable(&self.options)?;
        let home = Home::open(self.dir.as_deref())?;
        let (hosts, receivers) = Hosts::<GlommioEnv>::new(GlommioTransport, self.threads);
        let pin = match self.pinned {
            true => Pin::Cores,
            false => Pin::Unpinned,
        };
        let pool = start_pool(pin, receivers)?;
        let catalog = open_catalog(&hosts, &home.path, new_identity()).await;
        let catalog = catalog.inspect_err(|_| hosts.quit())?;
        let seed = new_identity() as u64;
        let timer = std::sync::Arc::new(HostTimer(hosts.clone()));
        let cluster = Cluster::new(catalog.cluster_id()?, seed, timer);
        let storage = rama_storage::GroupOptions::default();
        let launcher = Launcher::new(cluster, hosts.clone(), home.path.clone(), catalog, storage)?;
        Ok(InProcessCluster {
            launcher: launcher.with_settings(self.options),
            hosts,
            pool: Some(pool),
            home,
            tasks: self.tasks,
        })
    }
}

/// A cluster of one process, with everything a real one has except replicas.
///
/// Derefs to its [`Cluster`] handle.
pub struct InProcessCluster {
    launcher: Launcher<GlommioEnv>,
    hosts: Hosts<GlommioEnv>,
    pool: Option<Pool>,
    home: Home,
    tasks: u32,
}

impl InProcessCluster {
    /// A builder with 4 tasks on 2 threads and a temporary directory.
    pub fn builder() -> Builder {
        Builder {
            tasks: 4,
            threads: 2,
            dir: None,
            pinned: false,
            options: Settings::new(),
        }
    }

    /// A cluster with so many tasks per module and so many threads, in a temporary directory.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn new(tasks: u32, threads: u32) -> Result<InProcessCluster> {
        InProcessCluster::builder()
            .tasks(tasks)
            .threads(threads)
            .start()
    }

    /// A cluster with 1 to 16 tasks per module on 1 or 2 threads, for tests of modules: nothing an
    /// author writes may depend on either (spec T-11). Prints the seed that the numbers came from;
    /// `RAMA_SEED` in the environment chooses it.
    ///
    /// # Errors
    /// As [`Builder::start`]; `Invalid` when `RAMA_SEED` is no number.
    pub fn random() -> Result<InProcessCluster> {
        let seed = match std::env::var("RAMA_SEED") {
            Ok(seed) => seed.parse().map_err(|error| {
                Error::invalid("could not read RAMA_SEED as a number").caused_by(error)
            })?,
            Err(_) => new_identity() as u64,
        };
        let (tasks, threads) = (1 << (seed % 5), 1 + seed / 5 % 2);
        println!("RAMA_SEED={seed}: {tasks} tasks on {threads} threads");
        InProcessCluster::new(tasks, threads as u32)
    }

    /// The handle for clients; outlives this value.
    pub fn cluster(&self) -> Cluster {
        self.launcher.cluster.clone()
    }

    /// Where the data is.
    pub fn dir(&self) -> &Path {
        &self.home.path
    }

    /// Launches a module: new, or over the data it left in the directory (T-2).
    ///
    /// # Errors
    /// `Invalid` with every mistake in its definition; `Rejected` when the data was written by
    /// another shape of it, with the old and the new one and what to do, or when what it uses of
    /// other modules is not there (spec X-9).
    pub async fn launch(&self, module: impl Module) -> Result<()> {
        self.launch_dyn(&module).await
    }

    /// The same with another number of tasks than the cluster's: a power of two, fixed for the life of
    /// the module's data.
    ///
    /// # Errors
    /// As [`InProcessCluster::launch`].
    pub async fn launch_with_tasks(&self, module: impl Module, tasks: u32) -> Result<()> {
        self.launched(define(&module)?, tasks).await
    }

    /// The same for a module chosen at run time.
    ///
    /// # Errors
    /// As [`InProcessCluster::launch`].
    pub async fn launch_dyn(&self, module: &dyn Module) -> Result<()> {
        self.launched(define(module)?, self.tasks).await
    }

    /// Replaces the code of a running module: stop, then start over the same data (T-2). Records in
    /// work are processed again as after a restart.
    ///
    /// # Errors
    /// As [`InProcessCluster::launch`]; `Rejected`, too, when the new code lacks depots or PStates
    /// (see [`update_deleting`](InProcessCluster::update_deleting)), or another module uses what it
    /// would not have (spec X-9). A refused update leaves the module as it runs.
    pub async fn update(&self, module: impl Module) -> Result<()> {
        self.updated(define(&module)?, BTreeSet::new()).await
    }

    /// As [`InProcessCluster::update`], for code without some of the depots and PStates that there
    /// are: those that are listed, by name, go with all their data (spec X-12). The list is exactly
    /// what the new code lacks, so that nothing is lost by a slip; a name that is declared again later
    /// stands for a new object.
    ///
    /// # Errors
    /// As [`InProcessCluster::update`]; `Rejected` when an object is missing on the list, or is on it
    /// and declared or unknown.
    pub async fn update_deleting(&self, module: impl Module, objects: &[&str]) -> Result<()> {
        let objects = objects.iter().map(|&name| name.to_owned());
        self.updated(define(&module)?, objects.collect()).await
    }

    /// Sets a dynamic option of a launched module; it holds when this completes. It outlives an update
    /// of the module, not the cluster. The options are those of [`options::DECLARED`]; the most
    /// specific one holds.
    ///
    /// ```no_run
    /// # async fn check(cluster: rama_runtime::InProcessCluster) -> rama_runtime::Result<()> {
    /// use rama_runtime::options::Level;
    ///
    /// let etl = Level::Topology("etl".to_owned());
    /// cluster.set_option("Bank", etl, "topology.stream.timeout.seconds", 5).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` for a module that was not launched; `Invalid`, with what would do, for an option,
    /// object or value that does not exist.
    ///
    /// [`options::DECLARED`]: crate::options::DECLARED
    pub async fn set_option(
        &self,
        module: &str,
        level: Level,
        option: &str,
        value: impl Into<serde_json::Value>,
    ) -> Result<()> {
        self.option_set(module, level, option, Some(value.into()))
            .await
    }

    /// Unsets a dynamic option: that of the module holds again, or the default. Idempotent.
    ///
    /// # Errors
    /// As [`InProcessCluster::set_option`].
    pub async fn unset_option(&self, module: &str, level: Level, option: &str) -> Result<()> {
        self.option_set(module, level, option, None).await
    }

    /// How far the migrations of a running module are
    /// ([`Topology::migrate`](crate::Topology::migrate)).
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable`.
    pub async fn migrations(&self, module: &str) -> Result<Vec<MigrationStatus>> {
        self.migrated(module).await
    }

    /// Stops a module and removes its data.
    ///
    /// # Errors
    /// `Rejected` while other modules use it, with their names (spec X-9); `NotFound`, or `Storage`.
    pub async fn destroy(&self, module: &str) -> Result<()> {
        self.destroyed(module).await
    }

    /// Waits until a topology has processed `count` records, for at most a minute.
    ///
    /// # Errors
    /// As [`Cluster::wait_for_processed`].
    pub async fn wait_for_processed(&self, module: &str, topology: &str, count: u64) -> Result<()> {
        let timeout = Duration::from_secs(60);
        self.launcher
            .cluster
            .wait_for_processed(module, topology, count, timeout)
            .await
    }

    /// Sets the wall clock that module code sees ([`crate::Task::now_ms`]) and stops it there, for
    /// tests of what waits for a time (T-10). Times of appends, ticks and timeouts stay real.
    pub fn set_time_ms(&self, now_ms: u64) {
        self.launcher.cluster.clock().set(now_ms);
    }

    /// Lets `by` pass on the wall clock that module code sees.
    ///
    /// # Errors
    /// `Invalid` when the clock was never set: it is the real one then.
    pub fn advance_time(&self, by: Duration) -> Result<()> {
        let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        match self.launcher.cluster.clock().advance(by_ms) {
            true => Ok(()),
            false => Err(Error::invalid(
                "could not advance the real clock: set a time first, with set_time_ms",
            )),
        }
    }

    /// Stops all modules and ends the threads. Everything appended is durable after that.
    ///
    /// # Errors
    /// `Storage` when a log failed; the threads are ended all the same.
    pub async fn shutdown(mut self) -> Result<()> {
        let stopped = self.stopped().await;
        stopped.and(self.end())
    }

    fn end(&mut self) -> Result<()> {
        self.launcher.cluster.end();
        self.hosts.quit();
        let Some(pool) = self.pool.take() else {
            return Ok(());
        };
        let ended = pool.join().map_err(|source| {
            Error::new(ErrorKind::Closed, "a task thread ended early").caused_by(source)
        });
        self.home.remove_if_temporary();
        ended.map(|_| ())
    }
}

/// What the engine does, behind futures of one type. The body of an `async fn` is compiled where it is
/// awaited: without this, all of the engine again in every program that launches a module.
impl InProcessCluster {
    fn launched(&self, definition: Definition, tasks: u32) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.launcher.launch(definition, tasks))
    }

    fn updated(
        &self,
        definition: Definition,
        delete: BTreeSet<String>,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.launcher.update(definition, delete))
    }

    fn option_set<'a>(
        &'a self,
        module: &'a str,
        level: Level,
        option: &'a str,
        value: Option<serde_json::Value>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.launcher.set_option(module, level, option, value))
    }

    fn migrated<'a>(&'a self, module: &'a str) -> BoxFuture<'a, Result<Vec<MigrationStatus>>> {
        Box::pin(self.launcher.migrations(module))
    }

    fn destroyed<'a>(&'a self, module: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.launcher.destroy(module))
    }

    fn stopped(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let mut stopped = Ok(());
            for module in self.launcher.cluster.modules_here() {
                stopped = stopped.and(self.launcher.stop(&module).await);
            }
            stopped
        })
    }
}

impl Deref for InProcessCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.launcher.cluster
    }
}

impl Drop for InProcessCluster {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "cluster ended badly");
        }
    }
}

impl std::fmt::Debug for InProcessCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcessCluster")
            .field("dir", &self.home.path)
            .finish_non_exhaustive()
    }
}

/// The definition of a module, or all mistakes in it.
pub(crate) fn define(module: &dyn Module) -> Result<Definition> {
    Definition::of(module).map_err(|error| Error::invalid(error.to_string()))
}

/// One executor for each receiver, serving it.
pub(crate) fn start_pool(pin: Pin, receivers: Vec<JobReceiver<GlommioEnv>>) -> Result<Pool> {
    let spin = match pin {
        Pin::Cores | Pin::These(_) => Duration::from_micros(50),
        Pin::Unpinned => Duration::ZERO,
    };
    let executors = receivers.len();
    let config = PoolConfig {
        executors,
        pin,
        spin,
        ..PoolConfig::default()
    };
    let slots: Vec<_> = receivers
        .into_iter()
        .map(|jobs| std::sync::Mutex::new(Some(jobs)))
        .collect();
    let slots = std::sync::Arc::new(slots);
    let main = move |env: GlommioEnv, index: usize| {
        let jobs = slots[index].lock().map_or(None, |mut slot| slot.take());
        async move {
            if let Some(jobs) = jobs {
                host::serve(env, jobs).await;
            }
        }
    };
    Pool::start(config, main)
        .map_err(|source| Error::unavailable("could not start the task threads").caused_by(source))
}

/// A random number for a new cluster.
fn new_identity() -> u128 {
    uuid::Uuid::new_v4().as_u128()
}

/// The directory of a cluster, locked for this process.
pub(crate) struct Home {
    path: PathBuf,
    temporary: bool,
    _lock: File,
}

impl Home {
    pub(crate) fn open(dir: Option<&Path>) -> Result<Home> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (path, temporary) = match dir {
            Some(dir) => (dir.to_owned(), false),
            None => {
                let number = COUNT.fetch_add(1, Ordering::Relaxed);
                let name = format!(
                    "rama-{}-{number}-{:08x}",
                    std::process::id(),
                    new_identity() as u32
                );
                (std::env::temp_dir().join(name), true)
            }
        };
        let failed = |source: std::io::Error| {
            let text = format!("could not use the directory {}", path.display());
            Error::new(ErrorKind::Storage, text).caused_by(source)
        };
        std::fs::create_dir_all(&path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Home {
                path,
                temporary,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::rejected(format!(
                "another process uses {}: stop it, or choose another directory",
                path.display()
            ))),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    fn remove_if_temporary(&self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, dir = %self.path.display(), "could not remove a directory");
        }
    }
}

#[cfg(test)]
mod tests;
