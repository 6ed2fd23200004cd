//! The newest items of each key, so many and no more.
//!
//! Relies on maps being sorted. Items are numbered downwards, so that the newest is the first and
//! the one to drop is named by its number, without a count. What must stay true: the numbers of one
//! key are dense from the newest on, except where a unique item has moved.

use rama_wire::{AsKey, Key, Record};

use crate::pstate::{LocalPState, PState};
use crate::schema::{Map, Untracked};
use crate::setup::Topology;
use crate::task::Task;
use crate::topology_def::Consumes;

/// Items by key and number, newest first.
type Items<K, V> = Map<K, Map<u64, V, Untracked>>;
/// Numbers by key and item.
type Numbers<K, V> = Map<K, Map<V, u64, Untracked>>;

/// The newest items of each key, newest first: a feed, a history.
///
/// Lies in the PState given, which clients read: `ITEMS.key(&user).all().select_values()`.
pub struct FixedItems<K: Key, V: Record> {
    items: LocalPState<Items<K, V>>,
    most: u64,
}

impl<K: Key, V: Record> FixedItems<K, V> {
    /// Keeps the `most` newest items of each key in `items`.
    ///
    /// # Panics
    /// When `most` is 0.
    #[track_caller]
    pub fn declare<T: Consumes>(
        topology: &mut Topology<T>,
        items: PState<Items<K, V>>,
        most: u64,
    ) -> FixedItems<K, V> {
        assert!(most > 0, "{} keeps at least one item", items.name());
        FixedItems {
            items: topology.pstate(items),
            most,
        }
    }

    /// Adds an item in front of those of `key` and drops the one that is too many. Reads one entry.
    pub fn push(&self, task: &Task, key: &(impl AsKey<K> + ?Sized), item: V) {
        let items = self.items.key(key);
        let number = items.all().first_n(1).keys(task);
        let number = number.first().map_or(u64::MAX, |newest| newest - 1);
        items.key(&number).set(task, item);
        if let Some(dropped) = number.checked_add(self.most) {
            items.remove(task, &dropped);
        }
    }

    /// The items of `key`, newest first.
    pub fn items(&self, task: &Task, key: &(impl AsKey<K> + ?Sized)) -> Vec<V> {
        self.items.key(key).values(task)
    }
}

impl<K: Key, V: Record> Clone for FixedItems<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Key, V: Record> Copy for FixedItems<K, V> {}

/// The newest items of each key, each of them once: an item that comes again moves to the front.
pub struct UniqueFixedItems<K: Key, V: Key + Record> {
    items: LocalPState<Items<K, V>>,
    numbers: LocalPState<Numbers<K, V>>,
    most: u64,
}

impl<K: Key, V: Key + Record> UniqueFixedItems<K, V> {
    /// Keeps the `most` newest items of each key in `items`, and where they are in `numbers`.
    ///
    /// # Panics
    /// When `most` is 0.
    #[track_caller]
    pub fn declare<T: Consumes>(
        topology: &mut Topology<T>,
        items: PState<Items<K, V>>,
        numbers: PState<Numbers<K, V>>,
        most: u64,
    ) -> UniqueFixedItems<K, V> {
        assert!(most > 0, "{} keeps at least one item", items.name());
        UniqueFixedItems {
            items: topology.pstate(items),
            numbers: topology.pstate(numbers),
            most,
        }
    }

    /// Puts an item in front of those of `key`, wherever it was, and drops the last if there is one
    /// too many. Reads as many numbers as there may be items.
    pub fn push(&self, task: &Task, key: &(impl AsKey<K> + ?Sized), item: &V)
    where
        V: Clone,
    {
        let (items, numbers) = (self.items.key(key), self.numbers.key(key));
        if let Some(before) = numbers.key(item).get(task) {
            items.remove(task, &before);
        }
        let known = items.all().first_n(self.most).entries(task);
        let number = known.first().map_or(u64::MAX, |(newest, _)| newest - 1);
        items.key(&number).set(task, item.clone());
        numbers.key(item).set(task, number);
        if known.len() as u64 == self.most
            && let Some((last, dropped)) = known.last()
        {
            items.remove(task, last);
            numbers.remove(task, dropped);
        }
    }

    /// Takes an item away.
    pub fn remove(&self, task: &Task, key: &(impl AsKey<K> + ?Sized), item: &V) {
        let (items, numbers) = (self.items.key(key), self.numbers.key(key));
        if let Some(number) = numbers.key(item).take(task) {
            items.remove(task, &number);
        }
    }

    /// The items of `key`, newest first.
    pub fn items(&self, task: &Task, key: &(impl AsKey<K> + ?Sized)) -> Vec<V> {
        self.items.key(key).values(task)
    }
}

impl<K: Key, V: Key + Record> Clone for UniqueFixedItems<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Key, V: Key + Record> Copy for UniqueFixedItems<K, V> {}
