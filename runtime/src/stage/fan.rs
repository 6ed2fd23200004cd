//! The typed side of an outbox while one stage runs.
//!
//! Relies on the outbox for edges and for what is handed over at the end. What must stay true: values
//! for one destination keep the order in which they were emitted (spec O-9, R-10).

use std::any::Any;

use rama_wire::Record;

use super::{Ack, BATCH_ITEMS_MAX, Batch, Item, Origin, Outbox, Outgoing, StageIndex};
use crate::dataflow::Combine;
use crate::task::Task;

/// The typed inside of one run of a stage: one lane per destination, handed to the outbox at the
/// end.
pub(crate) struct Fan<'o, T> {
    out: &'o mut Outbox,
    to: StageIndex,
    lanes: Vec<Vec<Item<T>>>,
    origin: Origin,
    edges: u64,
    /// Values that stay on this task, for a chain that ends in a [`crate::dataflow`] sink.
    kept: Vec<Item<T>>,
    /// A value whose buffers the next copy is made into.
    copy: Option<T>,
}

impl<'o, T> Fan<'o, T> {
    /// Opens no lane: for a chain that ends here.
    pub(crate) fn closed(out: &'o mut Outbox) -> Fan<'o, T> {
        Fan {
            out,
            to: StageIndex(0),
            lanes: Vec::new(),
            origin: Origin::default(),
            edges: 0,
            kept: Vec::new(),
            copy: None,
        }
    }

    /// Keeps a value on this task, as a part of the item begun last. `true` when there are as many as
    /// a batch may have.
    #[inline]
    pub(crate) fn keep(&mut self, value: T) -> bool {
        let (origin, edge) = (self.origin, 0);
        self.kept.push(Item {
            origin,
            edge,
            value,
        });
        self.kept.len() == BATCH_ITEMS_MAX
    }

    /// What was kept, and where what becomes of it goes.
    pub(crate) fn take_kept(&mut self) -> (Vec<Item<T>>, &mut Outbox) {
        (std::mem::take(&mut self.kept), self.out)
    }

    /// Goes on with the item begun last after others were run.
    pub(crate) fn resume(&mut self, task: &Task) {
        self.out.name(task, self.origin);
    }

    /// The record that the item begun last descends from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Starts the item that descends from `origin` and is known by `edge`.
    #[inline]
    pub(crate) fn begin(&mut self, task: &Task, origin: Origin, edge: u64) {
        self.out.name(task, origin);
        self.origin = origin;
        self.edges = edge;
    }

    /// Ends the item begun last.
    #[inline]
    pub(crate) fn end(&mut self) {
        if !self.out.tracked {
            return;
        }
        match self.out.acks.last_mut() {
            Some(last) if last.origin == self.origin => last.edges ^= self.edges,
            _ => self.out.acks.push(Ack {
                origin: self.origin,
                edges: self.edges,
            }),
        }
    }

    pub(crate) fn tasks(&self) -> u32 {
        self.out.tasks
    }

    /// The next task in round-robin order over a permutation that differs from outbox to outbox
    /// (spec R-4), so that many senders do not start with the same receiver.
    #[inline]
    pub(crate) fn next_shuffled(&mut self) -> u32 {
        let turn = self.out.shuffle_turn;
        self.out.shuffle_turn = if turn + 1 == self.out.tasks {
            0
        } else {
            turn + 1
        };
        let mask = self.out.shuffle_mask;
        if self.out.tasks.is_power_of_two() {
            (turn ^ mask) & (self.out.tasks - 1)
        } else {
            ((u64::from(turn) + u64::from(mask)) % u64::from(self.out.tasks)) as u32
        }
    }

    /// An empty buffer for an encoded key, kept from key to key.
    #[inline]
    pub(crate) fn key_scratch(&mut self) -> &mut Vec<u8> {
        self.out.key_scratch.clear();
        &mut self.out.key_scratch
    }
}

impl<'o, T: Record + Send> Fan<'o, T> {
    /// Opens lanes to every task of stage `to`.
    pub(crate) fn new(out: &'o mut Outbox, to: StageIndex) -> Fan<'o, T> {
        let mut lanes = Vec::new();
        lanes.resize_with(out.tasks as usize, Vec::new);
        Fan {
            out,
            to,
            lanes,
            origin: Origin::default(),
            edges: 0,
            kept: Vec::new(),
            copy: None,
        }
    }

    /// Emits to a task.
    ///
    /// # Panics
    /// When the task does not exist; partitioners check what authors answer.
    #[inline]
    pub(crate) fn push(&mut self, task: u32, value: T) {
        let mut edge = 0;
        if self.out.tracked {
            edge = self.out.random();
            self.edges ^= edge;
        }
        let lane = &mut self.lanes[task as usize];
        if lane.capacity() == 0 {
            lane.reserve_exact(self.out.lane_capacity.max(4));
        }
        lane.push(Item {
            origin: self.origin,
            edge,
            value,
        });
        if lane.len() == BATCH_ITEMS_MAX {
            let batch = Batch::new(std::mem::take(lane));
            self.out.outgoing.push(Outgoing {
                stage: self.to,
                task,
                batch,
            });
        }
    }

    /// A copy of a value for a key closure to take apart, in the buffers of the one before where
    /// that came back.
    #[inline]
    pub(crate) fn copy_of(&mut self, value: &T) -> T
    where
        T: Clone,
    {
        match self.copy.take() {
            Some(mut copy) => {
                copy.clone_from(value);
                copy
            }
            None => value.clone(),
        }
    }

    /// Takes a copy back, if the key is of the type of the values: most often it is the copy.
    #[inline]
    pub(crate) fn keep_copy<K: 'static>(&mut self, key: K) {
        let mut key = Some(key);
        let key: &mut dyn Any = &mut key;
        if let Some(copy) = key.downcast_mut::<Option<T>>() {
            self.copy = copy.take();
        }
    }

    /// Hands the lanes over, each made into a batch for a stage by `combine`.
    pub(crate) fn finish_with(self, combine: &dyn Combine<T>) {
        for (task, items) in self.lanes.into_iter().enumerate() {
            if items.is_empty() {
                continue;
            }
            let (stage, batch) = combine.combine(items, &mut self.out.current);
            let task = task as u32;
            self.out.outgoing.push(Outgoing { stage, task, batch });
        }
    }

    /// Hands the lanes over.
    pub(crate) fn finish(self) {
        // The next run will likely emit as much: lanes of that size never grow. A quarter more
        // covers most of what hashing spreads unevenly.
        let emitted: usize = self.lanes.iter().map(Vec::len).sum();
        let even = emitted / self.lanes.len();
        self.out.lane_capacity = (even + even / 4).min(BATCH_ITEMS_MAX);
        for (task, items) in self.lanes.into_iter().enumerate() {
            if !items.is_empty() {
                let batch = Batch::new(items);
                self.out.outgoing.push(Outgoing {
                    stage: self.to,
                    task: task as u32,
                    batch,
                });
            }
        }
    }
}
