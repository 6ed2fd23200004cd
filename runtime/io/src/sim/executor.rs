//! The tasks of a simulation and the loop that polls them one at a time.
//!
//! Relies on `world`. Among the tasks that are ready a seeded choice is made; each poll takes a
//! seeded virtual time; when nothing is ready, time jumps to the next event. What must stay true:
//! the world is not locked while a task runs or is dropped.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::env::Tick;

use super::ProcessId;
use super::world::{Action, Place, Ready, Shared, TaskKey, TaskWaker, World};

const STALL_MAX: Duration = Duration::from_millis(10);

type Future_ = Pin<Box<dyn Future<Output = ()>>>;

/// All tasks of one simulation.
#[derive(Default)]
pub(super) struct Tasks(RefCell<Table>);

#[derive(Default)]
struct Table {
    slots: Vec<Option<Task>>,
    free: Vec<usize>,
    id: u64,
}

struct Task {
    id: u64,
    place: Place,
    /// Away while it is being polled.
    future: Option<Future_>,
    flag: Arc<TaskWaker>,
    waker: Waker,
}

/// What the loop did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Polled a task, or let an event happen.
    Worked,
    /// The task with this key, which is not in the table, is to be polled by the caller.
    Foreign(TaskKey),
    /// Nothing is ready and nothing will happen before the limit.
    Idle,
}

pub(super) fn waker_of(key: TaskKey, ready: &Arc<Ready>) -> Arc<TaskWaker> {
    let ready = ready.clone();
    Arc::new(TaskWaker {
        key,
        queued: AtomicBool::new(false),
        ready,
    })
}

impl Tasks {
    pub(super) fn spawn(
        &self,
        shared: &Arc<Shared>,
        place: Place,
        future: impl Future<Output = ()> + 'static,
    ) {
        if !shared.world().alive(place) {
            return;
        }
        let flag = {
            let mut table = self.0.borrow_mut();
            table.id += 1;
            let slot = table.free.pop().unwrap_or(table.slots.len());
            let id = table.id;
            let flag = waker_of(TaskKey { slot, id }, &shared.ready);
            let (waker, future) = (Waker::from(flag.clone()), Some(Box::pin(future) as Future_));
            let task = Task {
                id,
                place,
                future,
                flag: flag.clone(),
                waker,
            };
            if slot == table.slots.len() {
                table.slots.push(None);
            }
            table.slots[slot] = Some(task);
            flag
        };
        std::task::Wake::wake(flag);
    }

    /// Polls one task, or lets one event happen.
    pub(super) fn step(&self, shared: &Arc<Shared>, limit: Tick) -> Step {
        let mut world = shared.world();
        let now = world.now;
        if let Some((_, action)) = world.next_event(now.min(limit)) {
            happen(action, &mut world, &shared.ready);
            return Step::Worked;
        }
        let picked = {
            let mut ready = shared.ready.list();
            let index = world.schedule_rng.index(ready.len());
            if ready.is_empty() {
                None
            } else {
                Some(ready.swap_remove(index))
            }
        };
        match picked {
            Some(key) if key.slot == usize::MAX => {
                begin(&mut world, key, Place::DRIVER);
                Step::Foreign(key)
            }
            Some(key) => {
                drop(world);
                self.poll(shared, key);
                Step::Worked
            }
            None => {
                let Some((at, action)) = world.next_event(limit) else {
                    return Step::Idle;
                };
                world.now = at;
                happen(action, &mut world, &shared.ready);
                Step::Worked
            }
        }
    }

    fn poll(&self, shared: &Arc<Shared>, key: TaskKey) {
        let (mut future, place, waker) = {
            let mut table = self.0.borrow_mut();
            let Some(task) = table.task(key) else { return };
            let mut world = shared.world();
            if let Some(until) = stalled(&mut world, task.place) {
                world.at(until, Action::Resume(key));
                return;
            }
            let Some(future) = task.future.take() else {
                return;
            };
            task.flag.queued.store(false, Ordering::Relaxed);
            begin(&mut world, key, task.place);
            (future, task.place, task.waker.clone())
        };
        let done = future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        let kept = {
            let mut table = self.0.borrow_mut();
            match table.task(key) {
                Some(task) if !done => {
                    task.future = Some(future);
                    None
                }
                Some(_) => {
                    table.remove(key.slot);
                    Some(future)
                }
                None => Some(future),
            }
        };
        // A task that killed its own process is dropped here, as a dead one.
        shared.world().current = place;
        drop(kept);
        shared.world().current = Place::DRIVER;
    }

    /// Drops the tasks of a process; its incarnation must be over already.
    pub(super) fn drop_process(&self, shared: &Arc<Shared>, process: ProcessId) {
        let dead: Vec<Task> = {
            let mut table = self.0.borrow_mut();
            let of_process = |task: &Option<Task>| {
                task.as_ref()
                    .is_some_and(|t| t.place.process == Some(process))
            };
            let slots: Vec<usize> = (0..table.slots.len())
                .filter(|slot| of_process(&table.slots[*slot]))
                .collect();
            slots
                .into_iter()
                .filter_map(|slot| table.remove(slot))
                .collect()
        };
        let before = shared.world().current;
        for task in dead {
            shared.world().current = task.place;
            drop(task);
        }
        shared.world().current = before;
    }

    /// Drops all tasks; ends the cycle between tasks and the environments they hold.
    pub(super) fn clear(&self) {
        let table = std::mem::take(&mut *self.0.borrow_mut());
        drop(table);
    }

    pub(super) fn count(&self) -> usize {
        self.0.borrow().slots.iter().flatten().count()
    }
}

impl Table {
    fn task(&mut self, key: TaskKey) -> Option<&mut Task> {
        self.slots
            .get_mut(key.slot)?
            .as_mut()
            .filter(|task| task.id == key.id)
    }

    fn remove(&mut self, slot: usize) -> Option<Task> {
        let task = self.slots[slot].take();
        self.free.push(slot);
        task
    }
}

fn begin(world: &mut World, key: TaskKey, place: Place) {
    let time = world.config.poll_max;
    let time = world.schedule_rng.between(Duration::ZERO, time);
    world.now = world.now.after(time);
    world.trace.fold(key.id);
    world.trace.fold(world.now.0);
    world.idle_polls += 1;
    world.current = place;
}

fn happen(action: Action, world: &mut World, ready: &Ready) {
    world.trace.fold(world.now.0);
    match action {
        Action::Timer(slot) => {
            world.idle_polls = 0;
            if let Some(slot) = slot.upgrade() {
                slot.fill(());
            }
        }
        Action::Resume(key) => ready.list().push(key),
        Action::Effect(effect) => effect(world),
    }
}

/// Until when the executor of `place` stands still, if it does.
fn stalled(world: &mut World, place: Place) -> Option<Tick> {
    let chance = world.config.faults.stall;
    if world.schedule_rng.chance(chance) {
        let time = world.schedule_rng.between(Duration::ZERO, STALL_MAX);
        let executor = place.executor;
        if world.strikes(format_args!(
            "executor {executor} stands still for {time:?}"
        )) {
            world.frozen.insert(executor, world.now.after(time));
        }
    }
    let until = world.frozen.get(&place.executor).copied();
    until.filter(|until| *until > world.now)
}
