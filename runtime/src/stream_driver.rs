//! Drives stream topologies: one loop per topology and task.
//!
//! Relies on `rama_core::stream::Tracker` for every decision about records: when to push, retry,
//! give up, checkpoint and answer. This loop runs streaming batches (S-4): up to a number of queued
//! items on one overlay, one log entry, and only when that is durable and applied do hops, acks and
//! ack returns leave the task (S-5). What must stay true: a failed event drops the whole batch and
//! fails every tree that has an event in it (S-9); the next batch waits for the one before.

mod batch;
pub(crate) mod progress;
mod sources;
#[cfg(test)]
mod tests;
mod writes;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use futures_channel::oneshot;
use futures_util::future::select;
use rama_core::stream::{Delivery, TreeId};
use rama_core::time::Now;
use rama_io::Env;

use crate::category_queue::Signal;
use crate::context::EventContext;
use crate::depot::AckJoin;
use crate::error::Result;
use crate::layout::Layout;
use crate::origin;
use crate::stage::{Ack, Batch, Origin, Outbox, StageIndex};
use crate::task::Task;
use crate::task_thread::Thread;
use crate::tuning::Tuning;

pub(crate) use batch::fail_trees;
use progress::Saved;
use sources::Source;

/// An ack return and the record it was given for.
pub(crate) type Returned = (Origin, serde_json::Value);

/// Text shared by the failed trees of a batch.
pub(crate) type Text = Arc<str>;

/// From task to task of one stream topology.
pub(crate) enum StreamMessage {
    /// Items on their way to a stage.
    Hop { stage: StageIndex, batch: Batch },
    /// Events whose writes are durable: what they gave back and what they acknowledge, for trees
    /// that began on this task.
    Settled {
        returns: Vec<Returned>,
        acks: Vec<Ack>,
    },
    /// A batch failed: its trees that began on this task, and whether they are to blame.
    Failed {
        trees: Vec<(Origin, bool)>,
        text: Text,
    },
    /// The tracker of a source asked for a write, which is durable.
    Durable { source: usize, what: Durable },
}

/// A write that a tracker waits for.
pub(crate) enum Durable {
    Checkpoint { progress: u64 },
    DeadLetter { offset: u64 },
}

/// Work to run in a batch.
enum Work {
    Hop { stage: StageIndex, batch: Batch },
    Delivery { source: usize, delivery: Delivery },
    Tick { source: usize },
}

/// One stream topology on one task.
pub(crate) struct Streaming<E: Env> {
    pub(crate) topology: u16,
    pub(crate) task: u32,
    sources: RefCell<Vec<Option<Source>>>,
    work: RefCell<VecDeque<Work>>,
    signal: Signal,
    /// Who waits until nothing runs.
    settling: RefCell<Vec<oneshot::Sender<()>>>,
    context: Rc<EventContext<E>>,
    handle: Rc<Task>,
    out: RefCell<Outbox>,
}

impl<E: Env> Streaming<E> {
    pub(crate) fn new(
        topology: u16,
        task: u32,
        layout: &Layout,
        seed: u64,
        (context, handle): (Rc<EventContext<E>>, Rc<Task>),
    ) -> Streaming<E> {
        Streaming {
            topology,
            task,
            sources: RefCell::new(sources::of(layout, topology, task)),
            work: RefCell::default(),
            signal: Signal::default(),
            settling: RefCell::default(),
            context,
            handle,
            out: RefCell::new(Outbox::tracked(layout.tasks, seed)),
        }
    }

    /// Records up to `end` of the depot of a source are durable and readable (S-2).
    pub(crate) fn on_depot_end(&self, thread: &Thread<E>, source: usize, end: u64) {
        self.with_source(thread, source, |source, now| source.on_depot_end(now, end));
    }

    /// An ACK append waits for `offset` of a source (D-15). Said before its `on_depot_end`.
    pub(crate) fn watch(&self, thread: &Thread<E>, source: usize, offset: u64, join: &Rc<AckJoin>) {
        self.with_source(thread, source, |source, now| {
            source.watch(now, offset, join.clone())
        });
    }

    /// Options have changed.
    pub(crate) fn tune(&self, thread: &Thread<E>, tuning: &Tuning) {
        let count = self.sources.borrow().len();
        for at in 0..count {
            self.with_source(thread, at, |source, now| {
                source.tune(now, tuning, self.topology);
            });
        }
    }

