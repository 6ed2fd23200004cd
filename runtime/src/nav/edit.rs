//! What ends a path that writes: a rewrite, as a value or at once in a PState.
//!
//! Relies on [`ValuePath`] for reading and writing the whole value. What must stay true: one read,
//! and one write at most; no write when the path leads nowhere (N-6).

use std::sync::Arc;

use rama_wire::Record;

use super::{Gathered, Nav, Reads, Writes};
use crate::path::ValuePath;
use crate::task::Task;

/// A rewrite of a value: a path and what is done at its places (Rama's term navigators).
///
/// Several are one change in [`ValuePath::edit`].
pub struct Edit<S>(Arc<Change<S>>);

/// Answers with the new value, and whether any place was found.
type Change<S> = dyn Fn(Option<S>) -> (Option<S>, bool) + Send + Sync;

impl<S> Clone for Edit<S> {
    fn clone(&self) -> Self {
        Edit(self.0.clone())
    }
}

impl<S> Edit<S> {
    /// What the value becomes; `None` when it is removed.
    pub fn apply(&self, value: S) -> Option<S> {
        self.apply_to(Some(value))
    }

    /// The same for a value that may be absent.
    pub fn apply_to(&self, value: Option<S>) -> Option<S> {
        (self.0)(value).0
    }
}

impl<S: 'static, T: 'static, C: 'static, M: Writes> Nav<S, T, C, M> {
    /// Rewrites each place; `None` removes it.
    pub fn rewrite(
        &self,
        change: impl Fn(Option<T>) -> Option<T> + Send + Sync + 'static,
    ) -> Edit<S> {
        self.rewrite_with(move |_, place| change(place))
    }

    /// The same, with what was collected.
    pub fn rewrite_with(
        &self,
        change: impl Fn(&C, Option<T>) -> Option<T> + Send + Sync + 'static,
    ) -> Edit<S> {
        let path = self.clone();
        Edit(Arc::new(move |value| {
            path.transform(value, &mut |collected, place| change(collected, place))
        }))
    }

    /// Puts `value` at each place (Rama's `termVal`).
    pub fn set(&self, value: T) -> Edit<S>
    where
        T: Clone + Send + Sync,
    {
        self.rewrite(move |_| Some(value.clone()))
    }

    /// Puts at each place what `change` makes of the value there (Rama's `term`).
    pub fn update(&self, change: impl Fn(Option<T>) -> T + Send + Sync + 'static) -> Edit<S> {
        self.rewrite(move |place| Some(change(place)))
    }

    /// Changes the value at each place, starting from the default where there is none.
    pub fn modify(&self, change: impl Fn(&mut T) + Send + Sync + 'static) -> Edit<S>
    where
        T: Default,
    {
        self.update(move |place| {
            let mut value = place.unwrap_or_default();
            change(&mut value);
            value
        })
    }

    /// Removes each place from what holds it (Rama's `termVoid`).
    pub fn remove(&self) -> Edit<S> {
        self.rewrite(|_| None)
    }

    fn transform(
        &self,
        value: Option<S>,
        change: &mut dyn FnMut(&C, Option<T>) -> Option<T>,
    ) -> (Option<S>, bool) {
        let mut found = false;
        let value = self.steps.transform(value, &mut |collected, place| {
            found = true;
            change(collected, place)
        });
        (value, found)
    }
}

/// A path into a stored value: what [`ValuePath::inside`] makes.
pub struct Inside<V, T, C, M> {
    value: ValuePath<V>,
    path: Nav<V, T, C, M>,
}

impl<V, T, C, M> Clone for Inside<V, T, C, M> {
    fn clone(&self) -> Self {
        Inside {
            value: self.value.clone(),
            path: self.path.clone(),
        }
    }
}

impl<V, T, C, M> Inside<V, T, C, M> {
    pub(crate) fn new(value: ValuePath<V>, path: Nav<V, T, C, M>) -> Self {
        Inside { value, path }
    }
}

impl<V: Record, T: Clone + 'static, C: Gathered + 'static, M: Reads> Inside<V, T, C, M> {
    /// The values the path leads to, in order. Reads the stored value once.
    pub fn select(&self, task: &Task) -> Vec<C::With<T>> {
        self.path.select_from(self.value.get(task).as_ref())
    }

    /// The first value the path leads to.
    pub fn get(&self, task: &Task) -> Option<C::With<T>> {
        self.path.get_from(self.value.get(task).as_ref())
    }
}

impl<V: Record, T: 'static, C: 'static, M: Writes> Inside<V, T, C, M> {
    /// Rewrites each place; `None` removes it. Reads the stored value once, and writes it unless
    /// the path leads nowhere.
    pub fn rewrite(&self, task: &Task, mut change: impl FnMut(Option<T>) -> Option<T>) {
        self.rewrite_with(task, |_, place| change(place));
    }

    /// The same, with what was collected.
    pub fn rewrite_with(&self, task: &Task, mut change: impl FnMut(&C, Option<T>) -> Option<T>) {
        self.value
            .rewrite(task, |value| self.path.transform(value, &mut change));
    }

    /// Puts `value` at each place.
    pub fn set(&self, task: &Task, value: T)
    where
        T: Clone,
    {
        self.rewrite(task, |_| Some(value.clone()));
    }

    /// Puts at each place what `change` makes of the value there.
    pub fn update(&self, task: &Task, mut change: impl FnMut(Option<T>) -> T) {
        self.rewrite(task, |place| Some(change(place)));
    }

    /// Changes the value at each place, starting from the default where there is none.
    pub fn modify(&self, task: &Task, mut change: impl FnMut(&mut T))
    where
        T: Default,
    {
        self.update(task, |place| {
            let mut value = place.unwrap_or_default();
            change(&mut value);
            value
        });
    }

    /// Removes each place from what holds it; of a path to the stored value itself, its entry.
    pub fn remove(&self, task: &Task) {
        self.rewrite(task, |_| None);
    }
}

impl<V: Record> ValuePath<V> {
    /// A path into the value: read or rewritten by one read, and one write if anything changes
    /// (spec P-9).
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use rama_runtime::{Map, TestPState};
    /// let stock = TestPState::<Map<u64, BTreeMap<String, Vec<u64>>>>::new();
    /// let (task, shop) = (stock.task(), stock.local().key(&7));
    /// shop.inside(|s| s.key("pears").after_elem()).set(task, 3);
    /// shop.inside(|s| s.key("pears").after_elem()).set(task, 5);
    /// shop.inside(|s| s.map_vals().all().filter(|n| *n > 4)).update(task, |n| n.unwrap_or(0) * 2);
    /// assert_eq!(shop.inside(|s| s.key("pears").all()).select(task), [3, 10]);
    /// ```
    pub fn inside<T, C, M>(
        &self,
        path: impl FnOnce(Nav<V, V>) -> Nav<V, T, C, M>,
    ) -> Inside<V, T, C, M> {
        Inside::new(self.clone(), path(super::inside::<V>()))
    }

    /// The same by a path made before.
    pub fn nav<T, C, M>(&self, path: &Nav<V, T, C, M>) -> Inside<V, T, C, M> {
        Inside::new(self.clone(), path.clone())
    }

    /// Several rewrites of the value as one change, each seeing what the one before made of it:
    /// one read, one write (Rama's `multiPath` with a term in each branch).
    pub fn edit(&self, task: &Task, edits: &[Edit<V>]) {
        self.rewrite(task, |mut value| {
            let mut found = false;
            for edit in edits {
                let changed = (edit.0)(value);
                value = changed.0;
                found |= changed.1;
            }
            (value, found)
        });
    }
}
