//! The handle by which programs use a cluster: clients, operations, status.
//!
//! Relies on nothing of an executor: it posts messages and waits for oneshots. What must stay true:
//! a handle outlives the modules and restarts behind it; what is down is `unavailable` and works
//! again when it is back.

pub(crate) mod running;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select, try_join_all};
use rama_wire::Record;

use crate::client::{DepotClient, ModuleClient, PStateClient};
use crate::clock::Clock;
use crate::dead_letters::{self, DeadLetter, DeadLetterRecord, Settling};
use crate::definition::Definition;
use crate::depot_def::Depot;
use crate::error::{Error, Result};
use crate::host::Timer;
use crate::in_process_cluster::define;
use crate::layout::{Layout, SourceLayout};
use crate::message::{ClientRequest, Control};
use crate::module::Module;
use crate::pstate::PState;
use crate::remote_cluster::{Code, Connection};
use crate::schema::Root;
use crate::status::{self, Status};

pub(crate) use running::{Answers, Deadline, Numbers, Running};

/// A cluster, as clients and operators see it. Cheap to clone, usable from any thread and under any
/// executor.
///
/// # Errors
/// Calls while a module restarts answer `unavailable`; calls that were under way when it stopped
/// answer `unknown` (appends) or `unavailable` (everything else). The same handle works again when
/// the module is back. Over a connection ([`Cluster::connect`]) calls wait for a worker that
/// restarts, for as long as their deadline allows.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    modules: RwLock<BTreeMap<String, Arc<Running>>>,
    timer: Arc<dyn Timer>,
    random: AtomicU64,
    clock: Arc<Clock>,
    /// Whether nothing will run here again.
    over: AtomicBool,
    /// The way to a cluster of other processes.
    connection: Option<Connection>,
}

/// A cluster's handle that does not keep its connection open.
#[derive(Clone, Default)]
pub(crate) struct WeakCluster(Weak<Inner>);

impl WeakCluster {
    /// The handle, while there is another one.
    pub(crate) fn upgrade(&self) -> Option<Cluster> {
        self.0.upgrade().map(|inner| Cluster { inner })
    }
}

impl Cluster {
    pub(crate) fn new(id: u128, seed: u64, timer: Arc<dyn Timer>) -> Cluster {
        Cluster::over(id, seed, timer, None)
    }

    /// The handle of a cluster of other processes, if there is a connection.
    pub(crate) fn over(
        id: u128,
        seed: u64,
        timer: Arc<dyn Timer>,
        connection: Option<Connection>,
    ) -> Cluster {
        let inner = Inner {
            id: format!("{id:032x}"),
            modules: RwLock::default(),
            timer,
            random: AtomicU64::new(seed),
            clock: Arc::default(),
            over: AtomicBool::new(false),
            connection,
        };
        Cluster {
            inner: Arc::new(inner),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakCluster {
        WeakCluster(Arc::downgrade(&self.inner))
    }

    /// What author code of modules that run in this process is told of the time.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        self.inner.clock.clone()
    }

    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.inner.connection.as_ref()
    }

    /// A client of a depot. When several modules have a depot of that name, go through
    /// [`Cluster::module`].
    pub fn depot<T: Record>(&self, depot: Depot<T>) -> DepotClient<T> {
        DepotClient::new(self.clone(), None, depot)
    }

    /// A client of a PState. When several modules have a PState of that name, go through
    /// [`Cluster::module`].
    pub fn pstate<S: Root>(&self, pstate: PState<S>) -> PStateClient<S> {
        PStateClient::new(self.clone(), None, pstate)
    }

    /// The same calls for the objects of one module.
    pub fn module(&self, name: &str) -> ModuleClient {
        ModuleClient::new(self.clone(), name.to_owned())
    }

    /// Clients of the objects of `module`, whose code this program has. On a connection this looks
    /// up where the module runs and follows it from now on; [`Cluster::depot`] and the like find its
    /// objects after that, too.
    ///
    /// # Errors
    /// `NotFound` when no such module runs; `Rejected` when other code runs under its name, with both
    /// versions' interfaces; `Invalid` when its definition has mistakes; `Unavailable` while the
    /// module is down or the cluster cannot be asked.
    pub async fn open(&self, module: &dyn Module) -> Result<ModuleClient> {
        let definition = define(module)?;
        let name = definition.module.clone();
        if let Some(connection) = self.connection() {
            connection
                .follow(self, Code::Own(Box::new(definition.clone())))
                .await?;
        }
        let running = self.running(&name)?;
        check_code(
            &name,
            definition.interface(),
            running.layout.definition.interface(),
        )?;
        match running.is_up() {
            true => Ok(ModuleClient::new(self.clone(), name)),
            false => Err(running.down()),
        }
    }

