//! What a handler holds while it runs: the task, and ways to others.
//!
//! Relies on `dataflow::handling` to poll the handler in events of its task alone and to send what
//! was asked for, and on `handlers` to keep it in between. What must stay true: an `.await` is an
//! event boundary (spec F-7), so what is read before it may have changed behind it; an answer reaches
//! the handler that asked, once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rama_wire::Record;

use crate::depot_def::Depot;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{AckLevel, Appended};
use crate::query_def::Query;
use crate::stage::{Batch, Item, Origin, Outbox, StageIndex};
use crate::step::{At, Step};
use crate::task::Task;
use crate::waits::{Wait, Waiter};

/// Who waits for the answer of a call: task, stage to go on at, handler, number of the call.
pub(crate) type Caller = (u32, u16, u64, u32);

/// A call on its way to a step; without a caller nobody waits.
pub(crate) type Call<A> = (Option<Caller>, A);

/// An answer on its way back: handler, number of the call, the encoded answer.
pub(crate) type Answer = (u64, u32, Vec<u8>);

/// Something a handler asked for, to be sent when its event ends.
type Request = Box<dyn FnOnce(&mut Outbox, Origin)>;

/// The task on which a handler runs: all that a [`Task`] is, and ways to others. Handed to the closure
/// of [`Flow::each_async`](crate::Flow::each_async).
///
/// Between two `.await`s everything is as in any event: local, synchronous, atomic. An `.await` ends
/// the event; other events run before the next one begins. Calls are on their way when the event
/// in which they were made ends, awaited or not, and all of them belong to the record: it is done
/// when they are. A future of another library must be wrapped in [`AsyncTask::wait`]. Cheap to clone.
#[derive(Clone)]
pub struct AsyncTask(Rc<Shared>);

/// What a handler and the futures that it made have in common.
pub(crate) struct Shared {
    task: Task,
    topology: u16,
    /// The stage at which it goes on.
    stage: StageIndex,
    id: u64,
    last: Cell<u32>,
    open: RefCell<BTreeMap<u32, Open>>,
    requests: RefCell<Vec<Request>>,
}

/// A call that was not answered, or whose answer was not taken.
enum Open {
    Waiting(Option<Waker>),
    Answered(Vec<u8>),
    /// Nobody waits, but the answer will come.
    Forgotten,
}

impl Shared {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Takes an answer. It is for nobody when the handler dropped the future it was for.
    pub(crate) fn answer(&self, call: u32, bytes: Vec<u8>) {
        let mut open = self.open.borrow_mut();
        match open.remove(&call) {
            Some(Open::Waiting(waker)) => {
                open.insert(call, Open::Answered(bytes));
                drop(open);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Some(Open::Forgotten) | None => {}
            Some(answered @ Open::Answered(_)) => {
                open.insert(call, answered);
            }
        }
    }

    /// Whether an answer will come.
    pub(crate) fn expects(&self) -> bool {
        let open = self.open.borrow();
        open.values().any(|open| !matches!(open, Open::Answered(_)))
    }

    /// Sends what was asked for in the event that ends.
    pub(crate) fn send(&self, out: &mut Outbox, origin: Origin) {
        for request in self.requests.take() {
            request(out, origin);
        }
    }

    fn next(&self) -> u32 {
        let call = self.last.get().wrapping_add(1);
        self.last.set(call);
        self.open.borrow_mut().insert(call, Open::Waiting(None));
        call
    }

    fn forget(&self, call: u32) {
        let mut open = self.open.borrow_mut();
        match open.get_mut(&call) {
            Some(waiting @ Open::Waiting(_)) => *waiting = Open::Forgotten,
            Some(Open::Answered(_)) => {
                open.remove(&call);
            }
            Some(Open::Forgotten) | None => {}
        }
    }

    /// The answers of some calls, when all are there.
    fn take(&self, calls: Range<u32>, waker: &Waker) -> Poll<Vec<Vec<u8>>> {
        let mut open = self.open.borrow_mut();
        for call in calls.clone() {
            if let Some(Open::Waiting(who)) = open.get_mut(&call) {
                *who = Some(waker.clone());
                return Poll::Pending;
            }
        }
        let answer = |call| match open.remove(&call) {
            Some(Open::Answered(bytes)) => bytes,
            _ => Vec::new(),
        };
        Poll::Ready(calls.map(answer).collect())
    }
}

impl AsyncTask {
    pub(crate) fn new(task: &Task, topology: u16, stage: StageIndex) -> AsyncTask {
        AsyncTask(Rc::new(Shared {
            task: task.another(),
            topology,
            stage,
            // Not dense: an answer to a handler of an earlier life of the thread finds nobody.
            id: task.random_u64(),
            last: Cell::new(0),
            open: RefCell::default(),
            requests: RefCell::default(),
        }))
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.0
    }

