//! Values that follow changes: a select that is evaluated again when a commit touched its PState.
//!
//! Relies on one slot per watch that holds the newest answer only: a slow reader skips values and
//! never makes a queue grow. What must stay true: the first value is the state at the time of the
//! watch; after the last change the last value read is the current one; an unchanged answer is not
//! sent again; either side may go away at any time and the other learns of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use rama_io::Env;

use super::select;
use crate::category_queue::Signal;
use crate::error::{Error, Result};
use crate::limits;
use crate::plan::Plan;
use crate::task_thread::Thread;

#[derive(Default)]
struct Slot {
    latest: Option<Result<Vec<u8>>>,
    reader: Option<Waker>,
    reader_gone: bool,
    writer_gone: bool,
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task thread's half of a watch.
pub(crate) struct Subscription(Arc<Mutex<Slot>>);

impl Subscription {
    pub(crate) fn publish(&self, answer: Result<Vec<u8>>) {
        let mut slot = lock(&self.0);
        slot.latest = Some(answer);
        let reader = slot.reader.take();
        drop(slot);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.0).reader_gone
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.writer_gone = true;
        let reader = slot.reader.take();
        drop(slot);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

type Decode<T> = Box<dyn Fn(&[u8]) -> Result<T> + Send>;

/// A stream of the newest values of a path: the current one first, then one after each change.
///
/// Values in between may be skipped when the reader is slow. Ends with an `unavailable` error when
/// the module stops or restarts: watch again.
#[must_use = "a watch does nothing unless it is read"]
pub struct Watch<T> {
    slot: Arc<Mutex<Slot>>,
    decode: Decode<T>,
    done: bool,
}

/// Both halves of a new watch.
pub(crate) fn pair<T>(decode: Decode<T>) -> (Subscription, Watch<T>) {
    let slot = Arc::new(Mutex::new(Slot::default()));
    (
        Subscription(slot.clone()),
        Watch {
            slot,
            decode,
            done: false,
        },
    )
}

impl<T> Watch<T> {
    /// The next value; `None` after the end.
    pub async fn next(&mut self) -> Option<Result<T>> {
        std::future::poll_fn(|cx| self.poll_value(cx)).await
    }

    fn poll_value(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let mut slot = lock(&self.slot);
        if let Some(answer) = slot.latest.take() {
            drop(slot);
            self.done = answer.is_err();
            return Poll::Ready(Some(answer.and_then(|bytes| (self.decode)(&bytes))));
        }
        if slot.writer_gone {
            self.done = true;
            let error = Error::unavailable("the watched module stopped; watch again");
            return Poll::Ready(Some(Err(error)));
        }
        slot.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Stream for Watch<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        self.poll_value(cx)
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        lock(&self.slot).reader_gone = true;
    }
}

/// The watches of one task.
#[derive(Default)]
pub(crate) struct Watches {
    live: RefCell<Vec<Live>>,
    touched: RefCell<BTreeSet<u16>>,
    signal: Signal,
}

struct Live {
    pstate: u16,
    plan: Plan,
    subscription: Subscription,
    /// What the reader was told last.
    last: Option<Vec<u8>>,
}

impl Watches {
    /// Starts a watch of a PState that may have so many on this task (`pstate.proxy.limit`); its
    /// first value follows at once.
    pub(crate) fn add(
        &self,
        (pstate, count_max): (u16, usize),
        plan: Plan,
        subscription: Subscription,
    ) {
        let mut live = self.live.borrow_mut();
        live.retain(|watch| !watch.subscription.is_over());
        let same = live.iter().filter(|watch| watch.pstate == pstate);
        if live.len() >= count_max && same.count() >= count_max {
            let text = "this task has too many watches of this PState, nothing was done; retry \
                        later, or raise the option pstate.proxy.limit";
            subscription.publish(Err(Error::unavailable(text)));
            return;
        }
        live.push(Live {
            pstate,
            plan,
            subscription,
            last: None,
        });
        self.touched.borrow_mut().insert(pstate);
        self.signal.ring();
    }

    /// A commit changed these PStates.
    pub(crate) fn touch(&self, pstates: &[u16]) {
        if !self.live.borrow().is_empty() {
            self.touched.borrow_mut().extend(pstates);
            self.signal.ring();
        }
    }
}

/// Evaluates touched watches; commits that come meanwhile are one more round, however many.
pub(crate) async fn run<E: Env>(thread: Rc<Thread<E>>, place: usize) {
    let task = &thread.tasks[place];
    loop {
        task.watches.signal.rung().await;
        let touched = task.watches.touched.take();
        let mut at = 0;
        while let Some(more) = evaluate_some(&thread, task.id, &task.watches, &touched, at) {
            at = more;
            thread.env.yield_now().await;
        }
    }
}

/// Evaluates a slice of the watches from `at`; answers where to go on.
fn evaluate_some<E: Env>(
    thread: &Thread<E>,
    task: u32,
    watches: &Watches,
    touched: &BTreeSet<u16>,
    at: usize,
) -> Option<usize> {
    let mut live = watches.live.borrow_mut();
    let end = live.len().min(at + limits::CLIENT_SLICE);
    for watch in live.get_mut(at..end)? {
        if !touched.contains(&watch.pstate) || watch.subscription.is_over() {
            continue;
        }
        let answer = select::evaluate(thread, task, watch.pstate, &watch.plan);
        let same = matches!((&answer, &watch.last), (Ok(new), Some(old)) if new == old);
        if !same {
            watch.last = answer.as_ref().ok().cloned();
            watch.subscription.publish(answer);
        }
    }
    if end == live.len() {
        live.retain(|watch| !watch.subscription.is_over());
        return None;
    }
    Some(end)
}
