//! Launching, stopping and restarting modules on the executors of one cluster.
//!
//! Relies on the catalog for what the directory already holds and on `host` to reach the executors.
//! The same code runs over glommio and in the simulator. What must stay true: the catalog knows
//! every id before a file uses it; a module is reachable only when all its task threads are open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_channel::oneshot;
use futures_util::lock::Mutex;
use rama_io::{Category, Env, Transport};

use crate::catalog::{self, Catalog};
use crate::cluster::{Cluster, Running};
use crate::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Hosts;
use crate::layout::{self, Layout, ModuleOptions};
use crate::limits;
use crate::message::{Control, Message, Post, Sending};
use crate::metrics::ModuleMetrics;
use crate::task_thread::{self, ThreadStart};

/// Runs modules on executors, over one directory.
pub(crate) struct Launcher<E: Env> {
    pub(crate) cluster: Cluster,
    hosts: Hosts<E>,
    dir: PathBuf,
    cluster_id: u128,
    catalog: Mutex<Catalog>,
    storage: rama_storage::GroupOptions,
}

/// Reads the catalog of a directory, or begins one with the given identity.
pub(crate) async fn open_catalog<E: Env>(
    hosts: &Hosts<E>,
    dir: &Path,
    new_id: u128,
) -> Result<Catalog> {
    let dir = dir.to_owned();
    let open = move |env: E| async move {
        match catalog::load(&env, &dir).await? {
            Some(catalog) => Ok(catalog),
            None => {
                let catalog = Catalog::new(new_id);
                catalog::store(&env, &dir, &catalog).await?;
                Ok(catalog)
            }
        }
    };
    hosts.call(0, Category::Client, open).await
}

impl<E: Env> Launcher<E> {
    pub(crate) fn new(
        cluster: Cluster,
        hosts: Hosts<E>,
        dir: PathBuf,
        catalog: Catalog,
        storage: rama_storage::GroupOptions,
    ) -> Result<Launcher<E>> {
        let cluster_id = catalog.cluster_id()?;
        Ok(Launcher {
            cluster,
            hosts,
            dir,
            cluster_id,
            catalog: Mutex::new(catalog),
            storage,
        })
    }

    /// Starts a module: new, or over the data it left (T-2).
    pub(crate) async fn launch(
        &self,
        definition: Definition,
        tasks: u32,
        options: ModuleOptions,
    ) -> Result<()> {
        let name = definition.module.clone();
        if self
            .cluster
            .running(&name)
            .is_ok_and(|running| running.is_up())
        {
            let text = format!("module {name} runs already: update it, or destroy it first");
            return Err(Error::rejected(text));
        }
        let threads = self.hosts.count().min(tasks);
        if !tasks.is_power_of_two() || tasks > limits::TASKS_MAX {
            return Err(Error::invalid(format!(
                "could not launch {name} with {tasks} tasks: the count must be a power of two up \
                 to {}",
                limits::TASKS_MAX
            )));
        }
        let entry = self
            .reconcile(&layout::declared(&definition, tasks, threads))
            .await?;
        let dir = self.dir.join(&entry.directory);
        let layout = Arc::new(Layout::new(definition, &entry, options));
        let metrics = Arc::new(ModuleMetrics::new(&layout));
        let posts = self.start_threads(&layout, &metrics, &dir).await?;
        self.cluster.install(Running::new(layout, metrics, posts));
        Ok(())
    }

    /// Makes the ids of a declaration durable before anything uses them.
    async fn reconcile(&self, declared: &catalog::Declared) -> Result<catalog::ModuleEntry> {
        let mut catalog = self.catalog.lock().await;
        let mut next = catalog.clone();
        let entry = next.reconcile(declared)?;
        if next != *catalog {
            let (dir, stored) = (self.dir.clone(), next.clone());
            let store = move |env: E| async move { catalog::store(&env, &dir, &stored).await };
            self.hosts.call(0, Category::Client, store).await?;
            *catalog = next;
        }
        Ok(entry)
    }

