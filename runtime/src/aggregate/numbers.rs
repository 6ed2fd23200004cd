//! Counting, adding, averaging, and the least and the greatest.
//!
//! What must stay true: a sum that its type cannot hold fails the event; it never wraps.

use rama_wire::Record;

use super::{Aggregator, Aggs, Stored, stored_as_state, stored_when_some};
use crate::failure;

/// What can be summed.
pub trait Number: Record + Send + Default {
    /// The sum, if the type can hold it.
    fn plus(self, other: Self) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn plus(self, other: $type) -> Option<$type> {
                self.checked_add(other)
            }
        }
    )*};
}

integers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

impl Number for f32 {
    fn plus(self, other: f32) -> Option<f32> {
        Some(self + other)
    }
}

impl Number for f64 {
    fn plus(self, other: f64) -> Option<f64> {
        Some(self + other)
    }
}

fn plus<N: Number>(state: &mut N, value: N) {
    match std::mem::take(state).plus(value) {
        Some(sum) => *state = sum,
        None => failure::fail(format!(
            "a sum is too large for {}; sum a larger type",
            N::type_name()
        )),
    }
}

/// See [`Aggs::count`].
pub struct Count;

/// See [`Aggs::sum`].
pub struct Sum<F>(F);

/// See [`Aggs::avg`].
pub struct Average<F>(F);

/// See [`Aggs::min`].
pub struct Min<F>(F);

/// See [`Aggs::max`].
pub struct Max<F>(F);

impl<T: 'static> Aggs<T> {
    /// How many values there are. 0 without any.
    pub fn count(self) -> Count {
        Count
    }

    /// The sum of a part of each value. 0 without any. One that its type cannot hold fails the event.
    pub fn sum<N: Number>(
        self,
        part: impl Fn(&T) -> N + Send + Sync + 'static,
    ) -> impl Stored<T, State = N, Value = N, Output = N> {
        Sum(part)
    }

    /// The mean of a part of each value; `None` without any.
    pub fn avg(
        self,
        part: impl Fn(&T) -> f64 + Send + Sync + 'static,
    ) -> impl Aggregator<T, Output = Option<f64>> {
        Average(part)
    }

    /// The least of a part of each value; `None` without any.
    pub fn min<V: Record + Send + PartialOrd>(
        self,
        part: impl Fn(&T) -> V + Send + Sync + 'static,
    ) -> impl Stored<T, Value = V, Output = Option<V>> {
        Min(part)
    }

    /// The greatest of a part of each value; `None` without any.
    pub fn max<V: Record + Send + PartialOrd>(
        self,
        part: impl Fn(&T) -> V + Send + Sync + 'static,
    ) -> impl Stored<T, Value = V, Output = Option<V>> {
        Max(part)
    }
}

impl<T> Aggregator<T> for Count {
    type State = u64;
    type Output = u64;
    const COMBINES: bool = true;

    fn zero(&self) -> u64 {
        0
    }

    #[inline]
    fn add(&self, state: &mut u64, _: &T) {
        *state += 1;
    }

    fn merge(&self, state: &mut u64, other: u64) {
        *state += other;
    }

    fn finish(&self, state: u64) -> u64 {
        state
    }
}

impl<T> Stored<T> for Count {
    stored_as_state!();
}

impl<T, N, F> Aggregator<T> for Sum<F>
where
    N: Number,
    F: Fn(&T) -> N + Send + Sync + 'static,
{
    type State = N;
    type Output = N;
    const COMBINES: bool = true;

    fn zero(&self) -> N {
        N::default()
    }

    #[inline]
    fn add(&self, state: &mut N, value: &T) {
        plus(state, (self.0)(value));
    }

    fn merge(&self, state: &mut N, other: N) {
        plus(state, other);
    }

    fn finish(&self, state: N) -> N {
        state
    }
}

impl<T, N, F> Stored<T> for Sum<F>
where
    N: Number,
    F: Fn(&T) -> N + Send + Sync + 'static,
{
    stored_as_state!();
}

impl<T, F> Aggregator<T> for Average<F>
where
    F: Fn(&T) -> f64 + Send + Sync + 'static,
{
    type State = (f64, u64);
    type Output = Option<f64>;
    const COMBINES: bool = true;

    fn zero(&self) -> (f64, u64) {
        (0.0, 0)
    }

    #[inline]
    fn add(&self, (sum, count): &mut (f64, u64), value: &T) {
        *sum += (self.0)(value);
        *count += 1;
    }

    fn merge(&self, (sum, count): &mut (f64, u64), other: (f64, u64)) {
        *sum += other.0;
        *count += other.1;
    }

    fn finish(&self, (sum, count): (f64, u64)) -> Option<f64> {
        (count > 0).then(|| sum / count as f64)
    }
}

/// The least or the greatest: whichever `$better` says.
macro_rules! extreme {
    ($name:ident, $better:ident) => {
        impl<T, V, F> Aggregator<T> for $name<F>
        where
            V: Record + Send + PartialOrd,
            F: Fn(&T) -> V + Send + Sync + 'static,
        {
            type State = Option<V>;
            type Output = Option<V>;
            const COMBINES: bool = true;

            fn zero(&self) -> Option<V> {
                None
            }

            #[inline]
            fn add(&self, state: &mut Option<V>, value: &T) {
                self.merge(state, Some((self.0)(value)));
            }

            fn merge(&self, state: &mut Option<V>, other: Option<V>) {
                let Some(other) = other else { return };
                if state.as_ref().is_none_or(|so_far| other.$better(so_far)) {
                    *state = Some(other);
                }
            }

            fn finish(&self, state: Option<V>) -> Option<V> {
                state
            }
        }

        impl<T, V, F> Stored<T> for $name<F>
        where
            V: Record + Send + PartialOrd,
            F: Fn(&T) -> V + Send + Sync + 'static,
        {
            stored_when_some!(V);
        }
    };
}

extreme!(Min, lt);
extreme!(Max, gt);
