//! Values that wait until all of them are there, and then go on where they are.
//!
//! Relies on `rows` for where they wait. What must stay true: every value goes on once, in the order of
//! arrival, under the record it came of.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use rama_wire::Record;

use super::fused::{IntoSink, Sink};
use super::{Begin, Entrance, Flow, Joint, Local, Steps, close};
use crate::gather::{Gather, Left, RELEASED_ROWS, SlotIndex};
use crate::graph::{NodeKind, Place};
use crate::rows::{self, Memory, Packed, Waiting, row_key};
use crate::stage::{Item, Origin, Outbox};
use crate::task::Task;
use crate::topology_def::Gathers;

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Gathers,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: Record,
{
    /// Keeps all values on their tasks until every one of them is there, on all tasks; then goes on with
    /// them where they are (spec F-33). They wait in memory, and on disk when they are many
    /// (`worker.batch.memory.bytes`).
    #[track_caller]
    pub fn materialize(self) -> Flow<K, Local<T>, Begin, T> {
        let Flow {
            steps, mut chain, ..
        } = self;
        chain.node(
            NodeKind::Materialize,
            std::any::type_name::<T>(),
            Place::of_caller(),
        );
        let slot = chain.slot();
        let (then, mut next) = chain.joint::<T>();
        next.gathered_with(None);
        close::<In, S, _>(chain, steps, IntoSink(Keep(slot)));
        next.gather(Arc::new(LetGo { slot, then }));
        Flow::begin(next)
    }
}

/// Values in the order of their arrival.
struct Kept<T>(VecDeque<Item<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(VecDeque::new())
    }
}

impl<T: Record> Memory for Kept<T> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn weigh(&self) -> usize {
        rows::weigh(self.0.len(), self.0.iter(), |item| {
            size_of::<Origin>() + rows::weight_of(&item.value)
        })
    }

    fn pack(&mut self, run: u32) -> Packed {
        let items = std::mem::take(&mut self.0).into_iter().zip(0..);
        Box::new(items.map(move |(item, place)| (row_key(&[], run, place), pack_item(&item))))
    }
}

/// Keeps values in a slot.
struct Keep(SlotIndex);

impl<T: Record> Sink<T> for Keep {
    fn drain(&self, task: &Task, items: Vec<Item<T>>, _: &mut Outbox) {
        let mut kept: Waiting<Kept<T>> = task.take_slot(self.0).unwrap_or_default();
        kept.memory.0.extend(items);
        task.put_rows(self.0, kept);
    }
}

/// Lets them go on.
struct LetGo<T> {
    slot: SlotIndex,
    then: Joint<T>,
}

impl<T: Record> Gather for LetGo<T> {
    fn slot(&self) -> SlotIndex {
        self.slot
    }

    fn release(&self, task: &Task, _: Origin, out: &mut Outbox) -> Left {
        let mut kept: Waiting<Kept<T>> = task.take_slot(self.slot).unwrap_or_default();
        let (items, left) = match kept.is_on_disk() {
            true => from_disk(&mut kept),
            false => from_memory(&mut kept.memory.0),
        };
        if left == Left::More {
            task.put_rows(self.slot, kept);
        }
        self.then.run(task, items, out);
        left
    }
}

fn from_memory<T>(kept: &mut VecDeque<Item<T>>) -> (Vec<Item<T>>, Left) {
    let items = kept.drain(..kept.len().min(RELEASED_ROWS)).collect();
    let left = match kept.is_empty() {
        true => Left::Nothing,
        false => Left::More,
    };
    (items, left)
}

fn from_disk<T: Record>(kept: &mut Waiting<Kept<T>>) -> (Vec<Item<T>>, Left) {
    let (mut items, mut next) = (Vec::new(), None);
    kept.scan(kept.next(), &mut |key, bytes| {
        if items.len() == RELEASED_ROWS {
            next = Some(key.to_vec());
            return ControlFlow::Break(());
        }
        items.push(unpack_item(bytes));
        ControlFlow::Continue(())
    });
    let Some(next) = next else {
        return (items, Left::Nothing);
    };
    kept.go_on_at(next);
    (items, Left::More)
}

/// A value and the record it came of, for the disk.
pub(super) fn pack_item<T: Record>(item: &Item<T>) -> Vec<u8> {
    let mut bytes = item.value.to_bytes();
    bytes.extend_from_slice(&item.origin.record.to_le_bytes());
    bytes.extend_from_slice(&item.origin.home.to_le_bytes());
    bytes
}

/// What [`pack_item`] made. An event that cannot make it out fails.
pub(super) fn unpack_item<T: Record>(bytes: &[u8]) -> Item<T> {
    let (bytes, home) = rows::split_end(bytes);
    let (bytes, record) = rows::split_end(bytes);
    let origin = Origin {
        record: u64::from_le_bytes(record),
        home: u32::from_le_bytes(home),
    };
    Item::of(origin, rows::decoded(bytes))
}