    /// The cluster's identity, in hexadecimal.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Names of all modules that run in the cluster, sorted, whether this program has opened
    /// them or not.
    ///
    /// # Errors
    /// Over a connection `Unavailable` when no daemon answers within the deadline.
    pub async fn modules(&self) -> Result<Vec<String>> {
        match self.connection() {
            Some(connection) => connection.modules().await,
            None => Ok(self.modules_here()),
        }
    }

    /// Names of the modules that run in this process, or that it has opened over a connection, sorted.
    pub fn modules_here(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// A snapshot for operators. What other processes run is measured there, and not shown here.
    pub fn status(&self) -> Status {
        let modules = self.read().values().cloned().collect::<Vec<_>>();
        let modules = modules.iter().filter(|running| !running.is_outside());
        let status =
            |found: &Arc<Running>| status::of(&found.layout, &found.metrics, found.is_up());
        Status {
            cluster: self.inner.id.clone(),
            modules: modules.map(status).collect(),
        }
    }

    /// The definition of a module: objects, schemas, topology graphs.
    ///
    /// # Errors
    /// `NotFound` when no such module is launched.
    pub fn definition(&self, module: &str) -> Result<Definition> {
        Ok(self.running(module)?.layout.definition.clone())
    }

    /// Lets a topology finish what runs and stop (M-15). Answers when nothing runs and the pause is
    /// durable: it outlives restarts and crashes. Idempotent.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` while the module is down.
    pub async fn pause(&self, module: &str, topology: &str) -> Result<()> {
        let (running, topology) = self.topology_of(module, topology)?;
        let threads = control_threads(&running, topology);
        running
            .command(threads, |reply| Control::Pause { topology, reply })
            .await
    }

    /// Lets a paused topology go on. Idempotent.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` while the module is down.
    pub async fn resume(&self, module: &str, topology: &str) -> Result<()> {
        let (running, topology) = self.topology_of(module, topology)?;
        let threads = control_threads(&running, topology);
        running
            .command(threads, |reply| Control::Resume { topology, reply })
            .await
    }

    /// For each partition of a depot, from where to where a topology has processed it: what records
    /// before the end of a range wrote on their tasks can be read (M-16). What they wrote elsewhere
    /// follows in a moment: tasks commit a microbatch one by one. A source with an id of its own is
    /// `*depot//id`.
    ///
    /// # Errors
    /// `NotFound` when the topology does not consume the depot; `Unavailable` while the module is
    /// down.
    pub async fn processed_offsets(
        &self,
        module: &str,
        topology: &str,
        depot: &str,
    ) -> Result<Vec<Range<u64>>> {
        let (running, index) = self.topology_of(module, topology)?;
        let layout = &running.layout;
        let mut sources = layout.topologies[usize::from(index)].sources.iter();
        let named = |source: &SourceLayout| &layout.depots[usize::from(source.depot)];
        let found = sources.position(|source| source.name == depot && named(source).tick.is_none());
        let Some(source) = found else {
            return Err(Error::not_found(format!(
                "topology {topology} of {module} has no source {depot} with records"
            )));
        };
        let partitions = named(&layout.topologies[usize::from(index)].sources[source]).partitions;
        let asked = (0..partitions).map(|task| {
            running.ask(task, move |reply| ClientRequest::Processed {
                task,
                topology: index,
                source: source as u16,
                reply,
            })
        });
        try_join_all(asked).await
    }

    /// Waits until a topology has processed `count` records since it was first launched, over all
    /// its sources, ticks not counted (T-3).
    ///
    /// # Errors
    /// `Unavailable` after `timeout`, with the count reached; or when the module stops. `Rejected`
    /// over a connection, where nothing is known of it.
    pub async fn wait_for_processed(
        &self,
        module: &str,
        topology: &str,
        count: u64,
        timeout: Duration,
    ) -> Result<()> {
        let (running, index) = self.topology_of(module, topology)?;
        if running.is_outside() {
            let text =
                format!("progress of {module} is measured by its workers; ask them over HTTP");
            return Err(Error::rejected(text));
        }
        if !running.is_up() {
            return Err(running.down());
        }
        let reached = running.metrics.processed(index, count);
        let metrics = running.metrics.clone();
        drop(running);
        match select(reached, self.inner.timer.sleep(timeout)).await {
            Either::Left((Ok(()), _)) => Ok(()),
            Either::Left((Err(_), _)) => {
                let text = format!("module {module} stopped while it was waited for; wait again");
                Err(Error::unavailable(text))
            }
            Either::Right(_) => {
                let found = &metrics.topologies[usize::from(index)];
                let processed = found.processed.load(Ordering::Relaxed);
                let failure = found.last_error.lock().map_or(None, |error| error.clone());
                let why = failure.map_or(String::new(), |text| format!("; last failure: {text}"));
                Err(Error::unavailable(format!(
                    "topology {topology} of {module} has processed {processed} of {count} records \
                     after {timeout:?}{why}"
                )))
            }
        }
    }

    /// The records of a module that its topologies gave up on, in order of their ids.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` while the module is down.
    pub async fn dead_letters(&self, module: &str) -> Result<Vec<DeadLetter>> {
        let running = self.running(module)?;
        let mut letters = Vec::new();
        for task in 0..running.layout.tasks {
            let mut after = None;
            loop {
                let request = |reply| {
                    let request = dead_letters::Request::List { after, reply };
                    ClientRequest::DeadLetters { task, request }
                };
                let page = running.ask(task, request).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.id.clone());
                letters.extend(page);
            }
        }
        Ok(letters)
    }