    /// Begins nothing more, or goes on (M-15).
    pub(crate) fn set_paused(&self, thread: &Thread<E>, paused: bool) {
        let count = self.sources.borrow().len();
        for source in 0..count {
            self.with_source(thread, source, |source, now| source.set_paused(now, paused));
        }
    }

    /// Trees may have lost a part that ran elsewhere: all that are in work are tried again.
    pub(crate) fn on_part_lost(&self, thread: &Thread<E>, text: &str) {
        let count = self.sources.borrow().len();
        for source in 0..count {
            self.with_source(thread, source, |source, now| source.on_part_lost(now, text));
        }
    }

    /// Completes when it is paused and nothing that began here runs, or when it goes on.
    pub(crate) fn settled(&self) -> oneshot::Receiver<()> {
        let (done, settled) = oneshot::channel();
        self.settling.borrow_mut().push(done);
        self.signal.ring();
        settled
    }

    /// Tells the thread how far every source is. The loop does so all the time; once more before a
    /// stop.
    pub(crate) fn note_progress(&self, thread: &Thread<E>) {
        sources::note_progress(thread, self);
    }

    pub(crate) fn on_message(&self, thread: &Thread<E>, message: StreamMessage) {
        match message {
            StreamMessage::Hop { stage, batch } => {
                self.work.borrow_mut().push_back(Work::Hop { stage, batch });
            }
            StreamMessage::Settled { returns, acks } => self.on_settled(thread, returns, &acks),
            StreamMessage::Failed { trees, text } => {
                // Who is to blame comes first: the retry of another one may take it back, and its
                // failure would not count (mode all-after).
                let (blamed, others): (Vec<_>, Vec<_>) =
                    trees.into_iter().partition(|(_, blamed)| *blamed);
                for (origin, blamed) in blamed.into_iter().chain(others) {
                    let Some((source, _)) = origin::split(origin.home) else {
                        continue;
                    };
                    let tree = TreeId(origin.record);
                    self.with_source(thread, source, |source, now| {
                        source.on_failed(now, tree, blamed, &text);
                    });
                }
            }
            StreamMessage::Durable { source, what } => {
                self.with_source(thread, source, |source, now| source.on_durable(now, what));
            }
        }
        self.signal.ring();
    }

    fn on_settled(&self, thread: &Thread<E>, returns: Vec<Returned>, acks: &[Ack]) {
        for (origin, value) in returns {
            let Some((source, _)) = origin::split(origin.home) else {
                continue;
            };
            let tree = TreeId(origin.record);
            self.with_source(thread, source, |source, _| source.on_return(tree, value));
        }
        for ack in acks {
            let Some((source, _)) = origin::split(ack.origin.home) else {
                continue;
            };
            let tree = TreeId(ack.origin.record);
            self.with_source(thread, source, |source, now| {
                source.on_ack(now, tree, ack.edges)
            });
        }
    }

    fn with_source(&self, thread: &Thread<E>, at: usize, apply: impl FnOnce(&mut Source, Now)) {
        let now = Now(thread.env.now().0);
        if let Some(Some(source)) = self.sources.borrow_mut().get_mut(at) {
            apply(source, now);
            self.signal.ring();
        }
    }
}

/// Progress that rode along with another write is durable.
pub(crate) fn on_saved<E: Env>(thread: &Thread<E>, saved: Saved) {
    let Saved { owner, progress } = saved;
    let (source, what) = (owner.source, Durable::Checkpoint { progress });
    if let Some(stream) = &thread.local(owner.task).streams[usize::from(owner.topology)] {
        stream.on_message(thread, StreamMessage::Durable { source, what });
    }
}

/// Gives every tracker what storage knows. Before any loop runs.
pub(crate) fn boot<E: Env>(thread: &Thread<E>, me: &Streaming<E>) -> Result<()> {
    sources::boot(thread, me)
}

/// Runs until the task thread stops.
pub(crate) async fn run<E: Env>(thread: Rc<Thread<E>>, me: Rc<Streaming<E>>) {
    loop {
        let due = sources::handle_due(&thread, &me);
        if !me.work.borrow().is_empty() {
            batch::run(&thread, &me).await;
            thread.env.yield_now().await;
            continue;
        }
        let Some(due) = due else {
            me.signal.rung().await;
            continue;
        };
        let rung = std::pin::pin!(me.signal.rung());
        let sleep = std::pin::pin!(thread.env.sleep(due.since(thread.env.now())));
        select(rung, sleep).await;
    }
}
