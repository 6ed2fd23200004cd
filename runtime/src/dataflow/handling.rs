//! Handlers: author code that goes back and forth between tasks and reads as if it did not.
//!
//! Relies on `async_task` for what a handler asks for and on `handlers` to keep it while it waits. A
//! handler has two stages: the one it begins in, and the one its answers arrive at; a step has one.
//! What must stay true: a handler runs in events of its task alone; each thing it waits for has an
//! edge of its record on the way, so that no tree and no attempt is complete before (spec F-7).

use std::collections::BTreeMap;
use std::sync::Arc;

use rama_wire::Record;

use super::fused::{IntoSink, Sink};
use super::{Begin, Entrance, Flow, Steps, close};
use crate::async_task::{Answer, AsyncTask, Call};
use crate::failure::EventFailure;
use crate::graph::{NodeKind, Place};
use crate::handlers::{Finish, Handler};
use crate::setup::Chain;
use crate::stage::{Item, Outbox, StageIndex};
use crate::step::Step;
use crate::task::Task;
use crate::topology_def::{Asked, Kind};

impl<K, In, S, T> Flow<K, In, S, T>
where
    K: Kind,
    In: Entrance,
    S: Steps<In::Value, Out = T>,
    T: Send + 'static,
{
    /// Runs a handler for each value, which ends here: async code that reads and writes PStates of its
    /// task, and calls steps on others. An error fails the event that it came out of; what happens to
    /// the record is as for every failure. See [`AsyncTask`] for what holds between two `.await`s.
    ///
    /// ```
    /// # use rama_runtime::{At, Depot, Map, Module, Partition, PState, Setup};
    /// const ORDERS: Depot<(u64, u64, u64)> = Depot::named("*orders");
    /// const STOCK: PState<Map<u64, u64>> = PState::named("$$stock");
    /// const SOLD: PState<Map<u64, u64>> = PState::named("$$sold");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     m.depot(ORDERS, Partition::hash_by(|(customer, _, _)| *customer));
    ///     let mut mb = m.microbatch("orders");
    ///     let (stock, sold) = (mb.pstate(STOCK), mb.pstate(SOLD));
    ///     let take = mb.step(move |task, (item, wanted): (u64, u64)| {
    ///         stock.key(&item).modify(task, |left| {
    ///             let taken = wanted.min(*left);
    ///             *left -= taken;
    ///             taken
    ///         })
    ///     });
    ///     mb.source(ORDERS).each_async(move |cx, (customer, item, wanted)| async move {
    ///         let taken = cx.call(At::home(&item), take, (item, wanted)).await?;
    ///         sold.key(&customer).modify(&cx, |all| *all += taken);
    ///         Ok::<_, rama_runtime::Error>(())
    ///     });
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn each_async<E, F, Fut>(self, f: F)
    where
        E: ToString + 'static,
        F: Fn(AsyncTask, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + 'static,
    {
        let handled = self.handle(NodeKind::EachAsync, "()", f, |(), _, _, _| {});
        close::<Answer, Begin, _>(handled, Begin, IntoSink(Resume));
    }

    /// As [`each_async`](Flow::each_async), with a value of each handler to go on with, on the same
    /// task, in an event behind its last one.
    #[track_caller]
    pub fn then_async<U, E, F, Fut>(self, f: F) -> Flow<K, U, Begin, U>
    where
        U: Record + Send,
        E: ToString + 'static,
        F: Fn(AsyncTask, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<U, E>> + 'static,
    {
        let emits = std::any::type_name::<U>();
        let goes_on = Arc::new(std::sync::OnceLock::new());
        let stage = goes_on.clone();
        let handled = self.handle(
            NodeKind::ThenAsync,
            emits,
            f,
            move |value, task, out, origin| {
                let stage = *stage.get().expect("the stage was opened with the handler");
                out.emit(origin, stage, task.id(), vec![value]);
            },
        );
        let (stage, next) = handled.stage();
        goes_on.set(stage).expect("set once");
        close::<Answer, Begin, _>(handled, Begin, IntoSink(Resume));
        Flow::begin(next)
    }

    /// Ends the chain in handlers; answers with the chain their answers arrive at.
    #[track_caller]
    fn handle<U, E, F, Fut, G>(self, kind: NodeKind, emits: &'static str, f: F, finish: G) -> Chain
    where
        U: 'static,
        E: ToString + 'static,
        F: Fn(AsyncTask, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<U, E>> + 'static,
        G: Fn(U, &Task, &mut Outbox, crate::stage::Origin) + Send + Sync + 'static,
    {
        let Flow {
            steps, mut chain, ..
        } = self;
        chain.node(kind, emits, Place::of_caller());
        let (resume, next) = chain.stage();
        let start = Start {
            topology: chain.topology() as u16,
            resume,
            f,
            finish: Arc::new(finish),
        };
        close::<In, S, _>(chain, steps, IntoSink(start));
        next
    }
}

impl<In, S, T> Flow<Asked, In, S, T> {
    /// Registers a step for handlers of this query: see [`Topology::step`](crate::Topology::step).
    #[track_caller]
    pub fn step<A, R, F>(&self, f: F) -> Step<A, R>
    where
        A: Record + Send,
        R: Record + Send,
        F: Fn(&Task, A) -> R + Send + Sync + 'static,
    {
        step(self.chain.apart::<A>(Place::of_caller()), f)
    }
}

/// Makes a step of the code of a chain that nothing comes before.
pub(crate) fn step<A, R, F>((stage, chain): (StageIndex, Chain), f: F) -> Step<A, R>
where
    A: Record + Send,
    R: Record + Send,
    F: Fn(&Task, A) -> R + Send + Sync + 'static,
{
    let topology = chain.topology() as u16;
    close::<Call<A>, Begin, _>(chain, Begin, IntoSink(Stepping(f)));
    Step::new(topology, stage)
}

/// Begins a handler for each value.
struct Start<F, G> {
    topology: u16,
    resume: StageIndex,
    f: F,
    finish: Arc<G>,
}

impl<T, U, E, F, Fut, G> Sink<T> for Start<F, G>
where
    T: 'static,
    U: 'static,
    E: ToString + 'static,
    F: Fn(AsyncTask, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<U, E>> + 'static,
    G: Fn(U, &Task, &mut Outbox, crate::stage::Origin) + Send + Sync + 'static,
{
    fn drain(&self, task: &Task, items: Vec<Item<T>>, out: &mut Outbox) {
        for Item { origin, value, .. } in items {
            out.turn_to(task, origin);
            let cx = AsyncTask::new(task, self.topology, self.resume);
            let shared = cx.shared().clone();
            let (future, finish) = ((self.f)(cx, value), self.finish.clone());
            let future = Box::pin(async move {
                match future.await {
                    Ok(value) => Ok(Box::new(
                        move |task: &Task, out: &mut Outbox, origin: crate::stage::Origin| {
                            finish(value, task, out, origin);
                        },
                    ) as Finish),
                    Err(error) => Err(EventFailure::Author {
                        message: error.to_string(),
                    }),
                }
            });
            Handler::new(shared, future).run(task, out, origin);
        }
    }
}

/// Lets handlers go on with their answers.
struct Resume;

impl Sink<Answer> for Resume {
    fn drain(&self, task: &Task, items: Vec<Item<Answer>>, out: &mut Outbox) {
        for Item { origin, value, .. } in items {
            let (id, call, bytes) = value;
            out.turn_to(task, origin);
            match task.take_handler(id) {
                Some(handler) => {
                    handler.answer(call, bytes);
                    handler.run(task, out, origin);
                }
                // It was thrown away with a batch, or is too old: its tree has failed or will, by its
                // timeout, because this edge never ends.
                None => {
                    out.edge_of(origin);
                }
            }
        }
    }
}

/// Runs a step for each call and sends the answers back.
struct Stepping<F>(F);

impl<A, R, F> Sink<Call<A>> for Stepping<F>
where
    A: 'static,
    R: Record + Send,
    F: Fn(&Task, A) -> R + Send + Sync + 'static,
{
    fn drain(&self, task: &Task, items: Vec<Item<Call<A>>>, out: &mut Outbox) {
        let mut answers: BTreeMap<(StageIndex, u32), Vec<Item<Answer>>> = BTreeMap::new();
        for Item { origin, value, .. } in items {
            let (caller, args) = value;
            out.turn_to(task, origin);
            let answer = (self.0)(task, args);
            let Some((home, stage, id, call)) = caller else {
                continue;
            };
            let (edge, value) = (out.edge_of(origin), (id, call, answer.to_bytes()));
            answers
                .entry((StageIndex(stage), home))
                .or_default()
                .push(Item {
                    origin,
                    edge,
                    value,
                });
        }
        for ((stage, home), items) in answers {
            out.hand_over(stage, home, items);
        }
    }
}
