//! Partitioners: which task the value goes to (spec §5, R-1…R-7).
//!
//! Relies on `stage::Fan` for the lanes and on `rama_wire::hash`. What must stay true: every
//! partitioner is a boundary, even to the same task; an index that does not exist fails the
//! event and never wraps around. Keys are encoded into one buffer that is kept, so a
//! value costs no allocation beyond what its own key closure makes; a closure that answers with a
//! whole value (`|word| word`) works on a copy whose buffers are used again.

use std::marker::PhantomData;

use rama_wire::{Key, Record, SpaceId, hash};

use crate::failure;
use crate::stage::Fan;
use crate::task::Task;

/// Sends a value to its tasks.
pub trait Router<T>: Send + Sync + 'static {
    /// Whether the value alone decides, so that whoever has it can tell the task (spec Q-7).
    #[doc(hidden)]
    const LEADS: bool = false;

    /// The task for a value, of a router that leads.
    #[doc(hidden)]
    fn lead(&self, _value: &T, _tasks: u32) -> u32 {
        0
    }

    /// Pushes `value` into the lanes it belongs to.
    #[doc(hidden)]
    fn route(&self, task: &Task, value: T, lanes: &mut Lanes<'_, '_, T>);
}

/// The lanes of one run, as a router sees them.
#[doc(hidden)]
pub struct Lanes<'f, 'o, T>(pub(crate) &'f mut Fan<'o, T>);

/// To the home of a key.
pub struct Hash<F>(pub(crate) F);

impl<T, K, F> Router<T> for Hash<F>
where
    T: Record + Send,
    K: Key,
    F: Fn(T) -> K + Send + Sync + 'static,
{
    const LEADS: bool = true;

    fn lead(&self, value: &T, tasks: u32) -> u32 {
        hash::task_of(&(self.0)(value.clone()).key_bytes(), tasks)
    }

    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let key = (self.0)(lanes.0.copy_of(&value));
        let tasks = lanes.0.tasks();
        let scratch = lanes.0.key_scratch();
        key.encode_key(scratch);
        let task = hash::task_of(scratch, tasks);
        lanes.0.keep_copy(key);
        lanes.0.push(task, value);
    }
}

/// To the home of a key that stands in the value.
pub struct HashBy<F, K> {
    key: F,
    key_type: PhantomData<fn() -> K>,
}

impl<F, K> HashBy<F, K> {
    pub(crate) fn new(key: F) -> HashBy<F, K> {
        HashBy {
            key,
            key_type: PhantomData,
        }
    }
}

impl<T, K, F> Router<T> for HashBy<F, K>
where
    T: Record + Send,
    K: Key,
    F: for<'a> Fn(&'a T) -> &'a K + Send + Sync + 'static,
{
    const LEADS: bool = true;

    fn lead(&self, value: &T, tasks: u32) -> u32 {
        hash::task_of(&(self.key)(value).key_bytes(), tasks)
    }

    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let tasks = lanes.0.tasks();
        let scratch = lanes.0.key_scratch();
        (self.key)(&value).encode_key(scratch);
        let task = hash::task_of(scratch, tasks);
        lanes.0.push(task, value);
    }
}

/// To every task.
pub struct All;

impl<T: Record + Send> Router<T> for All {
    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let last = lanes.0.tasks() - 1;
        for task in 0..last {
            lanes.0.push(task, value.clone());
        }
        lanes.0.push(last, value);
    }
}

/// To task 0.
pub struct Global;

impl<T: Record + Send> Router<T> for Global {
    const LEADS: bool = true;

    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        lanes.0.push(0, value);
    }
}

/// To the task where the query began.
pub struct Origin;

impl<T: Record + Send> Router<T> for Origin {
    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let home = lanes.0.origin().home;
        lanes.0.push(home, value);
    }
}

/// To the home of a key made of the value.
pub(crate) struct KeyOf<F>(pub(crate) std::sync::Arc<F>);

impl<T, K, F> Router<T> for KeyOf<F>
where
    T: Record + Send,
    K: Key,
    F: Fn(&T) -> K + Send + Sync + 'static,
{
    const LEADS: bool = true;

    fn lead(&self, value: &T, tasks: u32) -> u32 {
        hash::task_of(&(self.0)(value).key_bytes(), tasks)
    }

    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let tasks = lanes.0.tasks();
        let key = (self.0)(&value);
        let scratch = lanes.0.key_scratch();
        key.encode_key(scratch);
        let task = hash::task_of(scratch, tasks);
        lanes.0.push(task, value);
    }
}

/// To this task, as another event.
pub(crate) struct Here;

impl<T: Record + Send> Router<T> for Here {
    #[inline]
    fn route(&self, task: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        lanes.0.push(task.id(), value);
    }
}

/// To the tasks in turn.
pub struct Shuffle;

impl<T: Record + Send> Router<T> for Shuffle {
    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let task = lanes.0.next_shuffled();
        lanes.0.push(task, value);
    }
}

/// To the task of that index.
pub struct Direct<F>(pub(crate) F);

impl<T, F> Router<T> for Direct<F>
where
    T: Record + Send,
    F: Fn(&T) -> u32 + Send + Sync + 'static,
{
    const LEADS: bool = true;

    fn lead(&self, value: &T, tasks: u32) -> u32 {
        in_range("direct_partition", (self.0)(value), tasks)
    }

    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let task = in_range("direct_partition", (self.0)(&value), lanes.0.tasks());
        lanes.0.push(task, value);
    }
}

/// To a task chosen from all of them.
pub struct Custom<F>(pub(crate) F);

impl<T, F> Router<T> for Custom<F>
where
    T: Record + Send,
    F: Fn(&T, u32) -> u32 + Send + Sync + 'static,
{
    const LEADS: bool = true;

    fn lead(&self, value: &T, tasks: u32) -> u32 {
        in_range("custom_partition", (self.0)(value, tasks), tasks)
    }

    #[inline]
    fn route(&self, _: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let tasks = lanes.0.tasks();
        let task = in_range("custom_partition", (self.0)(&value, tasks), tasks);
        lanes.0.push(task, value);
    }
}

/// To the home of a key of one PState, by that PState's own key partitioner.
pub struct PathHome<F> {
    pub(crate) space: SpaceId,
    pub(crate) key: F,
}

impl<T, K, F> Router<T> for PathHome<F>
where
    T: Record + Send,
    K: Key,
    F: Fn(T) -> K + Send + Sync + 'static,
{
    #[inline]
    fn route(&self, task: &Task, value: T, lanes: &mut Lanes<'_, '_, T>) {
        let key = (self.key)(lanes.0.copy_of(&value));
        let scratch = lanes.0.key_scratch();
        key.encode_key(scratch);
        let home = task.access().home(self.space, scratch);
        let home = in_range("path_partition", home, lanes.0.tasks());
        lanes.0.keep_copy(key);
        lanes.0.push(home, value);
    }
}

#[inline]
fn in_range(step: &str, index: u32, tasks: u32) -> u32 {
    if index >= tasks {
        failure::fail(format!(
            "{step} chose task {index}, but the module has tasks 0 to {}; answer below the number \
             of tasks",
            tasks - 1
        ));
    }
    index
}
