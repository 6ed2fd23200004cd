//! A PState by name and type: named once, used by the module, its tests and its clients.
//!
//! [`PState`] is a constant: it makes paths for clients. What a topology's `pstate(..)` returns is
//! a [`LocalPState`]: the same paths, usable on a task. Both are `Copy`.

use std::marker::PhantomData;
use std::ops::RangeBounds;

use rama_wire::{AsKey, Key, Record, SpaceId};

use crate::path::{Cursor, MapRange};
use crate::plan::{Selectable, Selection};
use crate::schema::{Map, Root, Schema, Tracking};
use crate::schema_desc::SchemaDesc;
use crate::task::Task;

/// A partitioned, durable, indexed data structure of shape `S`.
///
/// ```
/// use rama_runtime::{Map, PState};
/// pub const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
/// ```
///
/// One partition lives on each task, unless it is [`PState::global`]. Only the topology that
/// declares it may write it; everybody else sees what is committed.
pub struct PState<S: Root> {
    name: &'static str,
    global: bool,
    private: bool,
    initial: Option<fn() -> S>,
}

/// A PState as the topologies of its module use it: its paths take a [`Task`].
pub struct LocalPState<S: Root> {
    name: &'static str,
    space: SpaceId,
    global: bool,
    unaligned: bool,
    initial: Option<fn() -> S>,
    schema: PhantomData<fn() -> S>,
}

impl<S: Root> Clone for PState<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Root> Copy for PState<S> {}

impl<S: Root> Clone for LocalPState<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Root> Copy for LocalPState<S> {}

impl<S: Root> PState<S> {
    /// The PState of this name, which starts with `$$`.
    pub const fn named(name: &'static str) -> PState<S> {
        PState {
            name,
            global: false,
            private: false,
            initial: None,
        }
    }

    /// One partition only, on task 0.
    pub const fn global(self) -> PState<S> {
        PState {
            global: true,
            ..self
        }
    }

