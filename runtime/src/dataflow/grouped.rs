//! Aggregations by key.
//!
//! Relies on the encoding of keys for their order. What must stay true: all values of a key come to
//! one task, and each key comes out once (spec ); the order of groups is that of their keys.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Key, Record};

use super::batch::continued;
use super::combine::{Combine, Joined};
use super::fused::{IntoSink, Sink};
use super::groups::{Groups, let_go};
use super::{Begin, Entrance, Flow, Joint, Local, Steps, close};
use crate::aggregate::{Aggregator, Aggs, Stored};
use crate::gather::{Gather, Left, SlotIndex};
use crate::graph::{NodeKind, Place};
use crate::partition::{Custom, KeyOf};
use crate::path::ValuePath;
use crate::pstate::LocalPState;
use crate::rows::Waiting;
use crate::schema::{Map, Tracking};
use crate::setup::Chain;
use crate::stage::{Batch, Item, Origin, Outbox, StageIndex};
use crate::task::Task;
use crate::topology_def::{Gathers, Kind};

/// Values on their way to the tasks of their keys, to be aggregated there.
#[must_use = "a grouped chain must be aggregated: .agg(…) or .agg_into(…)"]
pub struct Grouped<K, T, F> {
    flow: Flow<K, T, Begin, T>,
    key: Arc<F>,
}

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Gathers,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: Record + Send,
{
    /// Brings together the values that have a key in common, on that key's home (spec A-12). An
    /// aggregation follows.
    #[track_caller]
    pub fn group_by<Q, F>(self, key: F) -> Grouped<K, T, F>
    where
        Q: Key + Record + Send,
        F: Fn(&T) -> Q + Send + Sync + 'static,
    {
        let key = Arc::new(key);
        Grouped {
            flow: self.hop(NodeKind::GroupBy, KeyOf(key.clone())),
            key,
        }
    }

    /// The same on the home of another key than that of the groups: for groups that are stored below
    /// one key of a PState.
    #[track_caller]
    pub fn group_by_at<P, Q, F>(
        self,
        home: impl Fn(&T) -> P + Send + Sync + 'static,
        key: F,
    ) -> Grouped<K, T, F>
    where
        P: Key,
        Q: Key + Record + Send,
        F: Fn(&T) -> Q + Send + Sync + 'static,
    {
        let index =
            move |value: &T, tasks: u32| rama_wire::hash::task_of(&home(value).key_bytes(), tasks);
        Grouped {
            flow: self.hop(NodeKind::GroupBy, Custom(index)),
            key: Arc::new(key),
        }
    }
}

