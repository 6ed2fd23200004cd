//! Declaring values that live beside the tasks.
//!
//! Relies on `task_global`. What must stay true: a name is that of one object of the module, depot
//! or global (spec O-10).

use std::collections::BTreeMap;
use std::time::Duration;

use super::Setup;
use super::check::{check_name, twice};
use super::draft::DepotDraft;
use crate::definition::Fault;
use crate::task_global::{GlobalDef, MakeError, TaskContext, TaskGlobal};

impl Setup {
    /// Declares a value that each task has one of: `make` is called for every task when its thread
    /// starts, and the value dropped when it stops. The handle works in every topology; what it
    /// lends is always the current task's (spec G-1, G-2). The name starts with `*`.
    ///
    /// When `make` fails so does the launch. Whatever takes long, such as connecting, is better
    /// done at the first use. A value for the whole process is what `define` captures, in an `Arc`.
    #[track_caller]
    pub fn task_global<T: 'static>(
        &mut self,
        name: &'static str,
        make: impl Fn(&TaskContext) -> Result<T, MakeError> + Send + Sync + 'static,
    ) -> TaskGlobal<T> {
        self.declare_global(GlobalDef::new(name, make))
    }

    /// As [`task_global`](Setup::task_global), and calls `tick` on the task's thread, between two
    /// events, whenever `every` has passed since the last (spec G-3). A tick that panics is logged,
    /// and the next one comes.
    #[track_caller]
    pub fn task_global_with_tick<T: 'static>(
        &mut self,
        name: &'static str,
        every: Duration,
        make: impl Fn(&TaskContext) -> Result<T, MakeError> + Send + Sync + 'static,
        tick: impl Fn(&mut T, &TaskContext) + Send + Sync + 'static,
    ) -> TaskGlobal<T> {
        self.declare_global(GlobalDef::new(name, make).ticking(every, tick))
    }

    /// Declares a value that the tasks of a task thread share: a connection, a pool (spec G-5). It
    /// needs no lock, for the thread runs one event at a time.
    #[track_caller]
    pub fn shared<T: 'static>(
        &mut self,
        name: &'static str,
        make: impl Fn(&TaskContext) -> Result<T, MakeError> + Send + Sync + 'static,
    ) -> TaskGlobal<T> {
        self.declare_global(GlobalDef::new(name, make).shared())
    }

    fn declare_global<T: 'static>(&mut self, global: GlobalDef) -> TaskGlobal<T> {
        let globals = &mut self.draft.borrow_mut().globals;
        let index = u16::try_from(globals.len()).expect("a module has under 65,536 globals");
        let name = global.name;
        globals.push(global);
        TaskGlobal::new(index, name)
    }
}

pub(super) fn check(globals: &[GlobalDef], depots: &[DepotDraft], faults: &mut Vec<Fault>) {
    let mut first: BTreeMap<&str, _> = depots.iter().map(|d| (d.name, d.place)).collect();
    for global in globals {
        let object = format!("global {}", global.name);
        check_name(&object, global.name, "*", global.place, faults);
        twice(&mut first, &object, global.name, global.place, faults);
        if global.every == Some(Duration::ZERO) {
            faults.push(Fault {
                object,
                problem: "ticks every 0 ms, which is always".to_owned(),
                fix: "give an interval of at least one millisecond".to_owned(),
                place: global.place,
                first: None,
            });
        }
    }
}
