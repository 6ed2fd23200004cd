//! Steps that decide where to go on, and those that work for values of any type: filters, views,
//! branches, sub-selections (spec §3.4, §3.6, §3.7).

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use super::{Compose, Edit, Nav, Navigator, Next, ReadOnly, Reads, Rewrite, Steps, Writes, leads};

/// Another path as one step.
pub(super) struct Sub<T, U>(pub(super) Steps<T, U, ()>);

impl<T: 'static, U: 'static> Navigator<T> for Sub<T, U> {
    type Target = U;

    fn select(&self, from: Option<&T>, next: &mut Next<'_, U>) -> ControlFlow<()> {
        self.0.select(from, &mut |(), place| next(place))
    }

    fn transform(&self, from: Option<T>, next: &mut Rewrite<'_, U>) -> Option<T> {
        self.0.transform(from, &mut |(), place| next(place))
    }
}

/// Goes on where a condition holds.
struct Filter<F>(F);

impl<T, F: Fn(Option<&T>) -> bool + Send + Sync + 'static> Navigator<T> for Filter<F> {
    type Target = T;

    fn select(&self, from: Option<&T>, next: &mut Next<'_, T>) -> ControlFlow<()> {
        if (self.0)(from) {
            next(from)
        } else {
            ControlFlow::Continue(())
        }
    }

    fn transform(&self, from: Option<T>, next: &mut Rewrite<'_, T>) -> Option<T> {
        if (self.0)(from.as_ref()) {
            next(from)
        } else {
            from
        }
    }
}

/// A value in place of an absent one.
struct Or<F>(F);

impl<T, F: Fn() -> T + Send + Sync + 'static> Navigator<T> for Or<F> {
    type Target = T;

    fn select(&self, from: Option<&T>, next: &mut Next<'_, T>) -> ControlFlow<()> {
        match from {
            Some(_) => next(from),
            None => next(Some(&(self.0)())),
        }
    }

    fn transform(&self, from: Option<T>, next: &mut Rewrite<'_, T>) -> Option<T> {
        next(Some(from.unwrap_or_else(&self.0)))
    }
}

/// What a function makes of a place.
struct View<F, U>(F, PhantomData<fn() -> U>);

impl<T, U: 'static, F> Navigator<T> for View<F, U>
where
    F: Fn(Option<&T>) -> Option<U> + Send + Sync + 'static,
{
    type Target = U;

    fn select(&self, from: Option<&T>, next: &mut Next<'_, U>) -> ControlFlow<()> {
        next((self.0)(from).as_ref())
    }

    fn transform(&self, from: Option<T>, _next: &mut Rewrite<'_, U>) -> Option<T> {
        // A path that only reads has no verb that gets here.
        from
    }
}

/// Nowhere.
struct Stop<U>(PhantomData<fn() -> U>);

impl<T, U: 'static> Navigator<T> for Stop<U> {
    type Target = U;

    fn select(&self, _from: Option<&T>, _next: &mut Next<'_, U>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn transform(&self, from: Option<T>, _next: &mut Rewrite<'_, U>) -> Option<T> {
        from
    }
}

/// One path after the other, each from the same place.
struct Multi<T, U>(Vec<Steps<T, U, ()>>);

impl<T: 'static, U: 'static> Navigator<T> for Multi<T, U> {
    type Target = U;

    fn select(&self, from: Option<&T>, next: &mut Next<'_, U>) -> ControlFlow<()> {
        for path in &self.0 {
            path.select(from, &mut |(), place| next(place))?;
        }
        ControlFlow::Continue(())
    }

    fn transform(&self, mut from: Option<T>, next: &mut Rewrite<'_, U>) -> Option<T> {
        for path in &self.0 {
            from = path.transform(from, &mut |(), place| next(place));
        }
        from
    }
}

type Condition<T> = Box<dyn Fn(Option<&T>) -> bool + Send + Sync>;

/// The path of the first condition that holds.
struct Cond<T, U>(Vec<(Condition<T>, Steps<T, U, ()>)>);

impl<T, U> Cond<T, U> {
    fn choose(&self, from: Option<&T>) -> Option<&Steps<T, U, ()>> {
        let mut arms = self.0.iter();
        let arm = arms.find(|(condition, _)| condition(from))?;
        Some(&arm.1)
    }
}

