//! Work that waits for its time on the task that scheduled it.
//!
//! Relies on keys of two parts being sorted by the first. What must stay true: items that are due
//! come in the order of their times, and those of one time in the order in which they were
//! scheduled; an item is taken and its effects are written by one event or not at all.

use rama_wire::Record;

use crate::pstate::{LocalPState, PState};
use crate::schema::Map;
use crate::setup::Topology;
use crate::task::Task;
use crate::topology_def::Consumes;

/// Where an item waits: its time, and its number among those of that time.
pub type Due = (u64, u64);

/// Delayed and expiring work: items wait on the task that scheduled them, durably, and are taken
/// when a tick finds them due.
///
/// The time is [`Task::now_ms`], which tests set. Take what is due with [`take`](Scheduler::take),
/// in the event that does the work: both are one write then, so that in a microbatch each item is
/// done exactly once, and in a stream as well if the work is done on that very task. When a stream
/// has to go to other tasks for it, look with [`due`](Scheduler::due), come back with
/// `direct_partition`, and only then call [`done`](Scheduler::done): an item that fails on its way
/// comes again with a later tick.
///
/// ```
/// use std::time::Duration;
///
/// use rama_runtime::helpers::{Due, Scheduler};
/// # use rama_runtime::{Depot, Map, Module, PState, Partition, Setup};
///
/// const REMINDERS: Depot<(u64, String)> = Depot::named("*reminders");
/// const TICKS: Depot<()> = Depot::named("*ticks");
/// const WAITING: PState<Map<Due, String>> = PState::named("$$waiting").private();
/// const SENT: PState<Vec<String>> = PState::named("$$sent");
///
/// # struct M;
/// # impl Module for M {
/// fn define(&self, m: &mut Setup) {
///     m.depot(REMINDERS, Partition::random());
///     m.tick_depot(TICKS, Duration::from_secs(1));
///     let mut mb = m.microbatch("reminders");
///     let (waiting, sent) = (Scheduler::declare(&mut mb, WAITING), mb.pstate(SENT));
///     mb.source(REMINDERS).each(move |task, (at_ms, text)| {
///         waiting.schedule(task, at_ms, text);
///     });
///     mb.source(TICKS).all_partition().each(move |task, ()| {
///         let due = waiting.take(task, 1000);
///         sent.update(task, |so_far| [so_far.unwrap_or_default(), due].concat());
///     });
/// }
/// # }
/// # rama_runtime::Definition::of(&M)?;
/// # Ok::<(), rama_runtime::DefinitionError>(())
/// ```
pub struct Scheduler<T: Record> {
    waiting: LocalPState<Map<Due, T>>,
}

impl<T: Record> Scheduler<T> {
    /// Keeps what waits in `waiting`.
    #[track_caller]
    pub fn declare<K: Consumes>(
        topology: &mut Topology<K>,
        waiting: PState<Map<Due, T>>,
    ) -> Scheduler<T> {
        // Items stay on the task that scheduled them, wherever their times would be at home.
        Scheduler {
            waiting: topology.pstate(waiting).unaligned(),
        }
    }

    /// Has an item wait until `at_ms`, milliseconds since the Unix epoch; where it waits.
    pub fn schedule(&self, task: &Task, at_ms: u64, item: T) -> Due {
        let same = self.waiting.range((at_ms, 0)..=(at_ms, u64::MAX));
        let last = same.last_n(1).keys(task);
        let number = last.first().map_or(0, |(_, last)| last + 1);
        self.waiting.key(&(at_ms, number)).set(task, item);
        (at_ms, number)
    }

    /// Up to `most` items that are due, in order, which stay.
    pub fn due(&self, task: &Task, most: u64) -> Vec<(Due, T)> {
        let due = self.waiting.range(..=(task.now_ms(), u64::MAX));
        due.first_n(most).entries(task)
    }

    /// Up to `most` items that are due, in order, which are waiting no more.
    pub fn take(&self, task: &Task, most: u64) -> Vec<T> {
        let due = self.due(task, most);
        if let Some((last, _)) = due.last() {
            self.waiting.range(..=*last).remove(task);
        }
        due.into_iter().map(|(_, item)| item).collect()
    }

    /// The item there is waiting no more: it is done, or not wanted any longer.
    pub fn done(&self, task: &Task, at: Due) {
        self.waiting.remove(task, &at);
    }
}

impl<T: Record> Clone for Scheduler<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Record> Copy for Scheduler<T> {}
