//! The author's steps between a source and its end, fused by the compiler between partitioners.
//!
//! Relies on `stage` for what an engine sees and on `partition` for where values go. A chain of
//! steps is one type (`Map<FlatMap<Start, …>, …>`); a partitioner closes it into one boxed stage
//! and starts the next. What must stay true: values flow depth first (spec F-1): everything emitted
//! for one value has passed the rest of the chain before the next value enters it; and all of it is
//! one event on one task.

mod batch;
mod combine;
mod fused;
mod grouped;
mod groups;
mod handling;
mod join;
mod joint;
mod materialize;
mod meet;
mod mirrored;
mod sides;
mod steps;
mod temporary;
mod waiting;

use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Key, Record};

use crate::failure;
use crate::gather::Reach;
use crate::graph::{NodeKind, Place};
use crate::partition::{
    All, Custom, Direct, Global, Hash, HashBy, Here, Origin, PathHome, Router, Shuffle,
};
use crate::pstate::PState;
use crate::schema::{self, Schema, Tracking};
use crate::setup::Chain;
use crate::stage::{Item, Outbox};
use crate::task::Task;
use crate::topology_def::{Asked, Awaited, Kind};

pub use grouped::{Grouped, Updated};
pub use joint::{Closing, Entrance, Local, Turn};
pub use steps::{Begin, Steps};
pub use temporary::Temporary;

pub(crate) use combine::{Combine, Hook};
pub(crate) use handling::step;
pub(crate) use joint::{Body, Joint};

use fused::{End, Exit, Fused, IntoSink, Sink, To};
use steps::{Emit, Filter, FilterMap, FlatMap, Inspect, Map};

/// A chain of steps under construction: values of type `T` arrive here.
///
/// Steps run in the author's order, on one task, as one event, until a partitioner moves the value;
/// the rest is then another event on the other task. A chain ends with [`each`](Flow::each) (or
/// [`done`](Flow::done)); one that is dropped before is a mistake of the definition.
///
/// # Failure
/// A panic, [`Task::fail`], or the `Err` of a `try_` step fails the event; the source's failure
/// policy decides what happens to the record.
#[must_use = "a chain of steps must end with .each(…) or .done()"]
pub struct Flow<K, In, S, T> {
    steps: S,
    chain: Chain,
    types: PhantomData<fn(K, In) -> T>,
}

impl<K, In: Entrance> Flow<K, In, Begin, In::Value> {
    pub(crate) fn begin(chain: Chain) -> Flow<K, In, Begin, In::Value> {
        Flow {
            steps: Begin,
            chain,
            types: PhantomData,
        }
    }
}

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Kind,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: 'static,
{
    /// Each value becomes another.
    #[track_caller]
    pub fn map<U, F>(self, f: F) -> Flow<K, In, impl Steps<In::Value, Out = U>, U>
    where
        U: 'static,
        F: Fn(&Task, T) -> U + Send + Sync + 'static,
    {
        self.grow(NodeKind::Map, |steps| Map { steps, f })
    }

    /// Each value becomes another, or fails the event with an error.
    #[track_caller]
    pub fn try_map<U, E, F>(self, f: F) -> Flow<K, In, impl Steps<In::Value, Out = U>, U>
    where
        U: 'static,
        E: ToString + 'static,
        F: Fn(&Task, T) -> Result<U, E> + Send + Sync + 'static,
    {
        let attempt = move |task: &Task, value: T| match f(task, value) {
            Ok(value) => value,
            Err(error) => failure::fail(error),
        };
        self.grow(NodeKind::Map, |steps| Map { steps, f: attempt })
    }

    /// Each value becomes any number of values.
    #[track_caller]
    pub fn flat_map<I, F>(self, f: F) -> Flow<K, In, impl Steps<In::Value, Out = I::Item>, I::Item>
    where
        I: IntoIterator<Item: 'static> + 'static,
        F: Fn(&Task, T) -> I + Send + Sync + 'static,
    {
        self.grow(NodeKind::FlatMap, |steps| FlatMap { steps, f })
    }

    /// Each value becomes any number of values, handed to the closure's last argument one by one:
    /// `flat_map` without a collection in between.
    #[track_caller]
    pub fn emit<U, F>(self, f: F) -> Flow<K, In, impl Steps<In::Value, Out = U>, U>
    where
        U: 'static,
        F: Fn(&Task, T, &mut dyn FnMut(U)) + Send + Sync + 'static,
    {
        self.grow(NodeKind::Emit, |steps| Emit {
            steps,
            f,
            emits: PhantomData,
        })
    }

    /// Only values for which the closure says `true` go on.
    #[track_caller]
    pub fn filter<F>(self, f: F) -> Flow<K, In, impl Steps<In::Value, Out = T>, T>
    where
        F: Fn(&Task, &T) -> bool + Send + Sync + 'static,
    {
        self.grow(NodeKind::Filter, |steps| Filter { steps, f })
    }

    /// Each value becomes another, or goes no further.
    #[track_caller]
    pub fn filter_map<U, F>(self, f: F) -> Flow<K, In, impl Steps<In::Value, Out = U>, U>
    where
        U: 'static,
        F: Fn(&Task, T) -> Option<U> + Send + Sync + 'static,
    {
        self.grow(NodeKind::FilterMap, |steps| FilterMap { steps, f })
    }

    /// Runs code on each value, which then goes on unchanged.
    #[track_caller]
    pub fn inspect<F>(self, f: F) -> Flow<K, In, impl Steps<In::Value, Out = T>, T>
    where
        F: Fn(&Task, &T) + Send + Sync + 'static,
    {
        self.grow(NodeKind::Inspect, |steps| Inspect { steps, f })
    }

    /// Names the step before, for the graph and for telemetry.
    pub fn named(self, name: impl Into<String>) -> Flow<K, In, S, T> {
        self.chain.rename(name.into());
        self
    }

    /// Runs code on each value, which ends here.
    #[track_caller]
    pub fn each<N, F>(self, f: F)
    where
        N: Nothing,
        F: Fn(&Task, T) -> N + Send + Sync + 'static,
    {
        let f = move |task: &Task, value: T| {
            f(task, value);
        };
        self.close(NodeKind::Each, "()", Place::of_caller(), End(f));
    }

    /// Draws the last step and puts the chain's code where it belongs.
    fn close<X: Exit<T>>(self, kind: NodeKind, emits: &'static str, place: Place, exit: X) {
        let Flow {
            steps, mut chain, ..
        } = self;
        chain.node(kind, emits, place);
        close::<In, S, X>(chain, steps, exit);
    }

    fn close_into<X: Exit<T>>(self, exit: X) {
        close::<In, S, X>(self.chain, self.steps, exit);
    }

    /// Runs code on each value, which ends here; an error fails the event.
    #[track_caller]
    pub fn try_each<E, F>(self, f: F)
    where
        E: ToString,
        F: Fn(&Task, T) -> Result<(), E> + Send + Sync + 'static,
    {
        self.each(move |task, value| {
            if let Err(error) = f(task, value) {
                failure::fail(error);
            }
        });
    }

    /// Ends the chain: what the steps before did is all there is to do.
    #[track_caller]
    pub fn done(self) {
        self.each(|_, _| {});
    }

    #[track_caller]
    fn grow<S2, U: 'static>(
        self,
        kind: NodeKind,
        grow: impl FnOnce(S) -> S2,
    ) -> Flow<K, In, S2, U> {
        let mut chain = self.chain;
        chain.node(kind, std::any::type_name::<U>(), Place::of_caller());
        chain.forget_hook();
        Flow {
            steps: grow(self.steps),
            chain,
            types: PhantomData,
        }
    }
}