    async fn start_threads(
        &self,
        layout: &Arc<Layout>,
        metrics: &Arc<ModuleMetrics>,
        dir: &Path,
    ) -> Result<Arc<[Arc<dyn Post>]>> {
        let channels = (0..layout.threads).map(|_| self.hosts.transport().channel::<Message>());
        let (senders, inboxes): (Vec<_>, Vec<_>) = channels.unzip();
        let posts = senders
            .into_iter()
            .map(|sender| Arc::new(Sending(sender)) as Arc<dyn Post>);
        let posts: Arc<[Arc<dyn Post>]> = posts.collect();
        let mut opening = Vec::new();
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let start = ThreadStart::<E> {
                layout: layout.clone(),
                metrics: metrics.clone(),
                index: index as u32,
                cluster: self.cluster_id,
                dir: dir.join(format!("thread-{index}")),
                inbox,
                peers: posts.clone(),
                storage: self.storage.clone(),
            };
            let open = move |env: E| task_thread::start(env, start);
            opening.push(self.hosts.call(index as u32, Category::Replication, open));
        }
        let opened: Result<Vec<()>> = futures_util::future::join_all(opening)
            .await
            .into_iter()
            .collect();
        if let Err(error) = opened {
            stop_all(&posts).await;
            return Err(error);
        }
        Ok(posts)
    }

    /// Stops a module; its data stays. Appends under way may answer `unknown`.
    pub(crate) async fn stop(&self, module: &str) -> Result<()> {
        let running = self.cluster.running(module)?;
        if !running.is_up() {
            return Ok(());
        }
        self.cluster.stop(Some(module));
        let threads = 0..running.layout.threads;
        running
            .command(threads, |reply| Control::Stop { reply })
            .await
    }

    /// Stops a module and starts other code over its data (T-2).
    pub(crate) async fn update(
        &self,
        definition: Definition,
        options: ModuleOptions,
    ) -> Result<()> {
        let name = definition.module.clone();
        let tasks = self.cluster.running(&name)?.layout.tasks;
        let threads = self.hosts.count().min(tasks);
        // A refused update leaves the module as it runs.
        self.catalog
            .lock()
            .await
            .clone()
            .reconcile(&layout::declared(&definition, tasks, threads))?;
        self.stop(&name).await?;
        self.launch(definition, tasks, options).await
    }

    /// Stops a module and removes its data.
    pub(crate) async fn destroy(&self, module: &str) -> Result<()> {
        self.stop(module).await?;
        self.cluster.remove(module);
        let mut catalog = self.catalog.lock().await;
        let mut next = catalog.clone();
        let Some(entry) = next.modules.remove(module) else {
            return Ok(());
        };
        let (dir, stored) = (self.dir.clone(), next.clone());
        let remove = move |env: E| async move {
            catalog::store(&env, &dir, &stored).await?;
            remove_files(&env, &dir.join(&entry.directory), entry.threads)
                .await
                .map_err(|source| {
                    let text = format!("could not remove the files in {}", entry.directory);
                    Error::new(ErrorKind::Storage, text).caused_by(source)
                })
        };
        self.hosts.call(0, Category::Background, remove).await?;
        *catalog = next;
        Ok(())
    }
}

/// Stops the threads that opened although another did not.
async fn stop_all(posts: &[Arc<dyn Post>]) {
    for post in posts {
        let (reply, stopped) = oneshot::channel();
        if post.post(Message::Control(Control::Stop { reply })).is_ok() {
            // A thread that never opened drops the message, which is an answer too.
            let _ = stopped.await;
        }
    }
}

/// Removes what a module wrote. The catalog has forgotten it already, so that a failure here wastes
/// space and nothing else.
async fn remove_files<E: Env>(env: &E, dir: &Path, threads: u32) -> std::io::Result<()> {
    for thread in 0..threads {
        let mut dirs = vec![dir.join(format!("thread-{thread}"))];
        while let Some(dir) = dirs.pop() {
            for name in env.list(&dir).await? {
                let path = dir.join(name);
                if env.remove(&path).await.is_err() {
                    dirs.push(path);
                }
            }
        }
    }
    Ok(())
}
