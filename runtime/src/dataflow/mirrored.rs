//! Steps that use objects of other modules: their PStates, depots and queries (spec §10.1).
//!
//! Relies on `waits` for what is asked of other modules. A partition of another module is a number
//! that travels with the value: it is chosen in the other module's space, and the value goes to the
//! one task here that hosts it (spec R-12). What must stay true: each step resumes on the task where
//! it waited (spec X-2); there is no step that writes a mirror's PState.

use std::fmt::Display;

use rama_wire::{Key, Record, hash};

use super::{Begin, Entrance, Flow, Steps};
use crate::AckLevel;
use crate::graph::NodeKind;
use crate::mirror::{MirrorDepot, MirrorPState, MirrorQuery, Partitioned};
use crate::partition::Custom;
use crate::plan::Selectable;
use crate::schema::Root;
use crate::task::Task;
use crate::topology_def::Kind;

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Kind,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: Send + 'static,
{
    /// Reads a PState of another module for each value, which goes on with what was read, on the same
    /// task (spec X-2): `.select(names, |user| NAMES.key(user))`. The path begins with a key, which
    /// says where to read. What is read is committed; while the other module cannot be reached it is
    /// waited for, as long as `foreign.pstate.operation.timeout.millis` says (P-37).
    #[track_caller]
    pub fn select<R, P, F>(
        self,
        pstate: MirrorPState<R>,
        path: F,
    ) -> Flow<K, (T, P::Output), Begin, (T, P::Output)>
    where
        T: Record,
        R: Root,
        P: Selectable,
        P::Output: Record + Send,
        F: Fn(&T) -> P + Send + Sync + 'static,
    {
        self.wait(NodeKind::Select, move |waiter, value: T| {
            let selection = path(&value).selection();
            async move {
                let read = waiter.select(pstate, selection).await?;
                Ok::<_, crate::Error>((value, read))
            }
        })
    }

    /// As [`select`](Flow::select), at a partition of the other module that was chosen before, with any
    /// path: `.select_at(names, |(at, user)| (*at, NAMES.range(..)))`.
    #[track_caller]
    pub fn select_at<R, P, F>(
        self,
        pstate: MirrorPState<R>,
        path: F,
    ) -> Flow<K, (T, P::Output), Begin, (T, P::Output)>
    where
        T: Record,
        R: Root,
        P: Selectable,
        P::Output: Record + Send,
        F: Fn(&T) -> (u32, P) + Send + Sync + 'static,
    {
        self.wait(NodeKind::Select, move |waiter, value: T| {
            let (at, path) = path(&value);
            let selection = path.selection();
            async move {
                let read = waiter.select_at(pstate, at, selection).await?;
                Ok::<_, crate::Error>((value, read))
            }
        })
    }

    /// Runs a query of another module for each value, which goes on with the result, on the same task
    /// (spec X-5).
    #[track_caller]
    pub fn query_of<A, R, F>(
        self,
        query: MirrorQuery<A, R>,
        args: F,
    ) -> Flow<K, (T, R), Begin, (T, R)>
    where
        T: Record,
        A: Record + Send,
        R: Record + Send,
        F: Fn(&T) -> A + Send + Sync + 'static,
    {
        self.wait(NodeKind::Query, move |waiter, value: T| {
            let args = args(&value);
            async move { Ok::<_, crate::Error>((value, waiter.query_of(query, args).await?)) }
        })
    }

    /// Appends a record to a partition of another module's depot for each value, which goes on when
    /// the append is done as far as `level` says (spec ): with [`AckLevel::Ack`] when the
    /// streams of *that* module have processed it. The partition is one that was chosen before (D-36):
    /// `.hash_partition_of(events, |v| v.user).append_at(events, level, |(at, v)| (*at, v.event()))`.
    /// A retry appends again.
    #[track_caller]
    pub fn append_at<R, F>(
        self,
        depot: MirrorDepot<R>,
        level: AckLevel,
        record: F,
    ) -> Flow<K, T, Begin, T>
    where
        T: Record,
        R: Record,
        F: Fn(&T) -> (u32, R) + Send + Sync + 'static,
    {
        self.wait(NodeKind::Append, move |waiter, value: T| {
            let (at, record) = record(&value);
            async move {
                waiter.append_at(depot, at, &record, level).await?;
                Ok::<_, crate::Error>(value)
            }
        })
    }

    /// With the partition of another module's depot or PState that is home to a key, to the task here
    /// that hosts it (spec ).
    #[track_caller]
    pub fn hash_partition_of<O, Q, F>(self, object: O, key: F) -> Flow<K, (u32, T), Begin, (u32, T)>
    where
        T: Record,
        O: Partitioned,
        Q: Key,
        F: Fn(&T) -> Q + Send + Sync + 'static,
    {
        let at = move |value: &T, partitions| hash::task_of(&key(value).key_bytes(), partitions);
        self.send_to(NodeKind::HashPartition, object, at)
    }

    /// With a partition of another module's object that the closure chooses from how many there are,
    /// to the task here that hosts it; one that does not exist fails the event (spec ).
    #[track_caller]
    pub fn custom_partition_of<O, F>(
        self,
        object: O,
        index: F,
    ) -> Flow<K, (u32, T), Begin, (u32, T)>
    where
        T: Record,
        O: Partitioned,
        F: Fn(&T, u32) -> u32 + Send + Sync + 'static,
    {
        self.send_to(NodeKind::CustomPartition, object, index)
    }

    /// With the partition of that index of another module's object, to the task here that hosts it;
    /// one that does not exist fails the event (spec ).
    #[track_caller]
    pub fn direct_partition_of<O, F>(
        self,
        object: O,
        index: F,
    ) -> Flow<K, (u32, T), Begin, (u32, T)>
    where
        T: Record,
        O: Partitioned,
        F: Fn(&T) -> u32 + Send + Sync + 'static,
    {
        self.send_to(NodeKind::DirectPartition, object, move |value, _| {
            index(value)
        })
    }

    /// Once with each partition of another module's object, to the tasks here that host them (spec
    ///
    #[track_caller]
    pub fn all_partition_of<O>(self, object: O) -> Flow<K, (u32, T), Begin, (u32, T)>
    where
        T: Record,
        O: Partitioned,
    {
        let every = move |task: &Task, value: T| {
            let partitions = partitions(task, object);
            (0..partitions).map(move |at| (at, value.clone()))
        };
        let hosted = self
            .flat_map(every)
            .hop(NodeKind::AllPartition, Custom(host));
        hosted.named(title(object))
    }

    #[track_caller]
    fn send_to<O, F>(
        self,
        kind: NodeKind,
        object: O,
        index: F,
    ) -> Flow<K, (u32, T), Begin, (u32, T)>
    where
        T: Record,
        O: Partitioned,
        F: Fn(&T, u32) -> u32 + Send + Sync + 'static,
    {
        let chosen = move |task: &Task, value: T| {
            let partitions = partitions(task, object);
            let at = index(&value, partitions);
            if at >= partitions {
                task.fail(format!(
                    "partition {at} of {} was chosen, which has {partitions}; answer below the \
                     number of partitions",
                    title(object)
                ));
            }
            (at, value)
        };
        let hosted = self.map(chosen).hop(kind, Custom(host));
        hosted.named(title(object))
    }
}

/// The task that hosts a partition of another module.
fn host<T>((partition, _): &(u32, T), tasks: u32) -> u32 {
    partition % tasks
}

fn partitions(task: &Task, object: impl Partitioned) -> u32 {
    task.access().partitions_of(object.module(), object.name())
}

fn title(object: impl Partitioned) -> impl Display + Into<String> {
    format!("{} of {}", object.name(), object.module())
}
