//! Sets that remember in which order their members came.
//!
//! Relies on maps being sorted. What must stay true: the two maps of a key say the same.

use rama_wire::{AsKey, Key, Record};

use crate::pstate::{LocalPState, PState};
use crate::schema::{Map, Untracked};
use crate::setup::Topology;
use crate::task::Task;
use crate::topology_def::Consumes;

/// Members by key and number, in the order in which they came.
type Members<K, E> = Map<K, Map<u64, E>>;
/// Numbers by key and member.
type Numbers<K, E> = Map<K, Map<E, u64, Untracked>>;

/// A set for each key, of any size, whose members stand in the order in which they came: followers,
/// members of a list. Membership, adding and removing cost a read or two, whatever the size.
///
/// Clients page through it by number: `MEMBERS.key(&list).range(from..).first_n(20)`; the number of
/// members is `MEMBERS.key(&list).select_len()`.
pub struct LinkedSet<K: Key, E: Key + Record> {
    members: LocalPState<Members<K, E>>,
    numbers: LocalPState<Numbers<K, E>>,
}

impl<K: Key, E: Key + Record> LinkedSet<K, E> {
    /// Keeps the members in `members`, and where they are in `numbers`.
    #[track_caller]
    pub fn declare<T: Consumes>(
        topology: &mut Topology<T>,
        members: PState<Members<K, E>>,
        numbers: PState<Numbers<K, E>>,
    ) -> LinkedSet<K, E> {
        LinkedSet {
            members: topology.pstate(members),
            numbers: topology.pstate(numbers),
        }
    }

    /// Adds a member at the end; `false` when it is one already, and stays where it is.
    pub fn insert(&self, task: &Task, key: &(impl AsKey<K> + ?Sized), member: &E) -> bool
    where
        E: Clone,
    {
        let (members, number) = (self.members.key(key), self.numbers.key(key).key(member));
        if number.exists(task) {
            return false;
        }
        let last = members.all().last_n(1).keys(task);
        let next = last.first().map_or(0, |last| last + 1);
        members.key(&next).set(task, member.clone());
        number.set(task, next);
        true
    }

    /// Takes a member away; `false` when it is none.
    pub fn remove(&self, task: &Task, key: &(impl AsKey<K> + ?Sized), member: &E) -> bool {
        let number = self.numbers.key(key).key(member).take(task);
        if let Some(number) = number {
            self.members.key(key).remove(task, &number);
        }
        number.is_some()
    }

    /// Whether it is a member.
    pub fn contains(&self, task: &Task, key: &(impl AsKey<K> + ?Sized), member: &E) -> bool {
        self.numbers.key(key).contains(task, member)
    }

    /// How many members there are.
    pub fn len(&self, task: &Task, key: &(impl AsKey<K> + ?Sized)) -> u64 {
        self.members.key(key).len(task)
    }

    /// Whether there is none.
    pub fn is_empty(&self, task: &Task, key: &(impl AsKey<K> + ?Sized)) -> bool {
        self.len(task, key) == 0
    }

    /// Up to `most` members from number `from` on, with their numbers.
    pub fn page(
        &self,
        task: &Task,
        key: &(impl AsKey<K> + ?Sized),
        from: u64,
        most: u64,
    ) -> Vec<(u64, E)> {
        let members = self.members.key(key);
        members.range(from..).first_n(most).entries(task)
    }
}

impl<K: Key, E: Key + Record> Clone for LinkedSet<K, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Key, E: Key + Record> Copy for LinkedSet<K, E> {}
