//! The groups of an aggregation by key while they wait: in memory, and on disk when they are many.
//!
//! Relies on `rows` for where they wait. What must stay true: each key comes out once (spec A-7), in the
//! order of keys, with the same state as if all had been in memory. States of which parts can be merged
//! go to disk as parts; of others only the first part is a state, and the values that come later wait as
//! they are and are added to it in the order of their arrival.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use rama_wire::{Key, Record};

use super::materialize::{pack_item, unpack_item};
use crate::aggregate::Aggregator;
use crate::gather::{Left, RELEASED_ROWS, SlotIndex};
use crate::rows::{self, Memory, Packed, Waiting, row_key, split_row_key};
use crate::stage::Item;
use crate::task::Task;

/// About so many bytes of groups come from disk for one event.
const RELEASED_BYTES: usize = 4 << 20;

/// What a slot has in memory, by encoded key.
pub(super) struct Groups<T, Q, A: Aggregator<T>> {
    states: BTreeMap<Vec<u8>, (Q, A::State)>,
    /// Values whose states lie on disk already.
    later: BTreeMap<Vec<u8>, Vec<Item<T>>>,
    count: usize,
}

impl<T, Q, A: Aggregator<T>> Default for Groups<T, Q, A> {
    fn default() -> Groups<T, Q, A> {
        Groups {
            states: BTreeMap::new(),
            later: BTreeMap::new(),
            count: 0,
        }
    }
}

impl<T, Q: Key, A: Aggregator<T>> Groups<T, Q, A> {
    /// Adds a value to the state of its key.
    pub(super) fn add(&mut self, agg: &A, key: Q, value: &T) {
        self.count += 1;
        let group = self.states.entry(key.key_bytes());
        let (_, state) = group.or_insert_with(|| (key, agg.zero()));
        agg.add(state, value);
    }

    /// Merges a state that was made elsewhere into that of its key.
    pub(super) fn merge(&mut self, agg: &A, key: Q, part: A::State) {
        self.count += 1;
        match self.states.entry(key.key_bytes()) {
            Entry::Vacant(group) => {
                group.insert((key, part));
            }
            Entry::Occupied(mut group) => agg.merge(&mut group.get_mut().1, part),
        }
    }

    /// Keeps a value that is to be added later.
    pub(super) fn keep(&mut self, key: &Q, item: Item<T>) {
        self.count += 1;
        self.later.entry(key.key_bytes()).or_default().push(item);
    }
}

impl<T: Record, Q: Key, A: Aggregator<T>> Memory for Groups<T, Q, A> {
    fn count(&self) -> usize {
        self.count
    }

    fn weigh(&self) -> usize {
        let states = rows::weigh(
            self.states.len(),
            self.states.iter(),
            |(key, (_, state))| key.len() + size_of::<Q>() + rows::weight_of(state),
        );
        let later = rows::weigh(self.later.len(), self.later.iter(), |(key, items)| {
            let items = rows::weigh(items.len(), items.iter(), |item| {
                rows::weight_of(&item.value)
            });
            key.len() + items
        });
        states + later
    }

    /// There are states or values, never both: values are kept once the states are on disk.
    fn pack(&mut self, run: u32) -> Packed {
        self.count = 0;
        let states = std::mem::take(&mut self.states).into_iter();
        let states = states.map(move |(key, (_, state))| (row_key(&key, run, 0), state.to_bytes()));
        let later = std::mem::take(&mut self.later).into_iter();
        let later = later.flat_map(move |(key, items)| {
            let rows = items.into_iter().zip(0..);
            rows.map(move |(item, place)| (row_key(&key, run, place), pack_item(&item)))
        });
        Box::new(states.chain(later))
    }
}

/// Some of the groups of a slot, in the order of their keys; whether there are more.
pub(super) fn let_go<T: Record, Q: Key, A: Aggregator<T>>(
    task: &Task,
    slot: SlotIndex,
    agg: &A,
) -> (Vec<(Q, A::State)>, Left) {
    let mut waiting: Waiting<Groups<T, Q, A>> = task.take_slot(slot).unwrap_or_default();
    let (groups, left) = take_some(&mut waiting, agg);
    if left == Left::More {
        task.put_rows(slot, waiting);
    }
    (groups, left)
}

fn take_some<T: Record, Q: Key, A: Aggregator<T>>(
    waiting: &mut Waiting<Groups<T, Q, A>>,
    agg: &A,
) -> (Vec<(Q, A::State)>, Left) {
    match waiting.is_on_disk() {
        true => from_disk(waiting, agg),
        false => from_memory(&mut waiting.memory.states),
    }
}

fn from_memory<G>(states: &mut BTreeMap<Vec<u8>, G>) -> (Vec<G>, Left) {
    if states.len() <= RELEASED_ROWS {
        let all = std::mem::take(states).into_values();
        return (all.collect(), Left::Nothing);
    }
    let some = (0..RELEASED_ROWS).filter_map(|_| states.pop_first());
    (some.map(|(_, group)| group).collect(), Left::More)
}

fn from_disk<T: Record, Q: Key, A: Aggregator<T>>(
    waiting: &mut Waiting<Groups<T, Q, A>>,
    agg: &A,
) -> (Vec<(Q, A::State)>, Left) {
    let mut groups: Vec<(Vec<u8>, A::State)> = Vec::new();
    let (mut bytes, mut next) = (0, None);
    waiting.scan(waiting.next(), &mut |row, value| {
        let (key, run) = split_row_key(row);
        let begins = groups.last().is_none_or(|(last, _)| last != key);
        if begins {
            if groups.len() == RELEASED_ROWS || bytes > RELEASED_BYTES {
                next = Some(row.to_vec());
                return ControlFlow::Break(());
            }
            groups.push((key.to_vec(), agg.zero()));
        }
        bytes += value.len();
        let (_, state) = groups.last_mut().expect("pushed above when missing");
        match A::COMBINES || run == 0 {
            true if begins => *state = rows::decoded(value),
            true => agg.merge(state, rows::decoded(value)),
            false => agg.add(state, &unpack_item(value).value),
        }
        ControlFlow::Continue(())
    });
    let left = match next {
        Some(next) => {
            waiting.go_on_at(next);
            Left::More
        }
        None => Left::Nothing,
    };
    let groups = groups.into_iter();
    let groups = groups.map(|(key, state)| (rows::decoded_key(&key), state));
    (groups.collect(), left)
}

#[cfg(test)]
mod tests;
