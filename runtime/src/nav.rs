//! Navigation inside a value: paths that are values themselves, built from closures and composed.
//!
//! A [`Nav`] leads from a value of type `S` to any number of places of type `T` in it. The same
//! path selects (N-1, depth first, N-2) and rewrites: `select` reads, `set`, `update`, `modify` and
//! `remove` make an [`Edit`]. In a PState it is used through a path to a stored value,
//! `ORDERS.key(&id).inside(|order| …)`: one read, and one write if it writes (P-9).
//!
//! Every place may be *absent*, which is `None`: an absent collection is an empty one (N-3), and a
//! place that is rewritten to `None` is removed from what holds it.
//!
//! What must stay true: a rewrite that finds no place changes nothing (N-6); values are moved
//! through a rewrite and never shared (N-4); what can only be read has no verbs that write, and the
//! other way round, so that a path cannot end wrongly (N-5).
#![doc = include_str!("nav/navigators.md")]

mod collected;
mod control;
mod edit;
mod list;
mod map;
mod mode;
mod parts;
mod set;

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use collected::{Gathered, Push};
pub use edit::{Edit, Inside};
pub use mode::{Both, Compose, ReadOnly, Reads, WriteOnly, Writes};
pub use parts::Field;

/// What a select does at each place; a break ends the select.
pub type Next<'a, T> = dyn FnMut(Option<&T>) -> ControlFlow<()> + 'a;

/// What a rewrite does at each place: the old value, if any, to the new one. `None` removes.
pub type Rewrite<'a, T> = dyn FnMut(Option<T>) -> Option<T> + 'a;

