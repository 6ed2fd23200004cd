//! Paths to subindexed lists: every element is an entry of its own, addressed by its index from 0.
//!
//! A list grows and shrinks at its end for the price of one element. Inserting and removing
//! elsewhere moves every later element, which is a write each; elements that are structures stay
//! where they are (spec P-16).

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use rama_wire::Record;

use super::{Cursor, Located, MapRange, WholeValue, not_a_value, unaligned};
use crate::plan::{Callable, Plan, Selectable, Selection, Viewed, count};
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

    /// Where the values of all elements are: for a [migration](crate::Topology::migrate). Not
    /// to be read or written.
    pub fn each_value(&self) -> S::Path {
        S::path_at(self.cursor.any())
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

impl<S> Located for ListPath<S> {
    fn into_cursor(self) -> Cursor {
        self.cursor
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
            // Of a list with elements the header is there, and everything above it.
            if len > 0 {
                access.put(space, element.key(), bytes);
                self.cursor.set_len(access, space, len + 1);
            } else {
                element.put_value(access, space, bytes);
            }
        });
    }

    /// Adds a value at the beginning. Moves every element.
    pub fn prepend(&self, task: &Task, value: V) {
        self.insert_at(task, 0, value);
    }

    /// Puts a value before the element at `index`, or at the end. Moves every later element.
    pub fn insert_at(&self, task: &Task, index: u64, value: V) {
        self.splice(task, index..index, [value]);
    }

    /// Removes the element at `index`, if there is one, and gives it. Moves every later element.
    pub fn remove_at(&self, task: &Task, index: u64) -> Option<V> {
        let old = self.at(index).get(task)?;
        self.splice(task, index..=index, []);
        Some(old)
    }

    /// Puts `values` in the place of the elements whose indices lie in `indices`. When there are
    /// more or fewer of them, every later element moves. Beginning beyond the end fails the event.
    pub fn splice(
        &self,
        task: &Task,
        indices: impl RangeBounds<u64>,
        values: impl IntoIterator<Item = V>,
    ) {
        let (access, space) = self.cursor.enter(task);
        let len = self.cursor.tracked_len(access, space);
        let (from, to) = within(indices, len);
        if from > len {
            self.cursor.out_of_range(from, len);
        }
        let mut new: Vec<Vec<u8>> = values.into_iter().map(|value| value.to_bytes()).collect();
        let shifts = new.len() as u64 != to - from;
        if shifts {
            new.extend(self.bytes(task, to..len));
        }
        let end = from + new.len() as u64;
        for (index, bytes) in (from..).zip(new) {
            let element = self.cursor.step::<u64>(&index);
            element.put_known(access, space, index < len, &bytes);
        }
        if shifts && end < len {
            let gone = MapRange::<u64, V>::new(self.cursor.clone(), end..len);
            gone.remove(task);
        }
    }

    /// The stored bytes of some values.
    fn bytes(&self, task: &Task, indices: impl RangeBounds<u64>) -> Vec<Vec<u8>> {
        let range = MapRange::<u64, V>::new(self.cursor.clone(), indices);
        range.collect(task, |_, value| Ok(value.to_vec()))
    }

    /// Puts these values in the place of all (spec P-18).
    pub fn replace(&self, task: &Task, values: impl IntoIterator<Item = V>) {
        self.splice(task, .., values);
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

/// The indices as half open range that begins at most where it ends.
fn within(indices: impl RangeBounds<u64>, len: u64) -> (u64, u64) {
    let from = match indices.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(from) => from.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match indices.end_bound() {
        Bound::Included(to) => to.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => len,
    };
    (from, to.min(len).max(from))
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

    /// For a client: of these, those that satisfy a function that the module registers, with their
    /// indices.
    pub fn filter(&self, wanted: impl Callable<V, bool>) -> Viewed<u64, V> {
        self.0.filter(wanted)
    }

    /// For a client: what a function that the module registers makes of each value, with the indices.
    pub fn view<U: Record>(&self, view: impl Callable<V, U>) -> Viewed<u64, U> {
        self.0.view(view)
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
