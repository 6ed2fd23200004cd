//! Launching, stopping and restarting modules on the executors of one cluster.
//!
//! Relies on the catalog for what the directory already holds and on `host` to reach the executors.
//! The same code runs over glommio and in the simulator. What must stay true: the catalog knows
//! every id before a file uses it; a module is reachable only when all its task threads are open.

pub(crate) mod options;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use futures_channel::oneshot;
use futures_util::future::select;
use futures_util::lock::Mutex;
use rama_core::options::Settings;
use rama_io::{Category, Env, Transport};
use rama_storage::GroupOptions;

use crate::catalog::{self, Catalog, Declared};
use crate::cluster::{Cluster, Numbers, Running};
use crate::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Hosts;
use crate::layout::{self, Layout};
use crate::limits;
use crate::message::{Control, Message, Post, Sending};
use crate::metrics::ModuleMetrics;
use crate::migrating;
use crate::mirror::{self, CopyDef};
use crate::remote::link::Links;
use crate::removal;
use crate::status::MigrationStatus;
use crate::task_thread::{self, ThreadStart};
use crate::tuning::Tuning;

use options::Options;

/// Runs modules on executors, over one directory.
pub(crate) struct Launcher<E: Env> {
    pub(crate) cluster: Cluster,
    hosts: Hosts<E>,
    dir: PathBuf,
    cluster_id: u128,
    catalog: Mutex<Catalog>,
    storage: GroupOptions,
    part: Option<Part<E>>,
    options: Options,
    /// The way to modules that run elsewhere.
    others: OnceLock<Cluster>,
}

