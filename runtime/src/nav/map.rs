//! Steps into sorted maps that are values: entries, keys, values, parts.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow, RangeBounds};

use super::{Nav, Navigator, Next, Rewrite};

/// A key's value. Without `must` an absent one is a place as well.
struct Key<K> {
    key: K,
    must: bool,
}

impl<K, V> Navigator<BTreeMap<K, V>> for Key<K>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: 'static,
{
    type Target = V;

    fn select(&self, from: Option<&BTreeMap<K, V>>, next: &mut Next<'_, V>) -> ControlFlow<()> {
        match from.and_then(|map| map.get(&self.key)) {
            None if self.must => ControlFlow::Continue(()),
            value => next(value),
        }
    }

    fn transform(
        &self,
        mut from: Option<BTreeMap<K, V>>,
        next: &mut Rewrite<'_, V>,
    ) -> Option<BTreeMap<K, V>> {
        let old = from.as_mut().and_then(|map| map.remove(&self.key));
        if old.is_none() && self.must {
            return from;
        }
        match next(old) {
            Some(new) => {
                let mut map = from.unwrap_or_default();
                map.insert(self.key.clone(), new);
                Some(map)
            }
            None => from,
        }
    }
}

/// Each entry.
struct All;

impl<K: Ord + Clone + 'static, V: Clone + 'static> Navigator<BTreeMap<K, V>> for All {
    type Target = (K, V);

    fn select(
        &self,
        from: Option<&BTreeMap<K, V>>,
        next: &mut Next<'_, (K, V)>,
    ) -> ControlFlow<()> {
        from.into_iter()
            .flatten()
            .try_for_each(|(key, value)| next(Some(&(key.clone(), value.clone()))))
    }

    fn transform(
        &self,
        from: Option<BTreeMap<K, V>>,
        next: &mut Rewrite<'_, (K, V)>,
    ) -> Option<BTreeMap<K, V>> {
        Some(
            from?
                .into_iter()
                .filter_map(|entry| next(Some(entry)))
                .collect(),
        )
    }
}

/// Each value.
struct MapVals;

impl<K: Ord + 'static, V: 'static> Navigator<BTreeMap<K, V>> for MapVals {
    type Target = V;

    fn select(&self, from: Option<&BTreeMap<K, V>>, next: &mut Next<'_, V>) -> ControlFlow<()> {
        let mut values = from.into_iter().flat_map(|map| map.values());
        values.try_for_each(|value| next(Some(value)))
    }

    fn transform(
        &self,
        from: Option<BTreeMap<K, V>>,
        next: &mut Rewrite<'_, V>,
    ) -> Option<BTreeMap<K, V>> {
        let entries = from?.into_iter();
        Some(
            entries
                .filter_map(|(key, value)| Some((key, next(Some(value))?)))
                .collect(),
        )
    }
}

/// Each key.
struct MapKeys;

impl<K: Ord + 'static, V: 'static> Navigator<BTreeMap<K, V>> for MapKeys {
    type Target = K;

    fn select(&self, from: Option<&BTreeMap<K, V>>, next: &mut Next<'_, K>) -> ControlFlow<()> {
        let mut keys = from.into_iter().flat_map(|map| map.keys());
        keys.try_for_each(|key| next(Some(key)))
    }

    /// Where two keys become one, the value of the greater old key stays.
    fn transform(
        &self,
        from: Option<BTreeMap<K, V>>,
        next: &mut Rewrite<'_, K>,
    ) -> Option<BTreeMap<K, V>> {
        let entries = from?.into_iter();
        Some(
            entries
                .filter_map(|(key, value)| Some((next(Some(key))?, value)))
                .collect(),
        )
    }
}

/// A key itself, if it is there.
struct MapKey<K>(K);

impl<K, V> Navigator<BTreeMap<K, V>> for MapKey<K>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: 'static,
{
    type Target = K;

