//! Drives microbatch topologies: one participant loop per task here, one coordinator on task 0.
//!
//! Relies on the machines of `rama_core::microbatch` for every decision; these loops carry their
//! messages, run author code for them and write what they want written. What must stay true: an
//! event's hops are handed over before it is reported, nothing an event did survives its failure,
//! and what a participant prepares holds the new committed id in the same atomic write (M-4).

mod coordinator;
pub(crate) mod outbox;
mod source;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::rc::Rc;

use rama_core::ids::{Attempt, MicrobatchId, Position, SourceId, TaskId};
use rama_core::microbatch::{
    Admission, Failure, Participant, ParticipantEffect, ParticipantInput, ToParticipant,
};
use rama_io::{Category, Env};
use rama_storage::Op;
#[cfg(any(test, feature = "mutants"))]
use rama_storage::lsm::WriteBatch;
use rama_wire::{Index, SpaceId};

use crate::category_queue::Queue;
use crate::context::EventContext;
use crate::failure::{EventFailure, guard};
use crate::gather::{Left, Reach, Slots};
#[cfg(any(test, feature = "mutants"))]
use crate::message::Records;
use crate::message::{Message, MicrobatchHop};
use crate::stage::{Origin, Outbox, Outgoing};
use crate::task::Task;
use crate::task_thread::Thread;
use crate::waits::{self, Wait, Waited};
use crate::{origin, spill, system_keys};

pub(crate) use coordinator::{Coordinating, CoordinatorEvent, run as run_coordinator};
pub(crate) use source::run_tick_record;

/// Records by depot.
#[cfg(any(test, feature = "mutants"))]
type Appends = Vec<(u16, Records)>;

/// What reaches a participant loop.
pub(crate) enum Event {
    Message(ToParticipant),
    Hop(MicrobatchHop),
    Input(ParticipantInput),
    /// A value waited in vain.
    WaitFailed {
        at: Position,
        hop: u64,
        origin: Origin,
        failure: EventFailure,
    },
}

/// One microbatch topology on one task.
pub(crate) struct Participating<E: Env> {
    pub(crate) topology: u16,
    pub(crate) task: u32,
    pub(crate) events: Queue<Event>,
    /// Where each source begins on this task while it has no progress; set at boot.
    begins: OnceCell<Vec<u64>>,
    context: Rc<EventContext<E>>,
    handle: Rc<Task>,
}

/// What storage knew when the task thread started.
pub(crate) struct Boot {
    pub(crate) committed: u64,
    pub(crate) prepared: Option<Position>,
}

impl<E: Env> Participating<E> {
    pub(crate) fn new(
        topology: u16,
        task: u32,
        (context, handle): (Rc<EventContext<E>>, Rc<Task>),
    ) -> Participating<E> {
        Participating {
            topology,
            task,
            events: Queue::default(),
            begins: OnceCell::new(),
            context,
            handle,
        }
    }

    /// Tells it where its sources begin. Before any loop runs.
    pub(crate) fn set_begins(&self, begins: Vec<u64>) {
        self.begins.set(begins).expect("a task boots once");
    }

    /// Where a source begins on this task while it has no progress.
    pub(crate) fn begin(&self, source: usize) -> u64 {
        self.begins.get().expect("a task boots first")[source]
    }
}

/// The participant loop: events first, then hops, then a slice of the sources, so that what is in
/// flight between tasks shrinks before it grows.
pub(crate) async fn run<E: Env>(thread: Rc<Thread<E>>, me: Rc<Participating<E>>, boot: Boot) {
    let mut driver = Driver::new(thread, me);
    driver.machine.on_input(ParticipantInput::Boot {
        incarnation: driver.thread.env.random_u64(),
        committed: MicrobatchId(boot.committed),
        prepared: boot.prepared,
    });
    driver.handle_effects();
    loop {
        while let Some(event) = driver.me.events.pop() {
            driver.on_event(event);
            driver.handle_effects();
        }
        if let Some(at) = driver.step().await {
            driver.lighten(at).await;
            driver.handle_effects();
            driver.thread.env.yield_now().await;
        } else {
            driver.me.events.ready().await;
        }
    }
}

/// What waits to be let go, the last one first.
struct Releasing {
    at: Position,
    left: Vec<usize>,
}

