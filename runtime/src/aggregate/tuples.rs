//! Several aggregations of the same values at once.
//!
//! What must stay true: they combine only if all of them do (spec ).

use super::{Aggregator, Stored, stored_as_state};

macro_rules! tuple {
    ($($part:ident $index:tt),*) => {
        impl<T, $($part: Aggregator<T>),*> Aggregator<T> for ($($part,)*) {
            type State = ($($part::State,)*);
            type Output = ($($part::Output,)*);
            const COMBINES: bool = true $(&& $part::COMBINES)*;

            fn zero(&self) -> Self::State {
                ($(self.$index.zero(),)*)
            }

            fn add(&self, state: &mut Self::State, value: &T) {
                $(self.$index.add(&mut state.$index, value);)*
            }

            fn merge(&self, state: &mut Self::State, other: Self::State) {
                $(self.$index.merge(&mut state.$index, other.$index);)*
            }

            fn finish(&self, state: Self::State) -> Self::Output {
                ($(self.$index.finish(state.$index),)*)
            }
        }

        impl<T, $($part: Stored<T>),*> Stored<T> for ($($part,)*) {
            stored_as_state!();
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
