//! The state shared by everything in one simulation: the clock, the events to come, the random
//! streams, the processes with their disks, and the trace hash.
//!
//! Relies on `disk` and `rng`. One thread uses it; the mutex is there only so that senders are
//! `Send + Sync` like the real ones. What must stay true: no author or engine code runs while the
//! world is locked, and nothing happens that the trace does not see.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::env::Tick;

use super::config::{Latency, SimConfig};
use super::disk::Disk;
use super::notes::NoteBook;
use super::rng::{Rng, Trace};

/// How long a disk stays full at most.
const FULL_MAX: Duration = Duration::from_millis(50);

/// A simulated machine: one disk, and executors that live and die together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub(super) u32);

/// Where code runs: an executor of one incarnation of a process, or the test itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) process: Option<ProcessId>,
    pub(super) incarnation: u32,
    pub(super) executor: u32,
}

impl Place {
    /// The test that drives the simulation: never dies.
    pub(super) const DRIVER: Place = Place {
        process: None,
        incarnation: 0,
        executor: 0,
    };
}

pub(super) struct Shared {
    world: Mutex<World>,
    pub(super) ready: Arc<Ready>,
}

impl Shared {
    pub(super) fn new(seed: u64, config: SimConfig) -> Arc<Shared> {
        let world = Mutex::new(World::new(seed, config));
        Arc::new(Shared {
            world,
            ready: Arc::default(),
        })
    }

    /// The world. A panic while it was locked has ended the run already.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tasks that want to be polled, in the order they were woken.
#[derive(Default)]
pub(super) struct Ready(Mutex<Vec<TaskKey>>);

impl Ready {
    pub(super) fn list(&self) -> MutexGuard<'_, Vec<TaskKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot of the task table, and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskKey {
    pub(super) slot: usize,
    pub(super) id: u64,
}

pub(super) struct TaskWaker {
    pub(super) key: TaskKey,
    pub(super) queued: AtomicBool,
    pub(super) ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<TaskWaker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<TaskWaker>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.list().push(self.key);
        }
    }
}

/// What a waiting future and the event that ends its waiting share.
pub(super) struct Slot<T>(Mutex<(Option<T>, Option<Waker>)>);

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Slot<T>> {
        Arc::new(Slot(Mutex::new((None, None))))
    }

    pub(super) fn fill(&self, value: T) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.0 = Some(value);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The value, or a promise to wake.
    pub(super) fn poll(&self, waker: &Waker) -> std::task::Poll<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.0.take() {
            Some(value) => std::task::Poll::Ready(value),
            None => {
                slot.1 = Some(waker.clone());
                std::task::Poll::Pending
            }
        }
    }
}

pub(super) enum Action {
    /// A timer; void when nobody waits any more.
    Timer(Weak<Slot<()>>),
    /// An executor that stood still goes on with this task.
    Resume(TaskKey),
    /// Anything else that happens at its time.
    Effect(Box<dyn FnOnce(&mut World) + Send>),
}

struct Event {
    at: Tick,
    sequence: u64,
    action: Action,
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.sequence == other.sequence
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Event) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

#[derive(Default)]
pub(super) struct Process {
    pub(super) incarnation: u32,
    pub(super) disk: Disk,
    pub(super) wall_offset_ms: u64,
    /// Until when its disk has no room.
    pub(super) full_until: Tick,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) config: SimConfig,
    pub(super) now: Tick,
    pub(super) trace: Trace,
    /// Where the code that runs at this moment belongs.
    pub(super) current: Place,
    pub(super) processes: Vec<Process>,
    pub(super) disk_rng: Rng,
    /// What the last fault damages; each fault has a stream of its own.
    pub(super) damage_rng: Rng,
    pub(super) message_rng: Rng,
    pub(super) schedule_rng: Rng,
    pub(super) executor_count: u32,
    pub(super) channel_count: u64,
    pub(super) frozen: BTreeMap<u32, Tick>,
    /// Polls since the last thing that was not a poll.
    pub(super) idle_polls: u64,
    pub(super) io_count: u64,
    /// How many faults the seed has planned so far, those left out among them.
    pub(super) planned_count: u32,
    /// For a failed run.
    pub(super) notes: NoteBook,
    events: BinaryHeap<Reverse<Event>>,
    sequence: u64,
}

