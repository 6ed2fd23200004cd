//! Values collected on the way (spec §3.8): each result comes as a tuple with them.
//!
//! What must stay true: what is collected belongs to its branch, and never leaves a path that is
//! an argument of another.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Compose, Nav, NextWith, Reads, RewriteWith, Steps, Walk};

/// What has been collected: `()`, or a tuple of up to four.
pub trait Gathered: Clone {
    /// A result with what was collected: `T`, `(A, T)`, `(A, B, T)` …
    type With<T>;

    /// Puts both together.
    fn with<T>(&self, value: T) -> Self::With<T>;
}

/// What has been collected when one more is.
pub trait Push<X>: Gathered {
    /// All of them.
    type Pushed: Gathered + 'static;

    /// Puts it at the end.
    fn push(&self, next: X) -> Self::Pushed;
}

impl Gathered for () {
    type With<T> = T;

    fn with<T>(&self, value: T) -> T {
        value
    }
}

impl<X: Clone + 'static> Push<X> for () {
    type Pushed = (X,);

    fn push(&self, next: X) -> (X,) {
        (next,)
    }
}

macro_rules! gathered {
    ($($part:ident $index:tt),*) => {
        impl<$($part: Clone),*> Gathered for ($($part,)*) {
            type With<T> = ($($part,)* T);

            fn with<T>(&self, value: T) -> ($($part,)* T) {
                ($(self.$index.clone(),)* value)
            }
        }
    };
}

macro_rules! push {
    ($($part:ident $index:tt),*) => {
        impl<X: Clone + 'static, $($part: Clone + 'static),*> Push<X> for ($($part,)*) {
            type Pushed = ($($part,)* X,);

            fn push(&self, next: X) -> Self::Pushed {
                ($(self.$index.clone(),)* next,)
            }
        }
    };
}

gathered!(A 0);
gathered!(A 0, B 1);
gathered!(A 0, B 1, D 2);
gathered!(A 0, B 1, D 2, E 3);
push!(A 0);
push!(A 0, B 1);
push!(A 0, B 1, D 2);

/// A path that collects, for each place, what `gather` makes of it and of what there was.
struct Collect<S, T, C, F> {
    path: Steps<S, T, C>,
    gather: F,
}

impl<S, T, C, D, F> Walk<S, T, D> for Collect<S, T, C, F>
where
    F: Fn(&C, Option<&T>) -> Option<D> + Send + Sync,
{
    fn select(&self, from: Option<&S>, next: &mut NextWith<'_, D, T>) -> ControlFlow<()> {
        self.path.select(
            from,
            &mut |collected, place| match (self.gather)(collected, place) {
                Some(collected) => next(&collected, place),
                None => ControlFlow::Continue(()),
            },
        )
    }

    fn transform(&self, from: Option<S>, next: &mut RewriteWith<'_, D, T>) -> Option<S> {
        self.path
            .transform(
                from,
                &mut |collected, place| match (self.gather)(collected, place.as_ref()) {
                    Some(collected) => next(&collected, place),
                    None => place,
                },
            )
    }
}

impl<S: 'static, T: 'static, C: 'static, M> Nav<S, T, C, M> {
    fn gathering<D: 'static>(
        &self,
        gather: impl Fn(&C, Option<&T>) -> Option<D> + Send + Sync + 'static,
    ) -> Nav<S, T, D, M> {
        Nav::of(Arc::new(Collect {
            path: self.steps.clone(),
            gather,
        }))
    }

    /// Collects the one value that `path` leads to from each place, and stays. A place from which
    /// it leads to none is passed over.
    pub fn collect_one<X, L: Reads>(&self, path: &Nav<T, X, (), L>) -> Nav<S, T, C::Pushed, M>
    where
        X: Clone + 'static,
        C: Push<X>,
    {
        let path = path.clone();
        self.gathering(move |collected, place| Some(collected.push(path.get_from(place)?)))
    }

    /// Collects the list of all values that `path` leads to from each place, and stays.
    pub fn collect<X, L: Reads>(&self, path: &Nav<T, X, (), L>) -> Nav<S, T, C::Pushed, M>
    where
        X: Clone + 'static,
        C: Push<Vec<X>>,
    {
        let path = path.clone();
        self.gathering(move |collected, place| Some(collected.push(path.select_from(place))))
    }

    /// Collects a given value, and stays.
    pub fn put_collected<X>(&self, value: X) -> Nav<S, T, C::Pushed, M>
    where
        X: Clone + Send + Sync + 'static,
        C: Push<X>,
    {
        self.gathering(move |collected, _| Some(collected.push(value.clone())))
    }

    /// Forgets what was collected.
    pub fn dispense(&self) -> Nav<S, T, (), M> {
        self.gathering(|_, _| Some(()))
    }

    /// Goes on only where what was collected satisfies `wanted`.
    pub fn collected(&self, wanted: impl Fn(&C) -> bool + Send + Sync + 'static) -> Nav<S, T, C, M>
    where
        C: Clone,
    {
        self.gathering(move |collected, _| wanted(collected).then(|| collected.clone()))
    }

    /// The values collected, instead of the places (Rama's `VAL` and `DISPENSE` for results).
    pub fn view_collected<U: 'static>(
        &self,
        view: impl Fn(&C, Option<&T>) -> Option<U> + Send + Sync + 'static,
    ) -> Nav<S, U, (), M::Mode>
    where
        M: Compose<super::ReadOnly>,
    {
        Nav::of(Arc::new(Seen {
            path: self.steps.clone(),
            view,
        }))
    }
}

/// A path to what `view` makes of each place and of what was collected.
struct Seen<S, T, C, F> {
    path: Steps<S, T, C>,
    view: F,
}

impl<S, T, C, U, F> Walk<S, U, ()> for Seen<S, T, C, F>
where
    F: Fn(&C, Option<&T>) -> Option<U> + Send + Sync,
{
    fn select(&self, from: Option<&S>, next: &mut NextWith<'_, (), U>) -> ControlFlow<()> {
        self.path.select(from, &mut |collected, place| {
            next(&(), (self.view)(collected, place).as_ref())
        })
    }

    fn transform(&self, from: Option<S>, _next: &mut RewriteWith<'_, (), U>) -> Option<S> {
        // A path that only reads has no verb that gets here.
        from
    }
}