    /// Runs a step on a task and answers with what it answers. The step is an event of that task; if
    /// it fails, so does the record.
    ///
    /// # Errors
    /// `Invalid` for a task that does not exist, or a step of another topology.
    pub fn call<A, R>(&self, at: At, step: Step<A, R>, args: A) -> Called<R>
    where
        A: Record + Send,
        R: Record + Send,
    {
        Called(self.call_all([(at, step, args)]))
    }

    /// Runs steps at the same time and answers with all answers, in the order of the calls. Calls of one
    /// task run there in that order (spec O-9).
    ///
    /// # Errors
    /// As [`AsyncTask::call`]; then none of them runs.
    pub fn call_all<A, R>(
        &self,
        calls: impl IntoIterator<Item = (At, Step<A, R>, A)>,
    ) -> CalledAll<R>
    where
        A: Record + Send,
        R: Record + Send,
    {
        let (first, home, id) = (self.0.last.get().wrapping_add(1), self.id(), self.0.id);
        let back = self.0.stage.0;
        let prepared = self.prepare(calls, || Some((home, back, id, self.0.next())));
        CalledAll {
            shared: self.0.clone(),
            calls: first..self.0.last.get().wrapping_add(1),
            refused: prepared.err(),
            answer: PhantomData,
        }
    }

    /// Runs a step on a task without waiting for it. The record is not done before the step is.
    ///
    /// # Errors
    /// As [`AsyncTask::call`].
    pub fn send<A, R>(&self, at: At, step: Step<A, R>, args: A) -> Result<()>
    where
        A: Record + Send,
        R: Record + Send,
    {
        self.prepare([(at, step, args)], || None)
    }

    fn prepare<A, R>(
        &self,
        calls: impl IntoIterator<Item = (At, Step<A, R>, A)>,
        caller: impl Fn() -> Option<Caller>,
    ) -> Result<()>
    where
        A: Record + Send,
        R: Record + Send,
    {
        let mut checked = Vec::new();
        for (at, step, args) in calls {
            checked.push((self.place(at, &step)?, args));
        }
        let mut stages: BTreeMap<(StageIndex, u32), Vec<Call<A>>> = BTreeMap::new();
        for (place, args) in checked {
            stages.entry(place).or_default().push((caller(), args));
        }
        self.request(move |out, origin| {
            for ((stage, task), calls) in stages {
                out.emit(origin, stage, task, calls);
            }
        });
        Ok(())
    }

    fn place<A, R>(&self, at: At, step: &Step<A, R>) -> Result<(StageIndex, u32)> {
        if step.topology != self.0.topology {
            return Err(Error::invalid(
                "could not call a step of another topology: register one with this topology",
            ));
        }
        let tasks = self.count();
        let task = at.among(tasks).map_err(|task| {
            Error::invalid(format!(
                "could not call a step on task {task}: there are {tasks} tasks, from 0"
            ))
        })?;
        Ok((step.stage, task))
    }

    /// Waits for any future. It runs on the task's own thread, outside of events, and must not block
    /// it; reads and writes of PStates do not belong into it.
    pub fn wait<F>(&self, future: F) -> Waiting<F::Output>
    where
        F: Future + 'static,
    {
        self.wait_with(|_| future)
    }

    /// Completes after a time.
    pub fn sleep(&self, duration: Duration) -> Waiting<()> {
        self.wait_with(move |waiter| async move { waiter.sleep(duration).await })
    }

