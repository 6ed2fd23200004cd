//! Aggregations of all values into one, in microbatches and queries.
//!
//! Relies on `gather` for the wait and on `aggregate` for what is made of the values. What must stay
//! true: a gathering is let go when nothing before it is left to run on any task (spec F-21), on every
//! task that its last partitioner can reach, also without values (F-29).

use std::marker::PhantomData;
use std::sync::Arc;

use super::combine::{Combine, Joined};
use super::fused::{IntoSink, Sink};
use super::{Begin, Entrance, Flow, Joint, Local, Steps, Updated, close};
use crate::aggregate::{Aggregator, Aggs, Stored};
use crate::gather::{Gather, Left, SlotIndex};
use crate::graph::{NodeKind, Place};
use crate::pstate::LocalPState;
use crate::setup::Chain;
use crate::stage::{Batch, Item, Origin, Outbox, StageIndex};
use crate::task::Task;
use crate::topology_def::{Gathers, Microbatch};

impl<In, S, T> Flow<Microbatch, In, S, T>
where
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: 'static,
{
    /// Sets a batch apart in the code: the same steps, in a block (spec §4.5).
    pub fn batch<R>(self, build: impl FnOnce(Self) -> R) -> R {
        build(self)
    }
}

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Gathers,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: 'static,
{
    /// Makes one value of all that arrive on a task: `.agg(|of| of.sum(|p| p.cents))`, several at once
    /// `.agg(|of| (of.count(), of.max(|p| p.cents)))`.
    ///
    /// Right behind a partitioner, values are aggregated before they travel (spec A-13). One result
    /// comes out on every task that the partitioner can reach: one in all behind `global_partition` and
    /// `origin_partition`, else one per task (F-29), also without values.
    #[track_caller]
    pub fn agg<A: Aggregator<T>>(
        self,
        build: impl FnOnce(Aggs<T>) -> A,
    ) -> Flow<K, Local<A::Output>, Begin, A::Output> {
        let agg = Arc::new(build(Aggs::new()));
        let emits = std::any::type_name::<A::Output>();
        let (slot, joint, next) = self.whole(NodeKind::Agg, emits, Place::of_caller(), &agg);
        next.gather(Arc::new(Whole {
            slot,
            agg,
            then: joint,
        }));
        Flow::begin(next)
    }

    /// Changes a PState's value by all values that arrive on a task. Global PStates come behind
    /// `global_partition`. Without values nothing is written.
    #[track_caller]
    pub fn agg_into<A: Stored<T>>(
        self,
        pstate: LocalPState<A::Value>,
        build: impl FnOnce(Aggs<T>) -> A,
    ) -> Updated<K, A::Value> {
        let agg = Arc::new(build(Aggs::new()));
        let emits = std::any::type_name::<A::Value>();
        let place = Place::of_caller();
        self.chain.writes(pstate.name(), place);
        let (slot, then, next) = self.whole(NodeKind::AggInto, emits, place, &agg);
        next.gather(Arc::new(WholeInto {
            slot,
            agg,
            pstate,
            then,
        }));
        Updated::new(Flow::begin(next))
    }

    /// Closes the chain into a slot of one state; what is next begins when it is let go.
    fn whole<U: 'static, A: Aggregator<T>>(
        self,
        kind: NodeKind,
        emits: &'static str,
        place: Place,
        agg: &Arc<A>,
    ) -> (SlotIndex, Joint<U>, Chain) {
        let Flow {
            steps, mut chain, ..
        } = self;
        chain.node(kind, emits, place);
        let slot = chain.slot();
        if A::COMBINES
            && let Some(hook) = chain.take_hook::<T>()
        {
            let (stage, parts) = chain.stage();
            let merge = IntoSink(MergeWhole {
                slot,
                agg: agg.clone(),
                of: PhantomData,
            });
            close::<A::State, Begin, _>(parts, Begin, merge);
            hook.set(CombineWhole {
                stage,
                agg: agg.clone(),
            });
        }
        let (joint, mut next) = chain.joint();
        next.gathered_with(None);
        let add = IntoSink(AddWhole {
            slot,
            agg: agg.clone(),
        });
        close::<In, S, _>(chain, steps, add);
        (slot, joint, next)
    }
}

