//! Starting a task thread: open the log, find where every topology was, start the loops.
//!
//! Relies on the group's recovery: when `open` returns, every durable entry is applied and what was
//! prepared without a decision is reported. What must stay true: no loop runs before all of them
//! exist, so that the first message finds its queue.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rama_core::microbatch::Ledger;
use rama_io::{Category, CategoryShares, Env};
use rama_storage::lsm::scratch::{self, Scratch};
use rama_storage::lsm::{Read, WriteBatch};
use rama_storage::{Entry, Group, GroupOptions, Identity, Op, Recovered};
use rama_wire::SpaceId;

use super::{Inbox, TaskState, Thread, control, serve_clients, serve_inbox, serve_log};
use crate::category_queue::Queue;
use crate::commit::Commit;
use crate::context::EventContext;
use crate::error::{Error, ErrorKind, Result};
use crate::external;
use crate::layout::Layout;
use crate::message::Post;
use crate::metrics::ModuleMetrics;
use crate::microbatch_driver::{self, Boot, Coordinating, Participating};
use crate::migrating;
use crate::mirror::{self, Pulls};
use crate::producers::Producers;
use crate::proxy::followers::{self, Followers};
use crate::query_driver::{self, Queries, QueryContext};
use crate::remote::link::{Links, LocalFuture};
use crate::remote::serve::Served;
use crate::removal;
use crate::stream_driver::progress::Progress;
use crate::stream_driver::{self, Streaming};
use crate::system_keys;
use crate::task_global::{self, Instances};
use crate::topology_def::TopologyKind;
use crate::trimming;
use crate::tuning::{TopologyTuning, Tuning};
use crate::waits::Waits;

/// What a task thread is started with.
pub(crate) struct ThreadStart<E: Env> {
    pub(crate) layout: Arc<Layout>,
    pub(crate) metrics: Arc<ModuleMetrics>,
    pub(crate) index: u32,
    pub(crate) cluster: u128,
    pub(crate) dir: PathBuf,
    pub(crate) inbox: Inbox<E>,
    /// The inboxes of the threads of this process, by thread.
    pub(crate) peers: Arc<[Option<Arc<dyn Post>>]>,
    /// How to reach the others; there when there are others.
    pub(crate) links: Option<Arc<dyn Links<E>>>,
    pub(crate) storage: GroupOptions,
    pub(crate) tuning: Arc<Tuning>,
}

/// Opens the thread's data and starts its loops on the executor of `env`; answers which streams are
/// paused there.
pub(crate) async fn start<E: Env>(env: E, start: ThreadStart<E>) -> Result<BTreeSet<u16>> {
    let ThreadStart {
        layout,
        metrics,
        index,
        cluster,
        dir,
        inbox,
        peers,
        links,
        storage,
        tuning,
    } = start;
    let partitions: Vec<u32> = (index..layout.tasks)
        .step_by(layout.threads as usize)
        .collect();
    let identity = Identity {
        cluster,
        group: index,
    };
    // Before the data is touched: a launch that fails here leaves nothing behind.
    let globals = Instances::make(&env, &layout, &partitions)?;
    let opened = Group::open(&env, &dir, identity, &partitions, storage).await;
    let (group, recovered) = opened.map_err(|error| {
        let text = format!(
            "could not open the data of task thread {index} in {}",
            dir.display()
        );
        let error = migrating::explain(&layout, &error).unwrap_or_else(|| Error::from(error));
        Error::new(error.kind(), text).caused_by(error)
    })?;
    let scratch = Scratch::open(&env, &dir.join(scratch::DIR)).await;
    let scratch = scratch.map_err(rama_storage::Error::from)?;
    let tasks = partitions
        .iter()
        .zip(globals)
        .map(|(&task, globals)| task_state(&env, &layout, &group, (task, globals)));
    let tasks = tasks.collect::<Result<Vec<_>>>()?;
    initialize(&env, &layout, &tuning, (&group, &tasks)).await?;
    let hosts_coordinators = layout.thread_of(0) == index;
    let coordinators = layout
        .topologies
        .iter()
        .enumerate()
        .map(|(topology, found)| {
            let here = hosts_coordinators && found.kind == TopologyKind::Microbatch;
            here.then(|| Rc::new(Coordinating::new(topology as u16)))
        });
    let (peers, link_loops) = reach(&env, index, &peers, links.as_deref())?;
    let served = Served {
        env: env.clone(),
        layout: layout.clone(),
        thread: index,
        post: peers[index as usize].clone(),
    };
    let contexts = tasks.iter().map(|task| {
        let store = task.partition.store().clone();
        let here = (task.id, task.globals.clone());
        let context = QueryContext::new(env.clone(), store, layout.clone(), here);
        Rc::new(context)
    });
    let queries = Queries::new(layout.tasks, env.random_u64(), contexts);
    let thread = Rc::new(Thread {
        queries,
        coordinators: coordinators.collect(),
        commit: Commit::new(group.applied()),
        progress: Progress::default(),
        paused: layout.topologies.iter().map(|_| Cell::new(false)).collect(),
        draining: Cell::new(false),
        grown: RefCell::default(),
        clients: Queue::default(),
        paged_selects: Cell::new(0),
        tuning: RefCell::new(tuning),
        loops: RefCell::default(),
        waits: Waits::default(),
        pulls: Pulls::default(),
        env,
        layout,
        index,
        metrics,
        tasks,
        group,
        peers,
        scratch,
    });
    if thread.tuning().shares != CategoryShares::default() {
        thread.env.set_shares(thread.tuning().shares);
    }
    thread.start_loops(&recovered)?;
    thread.spawn(Category::Replication, serve_inbox(thread.clone(), inbox));
    for (category, work) in link_loops {
        thread.spawn(category, work);
    }
    if let Some(links) = links {
        thread.spawn(Category::Replication, links.accept(served));
    }
    Ok(thread.paused_streams())
}