    /// Runs a query of the module: as [`Waiter::query`].
    ///
    /// # Errors
    /// As [`Waiter::query`].
    pub fn query<A, R>(&self, query: Query<A, R>, args: A) -> Waiting<Result<R>>
    where
        A: Record + Send,
        R: Record + Send,
    {
        self.wait_with(move |waiter| async move { waiter.query(query, args).await })
    }

    /// Appends a record to the partition of a depot on this task: as [`Waiter::append`]. What the
    /// event wrote is durable before.
    ///
    /// # Errors
    /// As [`Waiter::append`].
    pub fn append<T: Record>(
        &self,
        depot: Depot<T>,
        record: T,
        level: AckLevel,
    ) -> Waiting<Result<Appended>> {
        self.wait_with(move |waiter| async move { waiter.append(depot, &record, level).await })
    }

    fn wait_with<F: Future + 'static>(
        &self,
        make: impl FnOnce(Waiter) -> F + 'static,
    ) -> Waiting<F::Output> {
        let (call, stage, id) = (self.0.next(), self.0.stage, self.0.id);
        let result = Rc::new(RefCell::new(None));
        let fill = result.clone();
        self.request(move |out, origin| {
            let edge = out.edge_of(origin);
            let begin = Box::new(move |waiter: Waiter| {
                let future = make(waiter);
                Box::pin(async move {
                    fill.replace(Some(future.await));
                    let value: Answer = (id, call, Vec::new());
                    Ok(Batch::new(vec![Item {
                        origin,
                        edge,
                        value,
                    }]))
                }) as futures_util::future::LocalBoxFuture<'static, _>
            });
            out.wait(Wait {
                stage,
                origin,
                begin,
            });
        });
        Waiting {
            shared: self.0.clone(),
            call,
            result,
        }
    }

    fn request(&self, request: impl FnOnce(&mut Outbox, Origin) + 'static) {
        self.0.requests.borrow_mut().push(Box::new(request));
    }
}

impl Deref for AsyncTask {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.0.task
    }
}

impl std::fmt::Debug for AsyncTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AsyncTask").field(&self.id()).finish()
    }
}

/// The answers of [`AsyncTask::call_all`].
#[must_use = "the calls run all the same; `.await` waits for their answers"]
pub struct CalledAll<R> {
    shared: Rc<Shared>,
    calls: Range<u32>,
    refused: Option<Error>,
    answer: PhantomData<fn() -> R>,
}

impl<R: Record> Future for CalledAll<R> {
    type Output = Result<Vec<R>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Vec<R>>> {
        if let Some(refused) = self.refused.take() {
            return Poll::Ready(Err(refused));
        }
        let answers = match self.shared.take(self.calls.clone(), cx.waker()) {
            Poll::Ready(answers) => answers,
            Poll::Pending => return Poll::Pending,
        };
        let decoded = answers.iter().map(|bytes| {
            R::decode(bytes).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "could not read the answer of a step")
                    .caused_by(error)
            })
        });
        Poll::Ready(decoded.collect())
    }
}

impl<R> Drop for CalledAll<R> {
    fn drop(&mut self) {
        for call in self.calls.clone() {
            self.shared.forget(call);
        }
    }
}

/// The answer of [`AsyncTask::call`].
#[must_use = "the step runs all the same; `.await` waits for its answer"]
pub struct Called<R>(CalledAll<R>);

impl<R: Record> Future for Called<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R>> {
        Pin::new(&mut self.0).poll(cx).map(|answers| {
            let lost = || Error::new(ErrorKind::Corrupt, "a step answered nothing");
            answers?.pop().ok_or_else(lost)
        })
    }
}

/// What a future comes to that runs outside of events.
#[must_use = "the future runs all the same; `.await` waits for it"]
pub struct Waiting<T> {
    shared: Rc<Shared>,
    call: u32,
    result: Rc<RefCell<Option<T>>>,
}

impl<T> Future for Waiting<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let only = self.call..self.call.wrapping_add(1);
        if self.shared.take(only, cx.waker()).is_pending() {
            return Poll::Pending;
        }
        match self.result.take() {
            Some(result) => Poll::Ready(result),
            None => panic!("a future was polled again after it was done"),
        }
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.shared.forget(self.call);
    }
}
