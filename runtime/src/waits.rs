//! Author code that waits: for another query, for a durable append, for time, for any future.
//!
//! Relies on the executor of the task thread. A value that waits is out of its topology's hands until
//! its future is done; then it comes back to its task as a hop would, under its own edge, so that trees
//! and attempts are not complete before (spec F-7). What must stay true: a future is polled on its
//! task's thread alone, a panic in it fails its value and nothing else, and none outlives its thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{AbortHandle, Abortable, LocalBoxFuture};
use rama_io::{Category, Env, Tick};
use rama_wire::Record;

use crate::cluster::Cluster;
use crate::depot_def::Depot;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{EventFailure, guard};
use crate::message::{AckLevel, AppendRequest, Appended, ClientRequest, Message, Records, Reply};
use crate::query_def::Query;
use crate::stage::{Batch, Origin, StageIndex};
use crate::task_thread::Thread;

/// A value that waits, and the stage it goes on at.
pub(crate) struct Wait {
    pub(crate) stage: StageIndex,
    pub(crate) origin: Origin,
    pub(crate) begin: Begin,
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wait({:?}, {:?})", self.stage, self.origin)
    }
}

/// Makes the future, on the thread where it will run.
pub(crate) type Begin = Box<dyn FnOnce(Waiter) -> LocalBoxFuture<'static, Waited>>;

/// What a wait came to: one item, or why the event failed.
pub(crate) type Waited = std::result::Result<Batch, EventFailure>;

/// What code that waits may use: handed to the closure of [`Flow::map_async`](crate::Flow::map_async).
///
/// PStates are not there: read and write them in the steps before and behind. Cheap to clone.
#[derive(Clone)]
pub struct Waiter(Rc<dyn Services>);

/// What a task thread does for code that waits.
trait Services {
    fn task(&self) -> u32;
    fn now_ms(&self) -> u64;
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()>;
    fn now(&self) -> Tick;
    fn others(&self) -> Result<(Cluster, Duration)>;
    fn invoke(&self, name: &str, args: Vec<u8>) -> Result<oneshot::Receiver<Result<Vec<u8>>>>;
    fn append(
        &self,
        name: &str,
        record: Vec<u8>,
        level: AckLevel,
    ) -> Result<oneshot::Receiver<Result<Appended>>>;
}

impl Waiter {
    /// The task this runs on.
    pub fn task_id(&self) -> u32 {
        self.0.task()
    }

    /// Wall clock, milliseconds since the Unix epoch. Virtual in a simulation.
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    /// The executor's time, which never goes back.
    pub(crate) fn now(&self) -> Tick {
        self.0.now()
    }

    /// The way to other modules, and how long they are waited for.
    pub(crate) fn others(&self) -> Result<(Cluster, Duration)> {
        self.0.others()
    }

    /// Completes after a time.
    pub async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }

    /// Runs a query of the module and answers here with its result (spec Q-8). Queries may invoke each
    /// other and themselves; each invocation has its own deadline.
    ///
    /// # Errors
    /// As [`QueryClient::invoke`](crate::QueryClient::invoke).
    pub async fn query<A: Record + Send, R: Record + Send>(
        &self,
        query: Query<A, R>,
        args: A,
    ) -> Result<R> {
        let answer = answered(self.0.invoke(query.name(), args.to_bytes())?).await?;
        R::decode(&answer).map_err(|error| {
            let text = format!("could not read what query {} answered", query.name());
            Error::new(ErrorKind::Corrupt, text).caused_by(error)
        })
    }

    /// Appends a record to the partition of a depot on this task (spec D-30) and waits as `level` says
    /// (D-31). What the event before wrote is durable by then. A retry appends again.
    ///
    /// # Errors
    /// As [`DepotClient::append_with`](crate::DepotClient::append_with).
    pub async fn append<T: Record>(
        &self,
        depot: Depot<T>,
        record: &T,
        level: AckLevel,
    ) -> Result<Appended> {
        let sent = self.0.append(depot.name(), record.to_bytes(), level)?;
        match level {
            AckLevel::None => Ok(Appended {
                partition: self.task_id(),
                ..Appended::default()
            }),
            AckLevel::AppendAck | AckLevel::Ack => answered(sent).await,
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiter").field(&self.task_id()).finish()
    }
}

async fn answered<T>(answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    answer.await.unwrap_or_else(|_| Err(stopping()))
}

fn stopping() -> Error {
    Error::unavailable("the task thread stops")
}

/// The futures of a thread that are not done.
#[derive(Default)]
pub(crate) struct Waits {
    last: Cell<u64>,
    running: RefCell<BTreeMap<u64, AbortHandle>>,
}

impl Waits {
    /// Ends all of them. Before the thread stops.
    pub(crate) fn abort(&self) {
        for handle in self.running.take().into_values() {
            handle.abort();
        }
    }
}

/// A task of a thread that may have stopped.
struct OnThread<E: Env> {
    thread: Weak<Thread<E>>,
    env: E,
    task: u32,
    /// The stream whose code waits, if one does.
    stream: Option<u16>,
}

