//! One task thread of one module: its tasks, its log, its queues and the loops that serve them.
//!
//! Relies on one executor: everything here is `Rc`-shared and runs to completion between awaits, so
//! that events of a task never overlap (O-6). The inbox loop sorts messages into category queues;
//! one loop per kind of work takes them out: clients, the commit of the log, one loop per topology
//! and task. What must stay true: messages of one sender reach their task in order (O-9), whether
//! they came through the inbox or from a task of the same thread.

mod control;
mod links;
mod open;

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::{AbortHandle, Abortable};
use rama_core::ids::SourceId;
use rama_core::microbatch::CoordinatorInput;
use rama_io::{Category, Env, Receiver, Transport};
use rama_storage::lsm::scratch::Scratch;
use rama_storage::{Appended, Entry, Group, Op, Partition};
use rama_wire::{Index, LogId, SpaceId};

use crate::category_queue::Queue;
use crate::client;
use crate::commit::{self, Commit};
use crate::dead_letters;
use crate::depot::{self, Pending};
use crate::error::Result;
use crate::failure::EventFailure;
use crate::layout::Layout;
use crate::limits;
use crate::message::{ClientRequest, Message, Post, Records};
use crate::metrics::ModuleMetrics;
use crate::microbatch_driver::{self, Coordinating, CoordinatorEvent, Participating};
use crate::mirror::{self, Pulls};
use crate::plan::Plan;
use crate::processed;
use crate::producers::Producers;
use crate::proxy::followers::{self, Followers};
use crate::proxy::slot::Subscription;
use crate::query_driver::{self, Queries};
use crate::stream_driver::progress::Progress;
use crate::stream_driver::{self, Streaming};
use crate::task_global::Instances;
use crate::tuning::Tuning;
use crate::waits::Waits;

pub(crate) use control::pause_by_policy;
pub(crate) use open::{ThreadStart, start};

/// The inbox of a task thread.
pub(crate) type Inbox<E> = <<E as Env>::Transport as Transport>::Receiver<Message>;

/// A task thread. Shared by its loops.
pub(crate) struct Thread<E: Env> {
    pub(crate) env: E,
    pub(crate) layout: Arc<Layout>,
    pub(crate) index: u32,
    pub(crate) metrics: Arc<ModuleMetrics>,
    pub(crate) commit: Commit<Pending>,
    /// Progress of streams on its way into the log.
    pub(crate) progress: Progress,
    pub(crate) tasks: Vec<TaskState<E>>,
    /// Depot partitions that grew in the commit being settled: task and depot.
    pub(crate) grown: RefCell<Vec<(u32, u16)>>,
    /// What the options come to now.
    tuning: RefCell<Arc<Tuning>>,
    /// Where rows of batches wait that are too many for memory.
    pub(crate) scratch: Scratch<E>,
    group: Group<E>,
    peers: Arc<[Arc<dyn Post>]>,
    clients: Queue<ClientRequest>,
    /// Selects that are being read page by page.
    pub(crate) paged_selects: Cell<usize>,
    coordinators: Vec<Option<Rc<Coordinating>>>,
    pub(crate) queries: Queries<E>,
    /// By topology: whether it is a stream that an operator or a policy paused.
    paused: Vec<Cell<bool>>,
    /// Whether the thread is about to stop: streams begin nothing.
    draining: Cell<bool>,
    loops: RefCell<Vec<AbortHandle>>,
    /// Futures of author code.
    pub(crate) waits: Waits,
    /// Mirrors in other modules.
    pub(crate) pulls: Pulls,
}

/// One task of the thread.
pub(crate) struct TaskState<E: Env> {
    pub(crate) id: u32,
    pub(crate) partition: Partition<E>,
    /// Who follows its PStates.
    pub(crate) followers: Followers,
    /// Its task globals.
    pub(crate) globals: Rc<Instances>,
    /// Numbered appends that were taken.
    pub(crate) producers: RefCell<Producers>,
    /// Appends accepted and not answered.
    pub(crate) pending_appends: Cell<usize>,
    /// Dead letters that are being written or settled.
    pub(crate) letters: RefCell<BTreeSet<dead_letters::Mark>>,
    /// Mean size of recent records, by depot: a hint for the size of microbatches.
    record_bytes: Vec<Cell<u64>>,
    /// By topology; `None` for those of the other kind.
    pub(crate) streams: Vec<Option<Rc<Streaming<E>>>>,
    pub(crate) participants: Vec<Option<Rc<Participating<E>>>>,
}