struct Driver<E: Env> {
    thread: Rc<Thread<E>>,
    me: Rc<Participating<E>>,
    machine: Participant,
    hops: VecDeque<MicrobatchHop>,
    held: Vec<MicrobatchHop>,
    sources: Option<source::Work>,
    /// What is let go now.
    releasing: Option<Releasing>,
    /// Whether the attempt that runs goes on after a failure.
    thorough: bool,
    source_ids: Vec<SourceId>,
    /// How far the running attempt goes with each source.
    consumed: Vec<(SourceId, u64)>,
    out: Outbox,
}

impl<E: Env> Driver<E> {
    fn new(thread: Rc<Thread<E>>, me: Rc<Participating<E>>) -> Driver<E> {
        let topology = &thread.layout.topologies[usize::from(me.topology)];
        let source_ids = topology
            .sources
            .iter()
            .map(|source| SourceId(source.id))
            .collect();
        Driver {
            machine: Participant::new(TaskId(me.task)),
            hops: VecDeque::new(),
            held: Vec::new(),
            sources: None,
            releasing: None,
            thorough: false,
            source_ids,
            consumed: Vec::new(),
            out: Outbox::untracked(thread.layout.tasks, thread.env.random_u64()),
            thread,
            me,
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.machine.on_input(ParticipantInput::Message(message)),
            Event::Input(input) => self.machine.on_input(input),
            Event::Hop(hop) => self.admit(hop),
            Event::WaitFailed {
                at,
                hop,
                origin,
                failure,
            } => self.on_wait_failed((at, hop), origin, &failure),
        }
    }

    /// The value that waited is consumed by its failure.
    fn on_wait_failed(
        &mut self,
        (at, hop): (Position, u64),
        origin: Origin,
        failure: &EventFailure,
    ) {
        if self.machine.admit(at, hop) != Admission::Run {
            return;
        }
        self.tell_failure(at, origin, failure);
        if self.machine.runs(at) {
            let emitted = 0;
            self.machine
                .on_input(ParticipantInput::HopRan { at, hop, emitted });
        }
    }

    fn admit(&mut self, hop: MicrobatchHop) {
        match self.machine.admit(hop.at, hop.id) {
            Admission::Run => self.hops.push_back(hop),
            Admission::Hold => self.held.push(hop),
            Admission::Drop => {}
        }
    }

