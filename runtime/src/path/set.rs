//! Paths to subindexed sets. A set is a map without values, and shares its entries' layout.

use std::ops::RangeBounds;

use rama_wire::{AsKey, Key};

use super::{Cursor, Located, MapPath, MapRange, WholeValue, not_a_value};
use crate::plan::{Selectable, Selection};
use crate::schema::{Tracked, Tracking};
use crate::task::Task;

/// A path to a sorted set of `K`.
pub struct SetPath<K, T = Tracked>(MapPath<K, (), T>);

/// The elements of a set between two bounds.
pub struct SetRange<K, T = Tracked>(MapRange<K, (), T>);

impl<K, T> Clone for SetPath<K, T> {
    fn clone(&self) -> Self {
        SetPath(self.0.clone())
    }
}

impl<K, T> Clone for SetRange<K, T> {
    fn clone(&self) -> Self {
        SetRange(self.0.clone())
    }
}

impl<K: Key, T: Tracking> SetPath<K, T> {
    pub(crate) fn new(cursor: Cursor) -> SetPath<K, T> {
        SetPath(MapPath::new(cursor))
    }

    not_a_value!();

    /// The same path without the check that its key lives on the current task.
    pub fn unaligned(self) -> Self {
        SetPath(self.0.unaligned())
    }

    /// Adds an element. Reads nothing when the set is untracked.
    pub fn insert(&self, task: &Task, element: &(impl AsKey<K> + ?Sized)) {
        self.0.key(element).set(task, ());
    }

    /// Whether the element is there.
    pub fn contains(&self, task: &Task, element: &(impl AsKey<K> + ?Sized)) -> bool {
        self.0.contains(task, element)
    }

    /// Removes an element. Reads nothing when the set is untracked.
    pub fn remove(&self, task: &Task, element: &(impl AsKey<K> + ?Sized)) {
        self.0.remove(task, element);
    }

    /// The number of elements: one read where the size is tracked, otherwise a walk.
    pub fn len(&self, task: &Task) -> u64 {
        self.0.len(task)
    }

    /// Whether there is no element.
    pub fn is_empty(&self, task: &Task) -> bool {
        self.0.is_empty(task)
    }

    /// Removes all elements.
    pub fn clear(&self, task: &Task) {
        self.0.clear(task);
    }

    /// Puts these elements in the place of all (spec P-18).
    pub fn replace(&self, task: &Task, elements: impl IntoIterator<Item = K>) {
        let elements = elements.into_iter().map(|element| (element, ()));
        self.0.replace(task, elements);
    }

    /// All elements, in order.
    pub fn elements(&self, task: &Task) -> Vec<K> {
        self.0.keys(task)
    }

    /// The smallest element.
    pub fn first(&self, task: &Task) -> Option<K> {
        self.0.first_n(1).keys(task).pop()
    }

    /// The greatest element.
    pub fn last(&self, task: &Task) -> Option<K> {
        self.0.last_n(1).keys(task).pop()
    }

    /// All elements.
    pub fn all(&self) -> SetRange<K, T> {
        SetRange(self.0.all())
    }

    /// The elements in `range`.
    pub fn range(&self, range: impl RangeBounds<K>) -> SetRange<K, T> {
        SetRange(self.0.range(range))
    }

    /// The `n` smallest elements.
    pub fn first_n(&self, n: u64) -> SetRange<K, T> {
        self.all().first_n(n)
    }

    /// The `n` greatest elements, in ascending order.
    pub fn last_n(&self, n: u64) -> SetRange<K, T> {
        self.all().last_n(n)
    }

    /// For a client: the number of elements.
    pub fn select_len(&self) -> Selection<u64> {
        self.0.select_len()
    }

    /// For a client: whether the element is there.
    pub fn select_contains(&self, element: &(impl AsKey<K> + ?Sized)) -> Selection<bool> {
        self.0.select_contains(element)
    }
}

impl<K, T> Located for SetPath<K, T> {
    fn into_cursor(self) -> Cursor {
        self.0.into_cursor()
    }
}

impl<K: Key, T: Tracking> SetRange<K, T> {
    /// Of these, the `n` smallest.
    pub fn first_n(self, n: u64) -> Self {
        SetRange(self.0.first_n(n))
    }

    /// Of these, the `n` greatest; still in ascending order.
    pub fn last_n(self, n: u64) -> Self {
        SetRange(self.0.last_n(n))
    }

    /// The same elements, greatest first.
    pub fn descending(self) -> Self {
        SetRange(self.0.descending())
    }

    /// The elements.
    pub fn elements(&self, task: &Task) -> Vec<K> {
        self.0.keys(task)
    }

    /// How many there are. Visits each.
    pub fn len(&self, task: &Task) -> u64 {
        self.0.len(task)
    }

    /// Whether there are none.
    pub fn is_empty(&self, task: &Task) -> bool {
        self.0.is_empty(task)
    }

    /// Removes all of them.
    pub fn remove(&self, task: &Task) {
        self.0.remove(task);
    }

    /// For a client: how many there are.
    pub fn select_len(&self) -> Selection<u64> {
        self.0.select_len()
    }
}

impl<K: Key, T: Tracking> Selectable for SetRange<K, T> {
    type Output = Vec<K>;

    fn selection(&self) -> Selection<Vec<K>> {
        self.0.select_keys()
    }
}