impl<E: Env> TaskState<E> {
    /// Follows the size of the records of a depot; each call weighs an eighth.
    pub(crate) fn note_record_bytes(&self, depot: u16, records: &Records) {
        let mean = &self.record_bytes[usize::from(depot)];
        let new = (records.bytes_len() / records.len().max(1)) as u64;
        mean.set(if mean.get() == 0 {
            new.max(1)
        } else {
            (mean.get() * 7 + new).div_ceil(8)
        });
    }

    /// Mean size of recent records of a depot; 0 when none came since the start.
    pub(crate) fn record_bytes(&self, depot: u16) -> u64 {
        self.record_bytes[usize::from(depot)].get()
    }
}

impl<E: Env> Thread<E> {
    /// The tasks with this thread, by their place in it.
    pub(crate) fn local(&self, task: u32) -> &TaskState<E> {
        debug_assert_eq!(self.layout.thread_of(task), self.index);
        &self.tasks[(task / self.layout.threads) as usize]
    }

    /// What the options come to now. Not to be kept over an `await`.
    pub(crate) fn tuning(&self) -> Ref<'_, Tuning> {
        Ref::map(self.tuning.borrow(), |tuning| &**tuning)
    }

    /// How much memory the rows may take that wait on one task at one step of a batch.
    pub(crate) fn rows_budget(&self) -> usize {
        self.tuning().batch_memory as usize / self.tasks.len().max(1)
    }

    /// Says, of an event that begins now, whether it has taken its time.
    pub(crate) fn overtime(&self) -> impl Fn() -> bool + use<E> {
        let end = self.env.now().after(self.tuning().event_target);
        let env = self.env.clone();
        move || env.now() >= end
    }

    /// Sends to a task, wherever it is.
    pub(crate) fn send(&self, task: u32, message: Message) {
        let thread = self.layout.thread_of(task);
        if thread == self.index {
            self.dispatch(message);
        } else if let Err(message) = self.peers[thread as usize].post(message) {
            links::on_unsent(self, thread, message);
        }
    }

    /// Puts a message where its loop finds it.
    fn dispatch(&self, message: Message) {
        match message {
            Message::Client(request) => self.clients.push(request),
            Message::Stream {
                topology,
                task,
                message,
            } => {
                if let Some(stream) = &self.local(task).streams[usize::from(topology)] {
                    stream.on_message(self, message);
                }
            }
            Message::Hop {
                topology,
                task,
                hop,
            } => {
                self.tell_participant(topology, task, microbatch_driver::Event::Hop(hop));
            }
            Message::ToParticipant {
                topology,
                task,
                message,
            } => {
                self.tell_participant(topology, task, microbatch_driver::Event::Message(message));
            }
            Message::ToCoordinator { topology, message } => {
                let input = CoordinatorInput::Message(message);
                self.tell_coordinator(topology, CoordinatorEvent::Input(input));
            }
            Message::DepotEnd {
                topology,
                source,
                partition,
                start,
                end,
                begin,
                bytes,
            } => {
                let input = CoordinatorInput::DepotEnd {
                    source: SourceId(source),
                    partition,
                    start,
                    end,
                    begin,
                    record_bytes: bytes,
                };
                self.tell_coordinator(topology, CoordinatorEvent::Input(input));
            }
            Message::Query {
                query,
                task,
                invocation,
                message,
            } => self.queries.push(query_driver::Work::Message {
                task,
                query,
                invocation,
                message,
            }),
            Message::Control(_) => unreachable!("no task sends commands to another"),
            Message::Unfollow { task, reader } => self.local(task).followers.remove(reader),
            Message::Link { thread, lane, up } => links::on_link(self, thread, lane, up),
            Message::StreamNewsLost => links::on_stream_news_lost(self),
        }
    }

    fn tell_participant(&self, topology: u16, task: u32, event: microbatch_driver::Event) {
        if let Some(participant) = &self.local(task).participants[usize::from(topology)] {
            participant.events.push(event);
        }
    }

    fn tell_coordinator(&self, topology: u16, event: CoordinatorEvent) {
        if let Some(coordinator) = &self.coordinators[usize::from(topology)] {
            coordinator.events.push(event);
        }
    }

    /// Appends one operation to the log; `None` when the log is dead, which the commit loop
    /// reports.
    pub(crate) fn append(&self, op: Op<'_>) -> Option<Index> {
        match self.try_append(Entry::new().with(op)) {
            Ok(appended) => Some(appended.index),
            Err(error) => {
                tracing::error!(%error, thread = self.index, "could not write to the log");
                None
            }
        }
    }

    /// Appends to the log. What streams have done goes first, so that it costs no write of its own.
    pub(crate) fn try_append(&self, entry: Entry<'_>) -> Result<Appended> {
        if let Some(poison) = self.commit.poison() {
            return Err(poison);
        }
        self.save_progress();
        let appended = self.group.append(entry)?;
        self.commit.on_append();
        Ok(appended)
    }

    /// The value that a prepared transaction – partition, slot, number – puts under a key, if that
    /// is its first write.
    pub(crate) fn prepared_first(
        &self,
        of: (u32, u16, u64),
        space: SpaceId,
        key: &[u8],
    ) -> Option<Vec<u8>> {
        self.group.prepared_first(of, space, key)
    }

    /// Waits for the next entry to be durable, and applies everything that is.
    async fn apply_durable(&self) -> Result<(), rama_storage::Error> {
        let next = self.commit.applied_to().next();
        self.group.wait_durable(next).await?;
        let durable = self.group.durable();
        self.group.apply_before(durable, &mut |task, writes| {
            let TaskState {
                followers,
                partition,
                ..
            } = self.local(task);
            if !followers.is_idle() {
                let tuning = self.tuning();
                let waiting_max = |pstate: u16| tuning.proxy_waiting_max[usize::from(pstate)];
                followers.on_writes(partition.store(), writes, &waiting_max);
            }
        })?;
        self.commit.advance(durable);
        Ok(())
    }

    /// Hands progress that the log does not have to it.
    pub(crate) fn save_progress(&self) {
        let taken = self.progress.take();
        if taken.is_empty() {
            return;
        }
        let mut entry = Entry::new();
        let mut told = Vec::with_capacity(taken.len());
        for (saved, batch) in taken {
            let partition = saved.owner.task;
            entry.push(Op::Write { partition, batch });
            told.push(saved);
        }
        match self.group.append(entry) {
            Ok(appended) => {
                self.commit.on_append();
                for saved in told {
                    let pending = Pending::Progress(saved);
                    self.commit.answer_at(appended.index, pending);
                }
            }
            Err(error) => {
                tracing::error!(%error, thread = self.index, "could not store progress");
            }
        }
    }

    /// Brings the segment of a record into memory; returns at once when it is there.
    pub(crate) async fn warm(
        &self,
        task: u32,
        log: LogId,
        offset: u64,
    ) -> Result<(), EventFailure> {
        let warmed = self.local(task).partition.warm_log(log, offset).await;
        warmed.map_err(|error| EventFailure::Storage {
            attempted: format!("bring record {offset} of log {log} into memory"),
            cause: error.chain(),
        })
    }

    /// Calls `then` when `index` is durable and applied; never when the log dies before.
    pub(crate) fn when_applied(
        self: &Rc<Self>,
        category: Category,
        index: Index,
        then: impl FnOnce() + 'static,
    ) {
        let thread = self.clone();
        self.env.spawn(category, async move {
            if thread.commit.applied(index).await.is_ok() {
                then();
            }
        });
    }

    /// Spawns a loop that ends when the thread stops.
    pub(crate) fn spawn(&self, category: Category, work: impl Future<Output = ()> + 'static) {
        let (handle, registration) = AbortHandle::new_pair();
        self.loops.borrow_mut().push(handle);
        let work = Abortable::new(work, registration);
        self.env.spawn(category, async move {
            let _ = work.await;
        });
    }

    /// Remembers that a depot partition has new records; told when the commit is settled.
    pub(crate) fn mark_grown(&self, task: u32, depot: u16) {
        let mut grown = self.grown.borrow_mut();
        if !grown.contains(&(task, depot)) {
            grown.push((task, depot));
        }
    }

    /// Counts and logs the failure of an event.
    pub(crate) fn on_event_failure(&self, topology: u16, task: u32, text: &str) {
        self.metrics.on_failure(topology, text);
        let name = &self.layout.topologies[usize::from(topology)].name;
        tracing::warn!(module = %self.layout.module, topology = %name, task, %text, "event failed");
    }
}

