//! An author's values in memory on each task while an attempt or an invocation lasts.
//!
//! Relies on the slots of `gather`, which the engine empties with the attempt or the invocation. What
//! must stay true: a value is seen by the topology that made it alone, and by one attempt or
//! invocation of it (spec Q-10, F-34); it is lent to one closure at a time.

use std::marker::PhantomData;

use super::{Entrance, Flow, Steps};
use crate::failure::{EventFailure, raise};
use crate::gather::SlotIndex;
use crate::task::Task;
use crate::topology_def::Gathers;

/// A value of each task that lasts as long as one invocation of a query, or one attempt of a
/// microbatch: what was visited, what is the best so far. `Copy`; starts as the default.
///
/// It is in memory alone and no part of what a microbatch commits. A closure works on the value of the
/// task it runs on.
///
/// ```
/// # use std::collections::BTreeSet;
/// # use rama_runtime::{Depot, Map, Module, Partition, PState, Query, Setup, Turn};
/// # const LINKS: Depot<(u64, Vec<u64>)> = Depot::named("*links");
/// const NEXT: PState<Map<u64, Vec<u64>>> = PState::named("$$next");
/// /// Everything that can be reached from a node.
/// const REACHED: Query<u64, BTreeSet<u64>> = Query::named("reached");
///
/// # struct M;
/// # impl Module for M {
/// # fn define(&self, m: &mut Setup) {
/// # m.depot_by(LINKS, |link| &link.0);
/// # let mut s = m.stream("links");
/// # let next = s.pstate(NEXT);
/// # s.source(LINKS).each(move |task, (from, to)| next.key(&from).set(task, to));
/// m.query(REACHED, |q| {
///     let seen = q.temporary::<BTreeSet<u64>>();
///     q.iterate(|round| {
///         round
///             .hash_partition_by(|node| node)
///             .filter(move |task, node| seen.with(task, |seen| seen.insert(*node)))
///             .flat_map(move |task, node| {
///                 let next = next.key(&node).get(task).unwrap_or_default();
///                 let next = next.into_iter().map(Turn::Again);
///                 next.chain([Turn::Emit(node)]).collect::<Vec<_>>()
///             })
///     })
///     .origin_partition()
///     .agg(|of| of.set(|node| *node))
/// });
/// # }
/// # }
/// # rama_runtime::Definition::of(&M)?;
/// # Ok::<(), rama_runtime::DefinitionError>(())
/// ```
pub struct Temporary<V> {
    slot: SlotIndex,
    topology: usize,
    value: PhantomData<fn() -> V>,
}

/// What stands in the slot; nothing while it is lent.
struct Kept<V> {
    topology: usize,
    value: Option<V>,
}

impl<V: Default + 'static> Temporary<V> {
    /// Lends the value of the current task to `run`.
    ///
    /// # Errors
    /// The event fails when `run` itself uses the same value again, in code of another topology than the
    /// one that made it, in streams, and in the async code of a handler (a step that it calls may).
    pub fn with<R>(&self, task: &Task, run: impl FnOnce(&mut V) -> R) -> R {
        let refuse = |why: &str| -> ! {
            let message = format!("could not use a temporary value: {why}");
            raise(EventFailure::Unsupported { message })
        };
        if !task.keeps_slots() {
            refuse(
                "streams and async code have none; keep it in a PState or in a task global, or use it in \
                 a step that the async code calls",
            );
        }
        let topology = self.topology;
        let mut value = match task.take_slot::<Kept<V>>(self.slot) {
            None => V::default(),
            Some(kept) if kept.topology != topology => {
                refuse("it is that of another topology; make one by .temporary() of this one")
            }
            Some(kept) => kept
                .value
                .unwrap_or_else(|| refuse("it is lent already; do not use it in its own .with(…)")),
        };
        let lent = None;
        task.put_slot::<Kept<V>>(
            self.slot,
            Kept {
                topology,
                value: lent,
            },
        );
        let answer = run(&mut value);
        let value = Some(value);
        task.put_slot(self.slot, Kept { topology, value });
        answer
    }
}

impl<V> Clone for Temporary<V> {
    fn clone(&self) -> Temporary<V> {
        *self
    }
}

impl<V> Copy for Temporary<V> {}

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Gathers,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: 'static,
{
    /// A value of each task for the code of this topology, for as long as an invocation or an attempt
    /// lasts (spec Q-10, F-34).
    pub fn temporary<V: Default + 'static>(&self) -> Temporary<V> {
        Temporary {
            slot: self.chain.slot(),
            topology: self.chain.topology(),
            value: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests;
