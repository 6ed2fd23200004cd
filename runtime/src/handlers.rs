//! Handlers that wait for answers, on one task of one topology.
//!
//! Relies on the engine to forget them with the attempt or the invocation they belong to; in a
//! stream, which has neither, to say when a batch begins and when it is thrown away. What must stay
//! true: a handler that ran in a batch which was thrown away never goes on, because what it wrote is
//! not there; author code that fails while it is dropped ends nothing.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use rama_io::Tick;

use crate::async_task::Shared;
use crate::failure::{self, EventFailure, guard};
use crate::stage::{Origin, Outbox};
use crate::task::Task;

/// What is left to do when a handler is done: what it gave goes on.
pub(crate) type Finish = Box<dyn FnOnce(&Task, &mut Outbox, Origin)>;

/// A handler at work.
pub(crate) type Handling = LocalBoxFuture<'static, Result<Finish, EventFailure>>;

/// So often a handler is polled in one event because it woke itself.
const POLLS_MAX: u32 = 1024;

/// A handler between two events.
pub(crate) struct Handler {
    shared: Rc<Shared>,
    /// `None` when it is done and answers that it did not wait for are still to come.
    future: Option<Handling>,
}

impl Handler {
    pub(crate) fn new(shared: Rc<Shared>, future: Handling) -> Handler {
        let future = Some(future);
        Handler { shared, future }
    }

    pub(crate) fn answer(&self, call: u32, bytes: Vec<u8>) {
        self.shared.answer(call, bytes);
    }

    /// Runs it as far as it goes, sends what it asked for, and keeps it if it waits.
    ///
    /// # Panics
    /// Unwinds when author code fails or panics, or waits for what will never come.
    pub(crate) fn run(mut self, task: &Task, out: &mut Outbox, origin: Origin) {
        if let Some(future) = &mut self.future {
            let polled = poll(future);
            self.shared.send(out, origin);
            match polled {
                Poll::Ready(Ok(finish)) => {
                    self.future = None;
                    finish(task, out, origin);
                }
                Poll::Ready(Err(failure)) => failure::raise(failure),
                Poll::Pending if self.shared.expects() => {}
                Poll::Pending => failure::fail(
                    "the handler waits for a future that nothing here will wake: wrap futures \
                     that are not of its AsyncTask in `wait`",
                ),
            }
        }
        if self.shared.expects() {
            task.keep_handler(self.shared.id(), self);
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && let Err(failure) = guard(|| drop(future))
        {
            tracing::warn!(%failure, "a handler failed while it was dropped");
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Polls until it waits for others.
fn poll(future: &mut Handling) -> Poll<Result<Finish, EventFailure>> {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(woken.clone());
    for _ in 0..POLLS_MAX {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || !woken.0.swap(false, Ordering::AcqRel) {
            return polled;
        }
    }
    failure::fail(format!(
        "the handler woke itself {POLLS_MAX} times in one event: wait with `sleep`"
    ))
}

/// The handlers of one attempt, one invocation, or one stream.
#[derive(Default)]
pub(crate) struct Handlers {
    waiting: BTreeMap<u64, Handler>,
    stream: Option<StreamHandlers>,
}

/// What a stream has to know about its handlers besides.
struct StreamHandlers {
    now: Tick,
    /// Those that ran in the batch that runs.
    ran: Vec<u64>,
    /// When each was kept, the oldest in front.
    ages: VecDeque<(Tick, u64)>,
}

impl Handlers {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether these are of a stream, which has neither attempts nor invocations.
    pub(crate) fn of_stream(&self) -> bool {
        self.stream.is_some()
    }

    pub(crate) fn keep(&mut self, id: u64, handler: Handler) {
        if let Some(stream) = &mut self.stream {
            stream.ran.push(id);
            stream.ages.push_back((stream.now, id));
        }
        self.waiting.insert(id, handler);
    }

    pub(crate) fn take(&mut self, id: u64) -> Option<Handler> {
        self.waiting.remove(&id)
    }

    /// A batch of a stream begins: answers with the handlers that are older than any tree, for the
    /// caller to drop.
    #[must_use]
    pub(crate) fn begin_batch(&mut self, now: Tick, oldest: Duration) -> Vec<Handler> {
        let stream = self.stream.get_or_insert_with(|| StreamHandlers {
            now,
            ran: Vec::new(),
            ages: VecDeque::new(),
        });
        stream.now = now;
        stream.ran.clear();
        let mut over = Vec::new();
        while let Some((since, id)) = stream.ages.front().copied()
            && since.after(oldest) <= now
        {
            stream.ages.pop_front();
            over.extend(self.waiting.remove(&id));
        }
        over
    }

    /// The batch that runs is thrown away: answers with the handlers that ran in it, for the caller
    /// to drop.
    #[must_use]
    pub(crate) fn undo_batch(&mut self) -> Vec<Handler> {
        let Some(stream) = &mut self.stream else {
            return Vec::new();
        };
        let ran = std::mem::take(&mut stream.ran);
        ran.iter()
            .filter_map(|id| self.waiting.remove(id))
            .collect()
    }
}

#[cfg(test)]
mod tests;
