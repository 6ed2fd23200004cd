//! Runs query topologies: events of invocations on every task, and their coordination where they began.
//!
//! Relies on the dataflow for what an event emits and on edges for what is left of an invocation: each
//! event tells its home the XOR of what it consumed and emitted, and when all of that is zero nothing
//! runs anywhere. Then what was gathered is let go, level by level, and behind the last level stands
//! the answer. What must stay true: a query reads committed data and writes none (spec Q-11); an
//! invocation ends once, with one answer or one error, and leaves nothing behind on any task.

mod context;
mod home;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::select;
use rama_io::{Category, Env, Tick};
use rama_storage::lsm::WriteBatch;

use crate::category_queue::Queue;
use crate::failure::{EventFailure, guard};
use crate::gather::{Gather, Left, Reach, SlotIndex, Slots};
use crate::layout::QueryLayout;
use crate::message::{Message, Reply};
use crate::spill;
use crate::stage::{Batch, EncodedItem, Origin, Outbox, Outgoing, StageIndex};
use crate::task::Task;
use crate::task_thread::Thread;
use crate::waits::{self, Wait, Waited};

pub(crate) use context::QueryContext;
use home::Homes;

/// One run of a query: the task where it began, and a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Invocation {
    pub(crate) home: u32,
    pub(crate) number: u64,
}

impl Invocation {
    fn origin(self) -> Origin {
        Origin {
            record: self.number,
            home: self.home,
        }
    }
}

/// From task to task about one invocation.
pub(crate) enum QueryMessage {
    /// Items on their way to a stage.
    Hop { stage: StageIndex, batch: Batch },
    /// Nothing is left to run below this level: what was gathered at it may go on, as work of that id.
    Release { level: u16, work: u64 },
    /// To the home: the XOR of what an event consumed and emitted.
    Ran { edges: u64 },
    /// To the home: an event failed.
    Failed { text: Arc<str> },
    /// To the home, on its own thread: a part of it is lost with a link.
    Lost { text: Arc<str> },
    /// It is over: forget it.
    Over,
}

/// An invocation of a query, on a task.
type At = (u32, u16, Invocation);

/// What there is to do for queries on a thread.
pub(crate) enum Work {
    /// A client or a topology asks.
    Invoke {
        task: u32,
        query: u16,
        args: Vec<u8>,
        reply: Reply<Vec<u8>>,
    },
    Message {
        task: u32,
        query: u16,
        invocation: Invocation,
        message: QueryMessage,
    },
    /// What was gathered at a level has not gone on in whole: it does, from a gathering on.
    GoOn {
        at: At,
        level: u16,
        from: usize,
        work: u64,
    },
}

/// The queries of one task thread.
pub(crate) struct Queries<E: Env> {
    work: Queue<Work>,
    /// By the place of the task in its thread.
    tasks: Vec<OnTask<E>>,
    out: RefCell<Outbox>,
    homes: RefCell<Homes>,
    /// Whose rows take more memory than they may.
    heavy: Cell<Option<At>>,
    /// Nothing is too late before this. Often it is earlier than need be, for to look at all that is
    /// open with every message would make each of a thousand queries a thousand times slower.
    due: Cell<Option<Tick>>,
}

/// Queries on one task.
struct OnTask<E: Env> {
    context: Rc<QueryContext<E>>,
    handle: Rc<Task>,
    kept: RefCell<BTreeMap<Invocation, Kept>>,
}

/// What an invocation has in memory on a task.
struct Kept {
    slots: Slots,
    /// When it is forgotten, should nobody say that the invocation is over.
    until: Tick,
}