impl<T: 'static, U: 'static> Navigator<T> for Cond<T, U> {
    type Target = U;

    fn select(&self, from: Option<&T>, next: &mut Next<'_, U>) -> ControlFlow<()> {
        match self.choose(from) {
            Some(path) => path.select(from, &mut |(), place| next(place)),
            None => ControlFlow::Continue(()),
        }
    }

    fn transform(&self, from: Option<T>, next: &mut Rewrite<'_, U>) -> Option<T> {
        match self.choose(from.as_ref()) {
            Some(path) => path.transform(from, &mut |(), place| next(place)),
            None => from,
        }
    }
}

/// The list of all values a path leads to.
pub(super) struct Subselect<T, U>(pub(super) Steps<T, U, ()>);

impl<T: 'static, U: Clone + 'static> Subselect<T, U> {
    fn list(&self, from: Option<&T>) -> Vec<U> {
        let mut list = Vec::new();
        let _ = self.0.select(from, &mut |(), place| {
            list.extend(place.cloned());
            ControlFlow::Continue(())
        });
        list
    }
}

impl<T: 'static, U: Clone + 'static> Navigator<T> for Subselect<T, U> {
    type Target = Vec<U>;

    fn select(&self, from: Option<&T>, next: &mut Next<'_, Vec<U>>) -> ControlFlow<()> {
        next(Some(&self.list(from)))
    }

    /// The rewritten list goes back to where its elements were, in order: places beyond its end
    /// are removed, elements beyond the last place are dropped. Absent places are no elements.
    fn transform(&self, from: Option<T>, next: &mut Rewrite<'_, Vec<U>>) -> Option<T> {
        let list = self.list(from.as_ref());
        let mut list = VecDeque::from(next(Some(list)).unwrap_or_default());
        self.0.transform(from, &mut |(), place| match place {
            Some(_) => list.pop_front(),
            None => None,
        })
    }
}

/// What a path leads to, and then the place itself.
struct ThenStay<T>(Steps<T, T, ()>);

impl<T: 'static> Navigator<T> for ThenStay<T> {
    type Target = T;

    fn select(&self, from: Option<&T>, next: &mut Next<'_, T>) -> ControlFlow<()> {
        self.0.select(from, &mut |(), place| next(place))?;
        next(from)
    }

    fn transform(&self, from: Option<T>, next: &mut Rewrite<'_, T>) -> Option<T> {
        let changed = self.0.transform(from, &mut |(), place| next(place));
        next(changed)
    }
}