    /// Not for clients or other modules.
    pub const fn private(self) -> PState<S> {
        PState {
            private: true,
            ..self
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it has one partition only.
    pub const fn is_global(&self) -> bool {
        self.global
    }

    /// Whether clients and other modules are kept out.
    pub const fn is_private(&self) -> bool {
        self.private
    }

    /// Its schema at run time.
    pub fn desc(&self) -> SchemaDesc {
        S::desc()
    }

    /// The bytes every partition's only entry (under the empty key) starts with.
    pub fn initial_bytes(&self) -> Option<Vec<u8>> {
        self.initial.and_then(|value| value().whole_bytes())
    }

    /// The same PState as a task sees it, in the space its module gave it. For the definition.
    pub fn bind(&self, space: SpaceId) -> LocalPState<S> {
        LocalPState {
            name: self.name,
            space,
            global: self.global,
            unaligned: false,
            initial: self.initial,
            schema: PhantomData,
        }
    }

    /// The path to the whole partition: where a fixed-keys struct's fields and a value's verbs are.
    pub fn root(&self) -> S::Path {
        S::path_at(Cursor::top(self.name, None, self.global))
    }

    /// The path to the whole partition that is home to `key`: for reads of a partition, not of a
    /// key.
    pub fn routed_by<K: Key>(&self, key: &K) -> S::Path {
        S::path_at(Cursor::top(self.name, None, self.global).routed_by(key))
    }
}

impl<V: Record> PState<V> {
    /// What every partition starts with, instead of nothing.
    pub const fn initial(self, value: fn() -> V) -> PState<V> {
        PState {
            initial: Some(value),
            ..self
        }
    }
}

impl<S: Root> LocalPState<S> {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its space.
    pub fn space(&self) -> SpaceId {
        self.space
    }

    /// The same PState without the check that a key lives on the current task. What is written by a
    /// task that is not the key's home cannot be found through clients.
    pub fn unaligned(self) -> LocalPState<S> {
        LocalPState {
            unaligned: true,
            ..self
        }
    }

    /// The path to the whole partition: where a fixed-keys struct's fields and a value's verbs are.
    #[inline]
    pub fn root(&self) -> S::Path {
        let mut cursor = Cursor::top(self.name, Some(self.space), self.global);
        if self.unaligned {
            cursor.unaligned();
        }
        S::path_at(cursor)
    }
}

/// The verbs of a map, at the top of a PState.
macro_rules! map_verbs {
    ($($type:ident),*) => {$(
        impl<K: Key, S: Schema, T: Tracking> $type<Map<K, S, T>> {
            /// The path to what lies under `key`, there or not.
            #[inline]
            pub fn key(&self, key: &(impl AsKey<K> + ?Sized)) -> S::Path {
                self.root().key(key)
            }

            /// Where the values of all elements are: for a
            /// [migration](crate::Topology::migrate).
            pub fn each_value(&self) -> S::Path {
                self.root().each_value()
            }

            /// All elements of the partition.
            pub fn all(&self) -> MapRange<K, S, T> {
                self.root().all()
            }

            /// The elements of the partition whose keys lie in `keys`.
            pub fn range(&self, keys: impl RangeBounds<K>) -> MapRange<K, S, T> {
                self.root().range(keys)
            }

            /// The `n` elements of the partition with the smallest keys.
            pub fn first_n(&self, n: u64) -> MapRange<K, S, T> {
                self.root().first_n(n)
            }

            /// The `n` elements of the partition with the greatest keys, in ascending order.
            pub fn last_n(&self, n: u64) -> MapRange<K, S, T> {
                self.root().last_n(n)
            }
        }
    )*};
}

map_verbs!(PState, LocalPState);

impl<K: Key, S: Schema, T: Tracking> LocalPState<Map<K, S, T>> {
    /// Whether there is an element under `key`.
    pub fn contains(&self, task: &Task, key: &(impl AsKey<K> + ?Sized)) -> bool {
        self.root().contains(task, key)
    }

    /// Removes the element under `key`, with everything below it. Reads nothing.
    pub fn remove(&self, task: &Task, key: &(impl AsKey<K> + ?Sized)) {
        self.root().remove(task, key);
    }

    /// The number of elements in this partition. Visits each.
    pub fn len(&self, task: &Task) -> u64 {
        self.root().len(task)
    }

    /// Whether this partition has no element.
    pub fn is_empty(&self, task: &Task) -> bool {
        self.root().is_empty(task)
    }

    /// The keys in this partition, in order.
    pub fn keys(&self, task: &Task) -> Vec<K> {
        self.root().keys(task)
    }

    /// Removes everything in this partition.
    pub fn clear(&self, task: &Task) {
        self.root().clear(task);
    }
}

impl<K: Key, V: Record, T: Tracking> LocalPState<Map<K, V, T>> {
    /// The values in this partition, in the order of their keys.
    pub fn values(&self, task: &Task) -> Vec<V> {
        self.root().values(task)
    }

    /// The elements in this partition, in the order of their keys.
    pub fn entries(&self, task: &Task) -> Vec<(K, V)> {
        self.root().entries(task)
    }

    /// The element with the smallest key.
    pub fn first(&self, task: &Task) -> Option<(K, V)> {
        self.root().first(task)
    }

    /// The element with the greatest key.
    pub fn last(&self, task: &Task) -> Option<(K, V)> {
        self.root().last(task)
    }
}

impl<V: Record> LocalPState<V> {
    /// The value of this partition.
    pub fn get(&self, task: &Task) -> Option<V> {
        self.root().get(task)
    }

    /// Replaces the value of this partition.
    pub fn set(&self, task: &Task, value: V) {
        self.root().set(task, value);
    }

    /// Stores what `change` makes of the value of this partition.
    pub fn update(&self, task: &Task, change: impl FnOnce(Option<V>) -> V) {
        self.root().update(task, change);
    }

    /// Back to the initial value, or to nothing (spec P-23).
    pub fn reset(&self, task: &Task) {
        match self.initial {
            Some(initial) => self.root().set(task, initial()),
            None => self.root().remove(task),
        }
    }
}

impl<V: Record> Selectable for PState<V> {
    type Output = Option<V>;

    fn selection(&self) -> Selection<Option<V>> {
        self.root().selection()
    }
}