    fn select(&self, from: Option<&BTreeMap<K, V>>, next: &mut Next<'_, K>) -> ControlFlow<()> {
        match from.and_then(|map| map.get_key_value(&self.0)) {
            Some((key, _)) => next(Some(key)),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(
        &self,
        from: Option<BTreeMap<K, V>>,
        next: &mut Rewrite<'_, K>,
    ) -> Option<BTreeMap<K, V>> {
        let mut map = from?;
        if let Some((key, value)) = map.remove_entry(&self.0)
            && let Some(key) = next(Some(key))
        {
            map.insert(key, value);
        }
        Some(map)
    }
}

/// One of the two ends.
#[derive(Clone, Copy)]
pub(super) enum End {
    First,
    Last,
}

/// The entry at one end, if there is one.
struct Outer(End);

impl<K: Ord + Clone + 'static, V: Clone + 'static> Navigator<BTreeMap<K, V>> for Outer {
    type Target = (K, V);

    fn select(
        &self,
        from: Option<&BTreeMap<K, V>>,
        next: &mut Next<'_, (K, V)>,
    ) -> ControlFlow<()> {
        let entry = from.and_then(|map| match self.0 {
            End::First => map.first_key_value(),
            End::Last => map.last_key_value(),
        });
        match entry {
            Some((key, value)) => next(Some(&(key.clone(), value.clone()))),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(
        &self,
        from: Option<BTreeMap<K, V>>,
        next: &mut Rewrite<'_, (K, V)>,
    ) -> Option<BTreeMap<K, V>> {
        let mut map = from?;
        let entry = match self.0 {
            End::First => map.pop_first(),
            End::Last => map.pop_last(),
        };
        map.extend(entry.and_then(|entry| next(Some(entry))));
        Some(map)
    }
}

/// The keys that a part of a collection has.
pub(super) trait Pick<K>: Send + Sync + 'static {
    /// Those of `keys`, which are sorted, that belong to the part.
    fn pick<'a>(&self, keys: &mut dyn DoubleEndedIterator<Item = &'a K>) -> Vec<&'a K>;
}

/// Those that are listed.
pub(super) struct Listed<K>(pub(super) Vec<K>);

impl<K: Ord + Send + Sync + 'static> Pick<K> for Listed<K> {
    fn pick<'a>(&self, keys: &mut dyn DoubleEndedIterator<Item = &'a K>) -> Vec<&'a K> {
        keys.filter(|key| self.0.contains(key)).collect()
    }
}

/// Those between two bounds.
pub(super) struct Between<K>(pub(super) Bound<K>, pub(super) Bound<K>);

impl<K: Ord + Send + Sync + 'static> Pick<K> for Between<K> {
    fn pick<'a>(&self, keys: &mut dyn DoubleEndedIterator<Item = &'a K>) -> Vec<&'a K> {
        let bounds = (self.0.as_ref(), self.1.as_ref());
        keys.filter(|key| bounds.contains(*key)).collect()
    }
}

/// So many at one end.
pub(super) struct Outermost(pub(super) End, pub(super) usize);

impl<K: 'static> Pick<K> for Outermost {
    fn pick<'a>(&self, keys: &mut dyn DoubleEndedIterator<Item = &'a K>) -> Vec<&'a K> {
        match self.0 {
            End::First => keys.take(self.1).collect(),
            End::Last => keys.rev().take(self.1).collect(),
        }
    }
}

/// A part, as a map of its own; what is written there replaces it.
struct SubMap<P>(P);