impl<K, T, Q, F> Grouped<K, T, F>
where
    K: Gathers,
    T: Record + Send,
    Q: Key + Record + Send,
    F: Fn(&T) -> Q + Send + Sync + 'static,
{
    /// Makes one value of all values of a key: comes out with its key, once, on the key's home.
    #[track_caller]
    pub fn agg<A: Aggregator<T>>(
        self,
        build: impl FnOnce(Aggs<T>) -> A,
    ) -> Flow<K, Local<(Q, A::Output)>, Begin, (Q, A::Output)> {
        let agg = Arc::new(build(Aggs::new()));
        let emits = std::any::type_name::<(Q, A::Output)>();
        let (slot, then, next) = self.groups(NodeKind::Agg, emits, Place::of_caller(), &agg);
        next.gather(Arc::new(ByKey::<T, Q, A> { slot, agg, then }));
        Flow::begin(next)
    }

    /// Changes what a PState holds under each key by all values of that key.
    #[track_caller]
    pub fn agg_into<A, M>(
        self,
        pstate: LocalPState<Map<Q, A::Value, M>>,
        build: impl FnOnce(Aggs<T>) -> A,
    ) -> Updated<K, (Q, A::Value)>
    where
        A: Stored<T>,
        M: Tracking,
    {
        self.flow.chain.writes(pstate.name(), Place::of_caller());
        self.agg_at(move |key: &Q| pstate.key(key), build)
    }

    /// Changes what a path leads to by all values of each key: for values below other keys, such as
    /// `|(user, day)| visits.key(user).key(day)` (spec A-5).
    #[track_caller]
    pub fn agg_at<A: Stored<T>>(
        self,
        path: impl Fn(&Q) -> ValuePath<A::Value> + Send + Sync + 'static,
        build: impl FnOnce(Aggs<T>) -> A,
    ) -> Updated<K, (Q, A::Value)> {
        let agg = Arc::new(build(Aggs::new()));
        let emits = std::any::type_name::<(Q, A::Value)>();
        let (slot, then, next) = self.groups(NodeKind::AggInto, emits, Place::of_caller(), &agg);
        next.gather(Arc::new(ByKeyInto::<T, Q, A, _> {
            slot,
            agg,
            path,
            then,
        }));
        Updated::new(Flow::begin(next))
    }

    /// Closes the chain into a slot of one state per key; what is next begins when it is let go.
    fn groups<U: 'static, A: Aggregator<T>>(
        self,
        kind: NodeKind,
        emits: &'static str,
        place: Place,
        agg: &Arc<A>,
    ) -> (SlotIndex, Joint<U>, Chain) {
        let Flow {
            steps, mut chain, ..
        } = self.flow;
        chain.node(kind, emits, place);
        let slot = chain.slot();
        if A::COMBINES
            && let Some(hook) = chain.take_hook::<T>()
        {
            let (stage, parts) = chain.stage();
            let merge = IntoSink(MergeByKey {
                slot,
                agg: agg.clone(),
                of: PhantomData,
            });
            close::<(Q, A::State), Begin, _>(parts, Begin, merge);
            let (agg, key) = (agg.clone(), self.key.clone());
            hook.set(CombineByKey { stage, agg, key });
        }
        let (joint, mut next) = chain.joint();
        next.gathered_with(None);
        let (agg, key) = (agg.clone(), self.key);
        close::<T, _, _>(chain, steps, IntoSink(AddByKey { slot, agg, key }));
        (slot, joint, next)
    }
}

/// A chain behind an aggregation into a PState: it goes on with the new values, or ends.
pub struct Updated<K: Kind, T: 'static> {
    flow: Option<Flow<K, Local<T>, Begin, T>>,
}

impl<K: Kind, T: 'static> Updated<K, T> {
    pub(super) fn new(flow: Flow<K, Local<T>, Begin, T>) -> Updated<K, T> {
        Updated { flow: Some(flow) }
    }

    /// Goes on with what was changed: each key and its new value, once (spec A-7).
    pub fn new_values(mut self) -> Flow<K, Local<T>, Begin, T> {
        self.flow.take().expect("taken here alone")
    }
}

impl<K: Kind, T: 'static> Drop for Updated<K, T> {
    fn drop(&mut self) {
        if let Some(flow) = self.flow.take() {
            flow.done();
        }
    }
}

/// Adds values to the states of their keys.
struct AddByKey<A, F> {
    slot: SlotIndex,
    agg: Arc<A>,
    key: Arc<F>,
}

impl<T, Q, A, F> Sink<T> for AddByKey<A, F>
where
    T: Record,
    Q: Key + Record + Send,
    A: Aggregator<T>,
    F: Fn(&T) -> Q + Send + Sync + 'static,
{
    fn drain(&self, task: &Task, items: Vec<Item<T>>, out: &mut Outbox) {
        let mut waiting: Waiting<Groups<T, Q, A>> = task.take_slot(self.slot).unwrap_or_default();
        let rows_wait = !A::COMBINES && waiting.is_on_disk();
        for item in items {
            out.name(task, item.origin);
            let key = (self.key)(&item.value);
            match rows_wait {
                true => waiting.memory.keep(&key, item),
                false => waiting.memory.add(&self.agg, key, &item.value),
            }
        }
        task.put_rows(self.slot, waiting);
    }
}

