//! Steps into sorted sets that are values.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, RangeBounds};

use super::map::{Between, End, Listed, Outermost, Pick};
use super::{Compose, Nav, Navigator, Next, Rewrite, WriteOnly};

/// An element, if it is there.
struct Elem<E>(E);

impl<E: Ord + Send + Sync + 'static> Navigator<BTreeSet<E>> for Elem<E> {
    type Target = E;

    fn select(&self, from: Option<&BTreeSet<E>>, next: &mut Next<'_, E>) -> ControlFlow<()> {
        match from.and_then(|set| set.get(&self.0)) {
            Some(element) => next(Some(element)),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(
        &self,
        from: Option<BTreeSet<E>>,
        next: &mut Rewrite<'_, E>,
    ) -> Option<BTreeSet<E>> {
        let mut set = from?;
        let new = set.take(&self.0).and_then(|element| next(Some(element)));
        set.extend(new);
        Some(set)
    }
}

/// Each element.
struct All;

impl<E: Ord + 'static> Navigator<BTreeSet<E>> for All {
    type Target = E;

    fn select(&self, from: Option<&BTreeSet<E>>, next: &mut Next<'_, E>) -> ControlFlow<()> {
        from.into_iter()
            .flatten()
            .try_for_each(|element| next(Some(element)))
    }

    fn transform(
        &self,
        from: Option<BTreeSet<E>>,
        next: &mut Rewrite<'_, E>,
    ) -> Option<BTreeSet<E>> {
        let elements = from?.into_iter();
        Some(elements.filter_map(|element| next(Some(element))).collect())
    }
}

/// The element at one end, if there is one.
struct Outer(End);

impl<E: Ord + 'static> Navigator<BTreeSet<E>> for Outer {
    type Target = E;

    fn select(&self, from: Option<&BTreeSet<E>>, next: &mut Next<'_, E>) -> ControlFlow<()> {
        let element = from.and_then(|set| match self.0 {
            End::First => set.first(),
            End::Last => set.last(),
        });
        match element {
            Some(_) => next(element),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(
        &self,
        from: Option<BTreeSet<E>>,
        next: &mut Rewrite<'_, E>,
    ) -> Option<BTreeSet<E>> {
        let mut set = from?;
        let element = match self.0 {
            End::First => set.pop_first(),
            End::Last => set.pop_last(),
        };
        set.extend(element.and_then(|element| next(Some(element))));
        Some(set)
    }
}

/// The place of a new element.
struct NewElem;

impl<E: Ord + 'static> Navigator<BTreeSet<E>> for NewElem {
    type Target = E;

    fn select(&self, _from: Option<&BTreeSet<E>>, _next: &mut Next<'_, E>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn transform(
        &self,
        from: Option<BTreeSet<E>>,
        next: &mut Rewrite<'_, E>,
    ) -> Option<BTreeSet<E>> {
        match next(None) {
            Some(element) => {
                let mut set = from.unwrap_or_default();
                set.insert(element);
                Some(set)
            }
            None => from,
        }
    }
}

/// A part, as a set of its own; what is written there replaces it.
struct Subset<P>(P);

impl<E: Ord + Clone + 'static, P: Pick<E>> Navigator<BTreeSet<E>> for Subset<P> {
    type Target = BTreeSet<E>;

    fn select(
        &self,
        from: Option<&BTreeSet<E>>,
        next: &mut Next<'_, BTreeSet<E>>,
    ) -> ControlFlow<()> {
        let part = from.map(|set| self.0.pick(&mut set.iter()).into_iter().cloned().collect());
        next(Some(&part.unwrap_or_default()))
    }

    fn transform(
        &self,
        from: Option<BTreeSet<E>>,
        next: &mut Rewrite<'_, BTreeSet<E>>,
    ) -> Option<BTreeSet<E>> {
        let was = from.is_some();
        let mut set = from.unwrap_or_default();
        let picked: Vec<E> = self.0.pick(&mut set.iter()).into_iter().cloned().collect();
        let part = picked
            .iter()
            .filter_map(|element| set.take(element))
            .collect();
        set.extend(next(Some(part)).into_iter().flatten());
        (was || !set.is_empty()).then_some(set)
    }
}

impl<S: 'static, E, C: 'static, M> Nav<S, BTreeSet<E>, C, M>
where
    E: Ord + Clone + Send + Sync + 'static,
{
    /// The element, if it is there: also a test whether it is. Writing another replaces it.
    pub fn elem(&self, element: &(impl ToOwned<Owned = E> + ?Sized)) -> Nav<S, E, C, M> {
        self.step(Elem(element.to_owned()))
    }

    /// The place of a new element (Rama's `voidSetElem`).
    pub fn new_elem(&self) -> Nav<S, E, C, M::Mode>
    where
        M: Compose<WriteOnly>,
    {
        self.step(NewElem)
    }

    /// Each element.
    pub fn all(&self) -> Nav<S, E, C, M> {
        self.step(All)
    }

    /// The smallest element, if there is one.
    pub fn first(&self) -> Nav<S, E, C, M> {
        self.step(Outer(End::First))
    }

    /// The greatest element, if there is one.
    pub fn last(&self) -> Nav<S, E, C, M> {
        self.step(Outer(End::Last))
    }

    /// Those of these elements that are there, as a set; what is written there replaces them.
    pub fn subset<Q>(&self, elements: impl IntoIterator<Item = Q>) -> Nav<S, BTreeSet<E>, C, M>
    where
        Q: Into<E>,
    {
        self.step(Subset(Listed(
            elements.into_iter().map(Into::into).collect(),
        )))
    }

    /// The elements in `range`, as a set; what is written there replaces them.
    pub fn range(&self, range: impl RangeBounds<E>) -> Nav<S, BTreeSet<E>, C, M> {
        let (from, to) = (range.start_bound().cloned(), range.end_bound().cloned());
        self.step(Subset(Between(from, to)))
    }

    /// The `n` smallest elements, as a set.
    pub fn first_n(&self, n: usize) -> Nav<S, BTreeSet<E>, C, M> {
        self.step(Subset(Outermost(End::First, n)))
    }

    /// The `n` greatest elements, as a set.
    pub fn last_n(&self, n: usize) -> Nav<S, BTreeSet<E>, C, M> {
        self.step(Subset(Outermost(End::Last, n)))
    }
}
