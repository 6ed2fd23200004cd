//! Some elements of a subindexed structure, in order.
//!
//! A range is built without touching anything; its verbs collect their result whole before they
//! return, so author code that loops over it may change the structure (spec P-20).

use std::marker::PhantomData;
use std::ops::{ControlFlow, RangeBounds};

use rama_wire::{Key, Record, RecordError};

use super::{Child, Cursor, Span, bounds, unaligned, walk};
use crate::access::Order;
use crate::plan::{
    Callable, Each, Plan, Scan, SelectError, Selectable, Selection, Take, Viewed, count, rows,
};
use crate::schema::{List, Map, Marker, Never, Schema, Set, Tracked, Tracking};
use crate::task::Task;

/// Which end of a range counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// The elements of a map whose keys lie between two bounds.
///
/// By itself, to a client's `select`, it is its entries; `select_keys` and `select_values` narrow
/// it.
pub struct MapRange<K, S, T = Tracked> {
    cursor: Cursor,
    lo: Vec<u8>,
    hi: Option<Vec<u8>>,
    end: End,
    limit: u64,
    descending: bool,
    schema: Marker<(K, S, T)>,
}

impl<K, S, T> Clone for MapRange<K, S, T> {
    fn clone(&self) -> Self {
        MapRange {
            cursor: self.cursor.clone(),
            lo: self.lo.clone(),
            hi: self.hi.clone(),
            schema: PhantomData,
            ..*self
        }
    }
}

impl<K: Key, S: Schema, T: Tracking> MapRange<K, S, T> {
    pub(crate) fn new(cursor: Cursor, keys: impl RangeBounds<K>) -> MapRange<K, S, T> {
        let encode = |key: &K| key.key_bytes();
        let (lo, hi) = (keys.start_bound().map(encode), keys.end_bound().map(encode));
        let bounds = bounds(cursor.key(), lo, hi);
        let limit = if bounds.is_some() { u64::MAX } else { 0 };
        let (lo, hi) = bounds.unwrap_or_default();
        MapRange {
            cursor,
            lo,
            hi,
            end: End::First,
            limit,
            descending: false,
            schema: PhantomData,
        }
    }

    unaligned!();

    /// Of these, the `n` with the smallest keys.
    pub fn first_n(self, n: u64) -> Self {
        MapRange {
            end: End::First,
            limit: n.min(self.limit),
            ..self
        }
    }

    /// Of these, the `n` with the greatest keys; still in ascending order.
    pub fn last_n(self, n: u64) -> Self {
        MapRange {
            end: End::Last,
            limit: n.min(self.limit),
            ..self
        }
    }

    /// The same elements, greatest key first.
    pub fn descending(self) -> Self {
        MapRange {
            descending: true,
            ..self
        }
    }

    /// The keys.
    pub fn keys(&self, task: &Task) -> Vec<K> {
        self.collect(task, |key, _| Ok(K::from_key_bytes(key)?))
    }

    /// How many there are. Visits each.
    pub fn len(&self, task: &Task) -> u64 {
        let mut len = 0;
        self.visit(task, &mut |_, _| {
            len += 1;
            Ok(())
        });
        len
    }

    /// Whether there are none.
    pub fn is_empty(&self, task: &Task) -> bool {
        self.clone().first_n(1).len(task) == 0
    }

    /// Removes all of them, with everything below (spec N-13). Where the size is not tracked, a whole
    /// range is removed without reading it; otherwise its elements are counted once.
    pub fn remove(&self, task: &Task) {
        let (access, space) = self.cursor.enter(task);
        let counts = self.cursor.counts();
        if self.limit != u64::MAX {
            let keys = self.keys(task);
            for key in &keys {
                S::arrive(self.cursor.step::<K>(key)).erase(access, space, S::LEAF);
            }
            if counts {
                self.cursor.uncount(access, space, keys.len() as u64);
            }
            return;
        }
        if counts {
            let count = self.len(task);
            self.cursor.uncount(access, space, count);
        }
        access.delete_range(space, &self.lo, self.hi.as_deref());
    }