    fn handle_effects(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            self.handle_effect(effect);
        }
    }

    fn handle_effect(&mut self, effect: ParticipantEffect) {
        match effect {
            ParticipantEffect::Tell(message) => {
                let topology = self.me.topology;
                self.thread
                    .send(0, Message::ToCoordinator { topology, message });
            }
            ParticipantEffect::RunSources {
                at,
                sources,
                ticks,
                thorough,
            } => {
                self.hops.clear();
                self.me.handle.swap_slots(Slots::default());
                self.thorough = thorough;
                match thorough {
                    true => self.me.context.begin_thorough(at.id.0),
                    false => self.me.context.begin(Some(at.id.0)),
                }
                self.consumed = sources
                    .iter()
                    .map(|range| (range.source, range.to))
                    .collect();
                self.sources = Some(source::Work::new(at, sources, ticks));
            }
            ParticipantEffect::OfferHeld => {
                for hop in std::mem::take(&mut self.held) {
                    self.admit(hop);
                }
            }
            ParticipantEffect::DropOverlay { .. } => {
                self.hops.clear();
                self.sources = None;
                self.releasing = None;
                self.me.handle.swap_slots(Slots::default());
                self.me.context.discard();
            }
            ParticipantEffect::RunGathered { at, level } => self.let_go(at, level),
            ParticipantEffect::PersistPrepare { at } => self.persist_prepare(at),
            ParticipantEffect::DropPrepared { at } => {
                let abort = Op::Abort {
                    partition: self.me.task,
                    slot: self.slot(),
                    txn: at.id.0,
                    attempt: at.attempt.0,
                };
                self.thread.append(abort);
            }
            ParticipantEffect::PersistCommit { at } => self.persist_commit(at),
        }
    }

    /// What was gathered at a level may go on: an event each.
    fn let_go(&mut self, at: Position, level: u16) {
        let (layout, first) = (&self.thread.layout, self.me.task == 0);
        let gathers = &layout.topologies[usize::from(self.me.topology)].gathers;
        let here = gathers.iter().enumerate().filter(|(_, gather)| {
            gather.level == level && (first || gather.reach == Reach::Everywhere)
        });
        let left = here.map(|(index, _)| index).rev().collect();
        self.releasing = Some(Releasing { at, left });
    }

    /// Depot appends of the attempt are prepared with its writes, and come into their depots with
    /// the commit: an attempt that is prepared may still be given up.
    fn persist_prepare(&mut self, at: Position) {
        let appends = self.me.context.take_appends();
        #[cfg(any(test, feature = "mutants"))]
        let appends = self.append_too_early(appends);
        let writes = self.me.context.take_writes();
        let mut batch = outbox::put(&self.thread.layout, self.slot(), &appends, writes);
        let key = system_keys::committed(self.slot());
        batch.put(SpaceId::SYSTEM, &key, &at.id.0.to_le_bytes());
        for (source, to) in &self.consumed {
            let key = system_keys::consumed(self.slot(), source.0);
            batch.put(SpaceId::SYSTEM, &key, &to.to_le_bytes());
        }
        let prepare = Op::Prepare {
            partition: self.me.task,
            slot: self.slot(),
            txn: at.id.0,
            attempt: at.attempt.0,
            batch,
        };
        if let Some(index) = self.thread.append(prepare) {
            self.tell_when_applied(index, ParticipantInput::PrepareDurable { at });
        }
    }

    fn persist_commit(&self, at: Position) {
        let (task, slot, txn) = (self.me.task, self.slot(), at.id.0);
        match outbox::commit(&self.thread, outbox::Transaction { task, slot, txn }) {
            Ok(index) => self.tell_when_applied(index, ParticipantInput::CommitApplied { at }),
            Err(error) => tracing::error!(%error, task, txn, "could not commit a microbatch"),
        }
    }

    /// A mistake: the records are there although the attempt may be given up.
    #[cfg(any(test, feature = "mutants"))]
    fn append_too_early(&self, appends: Appends) -> Appends {
        use crate::mutants::{Mutant, active};
        if !active(Mutant::AppendsOfPrepared) || appends.is_empty() {
            return appends;
        }
        let (thread, task) = (&self.thread, self.me.task);
        // A log that is dead is reported by whoever commits.
        let _ = crate::depot::write_with_appends(thread, task, WriteBatch::new(), &appends);
        Vec::new()
    }

    fn tell_when_applied(&self, index: Index, then: ParticipantInput) {
        let me = self.me.clone();
        self.thread
            .when_applied(Category::FlexLatency, index, move || {
                me.events.push(Event::Input(then));
            });
    }

    /// Runs one piece of work, and answers to which attempt it belonged; `None` when there is none.
    async fn step(&mut self) -> Option<Position> {
        if let Some(hop) = self.hops.pop_front() {
            let at = hop.at;
            self.run_hop(hop);
            return Some(at);
        }
        if let Some(work) = &self.sources {
            let at = work.at;
            self.run_slice().await;
            return Some(at);
        }
        if let Some(releasing) = &mut self.releasing {
            let (at, next) = (releasing.at, releasing.left.pop());
            self.run_release(at, next).await;
            return Some(at);
        }
        None
    }

    /// Lets go of a gathering, or of a part of it.
    async fn run_release(&mut self, at: Position, next: Option<usize>) {
        let mut emitted = 0;
        if let Some(index) = next {
            match self.release(index).await {
                Ok(left) => {
                    emitted = self.send_out(at);
                    if left == Left::More
                        && let Some(releasing) = &mut self.releasing
                    {
                        releasing.left.push(index);
                    }
                }
                Err(failure) => {
                    self.fail(at, failure);
                    if !self.machine.runs(at) {
                        return;
                    }
                }
            }
        }
        let done = self.releasing.as_ref().is_none_or(|of| of.left.is_empty());
        if done {
            self.releasing = None;
        }
        self.machine
            .on_input(ParticipantInput::SourceRan { at, emitted, done });
    }

    async fn release(&mut self, index: usize) -> Result<Left, EventFailure> {
        let thread = self.thread.clone();
        let topology = &thread.layout.topologies[usize::from(self.me.topology)];
        let gather = &topology.gathers[index].gather;
        if self.me.handle.is_parted(gather.slot()) {
            let mut slots = self.me.handle.swap_slots(Slots::default());
            let settled = spill::settle(&thread, &mut slots, gather.slot()).await;
            self.me.handle.swap_slots(slots);
            settled?;
        }
        let (handle, out) = (&self.me.handle, &mut self.out);
        guard(|| gather.release(handle, origin::NOBODY, out))
    }

    /// Moves rows to disk that wait and take more memory than they may, and removes those that nobody
    /// waits for.
    async fn lighten(&mut self, at: Position) {
        spill::sweep(&self.thread).await;
        if !self.me.handle.is_heavy(self.thread.rows_budget()) {
            return;
        }
        let mut slots = self.me.handle.swap_slots(Slots::default());
        let lightened = spill::lighten(&self.thread, &mut slots).await;
        self.me.handle.swap_slots(slots);
        if let Err(failure) = lightened {
            self.fail(at, failure);
        }
    }

    fn run_hop(&mut self, hop: MicrobatchHop) {
        let MicrobatchHop {
            at,
            id,
            stage,
            batch,
        } = hop;
        let thread = self.thread.clone();
        let topology = &thread.layout.topologies[usize::from(self.me.topology)];
        let stage = &topology.stages[usize::from(stage.0)];
        let result = guard(|| stage.run(&self.me.handle, batch, &mut self.out));
        let emitted = match result {
            Ok(()) => self.send_out(at),
            Err(failure) => {
                self.fail(at, failure);
                if !self.machine.runs(at) {
                    return;
                }
                0
            }
        };
        self.machine.on_input(ParticipantInput::HopRan {
            at,
            hop: id,
            emitted,
        });
    }

    async fn run_slice(&mut self) {
        let Some(work) = &mut self.sources else {
            return;
        };
        let at = work.at;
        let (thread, topology): (&Thread<E>, _) = (&self.thread, self.me.topology);
        let mut ran = work
            .warm(thread, topology, self.me.task)
            .await
            .map(|()| false);
        if ran.is_ok() {
            ran = work.run(
                (thread, self.thorough),
                topology,
                self.me.task,
                &self.me.handle,
                &mut self.out,
            );
        }
        let (emitted, done) = match ran {
            Ok(done) => (self.send_out(at), done),
            Err(failure) => {
                self.fail(at, failure);
                if !self.machine.runs(at) {
                    return;
                }
                (0, self.sources.as_mut().is_none_or(source::Work::pass))
            }
        };
        if done {
            self.sources = None;
        }
        self.machine
            .on_input(ParticipantInput::SourceRan { at, emitted, done });
    }

    /// Hands over what the event emitted: one message per stage and task.
    fn send_out(&mut self, at: Position) -> u64 {
        self.me.context.keep_event();
        let mut emitted = 0;
        let topology = self.me.topology;
        for wait in self.out.take_waits() {
            emitted ^= self.start_wait(at, wait);
        }
        for Outgoing { stage, task, batch } in self.out.drain_outgoing() {
            let id = self.thread.env.random_u64().max(1);
            emitted ^= id;
            let hop = MicrobatchHop {
                at,
                id,
                stage,
                batch,
            };
            self.thread.send(
                task,
                Message::Hop {
                    topology,
                    task,
                    hop,
                },
            );
        }
        emitted
    }

    /// A value goes on when its future is done, as a hop to this task would. Answers the hop's id.
    fn start_wait(&self, at: Position, wait: Wait) -> u64 {
        let id = self.thread.env.random_u64().max(1);
        let me = self.me.clone();
        let then = move |_: &Rc<Thread<E>>, origin, stage, waited: Waited| {
            me.events.push(match waited {
                Ok(batch) => Event::Hop(MicrobatchHop {
                    at,
                    id,
                    stage,
                    batch,
                }),
                Err(failure) => Event::WaitFailed {
                    at,
                    hop: id,
                    origin,
                    failure,
                },
            });
        };
        waits::start(
            &self.thread,
            (self.me.task, None),
            Category::FlexLatency,
            wait,
            then,
        );
        id
    }

    /// The event failed. In a thorough attempt it was that of one record, which is undone.
    fn fail(&mut self, at: Position, failure: EventFailure) {
        self.out.clear();
        self.me.context.undo_event();
        self.tell_failure(at, self.out.current(), &failure);
    }

    fn tell_failure(&mut self, at: Position, origin: Origin, failure: &EventFailure) {
        // A record is not to blame for the disk.
        let blamed = !matches!(failure, EventFailure::Storage { .. });
        let origin = origin::record(origin, &self.source_ids).filter(|_| blamed);
        let text = failure.to_string();
        self.thread
            .on_event_failure(self.me.topology, self.me.task, &text);
        let failure = Failure { origin, text };
        self.machine
            .on_input(ParticipantInput::WorkFailed { at, failure });
    }

    fn slot(&self) -> u16 {
        self.thread.layout.topologies[usize::from(self.me.topology)].slot
    }
}

/// The position of a transaction as storage names it.
pub(crate) fn position(txn: u64, attempt: u32) -> Position {
    Position {
        id: MicrobatchId(txn),
        attempt: Attempt(attempt),
    }
}
