//! Joins: values of two chains that have a key in common.
//!
//! Relies on both sides to bring a key to its home, and on `sides` for what waits there. What must stay
//! true: every pair of values with the same key comes out once (spec F-23); in an outer join what has no
//! partner comes out once, without one (F-25); keys come out in their order, the values of a key in the
//! order of their arrival.

use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Key, Record};

use super::fused::{IntoSink, Sink, To};
use super::sides::{self, LEFT, RIGHT, Sides};
use super::{Begin, Entrance, Flow, Hook, Joint, Local, Steps, close};
use crate::gather::{Gather, Left, SlotIndex};
use crate::graph::{NodeKind, Place};
use crate::partition::KeyOf;
use crate::rows::Waiting;
use crate::stage::{Item, Origin, Outbox};
use crate::task::Task;
use crate::topology_def::Gathers;

/// A chain of joined values.
type Joined<K, T> = Flow<K, Local<T>, Begin, T>;

impl<K, In, S, L> Flow<K, In, S, L>
where
    K: Gathers,
    In: Entrance,
    S: Steps<In::Value, Out = L>,
    L: Record + Send,
{
    /// Every pair of a value of this chain and one of `other` that have a key in common (spec F-23).
    #[track_caller]
    pub fn join<Q, R, In2, S2>(
        self,
        other: Flow<K, In2, S2, R>,
        key: impl Fn(&L) -> Q + Send + Sync + 'static,
        other_key: impl Fn(&R) -> Q + Send + Sync + 'static,
    ) -> Joined<K, (Q, L, R)>
    where
        Q: Key + Send + Sync,
        R: Record + Send,
        In2: Entrance,
        S2: Steps<In2::Value, Out = R>,
    {
        let pair = |key: &Q, left: Option<&L>, right: Option<&R>| {
            Some((key.clone(), left?.clone(), right?.clone()))
        };
        self.join_with(other, (key, other_key), Place::of_caller(), pair)
    }

    /// As [`join`](Flow::join), and every value of this chain without a partner (spec F-25).
    #[track_caller]
    pub fn left_join<Q, R, In2, S2>(
        self,
        other: Flow<K, In2, S2, R>,
        key: impl Fn(&L) -> Q + Send + Sync + 'static,
        other_key: impl Fn(&R) -> Q + Send + Sync + 'static,
    ) -> Joined<K, (Q, L, Option<R>)>
    where
        Q: Key + Send + Sync,
        R: Record + Send,
        In2: Entrance,
        S2: Steps<In2::Value, Out = R>,
    {
        let pair = |key: &Q, left: Option<&L>, right: Option<&R>| {
            Some((key.clone(), left?.clone(), right.cloned()))
        };
        self.join_with(other, (key, other_key), Place::of_caller(), pair)
    }

    /// As [`join`](Flow::join), and every value of either chain without a partner (spec F-25).
    #[track_caller]
    pub fn full_join<Q, R, In2, S2>(
        self,
        other: Flow<K, In2, S2, R>,
        key: impl Fn(&L) -> Q + Send + Sync + 'static,
        other_key: impl Fn(&R) -> Q + Send + Sync + 'static,
    ) -> Joined<K, (Q, Option<L>, Option<R>)>
    where
        Q: Key + Send + Sync,
        R: Record + Send,
        In2: Entrance,
        S2: Steps<In2::Value, Out = R>,
    {
        let pair = |key: &Q, left: Option<&L>, right: Option<&R>| {
            Some((key.clone(), left.cloned(), right.cloned()))
        };
        self.join_with(other, (key, other_key), Place::of_caller(), pair)
    }

    fn join_with<Q, R, U, In2, S2>(
        self,
        other: Flow<K, In2, S2, R>,
        (key, other_key): (
            impl Fn(&L) -> Q + Send + Sync + 'static,
            impl Fn(&R) -> Q + Send + Sync + 'static,
        ),
        place: Place,
        pair: impl Fn(&Q, Option<&L>, Option<&R>) -> Option<U> + Send + Sync + 'static,
    ) -> Joined<K, U>
    where
        Q: Key + Send + Sync,
        R: Record + Send,
        U: 'static,
        In2: Entrance,
        S2: Steps<In2::Value, Out = R>,
    {
        let (key, other_key) = (Arc::new(key), Arc::new(other_key));
        let Flow {
            steps, mut chain, ..
        } = self;
        let mut right_chain = other.chain;
        chain.node(NodeKind::Join, std::any::type_name::<U>(), place);
        right_chain.node(NodeKind::Join, std::any::type_name::<U>(), place);
        chain.merged_with(&right_chain, place);
        let slot = chain.slot();
        let (left_stage, left) = chain.stage();
        let (right_stage, right) = right_chain.stage();
        let (then, mut next) = left.joint();
        next.gathered_with(None);
        next.set_reach(crate::gather::Reach::Everywhere);
        next.gather(Arc::new(Pairs::<Q, L, R, U, _> {
            slot,
            pair,
            then,
            sides: PhantomData,
        }));
        let keep = Keep::<Q, L, R, _, LEFT>::new(slot, key.clone());
        close::<L, Begin, _>(left, Begin, IntoSink(keep));
        let keep = Keep::<Q, L, R, _, RIGHT>::new(slot, other_key.clone());
        close::<R, Begin, _>(right, Begin, IntoSink(keep));
        let to_left = To {
            router: Arc::new(KeyOf(key)),
            stage: left_stage,
            combine: Hook::new(),
        };
        close::<In, S, _>(chain, steps, to_left);
        let to_right = To {
            router: Arc::new(KeyOf(other_key)),
            stage: right_stage,
            combine: Hook::new(),
        };
        close::<In2, S2, _>(right_chain, other.steps, to_right);
        Flow::begin(next)
    }
}

