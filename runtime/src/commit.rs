//! The commit loop of a task thread: durable, then applied, then everybody who waited is told.
//!
//! Relies on the group for order: entries become durable in the order they were appended. At
//! replication factor 1 committed equals durable. What must stay true: nothing is applied, shown,
//! acknowledged or sent on before it is durable (P-29, P-30); after a failed flush nothing is ever
//! acknowledged again, and everybody who waits is told so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rama_io::Env;
use rama_storage::Group;
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

    /// Has `answer` given back by the loop once `index` is applied. Indexes never go back.
    pub(crate) fn answer_at(&self, index: Index, answer: A) {
        let mut answers = self.answers.borrow_mut();
        debug_assert!(answers.back().is_none_or(|(last, _)| *last <= index));
        answers.push_back((index, answer));
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

    fn advance(&self, to: Index) {
        self.applied.set(to);
        self.sleepers.borrow_mut().retain(|(index, waker)| {
            let asleep = *index > to;
            if !asleep {
                waker.wake_by_ref();
            }
            asleep
        });
    }

    fn die(&self, why: &str) {
        *self.poison.borrow_mut() = Some(why.into());
        for (_, waker) in self.sleepers.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    fn next_answer(&self, applied: Index) -> Option<A> {
        let mut answers = self.answers.borrow_mut();
        let due = answers.front().is_some_and(|(index, _)| *index <= applied);
        if due {
            answers.pop_front().map(|(_, answer)| answer)
        } else {
            None
        }
    }

    fn next_unanswered(&self) -> Option<A> {
        self.answers
            .borrow_mut()
            .pop_front()
            .map(|(_, answer)| answer)
    }
}

/// What happens to the appends of a commit.
pub(crate) trait Answer<A> {
    /// The append is durable and applied.
    fn done(&self, answer: A);
    /// All appends of one commit are answered.
    fn settled(&self);
    /// The log died before the append was known to be durable.
    fn lost(&self, answer: A, why: Error);
    /// The log died: nothing more will be durable until it is opened again.
    fn died(&self, why: &str);
}

/// Runs until the log is poisoned.
pub(crate) async fn run<E: Env, A>(group: &Group<E>, commit: &Commit<A>, to: &impl Answer<A>) {
    loop {
        let applied = commit.applied.get();
        if group.appended() == applied {
            commit.appended.rung().await;
            continue;
        }
        if let Err(error) = advance(group, commit, applied).await {
            tracing::error!(%error, "log failed, nothing more is acknowledged");
            let why = error.chain();
            commit.die(&why);
            to.died(&why);
            while let Some(answer) = commit.next_unanswered() {
                to.lost(answer, poisoned(&why));
            }
            return;
        }
        let applied = commit.applied.get();
        while let Some(answer) = commit.next_answer(applied) {
            to.done(answer);
        }
        to.settled();
    }
}

async fn advance<E: Env, A>(
    group: &Group<E>,
    commit: &Commit<A>,
    applied: Index,
) -> Result<(), rama_storage::Error> {
    group.wait_durable(Index(applied.0 + 1)).await?;
    let durable = group.durable();
    group.apply(durable)?;
    commit.advance(durable);
    Ok(())
}

fn poisoned(why: &str) -> Error {
    let text = format!(
        "the log of this task thread failed ({why}): restart the cluster; what was not \
         acknowledged may be lost"
    );
    Error::new(ErrorKind::Storage, text)
}