/// One step of a path, for steps that are not here: see [`Nav::through`].
///
/// ```
/// use std::ops::ControlFlow;
/// use rama_runtime::nav::{Navigator, Next, Rewrite, inside};
///
/// /// Both halves of a list.
/// struct Halves;
///
/// impl Navigator<Vec<u8>> for Halves {
///     type Target = Vec<u8>;
///     fn select(&self, from: Option<&Vec<u8>>, next: &mut Next<'_, Vec<u8>>) -> ControlFlow<()> {
///         let list = from.map_or(&[][..], |list| list);
///         let (left, right) = list.split_at(list.len() / 2);
///         next(Some(&left.to_vec()))?;
///         next(Some(&right.to_vec()))
///     }
///     fn transform(
///         &self,
///         from: Option<Vec<u8>>,
///         next: &mut Rewrite<'_, Vec<u8>>,
///     ) -> Option<Vec<u8>> {
///         let mut left = from?;
///         let right = left.split_off(left.len() / 2);
///         Some([next(Some(left)), next(Some(right))].into_iter().flatten().flatten().collect())
///     }
/// }
///
/// let halves = inside::<Vec<u8>>().through(Halves);
/// assert_eq!(halves.select(&vec![1, 2, 3]), [vec![1], vec![2, 3]]);
/// let first_of_each = halves.first().set(0);
/// assert_eq!(first_of_each.apply(vec![1, 2, 3]), Some(vec![0, 0, 3]));
/// ```
pub trait Navigator<S>: Send + Sync + 'static {
    /// The type of the places it leads to.
    type Target;

    /// Calls `next` for each place, in order, and passes its break on.
    fn select(&self, from: Option<&S>, next: &mut Next<'_, Self::Target>) -> ControlFlow<()>;

    /// Rewrites each place by `next` and answers with what `from` has become.
    fn transform(&self, from: Option<S>, next: &mut Rewrite<'_, Self::Target>) -> Option<S>;
}

/// As [`Next`], with what was collected.
type NextWith<'a, C, T> = dyn FnMut(&C, Option<&T>) -> ControlFlow<()> + 'a;
/// As [`Rewrite`], with what was collected.
type RewriteWith<'a, C, T> = dyn FnMut(&C, Option<T>) -> Option<T> + 'a;

/// A whole path.
trait Walk<S, T, C>: Send + Sync {
    fn select(&self, from: Option<&S>, next: &mut NextWith<'_, C, T>) -> ControlFlow<()>;
    fn transform(&self, from: Option<S>, next: &mut RewriteWith<'_, C, T>) -> Option<S>;
}

type Steps<S, T, C> = Arc<dyn Walk<S, T, C>>;

/// A path from a value of type `S` to places of type `T` in it. Cheap to clone.
///
/// `C` is what was collected on the way (nothing, unless [`Nav::collect`] and its relatives are
/// used), and `M` whether the path can read, write or both: see [`Reads`] and [`Writes`].
///
/// ```
/// use std::collections::BTreeMap;
/// use rama_runtime::nav::inside;
///
/// let lists = BTreeMap::from([("a".to_owned(), vec![9, 3, 6]), ("b".to_owned(), vec![0, 8])]);
/// let small = inside::<BTreeMap<String, Vec<u64>>>().map_vals().all().filter(|n| *n < 7);
/// assert_eq!(small.select(&lists), [3, 6, 0]);
/// let lists = small.update(|n| n.unwrap_or(0) + 1).apply(lists);
/// assert_eq!(lists.unwrap()["a"], [9, 4, 7]);
/// ```
///
/// What is computed cannot be written, and where nothing is yet nothing can be read (N-5):
///
/// ```compile_fail,E0277
/// let sizes = rama_runtime::nav::inside::<Vec<Vec<u8>>>().all().view(|list| list.len());
/// sizes.set(3); // this path leads to something computed, so nothing can be written there
/// ```
/// ```compile_fail,E0277
/// let new = rama_runtime::nav::inside::<Vec<u8>>().after_elem();
/// new.select(&vec![1]); // this path leads to a place where nothing is yet
/// ```
pub struct Nav<S, T, C = (), M = Both> {
    steps: Steps<S, T, C>,
    mode: PhantomData<fn() -> M>,
}

impl<S, T, C, M> Clone for Nav<S, T, C, M> {
    fn clone(&self) -> Self {
        Nav::of(self.steps.clone())
    }
}

/// The path to a whole value of type `S`, from which others start (Rama's `STAY`).
pub fn inside<S: 'static>() -> Nav<S, S> {
    Nav::of(Arc::new(Stay))
}

struct Stay;

impl<S> Walk<S, S, ()> for Stay {
    fn select(&self, from: Option<&S>, next: &mut NextWith<'_, (), S>) -> ControlFlow<()> {
        next(&(), from)
    }

    fn transform(&self, from: Option<S>, next: &mut RewriteWith<'_, (), S>) -> Option<S> {
        next(&(), from)
    }
}

/// A path and one step more.
struct Then<S, T, C, N> {
    path: Steps<S, T, C>,
    step: N,
}

impl<S, T, C, N: Navigator<T>> Walk<S, N::Target, C> for Then<S, T, C, N> {
    fn select(&self, from: Option<&S>, next: &mut NextWith<'_, C, N::Target>) -> ControlFlow<()> {
        self.path.select(from, &mut |collected, place| {
            self.step
                .select(place, &mut |target| next(collected, target))
        })
    }

    fn transform(&self, from: Option<S>, next: &mut RewriteWith<'_, C, N::Target>) -> Option<S> {
        self.path.transform(from, &mut |collected, place| {
            self.step
                .transform(place, &mut |target| next(collected, target))
        })
    }
}

impl<S, T, C, M> Nav<S, T, C, M> {
    fn of(steps: Steps<S, T, C>) -> Self {
        Nav {
            steps,
            mode: PhantomData,
        }
    }
}

impl<S: 'static, T: 'static, C: 'static, M> Nav<S, T, C, M> {
    /// One step further, in another mode. For the steps of this module.
    fn step<N: Navigator<T>, L>(&self, step: N) -> Nav<S, N::Target, C, L> {
        Nav::of(Arc::new(Then {
            path: self.steps.clone(),
            step,
        }))
    }

    /// One step further, of the author's own kind (Rama's `customNav`).
    pub fn through<N: Navigator<T>>(&self, step: N) -> Nav<S, N::Target, C, M> {
        self.step(step)
    }

    /// Goes on by another path. What that one collects stays within it.
    pub fn then<U: 'static, L>(&self, path: &Nav<T, U, (), L>) -> Nav<S, U, C, M::Mode>
    where
        M: Compose<L>,
    {
        self.step(control::Sub(path.steps.clone()))
    }
}

impl<S: 'static, T: Clone + 'static, C: Gathered + 'static, M: Reads> Nav<S, T, C, M> {
    /// The values at all places, in order; what is absent is left out. Each comes with what was
    /// collected for it, as a tuple, if anything was.
    pub fn select(&self, value: &S) -> Vec<C::With<T>> {
        self.select_from(Some(value))
    }

    /// The same from a value that may be absent.
    pub fn select_from(&self, value: Option<&S>) -> Vec<C::With<T>> {
        let mut found = Vec::new();
        let _ = self.steps.select(value, &mut |collected, place| {
            found.extend(place.map(|place| collected.with(place.clone())));
            ControlFlow::Continue(())
        });
        found
    }

    /// The first value there is; the rest is not looked at.
    pub fn get(&self, value: &S) -> Option<C::With<T>> {
        self.get_from(Some(value))
    }

    /// The same from a value that may be absent.
    pub fn get_from(&self, value: Option<&S>) -> Option<C::With<T>> {
        let mut found = None;
        let _ = self.steps.select(value, &mut |collected, place| {
            found = place.map(|place| collected.with(place.clone()));
            match found {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        });
        found
    }

    /// Every place with its value, `None` for one that is absent: `key` always leads to a place,
    /// `must` only where something is (spec P-36).
    pub fn places(&self, value: &S) -> Vec<Option<C::With<T>>> {
        let mut found = Vec::new();
        let _ = self.steps.select(Some(value), &mut |collected, place| {
            found.push(place.map(|place| collected.with(place.clone())));
            ControlFlow::Continue(())
        });
        found
    }
}

impl<S: 'static, T: 'static, C: 'static, M: Reads> Nav<S, T, C, M> {
    /// Whether the path leads anywhere, be it to something absent. Ends at the first place.
    pub fn leads(&self, value: &S) -> bool {
        leads(&self.steps, Some(value))
    }
}

fn leads<S, T, C>(path: &Steps<S, T, C>, from: Option<&S>) -> bool {
    let walked = path.select(from, &mut |_, _| ControlFlow::Break(()));
    walked == ControlFlow::Break(())
}

#[cfg(test)]
mod tests;