type Posts = Arc<[Arc<dyn Post>]>;
type LinkLoops = Vec<(Category, LocalFuture)>;

/// The way to every thread of the module, and the loops that keep it open.
fn reach<E: Env>(
    env: &E,
    index: u32,
    peers: &[Option<Arc<dyn Post>>],
    links: Option<&dyn Links<E>>,
) -> Result<(Posts, LinkLoops)> {
    let mut loops = Vec::new();
    let local = peers.get(index as usize).cloned().flatten();
    let missing = || {
        let text = format!("task thread {index} was started without a way to all others");
        Error::new(ErrorKind::Invalid, text)
    };
    let local = local.ok_or_else(missing)?;
    let mut posts = Vec::new();
    for (to, peer) in peers.iter().enumerate() {
        if let Some(post) = peer {
            posts.push(post.clone());
            continue;
        }
        let links = links.ok_or_else(missing)?;
        let (post, work) = links.open(env, Some(index), to as u32, &local);
        posts.push(post);
        loops.extend(work);
    }
    Ok((posts.into(), loops))
}

fn task_state<E: Env>(
    env: &E,
    layout: &Arc<Layout>,
    group: &Group<E>,
    (task, globals): (u32, Rc<Instances>),
) -> Result<TaskState<E>> {
    let partition = group.partition(task)?;
    let mut streams = Vec::new();
    let mut participants = Vec::new();
    for (topology, found) in layout.topologies.iter().enumerate() {
        let topology = topology as u16;
        let store = partition.store().clone();
        let context = EventContext::new(env.clone(), store, layout.clone(), task, topology);
        context.0.set_globals(globals.clone());
        let (stream, participant) = match found.kind {
            TopologyKind::Stream => (
                Some(Streaming::new(
                    topology,
                    task,
                    layout,
                    env.random_u64(),
                    context,
                )),
                None,
            ),
            TopologyKind::Microbatch => (
                None,
                Some(Rc::new(Participating::new(topology, task, context))),
            ),
        };
        streams.push(stream.map(Rc::new));
        participants.push(participant);
    }
    let producers = Producers::load(partition.store())?;
    Ok(TaskState {
        id: task,
        producers: RefCell::new(producers),
        partition,
        followers: Followers::default(),
        globals,
        pending_appends: Cell::new(0),
        letters: RefCell::default(),
        record_bytes: layout.depots.iter().map(|_| Cell::new(0)).collect(),
        streams,
        participants,
    })
}

/// Writes the initial values of PStates and the positions of sources that are new on this thread, and
/// takes away what updates took, before anybody reads and before anything is appended.
async fn initialize<E: Env>(
    env: &E,
    layout: &Layout,
    tuning: &Tuning,
    (group, tasks): (&Group<E>, &[TaskState<E>]),
) -> Result<()> {
    let mut entry = Entry::new();
    for task in tasks {
        let mut batch = WriteBatch::new();
        for (pstate, definition) in layout.pstates.iter().zip(&layout.definition.pstates) {
            let Some(initial) = &definition.initial else {
                continue;
            };
            if definition.global && task.id != 0 {
                continue;
            }
            let marker = system_keys::initialized(pstate.space.0);
            let mut there = false;
            task.partition
                .store()
                .get(SpaceId::SYSTEM, &marker, &mut |found| {
                    there = found.is_some();
                })?;
            if !there {
                batch.put(pstate.space, b"", initial);
                batch.put(SpaceId::SYSTEM, &marker, b"");
            }
        }
        let partition = (task.id, &task.partition);
        crate::start::fix(env, layout, tuning, partition, &mut batch).await?;
        removal::forget(&layout.gone, partition, &mut batch, &mut entry)?;
        if !batch.is_empty() {
            entry.push(Op::Write {
                partition: task.id,
                batch,
            });
        }
    }
    if entry.is_empty() {
        return Ok(());
    }
    let index = group.append(entry)?.index;
    group.wait_durable(index).await?;
    group.apply(index)?;
    Ok(())
}