impl<S: 'static, T: 'static, C: 'static, M> Nav<S, T, C, M> {
    /// Goes on where there is a value that satisfies `wanted` (Rama's `filterPred`, `filterEqual`,
    /// `filterLessThan` and so on).
    pub fn filter(&self, wanted: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.step(Filter(move |place: Option<&T>| place.is_some_and(&wanted)))
    }

    /// Goes on where there is a value.
    pub fn present(&self) -> Self {
        self.step(Filter(|place: Option<&T>| place.is_some()))
    }

    /// Goes on where there is none: for inserts that must not overwrite (spec P-48b).
    pub fn absent(&self) -> Self {
        self.step(Filter(|place: Option<&T>| place.is_none()))
    }

    /// Goes on where `path` leads anywhere, be it to something absent.
    pub fn selected<U, D, L: Reads>(&self, path: &Nav<T, U, D, L>) -> Self
    where
        U: 'static,
        D: 'static,
    {
        let path = path.steps.clone();
        self.step(Filter(move |place: Option<&T>| leads(&path, place)))
    }

    /// Goes on where `path` leads nowhere.
    pub fn not_selected<U, D, L: Reads>(&self, path: &Nav<T, U, D, L>) -> Self
    where
        U: 'static,
        D: 'static,
    {
        let path = path.steps.clone();
        self.step(Filter(move |place: Option<&T>| !leads(&path, place)))
    }

    /// `value` where there is none (Rama's `nullToVal`).
    pub fn or(&self, value: T) -> Self
    where
        T: Clone + Send + Sync,
    {
        self.step(Or(move || value.clone()))
    }

    /// The default where there is no value (Rama's `nullToList`, `nullToSet`).
    pub fn or_default(&self) -> Self
    where
        T: Default,
    {
        self.step(Or(T::default))
    }

    /// What `view` makes of the value; absent stays absent. Read only.
    pub fn view<U: 'static>(
        &self,
        view: impl Fn(&T) -> U + Send + Sync + 'static,
    ) -> Nav<S, U, C, M::Mode>
    where
        M: Compose<ReadOnly>,
    {
        let view = move |place: Option<&T>| place.map(&view);
        self.step(View(view, PhantomData))
    }

    /// The value as `edit` would make it; nothing is stored. Read only.
    pub fn transformed(&self, edit: &Edit<T>) -> Nav<S, T, C, M::Mode>
    where
        T: Clone,
        M: Compose<ReadOnly>,
    {
        let edit = edit.clone();
        let view = move |place: Option<&T>| edit.apply_to(place.cloned());
        self.step(View(view, PhantomData))
    }

    /// Goes nowhere: for a branch.
    pub fn stop<U: 'static>(&self) -> Nav<S, U, C, M> {
        self.step(Stop(PhantomData))
    }

    /// All of these paths, one after the other; a rewrite by the second sees what the first made
    /// of it.
    pub fn multi_path<U: 'static, L>(
        &self,
        paths: impl IntoIterator<Item = Nav<T, U, (), L>>,
    ) -> Nav<S, U, C, M::Mode>
    where
        M: Compose<L>,
    {
        self.step(Multi(paths.into_iter().map(|path| path.steps).collect()))
    }

    /// Goes on by `then` where `condition` leads anywhere, otherwise nowhere.
    pub fn if_path<U: 'static, V: 'static, D: 'static, L, N: Reads>(
        &self,
        condition: &Nav<T, V, D, N>,
        then: &Nav<T, U, (), L>,
    ) -> Nav<S, U, C, M::Mode>
    where
        M: Compose<L>,
    {
        self.cond_path([(condition, then)])
    }

    /// Goes on by `then` where `condition` leads anywhere, otherwise by `otherwise`.
    pub fn if_else<U: 'static, V: 'static, D: 'static, L, N: Reads>(
        &self,
        condition: &Nav<T, V, D, N>,
        then: &Nav<T, U, (), L>,
        otherwise: &Nav<T, U, (), L>,
    ) -> Nav<S, U, C, M::Mode>
    where
        M: Compose<L>,
    {
        let always: Condition<T> = Box::new(|_| true);
        let arms = [
            (holds(condition), then.steps.clone()),
            (always, otherwise.steps.clone()),
        ];
        self.step(Cond(arms.into()))
    }

    /// Goes on by the path of the first condition that leads anywhere.
    pub fn cond_path<'a, U: 'static, V: 'static, D: 'static, L: 'a, N: Reads + 'a>(
        &self,
        arms: impl IntoIterator<Item = (&'a Nav<T, V, D, N>, &'a Nav<T, U, (), L>)>,
    ) -> Nav<S, U, C, M::Mode>
    where
        M: Compose<L>,
    {
        let arms = arms.into_iter();
        let arms = arms.map(|(condition, path)| (holds(condition), path.steps.clone()));
        self.step(Cond(arms.collect()))
    }

    /// The list of all values that `path` leads to, as one value. A rewritten list goes back to
    /// the places its elements came from, in order; the places of those that are missing at its
    /// end are removed.
    pub fn subselect<U: Clone + 'static, L>(
        &self,
        path: &Nav<T, U, (), L>,
    ) -> Nav<S, Vec<U>, C, M::Mode>
    where
        M: Compose<L>,
        L: Reads,
    {
        self.step(Subselect(path.steps.clone()))
    }

    /// Where `path` leads, and then the place itself: children before parents.
    pub fn continue_then_stay<L: Reads + Writes>(&self, path: &Nav<T, T, (), L>) -> Self {
        self.step(ThenStay(path.steps.clone()))
    }
}

fn holds<T: 'static, V: 'static, D: 'static, N>(condition: &Nav<T, V, D, N>) -> Condition<T> {
    let path = condition.steps.clone();
    Box::new(move |place| leads(&path, place))
}