    /// For a client: the keys.
    pub fn select_keys(&self) -> Selection<Vec<K>> {
        Selection::new(&self.cursor, Plan::Scan(self.scan(Take::Keys)), |bytes| {
            rows(bytes)?
                .into_iter()
                .map(|(key, _)| Ok(K::from_key_bytes(key)?))
                .collect()
        })
    }

    /// For a client: how many there are.
    pub fn select_len(&self) -> Selection<u64> {
        Selection::new(&self.cursor, self.count_plan(), count)
    }

    pub(crate) fn count_plan(&self) -> Plan {
        Plan::Count(self.scan(Take::Keys))
    }

    /// The order to walk in, and whether the result has to be turned round.
    fn order(&self) -> (Order, bool) {
        let whole = self.limit == u64::MAX;
        let backward = if whole {
            self.descending
        } else {
            self.end == End::Last
        };
        let order = if backward {
            Order::Descending
        } else {
            Order::Ascending
        };
        (order, backward != self.descending)
    }

    fn scan(&self, take: Take) -> Scan {
        let (order, reverse) = self.order();
        let span = Span {
            lo: self.lo.clone(),
            hi: self.hi.clone(),
            order,
            limit: self.limit,
        };
        Scan {
            prefix_len: self.cursor.key().len() as u32,
            span,
            reverse,
            take,
            structure: (!S::LEAF).then(|| K::key_desc().shape()),
        }
    }

    /// Visits the elements in the order of the walk, which may be the reverse of the result's.
    fn visit(&self, task: &Task, each: &mut Each<'_>) {
        let (access, space) = self.cursor.enter(task);
        let (order, _) = self.order();
        let span = Span {
            lo: self.lo.clone(),
            hi: self.hi.clone(),
            order,
            limit: self.limit,
        };
        let measure = |bytes: &[u8]| {
            let mut rest = bytes;
            K::decode_key(&mut rest)
                .ok()
                .map(|_| bytes.len() - rest.len())
        };
        let child = if S::LEAF {
            Child::Value
        } else {
            Child::Structure(&measure)
        };
        let prefix_len = self.cursor.key().len();
        let mut failed = None;
        let walked = walk(
            access,
            space,
            prefix_len,
            &span,
            &child,
            &mut |key, value| match each(key, value) {
                Ok(()) => ControlFlow::Continue(()),
                Err(cause) => {
                    failed = Some(cause);
                    ControlFlow::Break(())
                }
            },
        );
        if let Some(cause) = failed {
            self.cursor.undecodable(cause);
        }
        if let Err(key) = walked {
            self.cursor
                .undecodable(format!("a key that makes no sense: {key:02x?}"));
        }
    }

    pub(super) fn collect<R>(
        &self,
        task: &Task,
        read: impl Fn(&[u8], &[u8]) -> Result<R, SelectError>,
    ) -> Vec<R> {
        let mut results = Vec::new();
        self.visit(task, &mut |key, value| {
            results.push(read(key, value)?);
            Ok(())
        });
        if self.order().1 {
            results.reverse();
        }
        results
    }
}

impl<K: Key, V: Record, T: Tracking> MapRange<K, V, T> {
    /// The values, in the order of their keys.
    pub fn values(&self, task: &Task) -> Vec<V> {
        self.collect(task, |_, value| Ok(V::decode(value)?))
    }

    /// Keys and values.
    pub fn entries(&self, task: &Task) -> Vec<(K, V)> {
        self.collect(task, |key, value| {
            Ok((K::from_key_bytes(key)?, V::decode(value)?))
        })
    }

