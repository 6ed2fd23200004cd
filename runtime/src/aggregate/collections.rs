//! Many values as one collection.
//!
//! What must stay true: sets, bags and maps are sorted, so that equal results have equal bytes; the
//! order of a list is that in which values arrive (spec A-16).

use std::collections::{BTreeMap, BTreeSet};

use rama_wire::Record;

use super::{Aggregator, Aggs, Stored, stored_as_state};

/// See [`Aggs::set`].
pub struct SetOf<F>(F);

/// See [`Aggs::multi_set`].
pub struct MultiSet<F>(F);

/// See [`Aggs::list`].
pub struct Listed<F>(F);

/// See [`Aggs::map`].
pub struct Mapped<F>(F);

/// See [`Aggs::merge`].
pub struct Merged<F>(F);

impl<T: 'static> Aggs<T> {
    /// The distinct parts of the values.
    pub fn set<V>(
        self,
        part: impl Fn(&T) -> V + Send + Sync + 'static,
    ) -> impl Stored<T, State = BTreeSet<V>, Value = BTreeSet<V>, Output = BTreeSet<V>>
    where
        V: Record<Archived: Ord> + Ord + Send,
    {
        SetOf(part)
    }

    /// How often each part comes.
    pub fn multi_set<V>(
        self,
        part: impl Fn(&T) -> V + Send + Sync + 'static,
    ) -> impl Stored<T, State = BTreeMap<V, u64>, Value = BTreeMap<V, u64>, Output = BTreeMap<V, u64>>
    where
        V: Record<Archived: Ord> + Ord + Send,
    {
        MultiSet(part)
    }

    /// A part of every value, in the order in which they arrive.
    pub fn list<V: Record + Send>(
        self,
        part: impl Fn(&T) -> V + Send + Sync + 'static,
    ) -> impl Stored<T, State = Vec<V>, Value = Vec<V>, Output = Vec<V>> {
        Listed(part)
    }

    /// A map of keys and values; of several under one key the last counts.
    pub fn map<Q, V>(
        self,
        entry: impl Fn(&T) -> (Q, V) + Send + Sync + 'static,
    ) -> impl Stored<T, State = BTreeMap<Q, V>, Value = BTreeMap<Q, V>, Output = BTreeMap<Q, V>>
    where
        Q: Record<Archived: Ord> + Ord + Send,
        V: Record + Send,
    {
        Mapped(entry)
    }

    /// Maps joined into one; of several values under one key the last counts.
    pub fn merge<Q, V>(
        self,
        map: impl Fn(&T) -> BTreeMap<Q, V> + Send + Sync + 'static,
    ) -> impl Stored<T, State = BTreeMap<Q, V>, Value = BTreeMap<Q, V>, Output = BTreeMap<Q, V>>
    where
        Q: Record<Archived: Ord> + Ord + Send,
        V: Record + Send,
    {
        Merged(map)
    }
}

impl<T, V, F> Aggregator<T> for SetOf<F>
where
    V: Record<Archived: Ord> + Ord + Send,
    F: Fn(&T) -> V + Send + Sync + 'static,
{
    type State = BTreeSet<V>;
    type Output = BTreeSet<V>;
    const COMBINES: bool = true;

    fn zero(&self) -> BTreeSet<V> {
        BTreeSet::new()
    }

    fn add(&self, state: &mut BTreeSet<V>, value: &T) {
        state.insert((self.0)(value));
    }

    fn merge(&self, state: &mut BTreeSet<V>, mut other: BTreeSet<V>) {
        state.append(&mut other);
    }

    fn finish(&self, state: BTreeSet<V>) -> BTreeSet<V> {
        state
    }
}

impl<T, V, F> Stored<T> for SetOf<F>
where
    V: Record<Archived: Ord> + Ord + Send,
    F: Fn(&T) -> V + Send + Sync + 'static,
{
    stored_as_state!();
}

impl<T, V, F> Aggregator<T> for MultiSet<F>
where
    V: Record<Archived: Ord> + Ord + Send,
    F: Fn(&T) -> V + Send + Sync + 'static,
{
    type State = BTreeMap<V, u64>;
    type Output = BTreeMap<V, u64>;
    const COMBINES: bool = true;

    fn zero(&self) -> BTreeMap<V, u64> {
        BTreeMap::new()
    }

    fn add(&self, state: &mut BTreeMap<V, u64>, value: &T) {
        *state.entry((self.0)(value)).or_default() += 1;
    }

    fn merge(&self, state: &mut BTreeMap<V, u64>, other: BTreeMap<V, u64>) {
        for (value, count) in other {
            *state.entry(value).or_default() += count;
        }
    }

    fn finish(&self, state: BTreeMap<V, u64>) -> BTreeMap<V, u64> {
        state
    }
}

impl<T, V, F> Stored<T> for MultiSet<F>
where
    V: Record<Archived: Ord> + Ord + Send,
    F: Fn(&T) -> V + Send + Sync + 'static,
{
    stored_as_state!();
}

impl<T, V, F> Aggregator<T> for Listed<F>
where
    V: Record + Send,
    F: Fn(&T) -> V + Send + Sync + 'static,
{
    type State = Vec<V>;
    type Output = Vec<V>;
    const COMBINES: bool = true;

    fn zero(&self) -> Vec<V> {
        Vec::new()
    }

    fn add(&self, state: &mut Vec<V>, value: &T) {
        state.push((self.0)(value));
    }

    fn merge(&self, state: &mut Vec<V>, mut other: Vec<V>) {
        state.append(&mut other);
    }

    fn finish(&self, state: Vec<V>) -> Vec<V> {
        state
    }
}

impl<T, V, F> Stored<T> for Listed<F>
where
    V: Record + Send,
    F: Fn(&T) -> V + Send + Sync + 'static,
{
    stored_as_state!();
}

/// Entries of one value, put into one map.
macro_rules! into_map {
    ($name:ident, $made:ty, |$state:ident, $part:ident| $add:expr) => {
        impl<T, Q, V, F> Aggregator<T> for $name<F>
        where
            Q: Record<Archived: Ord> + Ord + Send,
            V: Record + Send,
            F: Fn(&T) -> $made + Send + Sync + 'static,
        {
            type State = BTreeMap<Q, V>;
            type Output = BTreeMap<Q, V>;
            const COMBINES: bool = true;

            fn zero(&self) -> BTreeMap<Q, V> {
                BTreeMap::new()
            }

            fn add(&self, $state: &mut BTreeMap<Q, V>, value: &T) {
                let $part = (self.0)(value);
                $add;
            }

            fn merge(&self, state: &mut BTreeMap<Q, V>, other: BTreeMap<Q, V>) {
                state.extend(other);
            }

            fn finish(&self, state: BTreeMap<Q, V>) -> BTreeMap<Q, V> {
                state
            }
        }

        impl<T, Q, V, F> Stored<T> for $name<F>
        where
            Q: Record<Archived: Ord> + Ord + Send,
            V: Record + Send,
            F: Fn(&T) -> $made + Send + Sync + 'static,
        {
            stored_as_state!();
        }
    };
}

into_map!(Mapped, (Q, V), |state, part| state.insert(part.0, part.1));
into_map!(Merged, BTreeMap<Q, V>, |state, part| state.extend(part));