/// Adds values to the state of a slot.
struct AddWhole<A> {
    slot: SlotIndex,
    agg: Arc<A>,
}

impl<T: 'static, A: Aggregator<T>> Sink<T> for AddWhole<A> {
    fn drain(&self, task: &Task, items: Vec<Item<T>>, out: &mut Outbox) {
        let state = task.take_slot(self.slot);
        let mut state = state.unwrap_or_else(|| self.agg.zero());
        for item in items {
            out.name(task, item.origin);
            self.agg.add(&mut state, &item.value);
        }
        task.put_slot(self.slot, state);
    }
}

/// Merges states that were made elsewhere.
struct MergeWhole<T, A> {
    slot: SlotIndex,
    agg: Arc<A>,
    of: PhantomData<fn(T)>,
}

impl<T: 'static, A: Aggregator<T>> Sink<A::State> for MergeWhole<T, A> {
    fn drain(&self, task: &Task, items: Vec<Item<A::State>>, out: &mut Outbox) {
        let state = task.take_slot(self.slot);
        let mut state = state.unwrap_or_else(|| self.agg.zero());
        for item in items {
            out.name(task, item.origin);
            self.agg.merge(&mut state, item.value);
        }
        task.put_slot(self.slot, state);
    }
}

/// One state of all values of a lane, for the stage that merges.
struct CombineWhole<A> {
    stage: StageIndex,
    agg: Arc<A>,
}

impl<T: 'static, A: Aggregator<T>> Combine<T> for CombineWhole<A> {
    fn combine(&self, items: Vec<Item<T>>, current: &mut Origin) -> (StageIndex, Batch) {
        let (mut joined, mut state) = (Joined::new(), self.agg.zero());
        for item in items {
            *current = item.origin;
            joined.add(&item);
            self.agg.add(&mut state, &item.value);
        }
        (self.stage, Batch::new(vec![joined.into_item(state)]))
    }
}

/// Lets the result go.
struct Whole<T, A: Aggregator<T>> {
    slot: SlotIndex,
    agg: Arc<A>,
    then: Joint<A::Output>,
}

impl<T: 'static, A: Aggregator<T>> Gather for Whole<T, A> {
    fn slot(&self) -> SlotIndex {
        self.slot
    }

    fn release(&self, task: &Task, origin: Origin, out: &mut Outbox) -> Left {
        let state = task.take_slot(self.slot);
        let state = state.unwrap_or_else(|| self.agg.zero());
        let value = self.agg.finish(state);
        self.then.run(task, vec![Item::of(origin, value)], out);
        Left::Nothing
    }
}

/// Lets the result go into a PState.
struct WholeInto<T, A: Stored<T>> {
    slot: SlotIndex,
    agg: Arc<A>,
    pstate: LocalPState<A::Value>,
    then: Joint<A::Value>,
}

impl<T: 'static, A: Stored<T>> Gather for WholeInto<T, A> {
    fn slot(&self) -> SlotIndex {
        self.slot
    }

    fn release(&self, task: &Task, origin: Origin, out: &mut Outbox) -> Left {
        let Some(state) = task.take_slot::<A::State>(self.slot) else {
            return Left::Nothing;
        };
        let path = self.pstate.root();
        if let Some(value) = continued(&*self.agg, path.get(task), state) {
            path.set(task, value.clone());
            self.then.run(task, vec![Item::of(origin, value)], out);
        }
        Left::Nothing
    }
}

/// What is to be stored after `state` came to what is stored.
pub(super) fn continued<T, A: Stored<T>>(
    agg: &A,
    old: Option<A::Value>,
    state: A::State,
) -> Option<A::Value> {
    let state = match old {
        None => state,
        Some(old) => {
            let mut so_far = agg.restore(old);
            agg.merge(&mut so_far, state);
            so_far
        }
    };
    agg.store(state)
}