/// Sorts the inbox until all senders are gone.
async fn serve_inbox<E: Env>(thread: Rc<Thread<E>>, mut inbox: Inbox<E>) {
    while let Some(message) = inbox.recv().await {
        receive(&thread, message);
        for _ in 1..limits::INBOX_SLICE {
            let Some(message) = inbox.try_recv() else {
                break;
            };
            receive(&thread, message);
        }
        thread.env.yield_now().await;
    }
}

fn receive<E: Env>(thread: &Rc<Thread<E>>, message: Message) {
    match message {
        Message::Control(command) => control::on_control(thread, command),
        message => thread.dispatch(message),
    }
}

/// Takes the requests of clients out of their queue, a slice at a time.
async fn serve_clients<E: Env>(thread: Rc<Thread<E>>) {
    loop {
        thread.clients.ready().await;
        for _ in 0..limits::CLIENT_SLICE {
            let Some(request) = thread.clients.pop() else {
                break;
            };
            serve_client(&thread, request);
        }
        thread.env.yield_now().await;
    }
}

/// Each request is answered from one state of its task; what has to wait for the disk is spawned.
fn serve_client<E: Env>(thread: &Rc<Thread<E>>, request: ClientRequest) {
    match request {
        ClientRequest::Append(request) => depot::append(thread, request),
        ClientRequest::DepotInfo { task, depot, reply } => {
            let log = thread.layout.depots[usize::from(depot)].log;
            let _ = reply.send(Ok(thread.local(task).partition.log_range(log)));
        }
        ClientRequest::Processed {
            task,
            topology,
            source,
            reply,
        } => {
            let source = usize::from(source);
            let _ = reply.send(processed::range(thread, task, topology, source));
        }
        ClientRequest::Select {
            task,
            pstate,
            plan,
            reply,
        } => {
            client::select::serve(thread, task, pstate, &plan, reply);
        }
        ClientRequest::Follow {
            task,
            pstate,
            plan,
            subscription,
        } => follow(thread, task, (pstate, plan), subscription),
        ClientRequest::Invoke {
            task,
            query,
            args,
            reply,
        } => thread.queries.push(query_driver::Work::Invoke {
            task,
            query,
            args,
            reply,
        }),
        ClientRequest::ReadDepot {
            task,
            depot,
            from,
            to,
            reply,
        } => {
            let thread_of = thread.clone();
            thread.env.spawn(Category::Client, async move {
                let read = depot::read(&thread_of, task, depot, from, to).await;
                let _ = reply.send(read);
            });
        }
        ClientRequest::Mirror {
            task,
            depot,
            consumer,
            request,
        } => mirror::serve(thread, (task, depot, consumer), request),
        ClientRequest::DeadLetters { task, request } => {
            let thread_of = thread.clone();
            thread.env.spawn(Category::Client, async move {
                dead_letters::serve(&thread_of, task, request).await;
            });
        }
    }
}

