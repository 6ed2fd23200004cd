//! What a topology keeps on a task while an attempt or an invocation lasts: rows that wait until
//! everything before them is done, handlers that wait for answers, and an author's temporary values.
//!
//! Relies on the engine to let each level go when nothing below it is left to run anywhere (spec
//! F-21), to move rows to disk that take too much memory, and to forget the slots when the attempt or
//! the invocation ends. What must stay true: no slot outlives its attempt, so nothing here is undone.

use std::any::Any;
use std::sync::Arc;

use crate::handlers::Handlers;
use crate::rows::Rows;
use crate::stage::{Origin, Outbox};
use crate::task::Task;

/// A slot of one topology, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotIndex(pub(crate) u16);

/// What one attempt or invocation keeps on one task.
#[derive(Default)]
pub struct Slots {
    slots: Vec<Option<Slot>>,
    pub(crate) handlers: Handlers,
}

enum Slot {
    Value(Box<dyn Any>),
    Rows(Box<dyn Rows>),
}

impl Slot {
    fn into_any(self) -> Box<dyn Any> {
        match self {
            Slot::Value(value) => value,
            Slot::Rows(rows) => rows.into_any(),
        }
    }
}

impl Slots {
    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty() && self.slots.iter().all(Option::is_none)
    }

    pub(crate) fn take<T: 'static>(&mut self, index: SlotIndex) -> Option<T> {
        let slot = self.slots.get_mut(usize::from(index.0))?.take()?;
        match slot.into_any().downcast() {
            Ok(value) => Some(*value),
            Err(_) => panic!("slot {} holds a value of another type", index.0),
        }
    }

    pub(crate) fn put<T: 'static>(&mut self, index: SlotIndex, value: T) {
        *self.place(index) = Some(Slot::Value(Box::new(value)));
    }

    pub(crate) fn put_rows(&mut self, index: SlotIndex, rows: impl Rows) {
        *self.place(index) = Some(Slot::Rows(Box::new(rows)));
    }

    fn place(&mut self, index: SlotIndex) -> &mut Option<Slot> {
        let index = usize::from(index.0);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        &mut self.slots[index]
    }

    /// The rows of a slot.
    pub(crate) fn rows(&mut self, index: SlotIndex) -> Option<&mut dyn Rows> {
        match self.slots.get_mut(usize::from(index.0))? {
            Some(Slot::Rows(rows)) => Some(&mut **rows),
            _ => None,
        }
    }

    /// A slot whose rows take more memory than `budget` bytes.
    pub(crate) fn heavy(&mut self, budget: usize) -> Option<SlotIndex> {
        let heavy = self.slots.iter_mut().position(|slot| match slot {
            Some(Slot::Rows(rows)) => rows.is_heavy(budget),
            _ => false,
        });
        heavy.map(|index| SlotIndex(index as u16))
    }

    /// Whether the rows of a slot lie on disk in part.
    pub(crate) fn is_parted(&self, index: SlotIndex) -> bool {
        match self.slots.get(usize::from(index.0)) {
            Some(Some(Slot::Rows(rows))) => rows.is_parted(),
            _ => false,
        }
    }
}

/// Whether a gathering has let all go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is left has to be let go too"]
pub enum Left {
    /// It has.
    Nothing,
    /// It is to be called again, as another event.
    More,
}

/// A gathering lets go of about so many rows in one event. Few in tests, which are to need several.
pub(crate) const RELEASED_ROWS: usize = if cfg!(test) { 8 } else { 4096 };

/// Rows that wait on each task for the rest of their level.
pub trait Gather: Send + Sync {
    /// Where its rows wait.
    fn slot(&self) -> SlotIndex;

    /// Lets go of what was gathered on this task, or of a part of it: the code behind it runs for
    /// each row that comes of it, under `origin`.
    ///
    /// # Panics
    /// Unwinds when author code fails or panics.
    fn release(&self, task: &Task, origin: Origin, out: &mut Outbox) -> Left;
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
