//! Aggregations: many values become one, in a query's answer, between two steps, or in a PState.
//!
//! Relies on records, so that what is half done can travel. The builder is [`Aggs`]: it knows the type
//! of the values, so that closures need none. Several aggregations are a tuple. What must stay true:
//! merging parts in any grouping gives the same result as adding all values to one, for every
//! aggregation that [`COMBINES`](Aggregator::COMBINES) (spec ); with no values at all the
//! result is that of [`Aggregator::zero`] (F-28).

mod choice;
mod collections;
mod numbers;
mod top;
mod tuples;

use std::marker::PhantomData;

use rama_wire::Record;

pub use choice::{All, Any, Combined, CombinedBy, First, Folded, Last};
pub use collections::{Listed, Mapped, Merged, MultiSet, SetOf};
pub use numbers::{Average, Count, Max, Min, Number, Sum};
pub use top::Top;

/// Makes one value of many.
pub trait Aggregator<T>: Send + Sync + 'static {
    /// What is known of the values so far. It travels when [`COMBINES`](Aggregator::COMBINES).
    type State: Record + Send;

    /// The result.
    type Output: 'static;

    /// Whether parts may be made on several tasks and merged (spec A-13). Without it all values travel.
    const COMBINES: bool;

    /// Of no values.
    fn zero(&self) -> Self::State;

    /// One more value.
    fn add(&self, state: &mut Self::State, value: &T);

    /// The values of `other` too; those of `state` came first, as far as there is an order. Only called
    /// when [`COMBINES`](Aggregator::COMBINES).
    fn merge(&self, state: &mut Self::State, other: Self::State);

    /// The result.
    fn finish(&self, state: Self::State) -> Self::Output;
}

/// An aggregation whose result so far can be stored and continued: what `agg_into` takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in a PState: its result cannot be continued",
    label = "not for agg_into",
    note = "aggregate with `.agg(…)` and write the result, or keep what it is made of: a sum and a \
            count instead of an average"
)]
pub trait Stored<T>: Aggregator<T> {
    /// What the PState holds.
    type Value: Record;

    /// What is stored for a state; nothing for no values.
    fn store(&self, state: Self::State) -> Option<Self::Value>;

    /// The state that was stored.
    fn restore(&self, value: Self::Value) -> Self::State;
}

/// Makes aggregations of values of type `T`: `.agg(|of| (of.count(), of.sum(|p| p.cents)))`.
pub struct Aggs<T>(PhantomData<fn(T)>);

impl<T> Aggs<T> {
    pub(crate) fn new() -> Aggs<T> {
        Aggs(PhantomData)
    }
}

impl<T> Clone for Aggs<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Aggs<T> {}

/// Stored as it is.
macro_rules! stored_as_state {
    () => {
        type Value = Self::State;

        fn store(&self, state: Self::State) -> Option<Self::State> {
            Some(state)
        }

        fn restore(&self, value: Self::State) -> Self::State {
            value
        }
    };
}

/// Stored once there is something.
macro_rules! stored_when_some {
    ($value:ty) => {
        type Value = $value;

        fn store(&self, state: Option<$value>) -> Option<$value> {
            state
        }

        fn restore(&self, value: $value) -> Option<$value> {
            Some(value)
        }
    };
}

pub(crate) use {stored_as_state, stored_when_some};

#[cfg(test)]
mod tests;
