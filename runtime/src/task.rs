//! What an author's closure holds while it runs: the task it runs on.
//!
//! Relies on [`Access`]. Not generic over the environment, so author code never sees it. What must
//! stay true: a `Task` is used only within the event it was given to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rama_io::Tick;
use rama_wire::{LogId, Record};

use crate::access::Access;
use crate::gather::{SlotIndex, Slots};
use crate::handlers::Handler;
use crate::rows::Rows;

/// The task an event runs on, and what the event may do there.
///
/// Everything is local and synchronous: reads and writes of every PState partition on this task, as
/// one atomic event. To reach data of another task, partition by its key first.
pub struct Task {
    access: Rc<dyn Access>,
    origin: Cell<u64>,
    scratch: RefCell<Vec<u8>>,
    /// None where the engine keeps none: in streams.
    slots: RefCell<Option<Slots>>,
}

impl Task {
    /// A task over `access`. For the engine and for tests.
    pub fn new(access: Rc<dyn Access>) -> Task {
        Task {
            access,
            origin: Cell::new(0),
            scratch: RefCell::new(Vec::new()),
            slots: RefCell::default(),
        }
    }

    /// The index of this task, `0 .. count`.
    pub fn id(&self) -> u32 {
        self.access.task_id()
    }

    /// How many tasks the module has.
    pub fn count(&self) -> u32 {
        self.access.task_count()
    }

    /// Wall clock, milliseconds since the Unix epoch. Virtual in a simulation.
    pub fn now_ms(&self) -> u64 {
        self.access.now_ms()
    }

    /// A random number; the same for the same seed in a simulation.
    pub fn random_u64(&self) -> u64 {
        self.access.random_u64()
    }

    /// The id of the running microbatch: equal in every attempt, so that an external system can
    /// tell a retry from a new batch. `None` in a stream topology.
    pub fn microbatch_id(&self) -> Option<u64> {
        self.access.microbatch_id()
    }

    /// Gives `value` to whoever appended the current record with an ack (spec D-19).
    pub fn ack_return<T: Record>(&self, value: &T) {
        match value.to_json() {
            Ok(json) => self.access.ack_return(json),
            Err(error) => crate::failure::fail(error),
        }
    }

    /// Ends the event as failed; the topology's failure policy decides what happens to its record.
    pub fn fail(&self, why: impl ToString) -> ! {
        crate::failure::fail(why)
    }

    /// Appends a record to the partition of a depot on this task. For typed depot handles.
    pub fn append_record<T: Record>(&self, depot: LogId, record: &T) {
        self.with_scratch(|bytes| {
            record.encode(bytes);
            self.access.append(depot, bytes);
        });
    }

    /// Names the record whose processing starts, for failures. For the dataflow.
    pub fn set_origin(&self, origin: u64) {
        self.origin.set(origin);
    }

    /// The record being processed, as named last.
    pub fn origin(&self) -> u64 {
        self.origin.get()
    }

    /// What the task stands on. For paths and the dataflow.
    pub fn access(&self) -> &dyn Access {
        &*self.access
    }

    /// Takes out what the running attempt or invocation keeps in memory on this task, and puts
    /// `slots` in its place. For the engine, between events.
    pub(crate) fn swap_slots(&self, slots: Slots) -> Slots {
        self.slots.replace(Some(slots)).unwrap_or_default()
    }

    /// Whether an attempt or an invocation runs, whose slots the engine keeps and forgets.
    pub(crate) fn keeps_slots(&self) -> bool {
        let slots = self.slots.borrow();
        slots
            .as_ref()
            .is_some_and(|slots| !slots.handlers.of_stream())
    }

    /// Takes the value of a slot out; author code that runs meanwhile finds nothing there.
    pub(crate) fn take_slot<T: 'static>(&self, index: SlotIndex) -> Option<T> {
        self.slots.borrow_mut().as_mut()?.take(index)
    }

    /// Puts the value of a slot in.
    pub(crate) fn put_slot<T: 'static>(&self, index: SlotIndex, value: T) {
        let mut slots = self.slots.borrow_mut();
        slots.get_or_insert_default().put(index, value);
    }

    /// Puts the rows of a slot in.
    pub(crate) fn put_rows(&self, index: SlotIndex, rows: impl Rows) {
        let mut slots = self.slots.borrow_mut();
        slots.get_or_insert_default().put_rows(index, rows);
    }

    /// Whether rows of a slot take more memory than `budget` bytes.
    pub(crate) fn is_heavy(&self, budget: usize) -> bool {
        let mut slots = self.slots.borrow_mut();
        slots
            .as_mut()
            .is_some_and(|slots| slots.heavy(budget).is_some())
    }

    /// Whether the rows of a slot lie on disk in part.
    pub(crate) fn is_parted(&self, index: SlotIndex) -> bool {
        let slots = self.slots.borrow();
        slots.as_ref().is_some_and(|slots| slots.is_parted(index))
    }

    /// A task of its own for code that outlives an event, over the same access.
    pub(crate) fn another(&self) -> Task {
        let task = Task::new(self.access.clone());
        task.set_origin(self.origin());
        task
    }

    /// Keeps a handler until its next answer.
    pub(crate) fn keep_handler(&self, id: u64, handler: Handler) {
        let mut slots = self.slots.borrow_mut();
        slots.get_or_insert_default().handlers.keep(id, handler);
    }

    /// Takes a handler out that is kept.
    pub(crate) fn take_handler(&self, id: u64) -> Option<Handler> {
        self.slots.borrow_mut().as_mut()?.handlers.take(id)
    }

    /// A batch of a stream begins: handlers that are older than any tree are forgotten.
    pub(crate) fn begin_batch(&self, now: Tick, oldest: Duration) {
        let mut slots = self.slots.borrow_mut();
        let handlers = &mut slots.get_or_insert_default().handlers;
        let over = handlers.begin_batch(now, oldest);
        drop(slots);
        drop(over);
    }

    /// The batch that runs is thrown away, and the handlers that ran in it.
    pub(crate) fn undo_batch(&self) {
        #[cfg(any(test, feature = "mutants"))]
        if crate::mutants::active(crate::mutants::Mutant::HandlerKept) {
            return;
        }
        let mut slots = self.slots.borrow_mut();
        let ran = slots.as_mut().map(|slots| slots.handlers.undo_batch());
        drop(slots);
        drop(ran);
    }

    /// Lends an empty buffer that keeps its capacity from call to call. Not for author code: the
    /// closure must not use the task's buffer again.
    pub(crate) fn with_scratch<R>(&self, use_buffer: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut buffer = self.scratch.take();
        buffer.clear();
        let result = use_buffer(&mut buffer);
        self.scratch.replace(buffer);
        result
    }
}
