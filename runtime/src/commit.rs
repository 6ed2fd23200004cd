//! Who waits for the log of a task thread, and up to where it is applied.
//!
//! Relies on the loop `serve_log` of the task thread, which advances it. What must stay true: nobody
//! is told before what they wait for is durable and applied (P-29, P-30), and in the order of the
//! log; after a failed flush nothing is ever acknowledged again, and everybody who waits is told so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rama_wire::Index;

use crate::category_queue::Signal;
use crate::error::{Error, ErrorKind, Result};

/// Who waits for the log of one task thread. `A` is an append to be answered.
pub(crate) struct Commit<A> {
    applied: Cell<Index>,
    appended: Signal,
    sleepers: RefCell<Vec<(Index, Waker)>>,
    answers: RefCell<VecDeque<(Index, A)>>,
    poison: RefCell<Option<Rc<str>>>,
}

impl<A> Commit<A> {
    pub(crate) fn new(applied: Index) -> Commit<A> {
        Commit {
            applied: Cell::new(applied),
            appended: Signal::default(),
            sleepers: RefCell::new(Vec::new()),
            answers: RefCell::new(VecDeque::new()),
            poison: RefCell::new(None),
        }
    }

    /// Says that the log has grown.
    pub(crate) fn on_append(&self) {
        self.appended.ring();
    }

    /// Completes when the log has grown since the last completion.
    pub(crate) async fn grown(&self) {
        self.appended.rung().await;
    }

    /// Everything up to here is durable and applied.
    pub(crate) fn applied_to(&self) -> Index {
        self.applied.get()
    }

    /// Has `answer` given back by the loop once `index` is applied. Indexes never go back.
    pub(crate) fn answer_at(&self, index: Index, answer: A) {
        let mut answers = self.answers.borrow_mut();
        debug_assert!(answers.back().is_none_or(|(last, _)| *last <= index));
        answers.push_back((index, answer));
    }

    /// The same for an entry that is not the newest, and is not applied yet.
    pub(crate) fn answer_after(&self, index: Index, answer: A) {
        let last = self.answers.borrow().back().map(|(last, _)| *last);
        self.answer_at(last.map_or(index, |last| last.max(index)), answer);
    }

    /// Completes when everything up to `index` is durable and applied.
    pub(crate) async fn applied(&self, index: Index) -> Result<()> {
        poll_fn(|cx| {
            if self.applied.get() >= index {
                return Poll::Ready(Ok(()));
            }
            if let Some(poison) = &*self.poison.borrow() {
                return Poll::Ready(Err(poisoned(poison)));
            }
            self.sleepers.borrow_mut().push((index, cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// Why the log is dead, if it is.
    pub(crate) fn poison(&self) -> Option<Error> {
        self.poison.borrow().as_deref().map(poisoned)
    }

    /// Stops: whoever waits is told that the thread is closed.
    pub(crate) fn close(&self) {
        self.die("the module was stopped");
        self.answers.borrow_mut().clear();
    }

    /// Everything up to `to` is durable and applied now.
    pub(crate) fn advance(&self, to: Index) {
        self.applied.set(to);
        self.sleepers.borrow_mut().retain(|(index, waker)| {
            let asleep = *index > to;
            if !asleep {
                waker.wake_by_ref();
            }
            asleep
        });
    }

    /// The log is dead: whoever waits is told why.
    pub(crate) fn die(&self, why: &str) {
        *self.poison.borrow_mut() = Some(why.into());
        for (_, waker) in self.sleepers.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// The next append whose entry is applied.
    pub(crate) fn next_answer(&self) -> Option<A> {
        let mut answers = self.answers.borrow_mut();
        let applied = self.applied.get();
        let due = answers.front().is_some_and(|(index, _)| *index <= applied);
        if due {
            answers.pop_front().map(|(_, answer)| answer)
        } else {
            None
        }
    }

    /// The next append of a dead log.
    pub(crate) fn next_unanswered(&self) -> Option<A> {
        self.answers
            .borrow_mut()
            .pop_front()
            .map(|(_, answer)| answer)
    }
}

/// What everybody is told once the log is dead.
pub(crate) fn poisoned(why: &str) -> Error {
    let text = format!(
        "the log of this task thread failed ({why}): restart the cluster; what was not \
         acknowledged may be lost"
    );
    Error::new(ErrorKind::Storage, text)
}
