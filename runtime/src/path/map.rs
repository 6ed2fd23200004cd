//! Paths to subindexed maps.

use std::marker::PhantomData;
use std::ops::RangeBounds;

use rama_wire::{AsKey, Key, Record};

use super::{Cursor, Located, MapRange, WholeValue, not_a_value, unaligned};
use crate::plan::{Plan, Selection, count, flag};
use crate::schema::{Marker, Schema, Tracked, Tracking};
use crate::task::Task;

/// A path to a map from `K` to `S`.
pub struct MapPath<K, S, T = Tracked> {
    cursor: Cursor,
    schema: Marker<(K, S, T)>,
}

impl<K, S, T> Clone for MapPath<K, S, T> {
    fn clone(&self) -> Self {
        MapPath {
            cursor: self.cursor.clone(),
            schema: PhantomData,
        }
    }
}

impl<K: Key, S: Schema, T: Tracking> MapPath<K, S, T> {
    pub(crate) fn new(cursor: Cursor) -> MapPath<K, S, T> {
        MapPath {
            cursor,
            schema: PhantomData,
        }
    }

    unaligned!();
    not_a_value!();

    /// The path to what lies under `key`, there or not.
    #[inline]
    pub fn key(&self, key: &(impl AsKey<K> + ?Sized)) -> S::Path {
        S::path_at(self.cursor.step::<K>(key))
    }

    /// Where the values of all elements are: for a [migration](crate::Topology::migrate). Not
    /// to be read or written.
    pub fn each_value(&self) -> S::Path {
        S::path_at(self.cursor.any())
    }

    /// Whether there is an element under `key`.
    pub fn contains(&self, task: &Task, key: &(impl AsKey<K> + ?Sized)) -> bool {
        let element = self.element(key);
        let (access, space) = element.enter(task);
        element.exists(access, space, S::LEAF)
    }

    /// Removes the element under `key`, with everything below it.
    pub fn remove(&self, task: &Task, key: &(impl AsKey<K> + ?Sized)) {
        let element = self.element(key);
        let (access, space) = element.enter(task);
        element.remove(access, space, S::LEAF);
    }

    /// The number of elements: one read where the size is tracked, otherwise a walk over all of
    /// them.
    pub fn len(&self, task: &Task) -> u64 {
        if self.cursor.counts() {
            let (access, space) = self.cursor.enter(task);
            return self.cursor.tracked_len(access, space);
        }
        self.all().len(task)
    }

    /// Whether there is no element.
    pub fn is_empty(&self, task: &Task) -> bool {
        self.all().first_n(1).keys(task).is_empty()
    }

    /// Removes all elements.
    pub fn clear(&self, task: &Task) {
        let (access, space) = self.cursor.enter(task);
        self.cursor.clear(access, space);
    }

    /// All elements.
    pub fn all(&self) -> MapRange<K, S, T> {
        self.range(..)
    }

    /// The elements whose keys lie in `keys`: `a..b`, `a..`, `..=b` and so on.
    pub fn range(&self, keys: impl RangeBounds<K>) -> MapRange<K, S, T> {
        MapRange::new(self.cursor.clone(), keys)
    }

    /// The `n` elements with the smallest keys.
    pub fn first_n(&self, n: u64) -> MapRange<K, S, T> {
        self.all().first_n(n)
    }

    /// The `n` elements with the greatest keys, in ascending order.
    pub fn last_n(&self, n: u64) -> MapRange<K, S, T> {
        self.all().last_n(n)
    }

    /// All keys, in order.
    pub fn keys(&self, task: &Task) -> Vec<K> {
        self.all().keys(task)
    }

    /// For a client: the number of elements.
    pub fn select_len(&self) -> Selection<u64> {
        let plan = if self.cursor.counts() {
            Plan::Len {
                key: self.cursor.key().to_vec(),
            }
        } else {
            self.all().count_plan()
        };
        Selection::new(&self.cursor, plan, count)
    }

    /// For a client: whether there is an element under `key`.
    pub fn select_contains(&self, key: &(impl AsKey<K> + ?Sized)) -> Selection<bool> {
        let element = self.element(key);
        let single = S::LEAF || element.has_header();
        let plan = Plan::Exists {
            key: element.key().to_vec(),
            single,
        };
        Selection::new(&element, plan, flag)
    }

    /// The cursor of an element, arrived at its own schema.
    fn element(&self, key: &(impl AsKey<K> + ?Sized)) -> Cursor {
        S::arrive(self.cursor.step::<K>(key))
    }
}

impl<K, S, T> Located for MapPath<K, S, T> {
    fn into_cursor(self) -> Cursor {
        self.cursor
    }
}

impl<K: Key, V: Record, T: Tracking> MapPath<K, V, T> {
    /// Puts these elements in the place of all (spec P-18).
    pub fn replace(&self, task: &Task, elements: impl IntoIterator<Item = (K, V)>) {
        self.all().replace(task, elements);
    }

    /// Gives the value under `from` the key `to`, if there is one, replacing what is there (Rama's
    /// `mapKey`).
    pub fn rename(
        &self,
        task: &Task,
        from: &(impl AsKey<K> + ?Sized),
        to: &(impl AsKey<K> + ?Sized),
    ) {
        if let Some(value) = self.key(from).take(task) {
            self.key(to).set(task, value);
        }
    }

    /// All values, in the order of their keys.
    pub fn values(&self, task: &Task) -> Vec<V> {
        self.all().values(task)
    }

    /// All elements, in the order of their keys.
    pub fn entries(&self, task: &Task) -> Vec<(K, V)> {
        self.all().entries(task)
    }

    /// The element with the smallest key.
    pub fn first(&self, task: &Task) -> Option<(K, V)> {
        self.all().first(task)
    }

    /// The element with the greatest key.
    pub fn last(&self, task: &Task) -> Option<(K, V)> {
        self.all().last(task)
    }
}