impl<E: Env> Queries<E> {
    /// For the tasks of a thread, each with its context.
    pub(crate) fn new(
        tasks: u32,
        seed: u64,
        on_tasks: impl Iterator<Item = Rc<QueryContext<E>>>,
    ) -> Queries<E> {
        let on_task = |context: Rc<QueryContext<E>>| OnTask {
            handle: Rc::new(Task::new(context.clone())),
            context,
            kept: RefCell::default(),
        };
        Queries {
            work: Queue::default(),
            tasks: on_tasks.map(on_task).collect(),
            out: RefCell::new(Outbox::tracked(tasks, seed)),
            homes: RefCell::default(),
            heavy: Cell::new(None),
            due: Cell::new(None),
        }
    }

    pub(crate) fn push(&self, work: Work) {
        self.work.push(work);
    }

    /// What another thread had to say may be lost: nobody knows of which invocation, so all that began
    /// here are given up.
    pub(crate) fn on_part_lost(&self, text: &str) {
        for invocation in self.homes.borrow().all() {
            self.lose(invocation, &text.into());
        }
    }

    /// A part of an invocation that began here is lost.
    pub(crate) fn lose(&self, invocation: (u16, Invocation), text: &Arc<str>) {
        let text = text.clone();
        self.push(Work::about(invocation, QueryMessage::Lost { text }));
    }

    /// Something new is too late at `until`.
    fn bound(&self, until: Tick) {
        let due = self.due.get().map_or(until, |due| due.min(until));
        self.due.set(Some(due));
    }

    /// When something of all that is open is too late next.
    fn first_due(&self) -> Option<Tick> {
        let kept = self.tasks.iter().flat_map(|task| {
            let kept = task.kept.borrow();
            kept.values().map(|kept| kept.until).min()
        });
        kept.chain(self.homes.borrow().due()).min()
    }
}

impl Work {
    /// A message for the home of an invocation that is here.
    fn about((query, invocation): (u16, Invocation), message: QueryMessage) -> Work {
        Work::Message {
            task: invocation.home,
            query,
            invocation,
            message,
        }
    }
}

/// Runs until the task thread stops.
pub(crate) async fn serve<E: Env>(thread: Rc<Thread<E>>) {
    loop {
        let ready = pin!(thread.queries.work.ready());
        match thread.queries.due.get() {
            None => ready.await,
            Some(due) => {
                let sleep = pin!(thread.env.sleep(due.since(thread.env.now())));
                select(ready, sleep).await;
            }
        }
        expire(&thread);
        if let Some(work) = thread.queries.work.pop() {
            handle(&thread, work).await;
        }
        if let Some(at) = thread.queries.heavy.take() {
            lighten(&thread, at).await;
        }
        spill::sweep(&thread).await;
        thread.env.yield_now().await;
    }
}

async fn handle<E: Env>(thread: &Rc<Thread<E>>, work: Work) {
    match work {
        Work::Invoke {
            task,
            query,
            args,
            reply,
        } => home::begin(thread, (task, query), &args, reply),
        Work::GoOn {
            at,
            level,
            from,
            work,
        } => {
            // Without rows the invocation is over.
            let (task, _, invocation) = at;
            let kept = &thread.on_queries(task).kept;
            if kept.borrow().contains_key(&invocation) {
                release(thread, at, (level, from), work).await;
            }
        }
        Work::Message {
            task,
            query,
            invocation,
            message,
        } => {
            let at = (task, query, invocation);
            match message {
                QueryMessage::Hop { stage, batch } => {
                    let stage = thread.layout.queries[usize::from(query)].stages
                        [usize::from(stage.0)]
                    .clone();
                    run_event(thread, at, |task, out| {
                        stage.run(task, batch, out);
                        0
                    });
                }
                QueryMessage::Release { level, work } => {
                    release(thread, at, (level, 0), work).await;
                }
                QueryMessage::Ran { edges } => {
                    home::on_ran(thread, (query, invocation), edges, Vec::new());
                }
                QueryMessage::Failed { text } => home::fail(thread, (query, invocation), &text),
                QueryMessage::Lost { text } => home::lose(thread, (query, invocation), &text),
                QueryMessage::Over => {
                    thread
                        .on_queries(task)
                        .kept
                        .borrow_mut()
                        .remove(&invocation);
                }
            }
        }
    }
}

