//! Branches, merges and loops.
//!
//! Relies on joints for code that several chains share. What must stay true: what happens to a value on
//! one branch does not depend on another (spec F-10), a merge is no barrier (F-12), and a value leaves
//! a loop only by `Turn::Emit` (F-17).

use rama_wire::Record;

use super::fused::{IntoSink, To};
use super::joint::{Fork, Round};
use super::{Begin, Entrance, Flow, Hook, Local, Steps, Turn, close};
use crate::graph::{NodeKind, Place};
use crate::partition::Here;
use crate::topology_def::Kind;
use std::sync::Arc;

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Kind,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: 'static,
{
    /// Two chains that go on with the same values, each on its own way (spec F-10): in which order they
    /// run is not said. Both run in this event until they partition.
    #[track_caller]
    #[must_use = "both chains must end"]
    #[allow(clippy::type_complexity)]
    pub fn fork(self) -> (Flow<K, Local<T>, Begin, T>, Flow<K, Local<T>, Begin, T>)
    where
        T: Clone,
    {
        let Flow {
            steps, mut chain, ..
        } = self;
        let emits = std::any::type_name::<T>();
        chain.node(NodeKind::Branch, emits, Place::of_caller());
        let (first, one) = chain.joint();
        let (second, other) = chain.joint();
        close::<In, S, _>(chain, steps, IntoSink(Fork { first, second }));
        (Flow::begin(one), Flow::begin(other))
    }

    /// Runs a side chain on a copy of each value; the chain goes on with the value (spec F-10).
    /// What `side` builds must end.
    #[track_caller]
    pub fn branch(
        self,
        side: impl FnOnce(Flow<K, Local<T>, Begin, T>),
    ) -> Flow<K, Local<T>, Begin, T>
    where
        T: Clone,
    {
        let (branch, rest) = self.fork();
        side(branch);
        rest
    }

    /// Goes on with the values of both chains, each as it comes (spec F-12).
    #[track_caller]
    pub fn merge<In2, S2>(self, other: Flow<K, In2, S2, T>) -> Flow<K, Local<T>, Begin, T>
    where
        In2: Entrance,
        S2: Steps<In2::Value, Out = T>,
    {
        let place = Place::of_caller();
        let Flow {
            steps, mut chain, ..
        } = self;
        chain.node(NodeKind::Merge, std::any::type_name::<T>(), place);
        chain.merged_with(&other.chain, place);
        let (joint, next) = chain.joint();
        close::<In, S, _>(chain, steps, IntoSink(joint.clone()));
        other.close_into(IntoSink(joint));
        Flow::begin(next)
    }

    /// A loop (spec §4.4): `body` takes each value round, over any tasks, and ends every round with
    /// [`Turn::Again`] and a new value, or [`Turn::Emit`] and a value that goes on behind the loop.
    /// A round may end with none of them, or with many (F-19).
    ///
    /// ```
    /// # use rama_runtime::{Flow, Turn, Begin, Local, Stream};
    /// # fn collatz(flow: Flow<Stream, (u64, u32), Begin, (u64, u32)>) {
    /// flow.iterate(|round| {
    ///     round.map(|_, (n, steps)| match n {
    ///         1 => Turn::Emit(steps),
    ///         n if n % 2 == 0 => Turn::Again((n / 2, steps + 1)),
    ///         n => Turn::Again((3 * n + 1, steps + 1)),
    ///     })
    /// })
    /// .each(|_, steps| println!("{steps}"));
    /// # }
    /// ```
    #[track_caller]
    pub fn iterate<U, In2, S2>(
        self,
        body: impl FnOnce(Flow<K, T, Begin, T>) -> Flow<K, In2, S2, Turn<T, U>>,
    ) -> Flow<K, Local<U>, Begin, U>
    where
        T: Record + Send,
        U: 'static,
        In2: Entrance,
        S2: Steps<In2::Value, Out = Turn<T, U>>,
    {
        let place = Place::of_caller();
        let Flow {
            steps, mut chain, ..
        } = self;
        chain.node(NodeKind::Iterate, std::any::type_name::<T>(), place);
        let (head, round) = chain.stage();
        let level = chain.level();
        let exit = To {
            router: Arc::new(Here),
            stage: head,
            combine: Hook::new(),
        };
        close::<In, S, _>(chain, steps, exit);
        let end = body(Flow::begin(round));
        if end.chain.level() != level {
            end.chain.fault(
                "a loop".to_owned(),
                "waits for all values inside, which never come: some are still going round"
                    .to_owned(),
                "move the aggregation, the join or the materialization behind the loop".to_owned(),
                place,
            );
        }
        let (out, next) = end.chain.joint();
        end.close_into(IntoSink(Round { head, out }));
        Flow::begin(next)
    }
}