    /// Rewrites each value, in the order of their keys; `None` removes the element. Reads the range
    /// once, before `change` sees any of it.
    pub fn rewrite(&self, task: &Task, mut change: impl FnMut(&K, V) -> Option<V>) {
        for (key, value) in self.entries(task) {
            let new = change(&key, value);
            let element = self.cursor.step::<K>(&key);
            let (access, space) = element.enter(task);
            match new {
                Some(value) => task.with_scratch(|bytes| {
                    value.encode(bytes);
                    element.put_value(access, space, bytes);
                }),
                None => element.remove(access, space, true),
            }
        }
    }

    /// Puts these elements in the place of all that are there (spec N-13). Elements outside of the
    /// range may be among them.
    pub fn replace(&self, task: &Task, elements: impl IntoIterator<Item = (K, V)>) {
        self.remove(task);
        for (key, value) in elements {
            let element = self.cursor.step::<K>(&key);
            let (access, space) = element.enter(task);
            task.with_scratch(|bytes| {
                value.encode(bytes);
                element.put_value(access, space, bytes);
            });
        }
    }

    /// The element with the smallest key.
    pub fn first(&self, task: &Task) -> Option<(K, V)> {
        self.clone().first_n(1).entries(task).pop()
    }

    /// The element with the greatest key.
    pub fn last(&self, task: &Task) -> Option<(K, V)> {
        self.clone().last_n(1).entries(task).pop()
    }

    /// For a client: of these, those whose value satisfies a function that the module registers. It
    /// runs on the task; what it leaves out is not sent. After `first_n` fewer may be left.
    pub fn filter(&self, wanted: impl Callable<V, bool>) -> Viewed<K, V> {
        Viewed::new(&self.cursor, self.scan(Take::Entries)).filter(wanted)
    }

    /// For a client: what a function that the module registers makes of each value, in its place.
    pub fn view<U: Record>(&self, view: impl Callable<V, U>) -> Viewed<K, U> {
        Viewed::new(&self.cursor, self.scan(Take::Entries)).view(view)
    }

    /// For a client: the values.
    pub fn select_values(&self) -> Selection<Vec<V>> {
        Selection::new(&self.cursor, Plan::Scan(self.scan(Take::Values)), |bytes| {
            rows(bytes)?
                .into_iter()
                .map(|(_, value)| Ok(V::decode(value)?))
                .collect()
        })
    }
}

/// A schema whose elements are entries: a value.
#[diagnostic::on_unimplemented(
    message = "the elements of this range are structures, which are never sent whole",
    label = "elements of type `{Self}`",
    note = "select the keys, `.select_keys()`, then what is needed of each"
)]
pub trait Entry: Schema + Sized {
    /// Decodes an element.
    #[doc(hidden)]
    fn read(bytes: &[u8]) -> Result<Self, RecordError>;
}

impl<V: Record> Entry for V {
    fn read(bytes: &[u8]) -> Result<V, RecordError> {
        V::decode(bytes)
    }
}

/// Structures are no entries; see [`Never`].
macro_rules! no_entry {
    ($($type:ty, $($param:ident: $bound:path),*;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($param: $bound),*> Entry for $type
        where
            $type: Never,
        {
            fn read(_bytes: &[u8]) -> Result<Self, RecordError> {
                Self::never()
            }
        }
    )*};
}

no_entry! {
    Map<K, S, T>, K: Key, S: Schema, T: Tracking;
    Set<K, T>, K: Key, T: Tracking;
    List<S>, S: Schema;
}

impl<K: Key, V: Entry, T: Tracking> Selectable for MapRange<K, V, T> {
    type Output = Vec<(K, V)>;

    fn selection(&self) -> Selection<Vec<(K, V)>> {
        Selection::new(
            &self.cursor,
            Plan::Scan(self.scan(Take::Entries)),
            |bytes| {
                let entry = |(key, value)| Ok((K::from_key_bytes(key)?, V::read(value)?));
                rows(bytes)?.into_iter().map(entry).collect()
            },
        )
    }
}