/// What a closure of [`Flow::each`] answers with: `()`.
#[diagnostic::on_unimplemented(
    message = "the closure of `each` answers with `{Self}`, which nothing would look at",
    label = "must be `()`",
    note = "for a `Result` use `try_each`: its error fails the event",
    note = "for any other value end the closure's last statement with `;`"
)]
pub trait Nothing {}

impl Nothing for () {}

/// Partitioners: what follows runs on the task they choose, as another event.
///
/// Only the value travels, so it must be a [`Record`]. Values sent from one task to another arrive
/// in order (spec O-9), also when both are the same task.
impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Kind,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: 'static,
{
    /// To the home of a key: the task that holds that key of every PState (spec R-1).
    ///
    /// The closure gets a copy of the value and answers with a part of it: `|word| word`,
    /// `|(transfer, _)| transfer.to`. When the answer is of the value's own type, as in the first,
    /// the copy costs no allocation; when values are large and their key is a part of them, use
    /// [`hash_partition_by`](Flow::hash_partition_by), which makes none.
    #[track_caller]
    pub fn hash_partition<Q, F>(self, key: F) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
        Q: Key,
        F: Fn(T) -> Q + Send + Sync + 'static,
    {
        self.hop(NodeKind::HashPartition, Hash(key))
    }

    /// As [`hash_partition`](Flow::hash_partition), for a key that stands in the value as it is: the
    /// closure borrows the value and answers with a part of it, and nothing is copied or
    /// allocated. `|purchase| &purchase.user`, `|(transfer, _)| &transfer.to`, `|word| word`.
    #[track_caller]
    pub fn hash_partition_by<Q, F>(self, key: F) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
        Q: Key,
        F: for<'a> Fn(&'a T) -> &'a Q + Send + Sync + 'static,
    {
        self.hop(NodeKind::HashPartition, HashBy::new(key))
    }

    /// To every task (spec R-2).
    #[track_caller]
    pub fn all_partition(self) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
    {
        self.hop(NodeKind::AllPartition, All)
    }

    /// To task 0, where global PStates and depots live (spec R-3).
    #[track_caller]
    pub fn global_partition(self) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
    {
        self.hop(NodeKind::GlobalPartition, Global)
    }

    /// To all tasks in turn, in an order that differs from sender to sender (spec R-4).
    #[track_caller]
    pub fn shuffle_partition(self) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
    {
        self.hop(NodeKind::ShufflePartition, Shuffle)
    }

    /// To the task of that index; one that does not exist fails the event (spec R-5).
    #[track_caller]
    pub fn direct_partition<F>(self, index: F) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
        F: Fn(&T) -> u32 + Send + Sync + 'static,
    {
        self.hop(NodeKind::DirectPartition, Direct(index))
    }

    /// On the same task, as an event of its own: when this one has taken longer than
    /// `worker.event.target.max.millis`, whatever else waits for the thread has its turn first (spec
    /// F-7). Between steps that take long for one value each; a loop of many rounds has it in
    /// [`iterate`](Flow::iterate) already, of which each round is an event. As behind any partitioner, what
    /// was read before may have changed.
    #[track_caller]
    pub fn yield_if_overtime(self) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
    {
        self.hop(NodeKind::YieldIfOvertime, Here)
    }

    /// To the task whose index the closure computes from the value and the number of tasks; one
    /// that does not exist fails the event (spec R-7).
    #[track_caller]
    pub fn custom_partition<F>(self, index: F) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
        F: Fn(&T, u32) -> u32 + Send + Sync + 'static,
    {
        self.hop(NodeKind::CustomPartition, Custom(index))
    }

    /// To the task that holds a key of that PState: as [`hash_partition`](Flow::hash_partition),
    /// but it follows the PState's own placement of keys, and goes to task 0 for a global one (spec
    ///
    #[track_caller]
    pub fn path_partition<Q, V, M, F>(
        self,
        pstate: PState<schema::Map<Q, V, M>>,
        key: F,
    ) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
        Q: Key,
        V: Schema,
        M: Tracking,
        F: Fn(T) -> Q + Send + Sync + 'static,
    {
        let space = self.chain.space_of(pstate, Place::of_caller());
        self.hop(NodeKind::PathPartition, PathHome { space, key })
    }

    #[track_caller]
    fn hop<R>(self, kind: NodeKind, router: R) -> Flow<K, T, Begin, T>
    where
        T: Record + Send,
        R: Router<T>,
    {
        let reach = match kind {
            NodeKind::GlobalPartition => Reach::First,
            NodeKind::OriginPartition => Reach::Origin,
            _ => Reach::Everywhere,
        };
        let Flow {
            steps, mut chain, ..
        } = self;
        let router = Arc::new(router);
        if R::LEADS && chain.begins_query() {
            let router = router.clone();
            chain.lead(Arc::new(move |args, tasks| {
                let args = T::decode(args)?;
                // A query whose author's code fails here fails again, and says so, where it runs.
                Ok(failure::guard(|| router.lead(&args, tasks)).unwrap_or(0))
            }));
        }
        chain.node(kind, std::any::type_name::<T>(), Place::of_caller());
        let (stage, mut next) = chain.stage();
        let combine = Hook::new();
        next.set_hook(combine.clone(), reach);
        let exit = To {
            router,
            stage,
            combine,
        };
        close::<In, S, _>(chain, steps, exit);
        Flow::begin(next)
    }
}

