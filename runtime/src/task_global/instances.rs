//! The values of one task: made, ticked and dropped on its thread.
//!
//! Relies on the executor: ticks and events of a thread never overlap, so that no borrow meets
//! another. What must stay true: a value is made before the first event of its task and dropped
//! once, on the thread that made it, at the latest when the thread has stopped; author code that
//! panics here ends nothing but what it was asked for.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rama_io::Env;

use super::{GlobalDef, TaskContext};
use crate::error::{Error, ErrorKind, Result};
use crate::failure::guard;
use crate::layout::Layout;
use crate::task_thread::Thread;

/// The values of one task, by the index of their definition.
pub(crate) struct Instances {
    layout: Arc<Layout>,
    context: TaskContext,
    made: RefCell<Vec<Option<Rc<dyn Any>>>>,
}

impl Instances {
    /// Makes the values of all tasks of a thread, in the order of tasks and declarations.
    pub(crate) fn make<E: Env>(
        env: &E,
        layout: &Arc<Layout>,
        tasks: &[u32],
    ) -> Result<Vec<Rc<Instances>>> {
        let (module, group): (Arc<str>, Arc<[u32]>) = (layout.module.as_str().into(), tasks.into());
        let clock: Rc<dyn Fn() -> u64> = {
            let (env, layout) = (env.clone(), layout.clone());
            Rc::new(move || layout.clock.now_ms(env.wall_ms()))
        };
        let mut all: Vec<Rc<Instances>> = Vec::with_capacity(tasks.len());
        for &task in tasks {
            let context = TaskContext {
                module: module.clone(),
                task,
                tasks: layout.tasks,
                group: group.clone(),
                clock: clock.clone(),
            };
            let mut made = Vec::new();
            for (index, global) in layout.definition.globals.iter().enumerate() {
                let first = all.first().filter(|_| global.shared);
                made.push(match first {
                    Some(first) => first.get(index as u16),
                    None => Some(make(global, &context)?),
                });
            }
            all.push(Rc::new(Instances {
                layout: layout.clone(),
                context,
                made: RefCell::new(made),
            }));
        }
        Ok(all)
    }

    /// The value of a definition; `None` once the thread stops.
    pub(crate) fn get(&self, index: u16) -> Option<Rc<dyn Any>> {
        self.made
            .borrow()
            .get(usize::from(index))
            .cloned()
            .flatten()
    }

    /// Those that tick on this task, with their intervals.
    pub(crate) fn ticking(&self) -> Vec<(u16, Duration)> {
        let first = self.context.group.first() == Some(&self.context.task);
        let globals = self.layout.definition.globals.iter().enumerate();
        let here = globals.filter(|(_, global)| first || !global.shared);
        here.filter_map(|(index, global)| Some((index as u16, global.every?)))
            .collect()
    }

    /// `false` when the value is gone.
    fn tick(&self, index: u16) -> bool {
        let global = &self.layout.definition.globals[usize::from(index)];
        let (Some(value), Some(tick)) = (self.get(index), &global.tick) else {
            return false;
        };
        if let Err(error) = guard(|| tick(&*value, &self.context)) {
            let (task, name) = (self.context.task, global.name);
            tracing::warn!(module = %self.context.module, name, task, %error, "tick failed");
        }
        true
    }

    /// Drops the values, the last declared first. No event runs after that.
    pub(crate) fn close(&self) {
        while let Some(value) = self.made.borrow_mut().pop() {
            if let Err(error) = guard(|| drop(value)) {
                let (module, task) = (&self.context.module, self.context.task);
                tracing::warn!(%module, task, %error, "a task global could not be closed");
            }
        }
    }
}

fn make(global: &GlobalDef, context: &TaskContext) -> Result<Rc<dyn Any>> {
    let made = guard(|| (global.make)(context)).map_err(|panic| panic.into());
    made.flatten().map_err(|error: super::MakeError| {
        let (name, place) = (global.name, global.place);
        let (module, task) = (&context.module, context.task);
        let text = format!(
            "could not make task global {name} of module {module} on task {task} (declared at \
             {place}): {error}"
        );
        Error::new(ErrorKind::Rejected, text)
    })
}

/// Ticks one value for as long as it lives (G-3).
pub(crate) async fn run_ticks<E: Env>(
    thread: Rc<Thread<E>>,
    place: usize,
    (index, every): (u16, Duration),
) {
    loop {
        thread.env.sleep(every).await;
        if !thread.tasks[place].globals.tick(index) {
            return;
        }
    }
}
