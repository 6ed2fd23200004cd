//! Steps that handlers call on other tasks, and where those are.
//!
//! Relies on `dataflow::handling`, which makes a stage of each step. What must stay true: a step is
//! called by code of its own topology alone, because that is where its stage is.

use std::marker::PhantomData;

use rama_wire::{Key, hash};

use crate::stage::StageIndex;

/// Code that runs as one event on the task where it is called, and answers: registered with
/// [`Topology::step`](crate::Topology::step), called with
/// [`AsyncTask::call`](crate::AsyncTask::call). `Copy`, so that closures move it in.
pub struct Step<A, R> {
    pub(crate) topology: u16,
    pub(crate) stage: StageIndex,
    types: PhantomData<fn(A) -> R>,
}

impl<A, R> Step<A, R> {
    pub(crate) fn new(topology: u16, stage: StageIndex) -> Step<A, R> {
        Step {
            topology,
            stage,
            types: PhantomData,
        }
    }
}

impl<A, R> Clone for Step<A, R> {
    fn clone(&self) -> Step<A, R> {
        *self
    }
}

impl<A, R> Copy for Step<A, R> {}

impl<A, R> std::fmt::Debug for Step<A, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Step({:?})", self.stage)
    }
}

/// Where a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Task(u32),
    Hash(u64),
}

impl At {
    /// On the task that is home to a key, as [`hash_partition`](crate::Flow::hash_partition) finds
    /// it (spec R-1).
    pub fn home<K: Key>(key: &K) -> At {
        At(Place::Hash(hash::hash_of(&key.key_bytes())))
    }

    /// On the task of that index (spec R-5).
    pub fn task(index: u32) -> At {
        At(Place::Task(index))
    }

    /// On task 0, where global PStates are (spec R-3).
    pub fn global() -> At {
        At::task(0)
    }

    /// The task, among so many.
    pub(crate) fn among(self, tasks: u32) -> Result<u32, u32> {
        match self.0 {
            Place::Hash(hash) => Ok(hash::task_of_hash(hash, tasks)),
            Place::Task(task) if task < tasks => Ok(task),
            Place::Task(task) => Err(task),
        }
    }
}
