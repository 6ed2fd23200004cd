//! Wakes one loop, on one executor.
//!
//! Relies on nothing. What must stay true: a notice given while the loop is busy is not lost.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// How a loop is told that there is work, and how it tells that it has ended.
#[derive(Debug, Default)]
pub(crate) struct Loop {
    pub wake: Signal,
    pub done: Signal,
}

impl Loop {
    /// Wakes the loop, which looks whether it has to end, and waits until it has.
    pub async fn end(&self) {
        self.wake.notify();
        self.done.wait().await;
    }
}

/// A flag that a loop waits for.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Raises the flag.
    pub fn notify(&self) {
        self.raised.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until the flag is raised and lowers it.
    pub async fn wait(&self) {
        poll_fn(|ctx| {
            if self.raised.take() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(ctx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
