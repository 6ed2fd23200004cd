//! The best few.
//!
//! Relies on the author's sort value. What must stay true: the result is sorted and holds at most the
//! number asked for, whenever it is read (unlike spec A-9); under one id the value that came last
//! counts, so that the result is exact when the sort value of an id only ever gets better.

use std::cmp::Ordering;

use rama_wire::Record;

use super::{Aggregator, Aggs, Stored, stored_as_state};

/// The best values by a sort value, at most a number of them. See [`Aggs::top`].
pub struct Top<T, B, I> {
    count: usize,
    ascending: bool,
    by: B,
    id: I,
    values: std::marker::PhantomData<fn(T)>,
}

/// No ids: every value counts by itself.
pub struct NoId;

/// The id that an author's closure finds in a value.
pub struct IdBy<F>(F);

/// Tells values apart.
#[doc(hidden)]
pub trait Identify<T>: Send + Sync + 'static {
    /// Whether both are the same thing at different times.
    fn same(&self, one: &T, other: &T) -> bool;
}

impl<T> Identify<T> for NoId {
    fn same(&self, _: &T, _: &T) -> bool {
        false
    }
}

impl<T, Q: PartialEq, F: Fn(&T) -> Q + Send + Sync + 'static> Identify<T> for IdBy<F> {
    fn same(&self, one: &T, other: &T) -> bool {
        (self.0)(one) == (self.0)(other)
    }
}

impl<T: Record + Send> Aggs<T> {
    /// The `count` values with the greatest sort value, greatest first: of values with an
    /// [`id`](Top::id) the last one of each. Equal ones keep the order in which they came.
    pub fn top<B, V>(self, count: usize, by: B) -> Top<T, B, NoId>
    where
        B: Fn(&T) -> V + Send + Sync + 'static,
        V: PartialOrd,
    {
        Top {
            count,
            ascending: false,
            by,
            id: NoId,
            values: std::marker::PhantomData,
        }
    }

    /// Any `count` values, the first to come.
    pub fn limit(
        self,
        count: usize,
    ) -> impl Stored<T, State = Vec<T>, Value = Vec<T>, Output = Vec<T>> {
        self.top(count, |_| ())
    }
}

impl<T, B, I> Top<T, B, I> {
    /// Least first.
    pub fn ascending(self) -> Top<T, B, I> {
        Top {
            ascending: true,
            ..self
        }
    }

    /// Values with the same id are one thing, of which the last counts.
    pub fn id<Q, F>(self, id: F) -> Top<T, B, IdBy<F>>
    where
        F: Fn(&T) -> Q + Send + Sync + 'static,
        Q: PartialEq,
    {
        Top {
            count: self.count,
            ascending: self.ascending,
            by: self.by,
            id: IdBy(id),
            values: self.values,
        }
    }
}

impl<T, B, V, I> Top<T, B, I>
where
    B: Fn(&T) -> V,
    V: PartialOrd,
    I: Identify<T>,
{
    fn insert(&self, state: &mut Vec<T>, value: T) {
        if let Some(old) = state.iter().position(|old| self.id.same(old, &value)) {
            state.remove(old);
        }
        let sort = (self.by)(&value);
        let before = |other: &T| {
            let order = (self.by)(other).partial_cmp(&sort);
            let worse = if self.ascending {
                Ordering::Greater
            } else {
                Ordering::Less
            };
            order != Some(worse)
        };
        let at = state.partition_point(before);
        if at < self.count {
            state.insert(at, value);
            state.truncate(self.count);
        }
    }
}

impl<T, B, V, I> Aggregator<T> for Top<T, B, I>
where
    T: Record + Send,
    B: Fn(&T) -> V + Send + Sync + 'static,
    V: PartialOrd,
    I: Identify<T>,
{
    type State = Vec<T>;
    type Output = Vec<T>;
    const COMBINES: bool = true;

    fn zero(&self) -> Vec<T> {
        Vec::new()
    }

    fn add(&self, state: &mut Vec<T>, value: &T) {
        self.insert(state, value.clone());
    }

    fn merge(&self, state: &mut Vec<T>, other: Vec<T>) {
        for value in other {
            self.insert(state, value);
        }
    }

    fn finish(&self, state: Vec<T>) -> Vec<T> {
        state
    }
}

impl<T, B, V, I> Stored<T> for Top<T, B, I>
where
    T: Record + Send,
    B: Fn(&T) -> V + Send + Sync + 'static,
    V: PartialOrd,
    I: Identify<T>,
{
    stored_as_state!();
}
