//! One struct per step: the pieces of which a chain's type is made.
//!
//! Relies on the compiler to inline them into one function. What must stay true: a step calls
//! `then` for each value it passes on, before it looks at the next (spec F-1), and holds nothing.

use std::marker::PhantomData;

use crate::task::Task;

/// What a chain does with one value. For the dataflow; authors never name it.
#[doc(hidden)]
pub trait Steps<In>: Send + Sync + 'static {
    /// What comes out.
    type Out;

    /// Runs the chain for one value and calls `then` for each that comes out.
    fn run<N: FnMut(Self::Out)>(&self, task: &Task, value: In, then: &mut N);
}

/// No step yet.
#[doc(hidden)]
pub struct Begin;

impl<T> Steps<T> for Begin {
    type Out = T;

    #[inline]
    fn run<N: FnMut(T)>(&self, _: &Task, value: T, then: &mut N) {
        then(value);
    }
}

pub(super) struct Map<S, F> {
    pub(super) steps: S,
    pub(super) f: F,
}

impl<In, U, S, F> Steps<In> for Map<S, F>
where
    S: Steps<In>,
    F: Fn(&Task, S::Out) -> U + Send + Sync + 'static,
{
    type Out = U;

    #[inline]
    fn run<N: FnMut(U)>(&self, task: &Task, value: In, then: &mut N) {
        self.steps
            .run(task, value, &mut |value| then((self.f)(task, value)));
    }
}

pub(super) struct FlatMap<S, F> {
    pub(super) steps: S,
    pub(super) f: F,
}

impl<In, I, S, F> Steps<In> for FlatMap<S, F>
where
    I: IntoIterator,
    S: Steps<In>,
    F: Fn(&Task, S::Out) -> I + Send + Sync + 'static,
{
    type Out = I::Item;

    #[inline]
    fn run<N: FnMut(I::Item)>(&self, task: &Task, value: In, then: &mut N) {
        self.steps.run(task, value, &mut |value| {
            for emitted in (self.f)(task, value) {
                then(emitted);
            }
        });
    }
}

pub(super) struct Emit<S, F, U> {
    pub(super) steps: S,
    pub(super) f: F,
    pub(super) emits: PhantomData<fn() -> U>,
}

impl<In, U, S, F> Steps<In> for Emit<S, F, U>
where
    U: 'static,
    S: Steps<In>,
    F: Fn(&Task, S::Out, &mut dyn FnMut(U)) + Send + Sync + 'static,
{
    type Out = U;

    #[inline]
    fn run<N: FnMut(U)>(&self, task: &Task, value: In, then: &mut N) {
        self.steps
            .run(task, value, &mut |value| (self.f)(task, value, then));
    }
}

pub(super) struct Filter<S, F> {
    pub(super) steps: S,
    pub(super) f: F,
}

impl<In, S, F> Steps<In> for Filter<S, F>
where
    S: Steps<In>,
    F: Fn(&Task, &S::Out) -> bool + Send + Sync + 'static,
{
    type Out = S::Out;

    #[inline]
    fn run<N: FnMut(S::Out)>(&self, task: &Task, value: In, then: &mut N) {
        self.steps.run(task, value, &mut |value| {
            if (self.f)(task, &value) {
                then(value);
            }
        });
    }
}

pub(super) struct FilterMap<S, F> {
    pub(super) steps: S,
    pub(super) f: F,
}

impl<In, U, S, F> Steps<In> for FilterMap<S, F>
where
    S: Steps<In>,
    F: Fn(&Task, S::Out) -> Option<U> + Send + Sync + 'static,
{
    type Out = U;

    #[inline]
    fn run<N: FnMut(U)>(&self, task: &Task, value: In, then: &mut N) {
        self.steps.run(task, value, &mut |value| {
            if let Some(value) = (self.f)(task, value) {
                then(value);
            }
        });
    }
}

pub(super) struct Inspect<S, F> {
    pub(super) steps: S,
    pub(super) f: F,
}

impl<In, S, F> Steps<In> for Inspect<S, F>
where
    S: Steps<In>,
    F: Fn(&Task, &S::Out) + Send + Sync + 'static,
{
    type Out = S::Out;

    #[inline]
    fn run<N: FnMut(S::Out)>(&self, task: &Task, value: In, then: &mut N) {
        self.steps.run(task, value, &mut |value| {
            (self.f)(task, &value);
            then(value);
        });
    }
}
