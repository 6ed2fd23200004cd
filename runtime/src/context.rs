//! What author code stands on while an event runs: one topology's view of one task.
//!
//! Relies on the task's store for committed data and on one overlay for what the running batch or
//! attempt has written. What must stay true: the own topology sees its overlay (P-27), PStates of
//! other topologies show committed data only (P-28), nothing but the topology's own PStates is ever
//! written (P-1), and dropping the overlay drops everything the events did on this task. In a
//! thorough attempt each event has an overlay of its own above that one, so that a failed event can
//! be undone and the attempt go on to the next.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use rama_io::Env;
use rama_storage::lsm::{self, Overlay, Read, Store, WriteBatch};
use rama_wire::{LogId, SpaceId};

use crate::access::{Access, Order, ReadAccess, Visit};
use crate::appends::Appends;
use crate::failure::{EventFailure, raise};
use crate::layout::Layout;
use crate::message::Records;
use crate::task::Task;
use crate::task_global::Instances;

/// Greater than every encoded key: no key codec gives so many of these bytes in a row.
const AFTER_ALL_KEYS: [u8; 1024] = [0xff; 1024];

/// One topology on one task.
pub(crate) struct EventContext<E: Env> {
    env: E,
    store: Store<E>,
    layout: Arc<Layout>,
    task: u32,
    topology: u16,
    overlay: RefCell<Overlay>,
    /// What the running event of a thorough attempt has written.
    event: RefCell<Option<Overlay>>,
    microbatch: Cell<Option<u64>>,
    returns: RefCell<Vec<(u64, serde_json::Value)>>,
    appends: Appends,
    handle: OnceCell<Weak<Task>>,
    globals: OnceCell<Rc<Instances>>,
}

impl<E: Env> EventContext<E> {
    /// The context and the task that author code is given.
    pub(crate) fn new(
        env: E,
        store: Store<E>,
        layout: Arc<Layout>,
        task: u32,
        topology: u16,
    ) -> (Rc<EventContext<E>>, Rc<Task>) {
        let context = Rc::new(EventContext {
            env,
            store,
            layout,
            task,
            topology,
            overlay: RefCell::new(Overlay::new()),
            event: RefCell::new(None),
            microbatch: Cell::new(None),
            returns: RefCell::default(),
            appends: Appends::default(),
            handle: OnceCell::new(),
            globals: OnceCell::new(),
        });
        let task = Rc::new(Task::new(context.clone()));
        context
            .handle
            .set(Rc::downgrade(&task))
            .expect("a new context has no task yet");
        (context, task)
    }

    /// Gives it the task globals of its task. Once, before any event.
    pub(crate) fn set_globals(&self, globals: Rc<Instances>) {
        assert!(
            self.globals.set(globals).is_ok(),
            "a task has its globals once"
        );
    }

    /// Begins an attempt with nothing written.
    pub(crate) fn begin(&self, microbatch: Option<u64>) {
        self.discard();
        self.microbatch.set(microbatch);
    }

    /// The same for an attempt whose events are kept or undone one by one.
    pub(crate) fn begin_thorough(&self, microbatch: u64) {
        self.begin(Some(microbatch));
        self.event.replace(Some(Overlay::new()));
    }

    /// Makes the event that ran a part of its attempt.
    pub(crate) fn keep_event(&self) {
        let mut event = self.event.borrow_mut();
        let Some(event) = &mut *event else { return };
        if event.is_empty() {
            return;
        }
        let mut overlay = self.overlay.borrow_mut();
        for op in std::mem::take(event).into_batch().ops() {
            match op {
                lsm::Op::Put { space, key, value } => overlay.put(space, key, value),
                lsm::Op::Delete { space, key } => overlay.delete(space, key),
                lsm::Op::DeleteRange { space, lo, hi } => overlay.delete_range(space, lo, hi),
                lsm::Op::Clear { space } => overlay.clear_space(space),
            }
        }
    }

    /// Throws away what the event wrote. What it appended or gave back stays: an attempt with a
    /// failed event never commits.
    pub(crate) fn undo_event(&self) {
        #[cfg(any(test, feature = "mutants"))]
        if crate::mutants::active(crate::mutants::Mutant::EventNotUndone) {
            return self.keep_event();
        }
        if let Some(event) = &mut *self.event.borrow_mut() {
            *event = Overlay::new();
        }
    }

    /// Throws away everything written since the beginning.
    pub(crate) fn discard(&self) {
        self.overlay.replace(Overlay::new());
        self.event.replace(None);
        self.returns.borrow_mut().clear();
        self.appends.take();
    }

    /// Ends the attempt: what it wrote, in order of keys.
    pub(crate) fn take_writes(&self) -> WriteBatch {
        self.overlay.replace(Overlay::new()).into_batch()
    }

    /// What it gave back to appenders, with the records it was given for (S-18).
    pub(crate) fn take_returns(&self) -> Vec<(u64, serde_json::Value)> {
        self.returns.take()
    }

    /// What it appended to depot partitions of this task, by depot (D-30).
    pub(crate) fn take_appends(&self) -> Vec<(u16, Records)> {
        self.appends.take()
    }

    /// What is written now, event or attempt.
    fn write(&self, write: impl FnOnce(&mut Overlay)) {
        match &mut *self.event.borrow_mut() {
            Some(event) => write(event),
            None => write(&mut self.overlay.borrow_mut()),
        }
    }

