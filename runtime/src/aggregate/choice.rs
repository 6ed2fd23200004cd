//! One of many, yes or no, and an author's own way.
//!
//! What must stay true: first and last follow the order in which values are added, which between tasks
//! is some interleaving only (spec A-16).

use rama_wire::Record;

use super::{Aggregator, Aggs, Stored, stored_as_state, stored_when_some};

/// See [`Aggs::first`].
pub struct First<F>(F);

/// See [`Aggs::last`].
pub struct Last<F>(F);

/// See [`Aggs::all`].
pub struct All<F>(F);

/// See [`Aggs::any`].
pub struct Any<F>(F);

/// See [`Aggs::combine`].
pub struct Combined<F>(F);

/// See [`Aggs::combine_by`].
pub struct CombinedBy<P, F> {
    part: P,
    combine: F,
}

/// See [`Aggs::fold`].
pub struct Folded<Z, F> {
    zero: Z,
    add: F,
}

impl<T: 'static> Aggs<T> {
    /// A part of the value that came first; `None` without any.
    pub fn first<V: Record + Send>(
        self,
        part: impl Fn(&T) -> V + Send + Sync + 'static,
    ) -> impl Stored<T, Value = V, Output = Option<V>> {
        First(part)
    }

    /// A part of the value that came last; `None` without any.
    pub fn last<V: Record + Send>(
        self,
        part: impl Fn(&T) -> V + Send + Sync + 'static,
    ) -> impl Stored<T, Value = V, Output = Option<V>> {
        Last(part)
    }

    /// Whether something holds for all values. `true` without any.
    pub fn all(
        self,
        holds: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) -> impl Stored<T, State = bool, Value = bool, Output = bool> {
        All(holds)
    }

    /// Whether something holds for at least one value. `false` without any.
    pub fn any(
        self,
        holds: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) -> impl Stored<T, State = bool, Value = bool, Output = bool> {
        Any(holds)
    }

    /// The author's own combiner (spec A-1): of two values one. It must not matter how values are
    /// grouped; the default is that of no values.
    pub fn combine(
        self,
        combine: impl Fn(T, T) -> T + Send + Sync + 'static,
    ) -> impl Stored<T, State = T, Value = T, Output = T>
    where
        T: Record + Send + Default,
    {
        Combined(combine)
    }

    /// The same of a part of each value, such as what is left when the key of a group is taken away:
    /// `.combine_by(|(_, window)| window.clone(), Window::merge)`.
    pub fn combine_by<V: Record + Send + Default>(
        self,
        part: impl Fn(&T) -> V + Send + Sync + 'static,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> impl Stored<T, State = V, Value = V, Output = V> {
        CombinedBy { part, combine }
    }

    /// The author's own accumulator (spec A-1): value by value, on one task, in the order in which
    /// they arrive. All values travel there.
    pub fn fold<A: Record + Send>(
        self,
        zero: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&mut A, &T) + Send + Sync + 'static,
    ) -> impl Aggregator<T, State = A, Output = A> {
        Folded { zero, add }
    }
}

/// The first or the last.
macro_rules! one_of_many {
    ($name:ident, |$state:ident, $other:ident| $merge:expr) => {
        impl<T, V, F> Aggregator<T> for $name<F>
        where
            V: Record + Send,
            F: Fn(&T) -> V + Send + Sync + 'static,
        {
            type State = Option<V>;
            type Output = Option<V>;
            const COMBINES: bool = true;

            fn zero(&self) -> Option<V> {
                None
            }

            fn add(&self, state: &mut Option<V>, value: &T) {
                self.merge(state, Some((self.0)(value)));
            }

            fn merge(&self, $state: &mut Option<V>, $other: Option<V>) {
                let merged = $merge;
                *$state = merged;
            }

            fn finish(&self, state: Option<V>) -> Option<V> {
                state
            }
        }

        impl<T, V, F> Stored<T> for $name<F>
        where
            V: Record + Send,
            F: Fn(&T) -> V + Send + Sync + 'static,
        {
            stored_when_some!(V);
        }
    };
}

one_of_many!(First, |state, other| state.take().or(other));
one_of_many!(Last, |state, other| other.or(state.take()));

/// A yes or no of all values.
macro_rules! verdict {
    ($name:ident, $zero:literal, $op:tt) => {
        impl<T, F> Aggregator<T> for $name<F>
        where
            F: Fn(&T) -> bool + Send + Sync + 'static,
        {
            type State = bool;
            type Output = bool;
            const COMBINES: bool = true;

            fn zero(&self) -> bool {
                $zero
            }

            fn add(&self, state: &mut bool, value: &T) {
                *state = *state $op (self.0)(value);
            }

            fn merge(&self, state: &mut bool, other: bool) {
                *state = *state $op other;
            }

            fn finish(&self, state: bool) -> bool {
                state
            }
        }

        impl<T, F> Stored<T> for $name<F>
        where
            F: Fn(&T) -> bool + Send + Sync + 'static,
        {
            stored_as_state!();
        }
    };
}

verdict!(All, true, &&);
verdict!(Any, false, ||);

impl<T, F> Aggregator<T> for Combined<F>
where
    T: Record + Send + Default,
    F: Fn(T, T) -> T + Send + Sync + 'static,
{
    type State = T;
    type Output = T;
    const COMBINES: bool = true;

    fn zero(&self) -> T {
        T::default()
    }

    fn add(&self, state: &mut T, value: &T) {
        self.merge(state, value.clone());
    }

    fn merge(&self, state: &mut T, other: T) {
        *state = (self.0)(std::mem::take(state), other);
    }

    fn finish(&self, state: T) -> T {
        state
    }
}

impl<T, F> Stored<T> for Combined<F>
where
    T: Record + Send + Default,
    F: Fn(T, T) -> T + Send + Sync + 'static,
{
    stored_as_state!();
}

impl<T, V, P, F> Aggregator<T> for CombinedBy<P, F>
where
    T: 'static,
    V: Record + Send + Default,
    P: Fn(&T) -> V + Send + Sync + 'static,
    F: Fn(V, V) -> V + Send + Sync + 'static,
{
    type State = V;
    type Output = V;
    const COMBINES: bool = true;

    fn zero(&self) -> V {
        V::default()
    }

    fn add(&self, state: &mut V, value: &T) {
        self.merge(state, (self.part)(value));
    }

    fn merge(&self, state: &mut V, other: V) {
        *state = (self.combine)(std::mem::take(state), other);
    }

    fn finish(&self, state: V) -> V {
        state
    }
}

impl<T, V, P, F> Stored<T> for CombinedBy<P, F>
where
    T: 'static,
    V: Record + Send + Default,
    P: Fn(&T) -> V + Send + Sync + 'static,
    F: Fn(V, V) -> V + Send + Sync + 'static,
{
    stored_as_state!();
}

impl<T, A, Z, F> Aggregator<T> for Folded<Z, F>
where
    A: Record + Send,
    Z: Fn() -> A + Send + Sync + 'static,
    F: Fn(&mut A, &T) + Send + Sync + 'static,
{
    type State = A;
    type Output = A;
    const COMBINES: bool = false;

    fn zero(&self) -> A {
        (self.zero)()
    }

    fn add(&self, state: &mut A, value: &T) {
        (self.add)(state, value);
    }

    fn merge(&self, _: &mut A, _: A) {
        unreachable!("what is accumulated has no parts");
    }

    fn finish(&self, state: A) -> A {
        state
    }
}
