//! Queues inside one executor: who has work wakes who does it.
//!
//! Relies on single-threaded use: everything here is `Rc`-shared and never crosses an executor.
//! What must stay true: a wake-up is never lost (the flag is set before the waker is called, and
//! checked after the waker is stored), and items leave in the order they came (O-9).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// One loop sleeps on it, anybody on the same executor rings it. Rings while nobody sleeps are
/// kept, as one.
#[derive(Default)]
pub(crate) struct Signal {
    rung: Cell<bool>,
    sleeper: RefCell<Option<Waker>>,
}

impl Signal {
    /// Wakes the sleeper, now or when it next goes to sleep.
    pub(crate) fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = self.sleeper.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Completes when the signal was rung since the last completion.
    pub(crate) async fn rung(&self) {
        poll_fn(|cx| {
            if self.rung.replace(false) {
                return Poll::Ready(());
            }
            *self.sleeper.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// A queue of one category: many producers, one consumer loop.
pub(crate) struct Queue<T> {
    items: RefCell<VecDeque<T>>,
    signal: Signal,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue {
            items: RefCell::new(VecDeque::new()),
            signal: Signal::default(),
        }
    }
}

impl<T> Queue<T> {
    /// Adds an item at the end and wakes the consumer.
    pub(crate) fn push(&self, item: T) {
        self.items.borrow_mut().push_back(item);
        self.signal.ring();
    }

    /// Takes the oldest item if there is one.
    pub(crate) fn pop(&self) -> Option<T> {
        self.items.borrow_mut().pop_front()
    }

    /// Completes when there is an item.
    pub(crate) async fn ready(&self) {
        while self.items.borrow().is_empty() {
            self.signal.rung().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Context;

    use super::*;

    #[test]
    fn a_ring_before_the_sleep_is_not_lost() {
        let signal = Signal::default();
        signal.ring();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(signal.rung()).as_mut().poll(&mut cx).is_ready());
        assert!(pin!(signal.rung()).as_mut().poll(&mut cx).is_pending());
    }

    #[test]
    fn items_leave_in_the_order_they_came() {
        let queue = Rc::new(Queue::default());
        (0..5).for_each(|i| queue.push(i));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(queue.ready()).as_mut().poll(&mut cx).is_ready());
        for expected in 0..5 {
            assert_eq!(queue.pop(), Some(expected));
        }
        assert!(pin!(queue.ready()).as_mut().poll(&mut cx).is_pending());
    }
}
