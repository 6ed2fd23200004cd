//! The handle by which programs use a cluster: clients, operations, status.
//!
//! Relies on nothing of an executor: it posts messages and waits for oneshots. What must stay true:
//! a handle outlives the modules and restarts behind it; what is down is `unavailable` and works
//! again when it is back.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use rama_wire::Record;

use crate::client::{DepotClient, PStateClient};
use crate::dead_letters::{self, DeadLetter, DeadLetterRecord, Settling};
use crate::depot_def::Depot;
use crate::error::{Error, Result};
use crate::host::Timer;
use crate::layout::Layout;
use crate::message::{AppendRequest, ClientRequest, Control, Message, Post, Reply};
use crate::metrics::ModuleMetrics;
use crate::producers::Numbered;
use crate::pstate::PState;
use crate::schema::Root;
use crate::status::{self, Status};

/// A cluster, as clients and operators see it. Cheap to clone, usable from any thread and under any
/// executor.
///
/// # Errors
/// Calls while a module restarts answer `unavailable`; calls that were under way when it stopped
/// answer `unknown` (appends) or `unavailable` (everything else). The same handle works again when
/// the module is back.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    modules: RwLock<BTreeMap<String, Arc<Running>>>,
    timer: Arc<dyn Timer>,
    random: AtomicU64,
}

/// A launched module and how to reach it.
pub(crate) struct Running {
    pub(crate) layout: Arc<Layout>,
    pub(crate) metrics: Arc<ModuleMetrics>,
    /// Empty while it is stopped.
    posts: Arc<[Arc<dyn Post>]>,
    /// None within a process, whose task threads answer or are gone.
    deadline: Option<Deadline>,
    /// None where nothing is ever sent twice.
    numbers: Option<Numbers>,
}

/// Numbers the appends of a program to each partition, so that they may be sent again.
pub(crate) struct Numbers {
    producer: u64,
    /// The last number, by task and depot.
    last: Mutex<BTreeMap<(u32, u16), u64>>,
}

impl Numbers {
    /// For a program with a random id; 0 is none.
    pub(crate) fn new(producer: u64) -> Numbers {
        Numbers {
            producer: producer.max(1),
            last: Mutex::default(),
        }
    }
}

/// When a call to another process is given up.
#[derive(Clone)]
pub(crate) struct Deadline {
    pub(crate) after: Duration,
    pub(crate) timer: Arc<dyn Timer>,
}

impl Deadline {
    /// Waits for `answer`, or until it is too late for it.
    pub(crate) async fn bound<T>(
        this: Option<&Deadline>,
        answer: impl Future<Output = Result<T>>,
        late: impl FnOnce(Duration) -> Error,
    ) -> Result<T> {
        let Some(Deadline { after, timer }) = this else {
            return answer.await;
        };
        match select(pin!(answer), timer.sleep(*after)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(late(*after)),
        }
    }
}

impl Running {
    pub(crate) fn new(
        layout: Arc<Layout>,
        metrics: Arc<ModuleMetrics>,
        posts: Arc<[Arc<dyn Post>]>,
    ) -> Running {
        Running {
            layout,
            metrics,
            posts,
            deadline: None,
            numbers: None,
        }
    }

    pub(crate) fn with_deadline(self, deadline: Deadline) -> Running {
        Running {
            deadline: Some(deadline),
            ..self
        }
    }

    /// Appends carry numbers from now on.
    pub(crate) fn with_numbers(self, numbers: Numbers) -> Running {
        let numbers = Some(numbers);
        Running { numbers, ..self }
    }

    /// Sends an append that `request` makes of its number.
    pub(crate) fn post_append(
        &self,
        (task, depot): (u32, u16),
        request: impl FnOnce(Option<Numbered>) -> AppendRequest,
    ) -> Result<()> {
        let Some(Numbers { producer, last }) = &self.numbers else {
            return self.post(task, ClientRequest::Append(request(None)));
        };
        // Held while it is sent, so that numbers arrive in their order.
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = last.entry((task, depot)).or_default();
        *sequence += 1;
        let numbered = Numbered {
            producer: *producer,
            sequence: *sequence,
        };
        self.post(task, ClientRequest::Append(request(Some(numbered))))
    }

    pub(crate) fn deadline(&self) -> Option<&Deadline> {
        self.deadline.as_ref()
    }