/// Lets go of what was gathered at a level on this task, from one of its gatherings on, as one event;
/// of many rows some go on, and the rest as other events.
async fn release<E: Env>(thread: &Rc<Thread<E>>, at: At, (level, from): (u16, usize), work: u64) {
    let (task, query, invocation) = at;
    let layout = thread.layout.clone();
    let gathers = layout.queries[usize::from(query)].gathers.iter();
    let here = gathers.filter(|gather| {
        let reached = match gather.reach {
            Reach::Everywhere => true,
            Reach::First => task == 0,
            Reach::Origin => task == invocation.home,
        };
        gather.level == level && reached
    });
    let here: Vec<_> = here.skip(from).map(|gather| &gather.gather).collect();
    let slots = here.iter().map(|gather| gather.slot()).collect();
    if let Err(failure) = settle(thread, at, slots).await {
        return tell_failure(thread, (query, invocation), task, &failure);
    }
    let next = thread.env.random_u64().max(1);
    let mut rest = None;
    let ran = run_event(thread, at, |task, out| {
        let whole = |gather: &&&Arc<dyn Gather>| {
            gather.release(task, invocation.origin(), out) == Left::Nothing
        };
        let done = here.iter().take_while(whole).count();
        rest = (done < here.len()).then_some(from + done);
        work ^ rest.map_or(0, |_| next)
    });
    if let (true, Some(from)) = (ran, rest) {
        let work = next;
        thread.queries.push(Work::GoOn {
            at,
            level,
            from,
            work,
        });
    }
}

/// Moves the rest of the rows of some gatherings to where the others are.
async fn settle<E: Env>(
    thread: &Rc<Thread<E>>,
    (task, _, invocation): At,
    of: Vec<SlotIndex>,
) -> Result<(), EventFailure> {
    let kept = &thread.on_queries(task).kept;
    let parted = |kept: &Kept| of.iter().any(|slot| kept.slots.is_parted(*slot));
    if !kept.borrow().get(&invocation).is_some_and(parted) {
        return Ok(());
    }
    let Some(mut kept_here) = kept.borrow_mut().remove(&invocation) else {
        return Ok(());
    };
    for slot in of {
        spill::settle(thread, &mut kept_here.slots, slot).await?;
    }
    kept.borrow_mut().insert(invocation, kept_here);
    Ok(())
}

/// Moves rows of an invocation to disk until they take no more memory than they may.
async fn lighten<E: Env>(thread: &Rc<Thread<E>>, (task, query, invocation): At) {
    let kept = &thread.on_queries(task).kept;
    let Some(mut heavy) = kept.borrow_mut().remove(&invocation) else {
        return;
    };
    match spill::lighten(thread, &mut heavy.slots).await {
        Ok(()) => {
            kept.borrow_mut().insert(invocation, heavy);
        }
        Err(failure) => tell_failure(thread, (query, invocation), task, &failure),
    }
}

