//! What author code may ask of the engine: the boundary between paths and everything below them.
//!
//! Implemented by the engine's event context (an overlay over the task's store) and by
//! `TestPState`. What must stay true: every call is synchronous and acts on the current task only;
//! the closures passed in never call back into the access, so an implementor may hold a borrow
//! across them. Failures do not return: an implementor raises them with [`crate::failure::raise`],
//! which ends the event.

use std::any::Any;
use std::ops::ControlFlow;
use std::rc::Rc;

use rama_wire::{LogId, SpaceId};

use crate::failure;

/// The direction of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key upward.
    Ascending,
    /// From the largest key downward.
    Descending,
}

/// What a scan calls for each entry, key and value, until it breaks.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Reads of one task's PStates. Enough to evaluate a client's select.
pub trait ReadAccess {
    /// Calls `with` exactly once: with the value stored under `key`, or with `None`.
    fn get(&self, space: SpaceId, key: &[u8], with: &mut dyn FnMut(Option<&[u8]>));

    /// Visits the entries with `lo <= key < hi` (no upper bound when `hi` is `None`) until `visit`
    /// breaks.
    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: &mut Visit<'_>,
    );
}

/// Everything author code may do on its task.
///
/// A [`SpaceId`] here is the one the module's definition gave to the PState; the engine translates
/// it when its catalog pinned another.
pub trait Access: ReadAccess {
    /// Stores `value` under `key`.
    fn put(&self, space: SpaceId, key: &[u8], value: &[u8]);

    /// Removes the entry under `key`, if there is one. Performs no read.
    fn delete(&self, space: SpaceId, key: &[u8]);

    /// Removes every entry with `lo <= key < hi`; no upper bound when `hi` is `None`.
    fn delete_range(&self, space: SpaceId, lo: &[u8], hi: Option<&[u8]>);

    /// The task that is home to a top-level key of this PState: 0 for a global one.
    fn home(&self, space: SpaceId, key: &[u8]) -> u32;

    /// The current task.
    fn task_id(&self) -> u32;

    /// How many tasks the module has.
    fn task_count(&self) -> u32;

    /// Wall clock, milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// A random number; seeded in the simulator.
    fn random_u64(&self) -> u64;

    /// The id of the running microbatch, the same in every attempt; `None` outside of one.
    fn microbatch_id(&self) -> Option<u64>;

    /// Adds a value to what the appender of the current record gets back (spec D-19).
    fn ack_return(&self, value: serde_json::Value);

    /// The value that a declared task global has on this task (spec G-1); `None` when it has none.
    fn task_global(&self, _index: u16) -> Option<Rc<dyn Any>> {
        None
    }

    /// How many partitions an object of another module has; ends the event when that cannot be told.
    fn partitions_of(&self, module: &str, object: &str) -> u32 {
        failure::fail(format!(
            "{object} of {module} is an object of another module, and there is none here"
        ))
    }

    /// Appends an encoded record to the partition of a depot on this task (spec D-30).
    fn append(&self, depot: LogId, record: &[u8]);
}