    /// The same module without its threads.
    pub(crate) fn stopped(&self) -> Running {
        self.metrics.on_stop();
        let (layout, metrics) = (self.layout.clone(), self.metrics.clone());
        Running {
            layout,
            metrics,
            posts: Arc::new([]),
            deadline: self.deadline.clone(),
            numbers: None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.posts.is_empty()
    }

    fn down(&self) -> Error {
        Error::unavailable(format!(
            "module {} is not running, nothing was done; retry when it is back",
            self.layout.module
        ))
    }

    /// Sends a request to a task.
    pub(crate) fn post(&self, task: u32, request: ClientRequest) -> Result<()> {
        let post = self
            .posts
            .get(self.layout.thread_of(task) as usize)
            .ok_or_else(|| self.down())?;
        post.post(Message::Client(request)).map_err(|_| self.down())
    }

    /// Sends a read to a task and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        task: u32,
        request: impl FnOnce(Reply<T>) -> ClientRequest,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.post(task, request(reply))?;
        let answer = async { answer.await.unwrap_or_else(|_| Err(self.down())) };
        Deadline::bound(self.deadline(), answer, |after| self.late(after)).await
    }

    /// Sends a command to every task thread and waits for all.
    pub(crate) async fn command(
        &self,
        threads: impl IntoIterator<Item = u32>,
        control: impl Fn(Reply<()>) -> Control,
    ) -> Result<()> {
        let mut answers = Vec::new();
        for thread in threads {
            let (reply, answer) = oneshot::channel();
            let post = self.posts.get(thread as usize).ok_or_else(|| self.down())?;
            post.post(Message::Control(control(reply)))
                .map_err(|_| self.down())?;
            answers.push(answer);
        }
        for answer in answers {
            let answer = async { answer.await.unwrap_or_else(|_| Err(self.down())) };
            Deadline::bound(self.deadline(), answer, |after| self.late(after)).await?;
        }
        Ok(())
    }

    fn late(&self, after: Duration) -> Error {
        Error::unavailable(format!(
            "module {} did not answer within {after:?}; retry",
            self.layout.module
        ))
    }
}

impl Cluster {
    pub(crate) fn new(id: u128, seed: u64, timer: Arc<dyn Timer>) -> Cluster {
        let inner = Inner {
            id: format!("{id:032x}"),
            modules: RwLock::default(),
            timer,
            random: AtomicU64::new(seed),
        };
        Cluster {
            inner: Arc::new(inner),
        }
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
        ModuleClient {
            cluster: self.clone(),
            module: name.to_owned(),
        }
    }

    /// The cluster's identity, in hexadecimal.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Names of the launched modules, sorted.
    pub fn modules(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// A snapshot for operators.
    pub fn status(&self) -> Status {
        let modules = self.read().values().cloned().collect::<Vec<_>>();
        let status =
            |found: &Arc<Running>| status::of(&found.layout, &found.metrics, found.is_up());
        Status {
            cluster: self.inner.id.clone(),
            modules: modules.iter().map(status).collect(),
        }
    }

    /// The definition of a module: objects, schemas, topology graphs.
    ///
    /// # Errors
    /// `NotFound` when no such module is launched.
    pub fn definition(&self, module: &str) -> Result<crate::definition::Definition> {
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

    /// Waits until a topology has processed `count` records since it was first launched, over all
    /// its sources, ticks not counted (T-3).
    ///
    /// # Errors
    /// `Unavailable` after `timeout`, with the count reached; or when the module stops.
    pub async fn wait_for_processed(
        &self,
        module: &str,
        topology: &str,
        count: u64,
        timeout: Duration,
    ) -> Result<()> {
        let (running, index) = self.topology_of(module, topology)?;
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

/// The objects of one module of a cluster.
#[derive(Clone, Debug)]
pub struct ModuleClient {
    cluster: Cluster,
    module: String,
}

impl ModuleClient {
    /// A client of one of its depots.
    pub fn depot<T: Record>(&self, depot: Depot<T>) -> DepotClient<T> {
        DepotClient::new(self.cluster.clone(), Some(self.module.clone()), depot)
    }

    /// A client of one of its PStates.
    pub fn pstate<S: Root>(&self, pstate: PState<S>) -> PStateClient<S> {
        PStateClient::new(self.cluster.clone(), Some(self.module.clone()), pstate)
    }
}