impl<In, S, T> Flow<Asked, In, S, T>
where
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: 'static,
{
    /// To the task where the query began (spec R-8). The last partitioner of every query.
    #[track_caller]
    pub fn origin_partition(self) -> Flow<Asked, T, Begin, T>
    where
        T: Record + Send,
    {
        self.hop(NodeKind::OriginPartition, Origin)
    }

    /// Ends a query: what comes out is its answer.
    pub(crate) fn answer(self, place: Place)
    where
        T: Record + Send,
    {
        if self.chain.reach() != Reach::Origin {
            self.chain.fault(
                "the answer".to_owned(),
                "comes out on another task than the one where the query began".to_owned(),
                "put .origin_partition() behind the last other partitioner (spec Q-3)".to_owned(),
                place,
            );
        }
        let emits = std::any::type_name::<T>();
        self.close(NodeKind::Answer, emits, place, IntoSink(Answer));
    }
}

/// The end of a query.
struct Answer;

impl<T: Record + Send> Sink<T> for Answer {
    fn drain(&self, _: &Task, items: Vec<Item<T>>, out: &mut Outbox) {
        for item in items {
            out.answer(item.value.to_bytes());
        }
    }
}

/// Puts the code of a chain where it belongs.
fn close<In, S, X>(chain: Chain, steps: S, exit: X)
where
    In: Entrance,
    S: Steps<In::Value>,
    X: Exit<S::Out>,
{
    let body = Arc::new(Fused::<In::Value, S, X>::new(chain.depot(), steps, exit));
    In::close(Closing { chain, body });
}

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Kind,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: 'static,
{
    /// Gives a value to whoever appended the record with an ack (spec S-18); the flow goes on
    /// unchanged. Several are combined by the source's `ack_return_agg`; without it the last
    /// counts.
    #[track_caller]
    pub fn ack_return<V, F>(self, f: F) -> Flow<K, In, impl Steps<In::Value, Out = T>, T>
    where
        K: Awaited,
        V: Record,
        F: Fn(&Task, &T) -> V + Send + Sync + 'static,
    {
        let give = move |task: &Task, value: &T| task.ack_return(&f(task, value));
        self.grow(NodeKind::AckReturn, |steps| Inspect { steps, f: give })
    }
}

#[cfg(test)]
mod tests;
