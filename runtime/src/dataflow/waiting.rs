//! Steps that wait without holding up their task.
//!
//! Relies on `waits` to run the futures. What must stay true: a value goes on once, on the task where
//! it was, as an event of its own; an error fails the event as one of any step does (spec G-7).

use std::sync::Arc;

use rama_wire::Record;

use super::fused::{IntoSink, Sink};
use super::{Begin, Entrance, Flow, Steps, close};
use crate::AckLevel;
use crate::depot_def::Depot;
use crate::failure::EventFailure;
use crate::graph::{NodeKind, Place};
use crate::query_def::Query;
use crate::stage::{Batch, Item, Outbox, StageIndex};
use crate::task::Task;
use crate::topology_def::Kind;
use crate::waits::{Wait, Waiter};

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Kind,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: Send + 'static,
{
    /// Each value becomes what a future comes to, on the same task (spec F-7): a call to another
    /// system, a query, an append that is waited for. Other values go on meanwhile, so the order of what
    /// comes out is that in which the futures are done. An error fails the event; what happens to its
    /// record is as for every failure. The future runs on the task's own thread and must not block it.
    #[track_caller]
    pub fn map_async<U, E, F, Fut>(self, f: F) -> Flow<K, U, Begin, U>
    where
        U: Record + Send,
        E: ToString + 'static,
        F: Fn(Waiter, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<U, E>> + 'static,
    {
        self.wait(NodeKind::MapAsync, f)
    }

    /// Runs a query of the module for each value, which goes on with the result, on the same task (spec
    /// a nested query has read all it reads before the value goes on.
    #[track_caller]
    pub fn query<A, R, F>(self, query: Query<A, R>, args: F) -> Flow<K, (T, R), Begin, (T, R)>
    where
        T: Record,
        A: Record + Send,
        R: Record + Send,
        F: Fn(&T) -> A + Send + Sync + 'static,
    {
        self.chain.uses_query(query, Place::of_caller());
        self.wait(NodeKind::Query, move |waiter, value: T| {
            let args = args(&value);
            async move { Ok::<_, crate::Error>((value, waiter.query(query, args).await?)) }
        })
    }

    /// Appends a record to the partition of a depot on this task (spec D-30) for each value, which goes
    /// on when the append is done as far as `level` says (D-31). What the steps before wrote is durable
    /// before the record is (D-33). A retry appends again: give the record an id where that matters.
    #[track_caller]
    pub fn append<R, F>(self, depot: Depot<R>, level: AckLevel, record: F) -> Flow<K, T, Begin, T>
    where
        T: Record,
        R: Record,
        F: Fn(&T) -> R + Send + Sync + 'static,
    {
        self.chain
            .appends_to(depot.name(), level, Place::of_caller());
        self.wait(NodeKind::Append, move |waiter, value: T| {
            let record = record(&value);
            async move {
                waiter.append(depot, &record, level).await?;
                Ok::<_, crate::Error>(value)
            }
        })
    }

    #[track_caller]
    pub(super) fn wait<U, E, F, Fut>(self, kind: NodeKind, f: F) -> Flow<K, U, Begin, U>
    where
        U: Record + Send,
        E: ToString + 'static,
        F: Fn(Waiter, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<U, E>> + 'static,
    {
        let Flow {
            steps, mut chain, ..
        } = self;
        chain.node(kind, std::any::type_name::<U>(), Place::of_caller());
        let (stage, next) = chain.stage();
        let f = Arc::new(f);
        close::<In, S, _>(chain, steps, IntoSink(Waits { stage, f }));
        Flow::begin(next)
    }
}

/// Hands values over to wait.
struct Waits<F> {
    stage: StageIndex,
    f: Arc<F>,
}

impl<T, U, E, F, Fut> Sink<T> for Waits<F>
where
    T: 'static,
    U: Record + Send,
    E: ToString + 'static,
    F: Fn(Waiter, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<U, E>> + 'static,
{
    fn drain(&self, _: &Task, items: Vec<Item<T>>, out: &mut Outbox) {
        for Item { origin, value, .. } in items {
            let (f, stage) = (self.f.clone(), self.stage);
            let edge = out.edge_of(origin);
            let begin = Box::new(move |waiter| {
                let future = f(waiter, value);
                Box::pin(async move {
                    match future.await {
                        Ok(value) => Ok(Batch::new(vec![Item {
                            origin,
                            edge,
                            value,
                        }])),
                        Err(error) => Err(EventFailure::Author {
                            message: error.to_string(),
                        }),
                    }
                }) as futures_util::future::LocalBoxFuture<'static, _>
            });
            out.wait(Wait {
                stage,
                origin,
                begin,
            });
        }
    }
}