/// Which task threads of a module run in this process, when not all do.
pub(crate) struct Part<E: Env> {
    /// How many threads the module has.
    pub(crate) threads: u32,
    /// Those that run here, one per executor.
    pub(crate) local: Vec<u32>,
    /// How to reach the others, and be reached.
    pub(crate) links: Arc<dyn Links<E>>,
    /// What the process measures; `None` for metrics of its own.
    pub(crate) metrics: Option<Arc<ModuleMetrics>>,
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
        storage: GroupOptions,
    ) -> Result<Launcher<E>> {
        let cluster_id = catalog.cluster_id()?;
        Ok(Launcher {
            cluster,
            hosts,
            dir,
            cluster_id,
            catalog: Mutex::new(catalog),
            storage,
            part: None,
            options: Options::default(),
            others: OnceLock::new(),
        })
    }

    /// Modules that nothing else is set on have these options.
    pub(crate) fn with_settings(mut self, settings: Settings) -> Launcher<E> {
        self.options = Options::new(settings);
        self
    }

    /// Runs only these threads of the modules it launches.
    pub(crate) fn with_part(mut self, part: Part<E>) -> Launcher<E> {
        self.part = Some(part);
        self
    }

    /// Other modules are reached by this handle from now on; without it they run in this process.
    pub(crate) fn set_others(&self, others: Cluster) {
        assert!(
            self.others.set(others).is_ok(),
            "there is one way to others"
        );
    }

    fn threads(&self, tasks: u32) -> u32 {
        match &self.part {
            Some(part) => part.threads,
            None => self.hosts.count().min(tasks),
        }
    }

    /// Starts a module: new, or over the data it left (T-2).
    pub(crate) async fn launch(&self, definition: Definition, tasks: u32) -> Result<()> {
        self.launch_deleting(definition, tasks, BTreeSet::new())
            .await
    }

    /// The same, without objects that there were.
    async fn launch_deleting(
        &self,
        definition: Definition,
        tasks: u32,
        delete: BTreeSet<String>,
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
        let threads = self.threads(tasks);
        if !tasks.is_power_of_two() || tasks > limits::TASKS_MAX {
            return Err(Error::invalid(format!(
                "could not launch {name} with {tasks} tasks: the count must be a power of two up \
                 to {}",
                limits::TASKS_MAX
            )));
        }
        if self.knows_all() {
            let over_data = self.catalog.lock().await.modules.contains_key(&name);
            mirror::check(&self.cluster, &definition, over_data)?;
        }
        let declared = layout::declared(&definition, tasks, threads);
        let entry = self.reconcile(&Declared { delete, ..declared }).await?;
        let dir = self.dir.join(&entry.directory);
        let mut layout = Layout::new(definition, &entry);
        layout.clock = self.cluster.clock();
        layout.others = self.others.get().unwrap_or(&self.cluster).downgrade();
        let layout = Arc::new(layout);
        let settings = self.settings(&name);
        let tuning = Tuning::of(&layout, &settings);
        let mut storage = self.storage.clone();
        storage.migrations = migrating::of(&layout.definition, &entry);
        storage.migrations.paces = migrating::paces(&layout, &tuning);
        let given = self.part.as_ref().and_then(|part| part.metrics.clone());
        let metrics = given.unwrap_or_else(|| Arc::new(ModuleMetrics::new(&layout)));
        let posts = self
            .start_threads(&layout, &metrics, &dir, (&tuning, storage))
            .await?;
        let mut running = Running::new(layout, metrics, posts);
        if self.part.is_some() {
            // What a broken link left without an answer is sent again: it must be known again.
            running = running.with_numbers(Numbers::new(self.cluster.random()));
        }
        self.cluster.install(running);
        self.catch_up(&name, &settings);
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
        (tuning, storage): (&Arc<Tuning>, GroupOptions),
    ) -> Result<Arc<[Arc<dyn Post>]>> {
        let local = self.local_threads(layout);
        let channels = local
            .iter()
            .map(|_| self.hosts.transport().channel::<Message>());
        let (senders, inboxes): (Vec<_>, Vec<_>) = channels.unzip();
        let mut peers: Vec<Option<Arc<dyn Post>>> = vec![None; layout.threads as usize];
        for (&index, sender) in local.iter().zip(senders) {
            peers[index as usize] = Some(Arc::new(Sending(sender)));
        }
        let peers: Arc<[Option<Arc<dyn Post>>]> = peers.into();
        let mut opening = Vec::new();
        for (host, (&index, inbox)) in local.iter().zip(inboxes).enumerate() {
            let start = ThreadStart::<E> {
                layout: layout.clone(),
                metrics: metrics.clone(),
                index,
                cluster: self.cluster_id,
                dir: dir.join(format!("thread-{index}")),
                inbox,
                peers: peers.clone(),
                links: self.part.as_ref().map(|part| part.links.clone()),
                storage: storage.clone(),
                tuning: tuning.clone(),
            };
            let open = move |env: E| task_thread::start(env, start);
            opening.push(self.hosts.call(host as u32, Category::Replication, open));
        }
        let posts = self.all_posts(&peers).await?;
        let opened: Result<Vec<BTreeSet<u16>>> = futures_util::future::join_all(opening)
            .await
            .into_iter()
            .collect();
        let agreed = match opened {
            Ok(paused) => {
                let mine: Vec<_> = local.iter().map(|&index| &posts[index as usize]).collect();
                agree_on_pauses(&mine, &paused).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = agreed {
            stop_all(&posts).await;
            return Err(error);
        }
        Ok(posts)
    }

    /// The way of this process's own clients to every thread.
    async fn all_posts(&self, peers: &[Option<Arc<dyn Post>>]) -> Result<Arc<[Arc<dyn Post>]>> {
        let mut posts = Vec::new();
        for (thread, peer) in peers.iter().enumerate() {
            match (peer, &self.part) {
                (Some(post), _) => posts.push(post.clone()),
                (None, Some(part)) => {
                    let links = part.links.clone();
                    let open = move |env: E| async move { Ok(client_post(&env, &*links, thread)) };
                    posts.push(self.hosts.call(0, Category::Client, open).await?);
                }
                (None, None) => unreachable!("a module without a part has all its threads here"),
            }
        }
        Ok(posts.into())
    }

    /// The threads of a module that run in this process.
    fn local_threads(&self, layout: &Layout) -> Vec<u32> {
        match &self.part {
            Some(part) => part.local.clone(),
            None => (0..layout.threads).collect(),
        }
    }

    /// Stops a module; its data stays. Appends under way may answer `unknown`.
    pub(crate) async fn stop(&self, module: &str) -> Result<()> {
        let running = self.cluster.running(module)?;
        if !running.is_up() {
            return Ok(());
        }
        self.cluster.stop(Some(module));
        let threads = self.local_threads(&running.layout);
        let drain = |reply| Control::Drain { reply };
        let drained = pin!(running.command(threads.iter().copied(), drain));
        let patience = pin!(self.cluster.sleep(limits::DRAIN_MAX));
        // What could not finish, or a thread that cannot answer, is no reason not to stop.
        select(drained, patience).await;
        running
            .command(threads.iter().copied(), |reply| Control::Stop { reply })
            .await
    }

    /// How far the migrations of a running module are, on the threads of this process.
    pub(crate) async fn migrations(&self, module: &str) -> Result<Vec<MigrationStatus>> {
        let running = self.cluster.running(module)?;
        let threads = self.local_threads(&running.layout);
        running
            .command(threads, |reply| Control::Measure { reply })
            .await?;
        Ok(running.metrics.migrations(&running.layout))
    }

    /// Stops a module and starts other code over its data (T-2), without the objects to `delete`.
    pub(crate) async fn update(
        &self,
        definition: Definition,
        delete: BTreeSet<String>,
    ) -> Result<()> {
        let name = definition.module.clone();
        let before = self.cluster.running(&name)?;
        let tasks = before.layout.tasks;
        let threads = self.threads(tasks);
        // A refused update leaves the module as it runs.
        if self.knows_all() {
            mirror::check(&self.cluster, &definition, false)?;
            mirror::check_dependents(&self.cluster, &definition)?;
        }
        let mut catalog = self.catalog.lock().await.clone();
        let known = catalog.modules.get(&name).cloned();
        catalog.reconcile(&Declared {
            delete: delete.clone(),
            ..layout::declared(&definition, tasks, threads)
        })?;
        removal::check(
            &before.layout.definition,
            &definition,
            known.as_ref(),
            &delete,
        )?;
        if self.cluster.running(&name)?.is_up() {
            migrating::check_complete(&self.migrations(&name).await?, &definition)?;
        }
        self.stop(&name).await?;
        self.release(&before.layout.definition, &definition.copies)
            .await;
        self.launch_deleting(definition, tasks, delete).await
    }

    /// Whether every module of the cluster runs in this process.
    fn knows_all(&self) -> bool {
        self.part.is_none() && self.others.get().is_none()
    }

    /// Lets go of what other modules keep for topologies of a module that is stopped, but for those
    /// that `stay`.
    async fn release(&self, stopped: &Definition, stay: &[CopyDef]) {
        for copy in &stopped.copies {
            if !stay.iter().any(|other| other.is_same(copy))
                && let Err(error) = mirror::release(&self.cluster, &stopped.module, copy).await
            {
                let (depot, other) = (&copy.depot, &copy.module);
                tracing::warn!(%error, %depot, module = %other, "records stay for a mirror that is gone");
            }
        }
    }

    /// Stops a module and removes its data.
    pub(crate) async fn destroy(&self, module: &str) -> Result<()> {
        let dependents = mirror::dependents(&self.cluster, module);
        if !dependents.is_empty() {
            let names: Vec<&str> = dependents.keys().map(String::as_str).collect();
            return Err(Error::rejected(format!(
                "could not destroy module {module}: it is used by {}; update them so that they use \
                 it no more, or destroy them first",
                names.join(", ")
            )));
        }
        let running = self.cluster.running(module)?;
        self.stop(module).await?;
        self.release(&running.layout.definition, &[]).await;
        self.cluster.remove(module);
        self.options.forget(module);
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

/// The way from clients on this executor to a task thread of another process.
pub(crate) fn client_post<E: Env>(env: &E, links: &dyn Links<E>, thread: usize) -> Arc<dyn Post> {
    let nobody: Arc<dyn Post> = Arc::new(Nobody);
    let (post, loops) = links.open(env, None, thread as u32, &nobody);
    for (category, work) in loops {
        env.spawn(category, work);
    }
    post
}

/// Hears of links that only clients use.
struct Nobody;

impl Post for Nobody {
    fn post(&self, _: Message) -> Result<(), Message> {
        Ok(())
    }
}

/// A stream that was paused when a crash came, and not yet on all threads, is paused on all.
async fn agree_on_pauses(posts: &[&Arc<dyn Post>], paused: &[BTreeSet<u16>]) -> Result<()> {
    let all: BTreeSet<u16> = paused.iter().flatten().copied().collect();
    let mut answers = Vec::new();
    for (post, here) in posts.iter().zip(paused) {
        for &topology in all.difference(here) {
            let (reply, answer) = oneshot::channel();
            let command = Message::Control(Control::Pause { topology, reply });
            // A thread that is gone drops the reply, which the wait below hears.
            let _ = post.post(command);
            answers.push(answer);
        }
    }
    for answer in answers {
        let gone = |_| {
            Err(Error::unavailable(
                "a task thread went away while it was opened",
            ))
        };
        answer.await.unwrap_or_else(gone)?;
    }
    Ok(())
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
