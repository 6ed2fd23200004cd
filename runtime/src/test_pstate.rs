//! A PState without a cluster: the same paths over an ordered map in memory.
//!
//! For tests of code that takes a `&Task` and a `LocalPState`. Everything lives on one task, which
//! is home to every key unless [`TestPState::on_task`] says otherwise.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;

use rama_wire::{LogId, SpaceId, hash};

use crate::access::{Access, Order, ReadAccess, Visit};
use crate::failure::{EventFailure, raise};
use crate::plan::{Functions, Ground, Limits, SelectError, Selectable, evaluate_on};
use crate::pstate::{LocalPState, PState};
use crate::schema::Root;
use crate::task::Task;

/// A PState of shape `S` in memory, and a task to use it on.
///
/// ```
/// use rama_runtime::{Map, TestPState};
/// let counts = TestPState::<Map<String, u64>>::new();
/// counts.local().key("a").set(counts.task(), 1);
/// assert_eq!(counts.local().key("a").get(counts.task()), Some(1));
/// ```
pub struct TestPState<S: Root> {
    pstate: LocalPState<S>,
    memory: Rc<Memory>,
    task: Task,
}

/// An ordered map that counts how it is used, as one task of several.
struct Memory {
    entries: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    task_id: u32,
    task_count: u32,
    reads: Cell<u64>,
    writes: Cell<u64>,
    random: Cell<u64>,
    microbatch: Cell<Option<u64>>,
}

const SPACE: SpaceId = SpaceId(1);

impl<S: Root> Default for TestPState<S> {
    fn default() -> Self {
        TestPState::new()
    }
}

impl<S: Root> TestPState<S> {
    /// An empty PState on the only task there is.
    pub fn new() -> TestPState<S> {
        TestPState::on_task(0, 1)
    }

    /// An empty partition on one of several tasks: keys that live elsewhere fail.
    pub fn on_task(task_id: u32, task_count: u32) -> TestPState<S> {
        TestPState::of(&PState::named("$$test"), task_id, task_count)
    }

    /// An empty partition of a PState with its own name and options. A test gives its initial value
    /// by `reset`.
    pub fn of(pstate: &PState<S>, task_id: u32, task_count: u32) -> TestPState<S> {
        let memory = Rc::new(Memory {
            entries: RefCell::default(),
            task_id,
            task_count,
            reads: Cell::new(0),
            writes: Cell::new(0),
            random: Cell::new(0),
            microbatch: Cell::new(None),
        });
        let task = Task::new(memory.clone());
        TestPState {
            pstate: pstate.bind(SPACE),
            memory,
            task,
        }
    }

    /// The PState, as a topology has it.
    pub fn local(&self) -> LocalPState<S> {
        self.pstate
    }

    /// The task, as a topology has it.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// What a client's select would answer. The path may come from a `PState` constant of any name.
    pub fn select<T: Selectable>(&self, path: T) -> Result<T::Output, SelectError> {
        self.select_with(&Functions::default(), path)
    }

    /// The same of a module that registers these functions.
    pub fn select_with<T: Selectable>(
        &self,
        functions: &Functions,
        path: T,
    ) -> Result<T::Output, SelectError> {
        let selection = path.selection();
        selection.check()?;
        let ground = Ground {
            read: &*self.memory,
            space: SPACE,
            functions,
            limits: Limits::default(),
        };
        selection.decode(&evaluate_on(ground, selection.plan())?)
    }

    /// What reads the partition: for plans made elsewhere, such as by `json_path`.
    pub fn read_access(&self) -> (&dyn ReadAccess, SpaceId) {
        (&*self.memory, SPACE)
    }

    /// How many reads there were so far: gets and scans.
    pub fn reads(&self) -> u64 {
        self.memory.reads.get()
    }

    /// How many writes there were so far: puts, deletes and range deletes.
    pub fn writes(&self) -> u64 {
        self.memory.writes.get()
    }

    /// Makes the task believe that it runs this microbatch.
    pub fn set_microbatch(&self, id: Option<u64>) {
        self.memory.microbatch.set(id);
    }

    /// Number of stored entries, headers included.
    pub fn entry_count(&self) -> usize {
        self.memory.entries.borrow().len()
    }
}

impl ReadAccess for Memory {
    fn get(&self, _space: SpaceId, key: &[u8], with: &mut dyn FnMut(Option<&[u8]>)) {
        self.reads.set(self.reads.get() + 1);
        with(self.entries.borrow().get(key).map(Vec::as_slice));
    }

    fn scan(
        &self,
        _space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: &mut Visit<'_>,
    ) {
        self.reads.set(self.reads.get() + 1);
        if hi.is_some_and(|hi| hi <= lo) {
            return;
        }
        let entries = self.entries.borrow();
        let hi = hi.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = entries.range::<[u8], _>((Bound::Included(lo), hi));
        let mut next = || match order {
            Order::Ascending => range.next(),
            Order::Descending => range.next_back(),
        };
        while let Some((key, value)) = next() {
            if visit(key, value) == ControlFlow::Break(()) {
                return;
            }
        }
    }
}

impl Access for Memory {
    fn put(&self, _space: SpaceId, key: &[u8], value: &[u8]) {
        self.writes.set(self.writes.get() + 1);
        let mut entries = self.entries.borrow_mut();
        match entries.get_mut(key) {
            Some(old) => {
                old.clear();
                old.extend_from_slice(value);
            }
            None => {
                entries.insert(key.to_vec(), value.to_vec());
            }
        }
    }

    fn delete(&self, _space: SpaceId, key: &[u8]) {
        self.writes.set(self.writes.get() + 1);
        self.entries.borrow_mut().remove(key);
    }

    fn delete_range(&self, _space: SpaceId, lo: &[u8], hi: Option<&[u8]>) {
        self.writes.set(self.writes.get() + 1);
        self.entries
            .borrow_mut()
            .retain(|key, _| key.as_slice() < lo || hi.is_some_and(|hi| key.as_slice() >= hi));
    }

    fn home(&self, _space: SpaceId, key: &[u8]) -> u32 {
        hash::task_of(key, self.task_count)
    }

    fn task_id(&self) -> u32 {
        self.task_id
    }

    fn task_count(&self) -> u32 {
        self.task_count
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn random_u64(&self) -> u64 {
        // A fixed sequence: tests that use it are reproducible.
        let next = self
            .random
            .get()
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(1);
        self.random.set(next);
        next ^ (next >> 29)
    }

    fn microbatch_id(&self) -> Option<u64> {
        self.microbatch.get()
    }

    fn ack_return(&self, _value: serde_json::Value) {}

    fn append(&self, _depot: LogId, _record: &[u8]) {
        raise(EventFailure::Unsupported {
            message: "a TestPState has no depots to append to; use an InProcessCluster".to_owned(),
        })
    }
}