impl<E: Env> Thread<E> {
    fn start_loops(self: &Rc<Self>, recovered: &Recovered) -> Result<()> {
        self.spawn(Category::Replication, serve_log(self.clone()));
        self.spawn(Category::Client, serve_clients(self.clone()));
        self.spawn(Category::Background, trimming::run(self.clone()));
        if migrating::measure(self) {
            self.spawn(Category::Background, migrating::run(self.clone()));
        }
        if !self.layout.queries.is_empty() {
            self.spawn(Category::Client, query_driver::serve(self.clone()));
        }
        control::recover_pauses(self)?;
        for coordinator in self.coordinators.iter().flatten() {
            self.start_coordinator(coordinator)?;
        }
        for (place, task) in self.tasks.iter().enumerate() {
            self.spawn(Category::Client, followers::run(self.clone(), place));
            for participant in task.participants.iter().flatten() {
                self.set_begins(participant)?;
                let boot = self.boot_of(participant, recovered)?;
                let run = microbatch_driver::run(self.clone(), participant.clone(), boot);
                self.spawn(Category::FlexLatency, run);
            }
            for stream in task.streams.iter().flatten() {
                stream_driver::boot(self, stream)?;
                let run = stream_driver::run(self.clone(), stream.clone());
                self.spawn(Category::LowLatency, run);
            }
            for ticking in task.globals.ticking() {
                let run = task_global::run_ticks(self.clone(), place, ticking);
                self.spawn(Category::LowLatency, run);
            }
            for external in &self.layout.definition.externals {
                let run = external::run(self.clone(), task.id, external.clone());
                self.spawn(Category::FlexLatency, run);
            }
            for copy in &self.layout.definition.copies {
                let module = &self.layout.module;
                let source = mirror::source(module, copy, self.layout.others.clone());
                let run = external::run(self.clone(), task.id, source);
                self.spawn(Category::FlexLatency, run);
            }
            for depot in 0..self.layout.depots.len() {
                self.mark_grown(task.id, depot as u16);
            }
        }
        crate::depot::announce_growth(self);
        Ok(())
    }

    fn start_coordinator(self: &Rc<Self>, coordinator: &Rc<Coordinating>) -> Result<()> {
        let topology = &self.layout.topologies[usize::from(coordinator.topology)];
        let key = system_keys::ledger(topology.slot);
        let ledger = self.system_value(0, &key, Ledger::decode)?;
        if let Some(ledger) = &ledger {
            let (metrics, topology) = (&self.metrics, coordinator.topology);
            metrics.set_positions(&self.layout, topology, &ledger.progress);
            metrics.set_paused(topology, ledger.paused);
        }
        let options = match &self.tuning().topologies[usize::from(coordinator.topology)] {
            TopologyTuning::Microbatch { limits, portions } => {
                topology.coordinator_options(&self.layout, *limits, portions)
            }
            TopologyTuning::Stream { .. } => unreachable!("only microbatches are coordinated"),
        };
        let me = coordinator.clone();
        let run = microbatch_driver::run_coordinator(self.clone(), me, options, ledger);
        self.spawn(Category::FlexLatency, run);
        Ok(())
    }

    /// Where the sources of a microbatch topology begin on a task while they have no progress.
    fn set_begins(&self, participant: &Participating<E>) -> Result<()> {
        let (index, task) = (participant.topology, participant.task);
        let topology = &self.layout.topologies[usize::from(index)];
        let mut begins = Vec::new();
        for (place, source) in topology.sources.iter().enumerate() {
            let decode = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
            let key = crate::start::key(topology, source);
            let begin = self.system_value(task, &key, decode)?;
            if let Some(begin) = begin {
                self.metrics.set_begin(index, place, task, begin);
            }
            begins.push(begin.unwrap_or(0));
        }
        participant.set_begins(begins);
        Ok(())
    }

    fn boot_of(&self, participant: &Participating<E>, recovered: &Recovered) -> Result<Boot> {
        let slot = self.layout.topologies[usize::from(participant.topology)].slot;
        let key = system_keys::committed(slot);
        let decode = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
        let committed = self
            .system_value(participant.task, &key, decode)?
            .unwrap_or(0);
        let prepared = recovered
            .prepared
            .iter()
            .filter(|found| found.partition == participant.task && found.slot == slot)
            .map(|found| microbatch_driver::position(found.txn, found.attempt))
            .max();
        Ok(Boot {
            committed,
            prepared,
        })
    }

    /// Reads and decodes a value of the system space of a local task.
    pub(crate) fn system_value<T, X: std::fmt::Display>(
        &self,
        task: u32,
        key: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, X>,
    ) -> Result<Option<T>> {
        let mut found = None;
        let store = self.local(task).partition.store();
        store.get(SpaceId::SYSTEM, key, &mut |bytes| {
            found = bytes.map(&decode)
        })?;
        found.transpose().map_err(|error| {
            let text = format!("could not read the system state {key:?} of task {task}: {error}");
            Error::new(ErrorKind::Corrupt, text)
        })
    }
}