    fn beneath<'a>(&'a self, overlay: &'a Overlay) -> Attempt<'a, E> {
        let store = &self.store;
        Attempt { overlay, store }
    }

    fn disk_space(&self, space: SpaceId) -> SpaceId {
        self.layout.pstates[usize::from(self.layout.pstate_index(space))].space
    }

    /// The id on disk of a space that may be written here.
    fn own_space(&self, space: SpaceId) -> SpaceId {
        let pstate = &self.layout.pstates[usize::from(self.layout.pstate_index(space))];
        if pstate.owner != self.topology {
            raise(EventFailure::NotOwner {
                pstate: pstate.name.clone(),
                writer: self.layout.topologies[usize::from(self.topology)]
                    .name
                    .clone(),
                owner: self.layout.topologies[usize::from(pstate.owner)]
                    .name
                    .clone(),
            });
        }
        pstate.space
    }
}

/// What lies beneath the running event of a thorough attempt.
struct Attempt<'a, E: Env> {
    overlay: &'a Overlay,
    store: &'a Store<E>,
}

impl<E: Env> Read for Attempt<'_, E> {
    fn get(
        &self,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), lsm::Error> {
        self.overlay.get(self.store, space, key, with)
    }

    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: lsm::Order,
        visit: lsm::Visit<'_>,
    ) -> Result<(), lsm::Error> {
        self.overlay.scan(self.store, space, lo, hi, order, visit)
    }
}

/// Ends the event when the storage below failed.
fn must<T>(attempted: &str, result: Result<T, lsm::Error>) -> T {
    result.unwrap_or_else(|error| {
        raise(EventFailure::Storage {
            attempted: attempted.to_owned(),
            cause: error.to_string(),
        })
    })
}

impl<E: Env> ReadAccess for EventContext<E> {
    fn get(&self, space: SpaceId, key: &[u8], with: &mut dyn FnMut(Option<&[u8]>)) {
        let space = self.disk_space(space);
        let overlay = self.overlay.borrow();
        let read = match &*self.event.borrow() {
            None => overlay.get(&self.store, space, key, with),
            Some(event) => event.get(&self.beneath(&overlay), space, key, with),
        };
        must("read an entry", read);
    }

    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: &mut Visit<'_>,
    ) {
        let space = self.disk_space(space);
        let (overlay, order) = (self.overlay.borrow(), storage_order(order));
        let read = match &*self.event.borrow() {
            None => overlay.scan(&self.store, space, lo, hi, order, visit),
            Some(event) => event.scan(&self.beneath(&overlay), space, lo, hi, order, visit),
        };
        must("scan", read);
    }
}

impl<E: Env> Access for EventContext<E> {
    fn put(&self, space: SpaceId, key: &[u8], value: &[u8]) {
        let space = self.own_space(space);
        self.write(|overlay| overlay.put(space, key, value));
    }

    fn delete(&self, space: SpaceId, key: &[u8]) {
        let space = self.own_space(space);
        self.write(|overlay| overlay.delete(space, key));
    }

    fn delete_range(&self, space: SpaceId, lo: &[u8], hi: Option<&[u8]>) {
        let space = self.own_space(space);
        let hi = hi.unwrap_or(&AFTER_ALL_KEYS);
        self.write(|overlay| overlay.delete_range(space, lo, hi));
    }

    fn home(&self, space: SpaceId, key: &[u8]) -> u32 {
        self.layout.home(space, key)
    }

    fn task_id(&self) -> u32 {
        self.task
    }

    fn task_count(&self) -> u32 {
        self.layout.tasks
    }

    fn now_ms(&self) -> u64 {
        self.layout.clock.now_ms(self.env.wall_ms())
    }

    fn random_u64(&self) -> u64 {
        self.env.random_u64()
    }

    fn microbatch_id(&self) -> Option<u64> {
        self.microbatch.get()
    }

    fn ack_return(&self, value: serde_json::Value) {
        let task = self
            .handle
            .get()
            .and_then(Weak::upgrade)
            .expect("author code holds its task");
        self.returns.borrow_mut().push((task.origin(), value));
    }

    fn task_global(&self, index: u16) -> Option<Rc<dyn Any>> {
        self.globals.get()?.get(index)
    }

    fn partitions_of(&self, module: &str, object: &str) -> u32 {
        self.layout.partitions_of(module, object)
    }

    fn append(&self, depot: LogId, record: &[u8]) {
        self.appends.push((&self.layout, self.task), depot, record);
    }
}

/// The committed state of one task, for clients (P-29).
pub(crate) struct ExternalView<'a, R> {
    pub(crate) store: &'a R,
    pub(crate) layout: &'a Layout,
}

impl<R: lsm::Read> ReadAccess for ExternalView<'_, R> {
    fn get(&self, space: SpaceId, key: &[u8], with: &mut dyn FnMut(Option<&[u8]>)) {
        let space = self.layout.pstates[usize::from(self.layout.pstate_index(space))].space;
        must("read an entry", self.store.get(space, key, with));
    }

    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: &mut Visit<'_>,
    ) {
        let space = self.layout.pstates[usize::from(self.layout.pstate_index(space))].space;
        must(
            "scan",
            self.store.scan(space, lo, hi, storage_order(order), visit),
        );
    }
}

fn storage_order(order: Order) -> lsm::Order {
    match order {
        Order::Ascending => lsm::Order::Ascending,
        Order::Descending => lsm::Order::Descending,
    }
}