impl<K, V, P> Navigator<BTreeMap<K, V>> for SubMap<P>
where
    K: Ord + Clone + 'static,
    V: Clone + 'static,
    P: Pick<K>,
{
    type Target = BTreeMap<K, V>;

    fn select(
        &self,
        from: Option<&BTreeMap<K, V>>,
        next: &mut Next<'_, BTreeMap<K, V>>,
    ) -> ControlFlow<()> {
        let part = from.map(|map| {
            let keys = self.0.pick(&mut map.keys()).into_iter();
            keys.map(|key| (key.clone(), map[key].clone())).collect()
        });
        next(Some(&part.unwrap_or_default()))
    }

    fn transform(
        &self,
        from: Option<BTreeMap<K, V>>,
        next: &mut Rewrite<'_, BTreeMap<K, V>>,
    ) -> Option<BTreeMap<K, V>> {
        let was = from.is_some();
        let mut map = from.unwrap_or_default();
        let keys: Vec<K> = self.0.pick(&mut map.keys()).into_iter().cloned().collect();
        let part = keys
            .iter()
            .filter_map(|key| map.remove_entry(key))
            .collect();
        map.extend(next(Some(part)).into_iter().flatten());
        (was || !map.is_empty()).then_some(map)
    }
}

impl<S: 'static, K, V, C: 'static, M> Nav<S, BTreeMap<K, V>, C, M>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: 'static,
{
    /// The value under `key`: always a place, absent if the key is. Writing there creates the map
    /// as well, if need be.
    pub fn key(&self, key: &(impl ToOwned<Owned = K> + ?Sized)) -> Nav<S, V, C, M> {
        let (key, must) = (key.to_owned(), false);
        self.step(Key { key, must })
    }

    /// The value under `key`, if there is one.
    pub fn must(&self, key: &(impl ToOwned<Owned = K> + ?Sized)) -> Nav<S, V, C, M> {
        let (key, must) = (key.to_owned(), true);
        self.step(Key { key, must })
    }

    /// Each value.
    pub fn map_vals(&self) -> Nav<S, V, C, M> {
        self.step(MapVals)
    }

    /// Each key; a changed key keeps its value.
    pub fn map_keys(&self) -> Nav<S, K, C, M> {
        self.step(MapKeys)
    }

    /// The key itself, if it is there; a changed key keeps its value.
    pub fn map_key(&self, key: &(impl ToOwned<Owned = K> + ?Sized)) -> Nav<S, K, C, M> {
        self.step(MapKey(key.to_owned()))
    }
}

impl<S: 'static, K, V, C: 'static, M> Nav<S, BTreeMap<K, V>, C, M>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: Clone + 'static,
{
    /// Each entry.
    pub fn all(&self) -> Nav<S, (K, V), C, M> {
        self.step(All)
    }

    /// The entry with the smallest key, if there is one.
    pub fn first(&self) -> Nav<S, (K, V), C, M> {
        self.step(Outer(End::First))
    }

    /// The entry with the greatest key, if there is one.
    pub fn last(&self) -> Nav<S, (K, V), C, M> {
        self.step(Outer(End::Last))
    }

    /// The entries under these keys, as a map; what is written there replaces them.
    pub fn sub_map<Q>(&self, keys: impl IntoIterator<Item = Q>) -> Nav<S, BTreeMap<K, V>, C, M>
    where
        Q: Into<K>,
    {
        self.step(SubMap(Listed(keys.into_iter().map(Into::into).collect())))
    }

    /// The entries whose keys lie in `keys`, as a map: `a..b`, `a..`, `..=b` and so on (N-10…N-14).
    /// What is written there replaces them, nothing removes them.
    pub fn range(&self, keys: impl RangeBounds<K>) -> Nav<S, BTreeMap<K, V>, C, M> {
        let (from, to) = (keys.start_bound().cloned(), keys.end_bound().cloned());
        self.step(SubMap(Between(from, to)))
    }

    /// The `n` entries with the smallest keys, as a map.
    pub fn first_n(&self, n: usize) -> Nav<S, BTreeMap<K, V>, C, M> {
        self.step(SubMap(Outermost(End::First, n)))
    }

    /// The `n` entries with the greatest keys, as a map.
    pub fn last_n(&self, n: usize) -> Nav<S, BTreeMap<K, V>, C, M> {
        self.step(SubMap(Outermost(End::Last, n)))
    }
}