    /// The depot that the dead letters of a topology's source are in, settled ones included until
    /// those before them are settled too. It can be read, not appended to.
    pub fn dead_letter_depot(
        &self,
        module: &str,
        topology: &str,
        depot: &str,
    ) -> DepotClient<DeadLetterRecord> {
        let name = dead_letters::name(topology, depot);
        DepotClient::of(self.clone(), Some(module.to_owned()), name)
    }

    /// Forgets dead letters by id; answers how many were there.
    ///
    /// # Errors
    /// `Invalid` for what is not an id; otherwise as [`Cluster::dead_letters`].
    pub async fn drop_dead_letters(&self, module: &str, ids: &[String]) -> Result<u64> {
        self.settle(module, ids, Settling::Drop).await
    }

    /// Appends the records of dead letters to their partitions again and forgets the letters;
    /// answers how many. Every topology that reads the depot sees them again.
    ///
    /// # Durability
    /// Append and end of a letter are one write where both are on one task thread: streams, and
    /// microbatches of one thread. Else the append comes first, and a crash or a broken link between
    /// the two leaves a letter whose record is there again already.
    ///
    /// # Errors
    /// As [`Cluster::dead_letters`]; letters before the failing one are replayed. `Invalid` when a
    /// record cannot be appended any more.
    pub async fn replay_dead_letters(&self, module: &str, ids: &[String]) -> Result<u64> {
        self.settle(module, ids, Settling::Replay).await
    }

    async fn settle(&self, module: &str, ids: &[String], how: Settling) -> Result<u64> {
        let running = self.running(module)?;
        let mut by_task: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for id in ids {
            let (task, _) = dead_letters::Mark::parse(id)?;
            if task >= running.layout.tasks {
                return Err(Error::invalid(format!(
                    "{id:?} names a task that does not exist"
                )));
            }
            by_task.entry(task).or_default().push(id.clone());
        }
        let mut settled = 0;
        for (task, ids) in by_task {
            let request = |reply| {
                let request = dead_letters::Request::Settle { ids, how, reply };
                ClientRequest::DeadLetters { task, request }
            };
            settled += running.ask(task, request).await?;
        }
        Ok(settled)
    }

    /// Waits for some time, whatever executor the caller runs on: virtual time in a simulation.
    pub async fn sleep(&self, duration: Duration) {
        self.inner.timer.sleep(duration).await;
    }

    /// The same as a future of its own.
    pub(crate) fn sleep_boxed(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.timer.sleep(duration)
    }

    /// Nothing will run here again.
    pub(crate) fn end(&self) {
        self.inner.over.store(true, Ordering::Release);
        self.stop(None);
    }

    /// Whether nothing will run here again.
    pub(crate) fn is_over(&self) -> bool {
        self.inner.over.load(Ordering::Acquire)
    }

    /// A module with the deadline of a call.
    pub(crate) fn bounded(&self, running: Arc<Running>, within: Option<Duration>) -> Arc<Running> {
        let Some(after) = within else {
            return running;
        };
        let timer = self.inner.timer.clone();
        Arc::new(running.within(Deadline { after, timer }))
    }

