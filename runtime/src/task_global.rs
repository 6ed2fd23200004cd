//! Values that live beside the tasks of a module: clients of other systems, caches, counters.
//!
//! Relies on the task thread to make them before its first event and to drop them when it stops.
//! What must stay true: a value never leaves the thread it was made on, and what is declared per
//! task is seen by events of that task alone (spec G-1, G-2).

mod instances;

use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::{EventFailure, raise};
use crate::graph::Place;
use crate::task::Task;

pub(crate) use instances::{Instances, run_ticks};

/// A value of each task, or of each task thread, as topology code reaches it. `Copy`.
///
/// Comes from [`Setup::task_global`](crate::Setup::task_global) and its kin. The value is made when
/// the task thread starts, again after each restart and update, and dropped when it stops. It is
/// not durable and no part of any transaction: what a failed event changed stays changed (spec
/// G-4). What has to outlive a restart belongs into a PState.
///
/// ```
/// # use rama_runtime::{Depot, Module, Partition, Setup};
/// # use std::collections::BTreeMap;
/// # const LINES: Depot<String> = Depot::named("*lines");
/// # struct M;
/// # impl Module for M {
/// fn define(&self, m: &mut Setup) {
///     m.depot(LINES, Partition::random());
///     let seen = m.task_global("*seen", |_| Ok(BTreeMap::<String, u64>::new()));
///     m.stream("count").source(LINES).each(move |task, line| {
///         let times = seen.with(task, |seen| {
///             let times = seen.entry(line).or_default();
///             *times += 1;
///             *times
///         });
///         task.ack_return(&times);
///     });
/// }
/// # }
/// # rama_runtime::Definition::of(&M)?;
/// # Ok::<(), rama_runtime::DefinitionError>(())
/// ```
pub struct TaskGlobal<T> {
    index: u16,
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: 'static> TaskGlobal<T> {
    pub(crate) fn new(index: u16, name: &'static str) -> TaskGlobal<T> {
        TaskGlobal {
            index,
            name,
            value: PhantomData,
        }
    }

    /// Its name, with the leading `*`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Lends the value of the current task to `run`.
    ///
    /// # Errors
    /// The event fails when `run` itself, or what it calls, borrows the same value again; when the
    /// module is stopping; and on a task without an engine, such as that of a test.
    pub fn with<R>(&self, task: &Task, run: impl FnOnce(&mut T) -> R) -> R {
        let refuse = |why: &str| -> ! {
            raise(EventFailure::Unsupported {
                message: format!("could not use task global {}: {why}", self.name),
            })
        };
        let Some(found) = task.access().task_global(self.index) else {
            refuse("there is none on this task: the module is stopping, or was never launched");
        };
        let Some(cell) = found.downcast_ref::<RefCell<T>>() else {
            refuse("its handle is that of another module");
        };
        match cell.try_borrow_mut() {
            Ok(mut value) => run(&mut value),
            Err(_) => refuse("it is lent already; do not use it inside of its own .with(…)"),
        }
    }
}

impl<T> Clone for TaskGlobal<T> {
    fn clone(&self) -> TaskGlobal<T> {
        *self
    }
}

impl<T> Copy for TaskGlobal<T> {}

impl<T> fmt::Debug for TaskGlobal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskGlobal({})", self.name)
    }
}

/// Where a value is made or ticks (spec G-2).
pub struct TaskContext {
    module: Arc<str>,
    task: u32,
    tasks: u32,
    group: Arc<[u32]>,
    clock: Rc<dyn Fn() -> u64>,
}

impl TaskContext {
    /// The name of the module.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The task; the first one of the thread for what all of its tasks share.
    pub fn task_id(&self) -> u32 {
        self.task
    }

    /// How many tasks the module has.
    pub fn task_count(&self) -> u32 {
        self.tasks
    }

    /// The tasks of this task thread, in ascending order.
    pub fn task_group(&self) -> &[u32] {
        &self.group
    }

    /// Wall clock, milliseconds since the Unix epoch; the same as [`Task::now_ms`].
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("module", &self.module)
            .field("task", &self.task)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// Why a value could not be made: any error, or a text by `.into()`.
pub type MakeError = Box<dyn Error + Send + Sync>;

type Make = Arc<dyn Fn(&TaskContext) -> Result<Rc<dyn Any>, MakeError> + Send + Sync>;
type Tick = Arc<dyn Fn(&dyn Any, &TaskContext) + Send + Sync>;

/// A declared task global.
#[derive(Clone)]
pub struct GlobalDef {
    /// Its name, with `*`.
    pub name: &'static str,
    /// One value for all tasks of a task thread, instead of one each.
    pub shared: bool,
    /// The time between ticks, when it has them.
    pub every: Option<Duration>,
    /// Where it is declared.
    pub place: Place,
    make: Make,
    tick: Option<Tick>,
}

impl GlobalDef {
    #[track_caller]
    pub(crate) fn new<T: 'static>(
        name: &'static str,
        make: impl Fn(&TaskContext) -> Result<T, MakeError> + Send + Sync + 'static,
    ) -> GlobalDef {
        let make = move |cx: &TaskContext| {
            let made: Rc<dyn Any> = Rc::new(RefCell::new(make(cx)?));
            Ok(made)
        };
        GlobalDef {
            name,
            shared: false,
            every: None,
            place: Place::of_caller(),
            make: Arc::new(make),
            tick: None,
        }
    }

    pub(crate) fn shared(mut self) -> GlobalDef {
        self.shared = true;
        self
    }

    /// `T` is that of [`GlobalDef::new`].
    pub(crate) fn ticking<T: 'static>(
        mut self,
        every: Duration,
        tick: impl Fn(&mut T, &TaskContext) + Send + Sync + 'static,
    ) -> GlobalDef {
        let tick = move |value: &dyn Any, cx: &TaskContext| {
            let value = value.downcast_ref::<RefCell<T>>();
            let value = value.expect("a global ticks with the type it was made of");
            tick(&mut value.borrow_mut(), cx);
        };
        self.every = Some(every);
        self.tick = Some(Arc::new(tick));
        self
    }
}

impl fmt::Debug for GlobalDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalDef")
            .field("name", &self.name)
            .field("shared", &self.shared)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
