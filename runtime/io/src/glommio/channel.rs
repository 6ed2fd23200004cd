//! Channels between executors, and from any thread to an executor: an unbounded list and a wake-up.
//!
//! Relies on the standard library's channel for the list. The receiver announces that it sleeps
//! before it looks a last time, and a sender looks for sleepers after it has put its message in,
//! so no message is left lying. What must stay true: a receiver that goes takes all messages with
//! it, so that whoever waits for an answer to one of them learns that none will come.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::mpsc;
use std::task::Poll;

use futures_util::task::AtomicWaker;

use crate::env::{Receiver, Sender, Transport};

/// Creates channels that work from any thread to any thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlommioTransport;

impl Transport for GlommioTransport {
    type Sender<M: Send + 'static> = GlommioSender<M>;
    type Receiver<M: Send + 'static> = GlommioReceiver<M>;

    fn channel<M: Send + 'static>(&self) -> (GlommioSender<M>, GlommioReceiver<M>) {
        let (sender, receiver) = mpsc::channel();
        let bell = Arc::new(Bell {
            asleep: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            sender_count: AtomicUsize::new(1),
        });
        let sender = GlommioSender {
            list: Some(sender),
            bell: bell.clone(),
        };
        (
            sender,
            GlommioReceiver {
                list: receiver,
                bell,
            },
        )
    }
}

/// The sending half.
pub struct GlommioSender<M> {
    /// Taken only by `drop`, which must let go of it before it rings.
    list: Option<mpsc::Sender<M>>,
    bell: Arc<Bell>,
}

/// The receiving half.
pub struct GlommioReceiver<M> {
    list: mpsc::Receiver<M>,
    bell: Arc<Bell>,
}

struct Bell {
    asleep: AtomicBool,
    waker: AtomicWaker,
    sender_count: AtomicUsize,
}

impl Bell {
    fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

impl<M: Send + 'static> Sender<M> for GlommioSender<M> {
    fn send(&self, message: M) -> Result<(), M> {
        let list = self.list.as_ref().expect("only drop takes it");
        list.send(message).map_err(|refused| refused.0)?;
        self.bell.ring();
        Ok(())
    }
}

impl<M> Clone for GlommioSender<M> {
    fn clone(&self) -> GlommioSender<M> {
        self.bell.sender_count.fetch_add(1, Ordering::Relaxed);
        GlommioSender {
            list: self.list.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<M> Drop for GlommioSender<M> {
    fn drop(&mut self) {
        self.list = None;
        if self.bell.sender_count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.bell.ring();
        }
    }
}

impl<M: Send + 'static> Receiver<M> for GlommioReceiver<M> {
    async fn recv(&mut self) -> Option<M> {
        poll_fn(|cx| {
            if let Some(found) = self.look() {
                return Poll::Ready(found);
            }
            self.bell.waker.register(cx.waker());
            self.bell.asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            match self.look() {
                Some(found) => {
                    self.bell.asleep.store(false, Ordering::Relaxed);
                    Poll::Ready(found)
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    fn try_recv(&mut self) -> Option<M> {
        self.list.try_recv().ok()
    }
}

impl<M> GlommioReceiver<M> {
    /// A message, the end of all messages, or nothing yet.
    fn look(&self) -> Option<Option<M>> {
        match self.list.try_recv() {
            Ok(message) => Some(Some(message)),
            Err(mpsc::TryRecvError::Disconnected) => Some(None),
            Err(mpsc::TryRecvError::Empty) => None,
        }
    }
}