/// Runs code of a query on a task, sends what it emitted and tells its home, and answers whether it
/// succeeded. `run` answers with the work it did and left that the items themselves do not name.
fn run_event<E: Env>(
    thread: &Rc<Thread<E>>,
    (task, query, invocation): At,
    run: impl FnOnce(&Task, &mut Outbox) -> u64,
) -> bool {
    let on_task = thread.on_queries(task);
    let out = &mut *thread.queries.out.borrow_mut();
    let kept = on_task.kept.borrow_mut().remove(&invocation);
    on_task.context.begin();
    on_task
        .handle
        .swap_slots(kept.map(|kept| kept.slots).unwrap_or_default());
    let ran = guard(|| run(&on_task.handle, out));
    let mut slots = on_task.handle.swap_slots(Slots::default());
    let at = (query, invocation);
    let work = match ran {
        Ok(work) => work,
        Err(failure) => {
            out.clear();
            tell_failure(thread, at, task, &failure);
            return false;
        }
    };
    if slots.heavy(thread.rows_budget()).is_some() {
        thread.queries.heavy.set(Some((task, query, invocation)));
    }
    if !slots.is_empty() {
        let until = thread.env.now().after(thread.tuning().query_timeout);
        thread.queries.bound(until);
        let kept = Kept { slots, until };
        on_task.kept.borrow_mut().insert(invocation, kept);
    }
    let appends = on_task.context.take_appends();
    if !appends.is_empty()
        && let Err(error) =
            crate::depot::write_with_appends(thread, task, WriteBatch::new(), &appends)
    {
        out.clear();
        let failure = EventFailure::Storage {
            attempted: "append records of a query".to_owned(),
            cause: format!("{error:#}"),
        };
        tell_failure(thread, at, task, &failure);
        return false;
    }
    for wait in out.take_waits() {
        start_wait(thread, at, task, wait);
    }
    for Outgoing { stage, task, batch } in out.drain_outgoing() {
        let message = QueryMessage::Hop { stage, batch };
        send(thread, at, task, message);
    }
    let edges = out.drain_acks().fold(work, |edges, ack| edges ^ ack.edges);
    let answers = out.take_answers();
    if thread.layout.thread_of(invocation.home) == thread.index {
        home::on_ran(thread, at, edges, answers);
    } else {
        send(thread, at, invocation.home, QueryMessage::Ran { edges });
    }
    true
}

/// A value goes on when its future is done, as if it came from another task.
fn start_wait<E: Env>(thread: &Rc<Thread<E>>, at: (u16, Invocation), task: u32, wait: Wait) {
    let then = move |thread: &Rc<Thread<E>>, _, stage, waited: Waited| match waited {
        Ok(batch) => send(thread, at, task, QueryMessage::Hop { stage, batch }),
        Err(failure) => tell_failure(thread, at, task, &failure),
    };
    waits::start(thread, (task, None), Category::Client, wait, then);
}

fn tell_failure<E: Env>(
    thread: &Rc<Thread<E>>,
    at: (u16, Invocation),
    task: u32,
    failure: &EventFailure,
) {
    let text: Arc<str> = format!("an event on task {task} failed: {failure}").into();
    let home = at.1.home;
    if thread.layout.thread_of(home) == thread.index {
        home::fail(thread, at, &text);
    } else {
        send(thread, at, home, QueryMessage::Failed { text });
    }
}

fn send<E: Env>(
    thread: &Thread<E>,
    (query, invocation): (u16, Invocation),
    task: u32,
    message: QueryMessage,
) {
    thread.send(
        task,
        Message::Query {
            query,
            task,
            invocation,
            message,
        },
    );
}

/// Ends what has taken too long.
fn expire<E: Env>(thread: &Rc<Thread<E>>) {
    let (queries, now) = (&thread.queries, thread.env.now());
    if queries.due.get().is_none_or(|due| due > now) {
        return;
    }
    home::expire(thread, now);
    for task in &queries.tasks {
        task.kept.borrow_mut().retain(|_, kept| kept.until > now);
    }
    queries.due.set(queries.first_due());
}

impl<E: Env> Thread<E> {
    fn on_queries(&self, task: u32) -> &OnTask<E> {
        &self.queries.tasks[(task / self.layout.threads) as usize]
    }
}

/// The first event of an invocation: its arguments, as one item.
fn first_item(
    query: &QueryLayout,
    args: &[u8],
    origin: Origin,
    edge: u64,
) -> Result<Batch, String> {
    let item = EncodedItem {
        origin,
        edge,
        value: args,
    };
    let decoded = query.first.decode(&mut std::iter::once(item));
    decoded.map_err(|error| error.to_string())
}