impl World {
    fn new(seed: u64, config: SimConfig) -> World {
        World {
            seed,
            config,
            now: Tick(0),
            trace: Trace::default(),
            current: Place::DRIVER,
            processes: Vec::new(),
            disk_rng: Rng::new(seed, "disk"),
            damage_rng: Rng::new(seed, "damage"),
            message_rng: Rng::new(seed, "message"),
            schedule_rng: Rng::new(seed, "schedule"),
            executor_count: 0,
            channel_count: 0,
            frozen: BTreeMap::new(),
            idle_polls: 0,
            io_count: 0,
            planned_count: 0,
            notes: NoteBook::default(),
            events: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(super) fn alive(&self, place: Place) -> bool {
        let Some(ProcessId(process)) = place.process else {
            return true;
        };
        self.processes[process as usize].incarnation == place.incarnation
    }

    pub(super) fn process(&mut self, id: ProcessId) -> &mut Process {
        &mut self.processes[id.0 as usize]
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn at(&mut self, at: Tick, action: Action) {
        let sequence = self.next_sequence();
        self.events.push(Reverse(Event {
            at,
            sequence,
            action,
        }));
    }

    /// Remembers what happened; says nothing unless the run fails.
    pub(super) fn note(&mut self, text: String) {
        self.notes.note(self.now, text);
    }

    /// The number of a fault that the seed has planned for now; `None` when it is left out. The
    /// draws that planned it are made either way, and what it damages is drawn from a stream of its
    /// own, so that a run without it differs by its effects alone.
    pub(super) fn planned(&mut self) -> Option<u32> {
        self.planned_count += 1;
        let number = self.planned_count;
        let only = self.config.only_faults.as_ref();
        if only.is_some_and(|only| !only.contains(&number)) {
            return None;
        }
        self.damage_rng = Rng::new(self.seed, &format!("fault {number}"));
        Some(number)
    }

    /// Whether a planned fault happens; notes it if so.
    pub(super) fn strikes(&mut self, what: impl Display) -> bool {
        let number = self.planned();
        if number.is_some() {
            self.notes.fault(self.now, number, what.to_string());
        }
        number.is_some()
    }

    /// Whether the disk of a machine has no room at this moment. It may run full now.
    pub(super) fn runs_full(&mut self, id: ProcessId) -> bool {
        let chance = self.config.faults.disk_full;
        if self.disk_rng.chance(chance) {
            let time = self.disk_rng.between(Duration::ZERO, FULL_MAX);
            if self.strikes(format_args!("disk of machine {} full for {time:?}", id.0)) {
                self.process(id).full_until = self.now.after(time);
            }
        }
        let now = self.now;
        chance > 0 && self.process(id).full_until > now
    }

    /// Whether a fault of this chance happens now.
    pub(super) fn fails(&mut self, chance: u32, what: impl Display) -> bool {
        self.disk_rng.chance(chance) && self.strikes(what)
    }

    /// How long one I/O of this class takes on a machine.
    pub(super) fn io_time(&mut self, latency: Latency, id: ProcessId) -> Duration {
        let slow = self.disk_rng.chance(self.config.faults.slow_io)
            && self.strikes(format_args!("slow I/O of machine {}", id.0));
        let factor = if slow { 100 } else { 1 };
        self.disk_rng.between(latency.min, latency.max) * factor
    }

    /// The next event that still matters, if it is due by `limit`.
    pub(super) fn next_event(&mut self, limit: Tick) -> Option<(Tick, Action)> {
        while let Some(Reverse(event)) = self.events.peek() {
            let void = matches!(&event.action, Action::Timer(slot) if slot.strong_count() == 0);
            if !void && event.at > limit {
                return None;
            }
            let Reverse(event) = self.events.pop().expect("an event was seen");
            if !void {
                return Some((event.at, event.action));
            }
        }
        None
    }

    /// Takes everything to come; the run is over.
    pub(super) fn take_events(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.events)
            .into_iter()
            .map(|Reverse(event)| event.action)
            .collect()
    }
}