    /// The next number of a sequence that is seeded in a simulation.
    pub(crate) fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        let value = self
            .inner
            .random
            .fetch_add(step, Ordering::Relaxed)
            .wrapping_add(step);
        rama_core::ids::mix(value)
    }

    pub(crate) fn install(&self, running: Running) {
        let name = running.layout.module.clone();
        self.write().insert(name, Arc::new(running));
    }

    /// Marks a module, or all, as stopped: calls answer `unavailable`.
    pub(crate) fn stop(&self, module: Option<&str>) {
        let mut modules = self.write();
        for (name, running) in modules.iter_mut() {
            if module.is_none_or(|wanted| wanted == name) {
                *running = Arc::new(running.stopped());
            }
        }
    }

    /// Marks a module as stopped: calls answer with `reason`.
    pub(crate) fn stop_because(&self, module: &str, reason: &Error) {
        if let Some(running) = self.write().get_mut(module) {
            *running = Arc::new(running.stopped_because(reason));
        }
    }

    pub(crate) fn remove(&self, module: &str) {
        self.write().remove(module);
    }

    pub(crate) fn running(&self, module: &str) -> Result<Arc<Running>> {
        let modules = self.read();
        modules.get(module).cloned().ok_or_else(|| {
            let names: Vec<&str> = modules.keys().map(String::as_str).collect();
            Error::not_found(format!(
                "there is no module {module}; launched are: {}",
                names.join(", ")
            ))
        })
    }

    pub(crate) fn topology_of(&self, module: &str, name: &str) -> Result<(Arc<Running>, u16)> {
        let running = self.running(module)?;
        match running.layout.topology_index(name) {
            Some(index) => Ok((running, index)),
            None => Err(Error::not_found(format!(
                "module {module} has no topology {name}"
            ))),
        }
    }

    pub(crate) fn depot_of(&self, module: Option<&str>, name: &str) -> Result<(Arc<Running>, u16)> {
        self.find(module, name, "depot", |layout| {
            layout.depots.iter().position(|depot| depot.name == name)
        })
    }

    pub(crate) fn pstate_of(
        &self,
        module: Option<&str>,
        name: &str,
    ) -> Result<(Arc<Running>, u16)> {
        self.find(module, name, "PState", |layout| {
            layout.pstates.iter().position(|pstate| pstate.name == name)
        })
    }

    pub(crate) fn query_of(&self, module: Option<&str>, name: &str) -> Result<(Arc<Running>, u16)> {
        self.find(module, name, "query", |layout| {
            layout.queries.iter().position(|query| query.name == name)
        })
    }

    fn find(
        &self,
        module: Option<&str>,
        name: &str,
        kind: &str,
        index: impl Fn(&Layout) -> Option<usize>,
    ) -> Result<(Arc<Running>, u16)> {
        if let Some(module) = module {
            let running = self.running(module)?;
            return match index(&running.layout) {
                Some(found) => Ok((running, found as u16)),
                None => Err(Error::not_found(format!(
                    "module {module} has no {kind} {name}"
                ))),
            };
        }
        let modules = self.read();
        let mut found = modules.values().filter_map(|running| {
            index(&running.layout).map(|index| (running.clone(), index as u16))
        });
        match (found.next(), found.next()) {
            (Some(found), None) => Ok(found),
            (None, _) => Err(Error::not_found(format!(
                "no launched module has a {kind} {name}"
            ))),
            (Some((first, _)), Some((second, _))) => Err(Error::invalid(format!(
                "modules {} and {} both have a {kind} {name}: say which with .module(name)",
                first.layout.module, second.layout.module
            ))),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Running>>> {
        self.inner
            .modules
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Running>>> {
        self.inner
            .modules
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("id", &self.inner.id)
            .finish_non_exhaustive()
    }
}

/// Whether a program whose code has the interface `ours` may use the module that runs as `theirs`.
pub(crate) fn check_code(module: &str, ours: u64, theirs: u64) -> Result<()> {
    if ours == theirs {
        return Ok(());
    }
    Err(Error::rejected(format!(
        "this program has other code of {module} than the one that runs: its objects have interface \
         {ours:016x}, those that run {theirs:016x}; build it from the version that runs (`describe` \
         of both programs shows what differs), or deploy this one"
    )))
}

/// The threads that a command for a topology goes to.
fn control_threads(running: &Running, topology: u16) -> std::ops::Range<u32> {
    match running.layout.topologies[usize::from(topology)].kind {
        crate::topology_def::TopologyKind::Stream => 0..running.layout.threads,
        crate::topology_def::TopologyKind::Microbatch => {
            let thread = running.layout.thread_of(0);
            thread..thread + 1
        }
    }
}