/// Merges states that were made elsewhere into those of their keys.
struct MergeByKey<T, Q, A> {
    slot: SlotIndex,
    agg: Arc<A>,
    of: PhantomData<fn(T, Q)>,
}

impl<T, Q, A> Sink<(Q, A::State)> for MergeByKey<T, Q, A>
where
    T: Record,
    Q: Key + Record + Send,
    A: Aggregator<T>,
{
    fn drain(&self, task: &Task, items: Vec<Item<(Q, A::State)>>, out: &mut Outbox) {
        let mut waiting: Waiting<Groups<T, Q, A>> = task.take_slot(self.slot).unwrap_or_default();
        for item in items {
            out.name(task, item.origin);
            let (key, part) = item.value;
            waiting.memory.merge(&self.agg, key, part);
        }
        task.put_rows(self.slot, waiting);
    }
}

/// One state per key of the values of a lane, for the stage that merges.
struct CombineByKey<A, F> {
    stage: StageIndex,
    agg: Arc<A>,
    key: Arc<F>,
}

impl<T, Q, A, F> Combine<T> for CombineByKey<A, F>
where
    T: 'static,
    Q: Key + Record + Send,
    A: Aggregator<T>,
    F: Fn(&T) -> Q + Send + Sync + 'static,
{
    fn combine(&self, items: Vec<Item<T>>, current: &mut Origin) -> (StageIndex, Batch) {
        let mut groups = BTreeMap::new();
        for item in items {
            *current = item.origin;
            let key = (self.key)(&item.value);
            let group = groups.entry(key.key_bytes());
            let (_, joined, state) = group.or_insert_with(|| (key, Joined::new(), self.agg.zero()));
            joined.add(&item);
            self.agg.add(state, &item.value);
        }
        let groups = groups.into_values();
        let items = groups.map(|(key, joined, state)| joined.into_item((key, state)));
        (self.stage, Batch::new(items.collect()))
    }
}

/// Lets the result of each key go.
struct ByKey<T, Q, A: Aggregator<T>> {
    slot: SlotIndex,
    agg: Arc<A>,
    then: Joint<(Q, A::Output)>,
}

impl<T, Q, A> Gather for ByKey<T, Q, A>
where
    T: Record,
    Q: Key + Record + Send,
    A: Aggregator<T>,
{
    fn slot(&self) -> SlotIndex {
        self.slot
    }

    fn release(&self, task: &Task, origin: Origin, out: &mut Outbox) -> Left {
        let (groups, left) = let_go(task, self.slot, &*self.agg);
        let results = groups.into_iter().map(|(key, state)| {
            let result = self.agg.finish(state);
            Item::of(origin, (key, result))
        });
        self.then.run(task, results.collect(), out);
        left
    }
}

/// Lets the result of each key go into a PState.
struct ByKeyInto<T, Q, A: Stored<T>, P> {
    slot: SlotIndex,
    agg: Arc<A>,
    path: P,
    then: Joint<(Q, A::Value)>,
}

impl<T, Q, A, P> Gather for ByKeyInto<T, Q, A, P>
where
    T: Record,
    Q: Key + Record + Send,
    A: Stored<T>,
    P: Fn(&Q) -> ValuePath<A::Value> + Send + Sync + 'static,
{
    fn slot(&self) -> SlotIndex {
        self.slot
    }

    fn release(&self, task: &Task, origin: Origin, out: &mut Outbox) -> Left {
        let (groups, left) = let_go(task, self.slot, &*self.agg);
        let mut changed = Vec::with_capacity(groups.len());
        for (key, state) in groups {
            let path = (self.path)(&key);
            if let Some(value) = continued(&*self.agg, path.get(task), state) {
                path.set(task, value.clone());
                changed.push(Item::of(origin, (key, value)));
            }
        }
        self.then.run(task, changed, out);
        left
    }
}
