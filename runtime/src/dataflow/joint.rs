//! Where chains meet: code that other chains run in their own event.
//!
//! Relies on the definition to close every joint before anything runs. What must stay true: a value
//! keeps its origin through a joint, and its edge stays with the item that brought it, so that trees
//! and attempts are complete exactly when all of it ran.

use std::sync::{Arc, OnceLock};

use rama_wire::{Record, RecordError};

use super::fused::{Sink, Unit};
use crate::setup::Chain;
use crate::stage::{Fan, Item, Outbox, Records, StageIndex};
use crate::task::Task;

/// The code of a chain, from where its values arrive to where they leave.
pub(crate) trait Body<T>: Send + Sync {
    fn run_items(&self, task: &Task, items: Vec<Item<T>>, out: &mut Outbox);

    /// Runs records of a depot, each as soon as it is decoded: the reader looks at the clock.
    fn run_records(
        &self,
        task: &Task,
        records: &mut dyn Records,
        decode: fn(&[u8]) -> Result<T, RecordError>,
        out: &mut Outbox,
    );
}

/// A place for a [`Body`] that is known later.
pub(crate) struct Joint<T>(Arc<OnceLock<Arc<dyn Body<T>>>>);

impl<T> Clone for Joint<T> {
    fn clone(&self) -> Self {
        Joint(self.0.clone())
    }
}

impl<T: 'static> Joint<T> {
    pub(crate) fn new() -> Joint<T> {
        Joint(Arc::new(OnceLock::new()))
    }

    pub(crate) fn close(&self, body: Arc<dyn Body<T>>) {
        assert!(self.0.set(body).is_ok(), "a joint is closed once");
    }

    pub(crate) fn run(&self, task: &Task, items: Vec<Item<T>>, out: &mut Outbox) {
        if items.is_empty() {
            return;
        }
        let body = self.0.get().expect("a checked definition has no open end");
        body.run_items(task, items, out);
    }
}

/// A chain and its code, to be put where it belongs.
#[doc(hidden)]
pub struct Closing<T> {
    pub(super) chain: Chain,
    pub(super) body: Arc<dyn Body<T>>,
}

/// What a chain begins with.
#[doc(hidden)]
pub trait Entrance: 'static {
    /// What arrives.
    type Value: 'static;

    /// Closes a chain that began so.
    fn close(closing: Closing<Self::Value>);
}

/// Values that arrive as records: from a depot or another task.
#[diagnostic::do_not_recommend]
impl<T: Record + Send> Entrance for T {
    type Value = T;

    fn close(closing: Closing<T>) {
        closing.chain.end(Arc::new(Unit(closing.body)));
    }
}

/// Values that arrive from other chains of the same event.
#[doc(hidden)]
pub struct Local<T>(std::marker::PhantomData<fn() -> T>);

impl<T: 'static> Entrance for Local<T> {
    type Value = T;

    fn close(closing: Closing<T>) {
        closing.chain.end_local(closing.body);
    }
}

/// Into one joint.
impl<T: 'static> Sink<T> for Joint<T> {
    fn drain(&self, task: &Task, items: Vec<Item<T>>, out: &mut Outbox) {
        self.run(task, items, out);
    }
}

/// A copy into each of two joints.
pub(super) struct Fork<T> {
    pub(super) first: Joint<T>,
    pub(super) second: Joint<T>,
}

impl<T: Clone + 'static> Sink<T> for Fork<T> {
    fn drain(&self, task: &Task, items: Vec<Item<T>>, out: &mut Outbox) {
        self.first.run(task, items.clone(), out);
        self.second.run(task, items, out);
    }
}

/// What one turn of a loop does with a value ([`crate::dataflow::Flow::iterate`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn<T, U> {
    /// Goes round once more, as an event of its own on this task.
    Again(T),
    /// Leaves the loop, in this event.
    Emit(U),
}

/// The end of a loop's body.
pub(super) struct Round<U> {
    pub(super) head: StageIndex,
    pub(super) out: Joint<U>,
}

impl<T: Record + Send, U: 'static> Sink<Turn<T, U>> for Round<U> {
    fn drain(&self, task: &Task, items: Vec<Item<Turn<T, U>>>, out: &mut Outbox) {
        let mut emitted = Vec::new();
        let mut fan = Fan::new(out, self.head);
        for Item { origin, value, .. } in items {
            match value {
                Turn::Again(value) => {
                    fan.begin(task, origin, 0);
                    fan.push(task.id(), value);
                    fan.end();
                }
                Turn::Emit(value) => emitted.push(Item::of(origin, value)),
            }
        }
        fan.finish();
        self.out.run(task, emitted, out);
    }
}