/// Keeps the values of one side.
struct Keep<Q, L, R, F, const SIDE: u8> {
    slot: SlotIndex,
    key: Arc<F>,
    sides: PhantomData<fn(Q, L, R)>,
}

impl<Q, L, R, F, const SIDE: u8> Keep<Q, L, R, F, SIDE> {
    fn new(slot: SlotIndex, key: Arc<F>) -> Keep<Q, L, R, F, SIDE> {
        let sides = PhantomData;
        Keep { slot, key, sides }
    }
}

/// Takes values of type `$value` into their side.
macro_rules! side {
    ($value:ident, $side:ident, $keep:ident) => {
        impl<Q, L, R, F> Sink<$value> for Keep<Q, L, R, F, $side>
        where
            Q: Key + Send + Sync,
            L: Record + Send,
            R: Record + Send,
            F: Fn(&$value) -> Q + Send + Sync + 'static,
        {
            fn drain(&self, task: &Task, items: Vec<Item<$value>>, out: &mut Outbox) {
                let mut waiting: Waiting<Sides<Q, L, R>> =
                    task.take_slot(self.slot).unwrap_or_default();
                for item in items {
                    out.name(task, item.origin);
                    let key = (self.key)(&item.value);
                    waiting.memory.$keep(key, item.value);
                }
                task.put_rows(self.slot, waiting);
            }
        }
    };
}

side!(L, LEFT, keep_left);
side!(R, RIGHT, keep_right);

/// Lets the pairs go.
struct Pairs<Q, L, R, U, P> {
    slot: SlotIndex,
    pair: P,
    then: Joint<U>,
    sides: PhantomData<fn(Q, L, R)>,
}

impl<Q, L, R, U, P> Gather for Pairs<Q, L, R, U, P>
where
    Q: Key + Send + Sync,
    L: Record + Send,
    R: Record + Send,
    U: 'static,
    P: Fn(&Q, Option<&L>, Option<&R>) -> Option<U> + Send + Sync + 'static,
{
    fn slot(&self) -> SlotIndex {
        self.slot
    }

    fn release(&self, task: &Task, origin: Origin, out: &mut Outbox) -> Left {
        let mut waiting: Waiting<Sides<Q, L, R>> = task.take_slot(self.slot).unwrap_or_default();
        let mut pairs = Vec::new();
        let left = sides::let_go(&mut waiting, &mut |key, left, right| {
            let pair = (self.pair)(key, left, right);
            pairs.extend(pair.map(|pair| Item::of(origin, pair)));
        });
        if left == Left::More {
            task.put_rows(self.slot, waiting);
        }
        self.then.run(task, pairs, out);
        left
    }
}
