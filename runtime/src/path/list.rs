//! Paths to subindexed lists: every element is an entry of its own, addressed by its index from 0.
//!
//! A list grows and shrinks at its end; elements in between can be replaced, not removed.

use std::marker::PhantomData;
use std::ops::RangeBounds;

use rama_wire::Record;

use super::{Cursor, MapRange, WholeValue, not_a_value, unaligned};
use crate::plan::{Plan, Selectable, Selection, count};
use crate::schema::Schema;
use crate::task::Task;

/// A path to a list of `S`.
pub struct ListPath<S> {
    cursor: Cursor,
    schema: PhantomData<fn() -> S>,
}

/// The elements of a list between two indices.
pub struct ListRange<S>(MapRange<u64, S>);

impl<S> Clone for ListPath<S> {
    fn clone(&self) -> Self {
        ListPath {
            cursor: self.cursor.clone(),
            schema: PhantomData,
        }
    }
}

impl<S> Clone for ListRange<S> {
    fn clone(&self) -> Self {
        ListRange(self.0.clone())
    }
}

impl<S: Schema> ListPath<S> {
    pub(crate) fn new(cursor: Cursor) -> ListPath<S> {
        ListPath {
            cursor,
            schema: PhantomData,
        }
    }

    unaligned!();
    not_a_value!();

    /// The path to the element at `index`. Writing at the index equal to the length appends;
    /// writing beyond it fails the event.
    #[inline]
    pub fn at(&self, index: u64) -> S::Path {
        S::path_at(self.cursor.step::<u64>(&index))
    }

    /// The path to the element that would be appended next: for lists of structures.
    pub fn next(&self, task: &Task) -> S::Path {
        self.at(self.len(task))
    }

    /// The number of elements. One read.
    pub fn len(&self, task: &Task) -> u64 {
        let (access, space) = self.cursor.enter(task);
        self.cursor.tracked_len(access, space)
    }

    /// Whether there is no element.
    pub fn is_empty(&self, task: &Task) -> bool {
        self.len(task) == 0
    }

    /// Removes all elements.
    pub fn clear(&self, task: &Task) {
        let (access, space) = self.cursor.enter(task);
        self.cursor.clear(access, space);
    }

    /// Removes the last element with everything below it. Answers whether there was one.
    pub fn remove_last(&self, task: &Task) -> bool {
        let (access, space) = self.cursor.enter(task);
        let Some(last) = self.cursor.tracked_len(access, space).checked_sub(1) else {
            return false;
        };
        self.cursor.step::<u64>(&last).erase(access, space, S::LEAF);
        self.cursor.set_len(access, space, last);
        true
    }

    /// For a client: the number of elements.
    pub fn select_len(&self) -> Selection<u64> {
        let plan = Plan::Len {
            key: self.cursor.key().to_vec(),
        };
        Selection::new(&self.cursor, plan, count)
    }
}

impl<V: Record> ListPath<V> {
    /// Adds a value at the end.
    pub fn append(&self, task: &Task, value: V) {
        let (access, space) = self.cursor.enter(task);
        let len = self.cursor.tracked_len(access, space);
        let element = self.cursor.step::<u64>(&len);
        task.with_scratch(|bytes| {
            value.encode(bytes);
            element.put_value(access, space, bytes);
        });
    }

    /// Removes the last value and gives it.
    pub fn pop(&self, task: &Task) -> Option<V> {
        let last = self.last(task)?;
        self.remove_last(task);
        Some(last)
    }

    /// The first value.
    pub fn first(&self, task: &Task) -> Option<V> {
        self.all().first_n(1).values(task).pop()
    }

    /// The last value.
    pub fn last(&self, task: &Task) -> Option<V> {
        self.all().last_n(1).values(task).pop()
    }

    /// All values, in order.
    pub fn values(&self, task: &Task) -> Vec<V> {
        self.all().values(task)
    }

    /// All elements.
    pub fn all(&self) -> ListRange<V> {
        self.range(..)
    }

    /// The elements whose indices lie in `indices`.
    pub fn range(&self, indices: impl RangeBounds<u64>) -> ListRange<V> {
        ListRange(MapRange::new(self.cursor.clone(), indices))
    }

    /// The first `n` elements.
    pub fn first_n(&self, n: u64) -> ListRange<V> {
        self.all().first_n(n)
    }

    /// The last `n` elements, in order.
    pub fn last_n(&self, n: u64) -> ListRange<V> {
        self.all().last_n(n)
    }
}

impl<V: Record> ListRange<V> {
    /// Of these, the first `n`.
    pub fn first_n(self, n: u64) -> Self {
        ListRange(self.0.first_n(n))
    }

    /// Of these, the last `n`; still in order.
    pub fn last_n(self, n: u64) -> Self {
        ListRange(self.0.last_n(n))
    }

    /// The same elements, last first.
    pub fn descending(self) -> Self {
        ListRange(self.0.descending())
    }

    /// The values.
    pub fn values(&self, task: &Task) -> Vec<V> {
        self.0.values(task)
    }

    /// The values with their indices.
    pub fn entries(&self, task: &Task) -> Vec<(u64, V)> {
        self.0.entries(task)
    }

    /// For a client: the values with their indices.
    pub fn select_entries(&self) -> Selection<Vec<(u64, V)>> {
        self.0.selection()
    }
}

impl<V: Record> Selectable for ListRange<V> {
    type Output = Vec<V>;

    fn selection(&self) -> Selection<Vec<V>> {
        self.0.select_values()
    }
}
