//! Joins: values of two chains that have a key in common.
//!
//! Relies on both sides to bring a key to its home. What must stay true: every pair of values with the
//! same key comes out once (spec F-23); in an outer join what has no partner comes out once, without
//! one (F-25); keys come out in their order, the values of a key in the order of their arrival.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Key, Record};

use super::fused::{IntoSink, Sink, To};
use super::{Begin, Entrance, Flow, Hook, Joint, Local, Steps, close};
use crate::gather::{Gather, SlotIndex};
use crate::graph::{NodeKind, Place};
use crate::partition::KeyOf;
use crate::stage::{Item, Origin, Outbox};
use crate::task::Task;
use crate::topology_def::Gathers;

/// What waits on a task: the values of both sides, by encoded key.
type Sides<Q, L, R> = BTreeMap<Vec<u8>, (Q, Vec<L>, Vec<R>)>;

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
        let pairs = |key: &Q, left: Vec<L>, right: Vec<R>, out: &mut Vec<(Q, L, R)>| {
            for left in left {
                for right in &right {
                    out.push((key.clone(), left.clone(), right.clone()));
                }
            }
        };
        self.join_with(other, (key, other_key), Place::of_caller(), pairs)
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
        let pairs = |key: &Q, left: Vec<L>, right: Vec<R>, out: &mut Vec<_>| {
            for left in left {
                for right in partners(&right) {
                    out.push((key.clone(), left.clone(), right));
                }
            }
        };
        self.join_with(other, (key, other_key), Place::of_caller(), pairs)
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
        let pairs = |key: &Q, left: Vec<L>, right: Vec<R>, out: &mut Vec<_>| {
            for left in partners(&left) {
                for right in partners(&right) {
                    out.push((key.clone(), left.clone(), right));
                }
            }
        };
        self.join_with(other, (key, other_key), Place::of_caller(), pairs)
    }

    fn join_with<Q, R, U, In2, S2>(
        self,
        other: Flow<K, In2, S2, R>,
        (key, other_key): (
            impl Fn(&L) -> Q + Send + Sync + 'static,
            impl Fn(&R) -> Q + Send + Sync + 'static,
        ),
        place: Place,
        pairs: impl Fn(&Q, Vec<L>, Vec<R>, &mut Vec<U>) + Send + Sync + 'static,
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
            pairs,
            then,
            sides: PhantomData,
        }));
        close::<L, Begin, _>(
            left,
            Begin,
            IntoSink(Left::<Q, R, _>::new(slot, key.clone())),
        );
        let keep = Right::<Q, L, _>::new(slot, other_key.clone());
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

/// The values of a side, or the lack of one.
fn partners<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() {
        return vec![None];
    }
    values.iter().cloned().map(Some).collect()
}

/// Keeps the values of one side.
macro_rules! side {
    ($name:ident, $value:ident, $other:ident, $sides:ty, $index:tt) => {
        struct $name<Q, $other, F> {
            slot: SlotIndex,
            key: Arc<F>,
            other: PhantomData<fn(Q, $other)>,
        }

        impl<Q, $other, F> $name<Q, $other, F> {
            fn new(slot: SlotIndex, key: Arc<F>) -> $name<Q, $other, F> {
                $name {
                    slot,
                    key,
                    other: PhantomData,
                }
            }
        }

        impl<Q, L, R, F> Sink<$value> for $name<Q, $other, F>
        where
            Q: Key + Send + Sync,
            L: 'static,
            R: 'static,
            F: Fn(&$value) -> Q + Send + Sync + 'static,
        {
            fn drain(&self, task: &Task, items: Vec<Item<$value>>, _: &mut Outbox) {
                let mut sides: $sides = task.take_slot(self.slot).unwrap_or_default();
                for item in items {
                    let key = (self.key)(&item.value);
                    let group = sides.entry(key.key_bytes());
                    let group = group.or_insert_with(|| (key, Vec::new(), Vec::new()));
                    group.$index.push(item.value);
                }
                task.put_slot(self.slot, sides);
            }
        }
    };
}

side!(Left, L, R, Sides<Q, L, R>, 1);
side!(Right, R, L, Sides<Q, L, R>, 2);

/// Lets the pairs go.
struct Pairs<Q, L, R, U, P> {
    slot: SlotIndex,
    pairs: P,
    then: Joint<U>,
    sides: PhantomData<fn(Q, L, R)>,
}

impl<Q, L, R, U, P> Gather for Pairs<Q, L, R, U, P>
where
    Q: Key + Send + Sync,
    L: 'static,
    R: 'static,
    U: 'static,
    P: Fn(&Q, Vec<L>, Vec<R>, &mut Vec<U>) + Send + Sync + 'static,
{
    fn release(&self, task: &Task, origin: Origin, out: &mut Outbox) {
        let sides: Sides<Q, L, R> = task.take_slot(self.slot).unwrap_or_default();
        // Key by key: all pairs at once may be very many more than the values.
        for (key, left, right) in sides.into_values() {
            let mut pairs = Vec::new();
            (self.pairs)(&key, left, right, &mut pairs);
            let items = pairs.into_iter().map(|pair| Item::of(origin, pair));
            self.then.run(task, items.collect(), out);
        }
    }
}
