//! What author code stands on while an event runs: one topology's view of one task.
//!
//! Relies on the task's store for committed data and on one overlay for what the running batch or
//! attempt has written. What must stay true: the own topology sees its overlay (P-27), PStates of
//! other topologies show committed data only (P-28), nothing but the topology's own PStates is ever
//! written (P-1), and dropping the overlay drops everything the events did on this task.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use rama_io::Env;
use rama_storage::lsm::{self, Overlay, Read, Store, WriteBatch};
use rama_wire::{LogId, SpaceId};

use crate::access::{Access, Order, ReadAccess, Visit};
use crate::failure::{EventFailure, raise};
use crate::layout::Layout;
use crate::message::Records;
use crate::task::Task;

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
    microbatch: Cell<Option<u64>>,
    returns: RefCell<Vec<(u64, serde_json::Value)>>,
    appends: RefCell<Vec<(u16, Records)>>,
    handle: OnceCell<Weak<Task>>,
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
            microbatch: Cell::new(None),
            returns: RefCell::default(),
            appends: RefCell::default(),
            handle: OnceCell::new(),
        });
        let task = Rc::new(Task::new(context.clone()));
        context
            .handle
            .set(Rc::downgrade(&task))
            .expect("a new context has no task yet");
        (context, task)
    }

    /// Begins an attempt with nothing written.
    pub(crate) fn begin(&self, microbatch: Option<u64>) {
        self.discard();
        self.microbatch.set(microbatch);
    }

    /// Throws away everything written since the beginning.
    pub(crate) fn discard(&self) {
        self.overlay.replace(Overlay::new());
        self.returns.borrow_mut().clear();
        self.appends.borrow_mut().clear();
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
        must(
            "read an entry",
            self.overlay.borrow().get(&self.store, space, key, with),
        );
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
        let overlay = self.overlay.borrow();
        must(
            "scan",
            overlay.scan(&self.store, space, lo, hi, storage_order(order), visit),
        );
    }
}

impl<E: Env> Access for EventContext<E> {
    fn put(&self, space: SpaceId, key: &[u8], value: &[u8]) {
        let space = self.own_space(space);
        self.overlay.borrow_mut().put(space, key, value);
    }

    fn delete(&self, space: SpaceId, key: &[u8]) {
        let space = self.own_space(space);
        self.overlay.borrow_mut().delete(space, key);
    }

    fn delete_range(&self, space: SpaceId, lo: &[u8], hi: Option<&[u8]>) {
        let space = self.own_space(space);
        self.overlay
            .borrow_mut()
            .delete_range(space, lo, hi.unwrap_or(&AFTER_ALL_KEYS));
    }

    fn home(&self, space: SpaceId, key: &[u8]) -> u32 {
        let index = usize::from(self.layout.pstate_index(space));
        let home = self.layout.definition.pstates[index].home(key, self.layout.tasks);
        home.unwrap_or_else(|error| {
            raise(EventFailure::Author {
                message: error.to_string(),
            })
        })
    }

    fn task_id(&self) -> u32 {
        self.task
    }

    fn task_count(&self) -> u32 {
        self.layout.tasks
    }

    fn now_ms(&self) -> u64 {
        self.env.wall_ms()
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

    fn append(&self, depot: LogId, record: &[u8]) {
        let depot = self.layout.depot_index(depot);
        let mut appends = self.appends.borrow_mut();
        let at = appends
            .iter()
            .position(|(known, _)| *known == depot)
            .unwrap_or_else(|| {
                appends.push((depot, Records::default()));
                appends.len() - 1
            });
        appends[at]
            .1
            .push_with(|bytes| bytes.extend_from_slice(record));
    }
}

/// The committed state of one task, for clients (P-29).
pub(crate) struct ExternalView<'a, E: Env> {
    pub(crate) store: &'a Store<E>,
    pub(crate) layout: &'a Layout,
}

impl<E: Env> ReadAccess for ExternalView<'_, E> {
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
