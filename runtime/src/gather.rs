//! What a topology keeps in memory on a task while an attempt or an invocation lasts: rows that wait
//! until everything before them is done, handlers that wait for answers, and an author's temporary
//! values.
//!
//! Relies on the engine to let each level go when nothing below it is left to run anywhere (spec
//! F-21), and to forget the slots when the attempt or the invocation ends. What must stay true: no
//! slot outlives its attempt, so nothing here is undone.

use std::any::Any;
use std::sync::Arc;

use crate::handlers::Handlers;
use crate::stage::{Origin, Outbox};
use crate::task::Task;

/// A slot of one topology, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotIndex(pub(crate) u16);

/// What one attempt or invocation keeps on one task.
#[derive(Default)]
pub struct Slots {
    values: Vec<Option<Box<dyn Any>>>,
    pub(crate) handlers: Handlers,
}

impl Slots {
    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty() && self.values.iter().all(Option::is_none)
    }

    pub(crate) fn take<T: 'static>(&mut self, index: SlotIndex) -> Option<T> {
        let slot = self.values.get_mut(usize::from(index.0))?.take()?;
        match slot.downcast() {
            Ok(value) => Some(*value),
            Err(_) => panic!("slot {} holds a value of another type", index.0),
        }
    }

    pub(crate) fn put<T: 'static>(&mut self, index: SlotIndex, value: T) {
        let index = usize::from(index.0);
        if self.values.len() <= index {
            self.values.resize_with(index + 1, || None);
        }
        self.values[index] = Some(Box::new(value));
    }
}

/// Rows that wait on each task for the rest of their level.
pub trait Gather: Send + Sync {
    /// Lets go of what was gathered on this task: the code behind it runs for each row that comes of
    /// it, under `origin`.
    ///
    /// # Panics
    /// Unwinds when author code fails or panics.
    fn release(&self, task: &Task, origin: Origin, out: &mut Outbox);
}

/// The tasks on which something is let go, also where nothing was gathered (spec F-29).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On all.
    Everywhere,
    /// On task 0.
    First,
    /// On the task where the query began.
    Origin,
}

/// A gathering of a topology.
#[derive(Clone)]
pub struct GatherDef {
    /// Its code.
    pub gather: Arc<dyn Gather>,
    /// When it is let go: after everything of the levels below, from 1.
    pub level: u16,
    /// Where.
    pub reach: Reach,
}

impl GatherDef {
    /// The levels of a topology with these gatherings.
    pub fn levels(gathers: &[GatherDef]) -> u16 {
        gathers.iter().map(|gather| gather.level).max().unwrap_or(0)
    }
}