impl<E: Env> OnThread<E> {
    fn send<T>(
        &self,
        make: impl FnOnce(&Thread<E>, Reply<T>) -> Result<(u32, ClientRequest)>,
    ) -> Result<oneshot::Receiver<Result<T>>> {
        let thread = self.thread.upgrade().ok_or_else(stopping)?;
        let (reply, answer) = oneshot::channel();
        let (task, request) = make(&thread, reply)?;
        thread.send(task, Message::Client(request));
        Ok(answer)
    }
}

impl<E: Env> OnThread<E> {
    /// Whether the stream whose code waits is one that processes this depot (spec D-32).
    fn consumes(&self, thread: &Thread<E>, depot: usize) -> bool {
        self.stream.is_some_and(|stream| {
            let sources = &thread.layout.topologies[usize::from(stream)].sources;
            sources
                .iter()
                .any(|source| usize::from(source.depot) == depot)
        })
    }
}

impl<E: Env> Services for OnThread<E> {
    fn task(&self) -> u32 {
        self.task
    }

    fn now_ms(&self) -> u64 {
        let wall_ms = self.env.wall_ms();
        match self.thread.upgrade() {
            Some(thread) => thread.layout.clock.now_ms(wall_ms),
            None => wall_ms,
        }
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        let env = self.env.clone();
        Box::pin(async move { env.sleep(duration).await })
    }

    fn now(&self) -> Tick {
        self.env.now()
    }

    fn others(&self) -> Result<(Cluster, Duration)> {
        let thread = self.thread.upgrade().ok_or_else(stopping)?;
        let others = thread.layout.others.upgrade().ok_or_else(stopping)?;
        Ok((others, thread.tuning().foreign_timeout))
    }

    fn invoke(&self, name: &str, args: Vec<u8>) -> Result<oneshot::Receiver<Result<Vec<u8>>>> {
        self.send(|thread, reply| {
            let layout = &thread.layout;
            let query = layout.queries.iter().position(|query| query.name == name);
            let missing = || Error::not_found(format!("{} has no query {name}", layout.module));
            let query = query.ok_or_else(missing)?;
            let random = (self.env.random_u64() % u64::from(layout.tasks)) as u32;
            let task = layout.definition.queries[query].begins(&args, layout.tasks);
            let task = task?.unwrap_or(random);
            let request = ClientRequest::Invoke {
                task,
                query: query as u16,
                args,
                reply,
            };
            Ok((task, request))
        })
    }

    fn append(
        &self,
        name: &str,
        record: Vec<u8>,
        ack: AckLevel,
    ) -> Result<oneshot::Receiver<Result<Appended>>> {
        self.send(|thread, reply| {
            let layout = &thread.layout;
            let depot = layout.depots.iter().position(|depot| depot.name == name);
            let missing = || Error::not_found(format!("{} has no depot {name}", layout.module));
            let depot = depot.ok_or_else(missing)?;
            if self.task >= layout.depots[depot].partitions {
                let text = format!(
                    "{name} has no partition on task {}; go to task 0",
                    self.task
                );
                return Err(Error::invalid(text));
            }
            if ack == AckLevel::Ack && self.consumes(thread, depot) {
                return Err(Error::invalid(format!(
                    "an acknowledged append to {name} would wait for the stream that waits for it: \
                     append with AckLevel::AppendAck"
                )));
            }
            let mut records = Records::default();
            records.push_with(|bytes| bytes.extend_from_slice(&record));
            let request = AppendRequest {
                departure: None,
                numbered: None,
                task: self.task,
                depot: depot as u16,
                records,
                ack,
                reply,
            };
            Ok((self.task, ClientRequest::Append(request)))
        })
    }
}

/// Starts a wait on a task, for code of a stream if one is named; `then` learns what it came to, unless the thread stops before.
pub(crate) fn start<E: Env>(
    thread: &Rc<Thread<E>>,
    (task, stream): (u32, Option<u16>),
    category: Category,
    wait: Wait,
    then: impl FnOnce(&Rc<Thread<E>>, Origin, StageIndex, Waited) + 'static,
) {
    let Wait {
        stage,
        origin,
        begin,
    } = wait;
    let waiter = Waiter(Rc::new(OnThread {
        thread: Rc::downgrade(thread),
        env: thread.env.clone(),
        task,
        stream,
    }));
    let waits = &thread.waits;
    let number = waits.last.get() + 1;
    waits.last.set(number);
    let (handle, registration) = AbortHandle::new_pair();
    waits.running.borrow_mut().insert(number, handle);
    let weak = Rc::downgrade(thread);
    let work = async move {
        let waited = guarded(begin, waiter).await;
        if let Some(thread) = weak.upgrade() {
            thread.waits.running.borrow_mut().remove(&number);
            then(&thread, origin, stage, waited);
        }
    };
    let work = Abortable::new(work, registration);
    thread.env.spawn(category, async move {
        let _ = work.await;
    });
}

/// Makes and polls author code; a panic is a failure.
async fn guarded(begin: Begin, waiter: Waiter) -> Waited {
    let mut future: Pin<Box<dyn Future<Output = Waited>>> = guard(|| begin(waiter))?;
    poll_fn(move |cx| match guard(|| future.as_mut().poll(cx)) {
        Ok(polled) => polled,
        Err(failure) => Poll::Ready(Err(failure)),
    })
    .await
}