/// Has a path's changes told, until its reader goes away: which comes back as a message.
fn follow<E: Env>(
    thread: &Thread<E>,
    task: u32,
    (pstate, plan): (u16, Plan),
    subscription: Subscription,
) {
    let target = followers::Target {
        pstate,
        space: thread.layout.pstates[usize::from(pstate)].space,
        plan,
    };
    let count_max = thread.tuning().proxies_max[usize::from(pstate)];
    let post = thread.peers[thread.index as usize].clone();
    let gone = move |reader| {
        // A thread that has stopped follows nothing.
        let _ = post.post(Message::Unfollow { task, reader });
    };
    let followers = &thread.local(task).followers;
    followers.add(target, count_max, subscription, gone);
}

/// Commits the log until it fails: durable, then applied, then everybody who waited is told. At
/// replication factor 1 committed equals durable. Nothing is applied, shown, acknowledged or sent
/// on before it is durable (P-29, P-30).
async fn serve_log<E: Env>(thread: Rc<Thread<E>>) {
    loop {
        if thread.group.appended() == thread.commit.applied_to() {
            thread.commit.grown().await;
            continue;
        }
        if let Err(error) = thread.apply_durable().await {
            tracing::error!(%error, "log failed, nothing more is acknowledged");
            let why = error.chain();
            thread.commit.die(&why);
            thread.metrics.on_log_failure(&why);
            while let Some(pending) = thread.commit.next_unanswered() {
                if let Pending::Append(append) = pending {
                    depot::answer_lost(append, commit::poisoned(&why));
                }
            }
            return;
        }
        while let Some(pending) = thread.commit.next_answer() {
            match pending {
                Pending::Append(append) => depot::answer(&thread, append),
                Pending::Progress(saved) => stream_driver::on_saved(&thread, saved),
            }
        }
        depot::announce_growth(&thread);
    }
}
