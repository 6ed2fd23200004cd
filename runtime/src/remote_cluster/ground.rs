//! The thread for links as a place where links live: inboxes, sleeping, chance.
//!
//! Relies on the tokio runtime of that thread. What must stay true: a sleep that nobody waits for any
//! more is forgotten at once.

use std::time::Duration;

use futures_util::future::BoxFuture;
use rama_io::{Receiver, Sender, Transport};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::host::Timer;
use crate::remote::link::Ground;

/// First pause after the cluster could not be asked; doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Pauses between attempts, growing and uneven, so that clients that were cut off together do not come
/// back together.
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses(PAUSE_FIRST)
    }
}

impl Pauses {
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE_LONGEST);
        let jitter = OnTokio.random() % (pause.as_nanos() as u64).max(1);
        pause / 2 + Duration::from_nanos(jitter) / 2
    }
}

#[derive(Clone)]
pub(super) struct OnTokio;

impl Ground for OnTokio {
    type Transport = TokioTransport;

    fn inboxes(&self) -> TokioTransport {
        TokioTransport
    }

    fn pause(&self, duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }

    fn random(&self) -> u64 {
        Uuid::new_v4().as_u64_pair().0
    }
}

/// Inboxes of tokio.
#[derive(Clone)]
pub(super) struct TokioTransport;

pub(super) struct TokioSender<M>(mpsc::UnboundedSender<M>);
pub(super) struct TokioReceiver<M>(mpsc::UnboundedReceiver<M>);

impl<M> Clone for TokioSender<M> {
    fn clone(&self) -> TokioSender<M> {
        TokioSender(self.0.clone())
    }
}

impl Transport for TokioTransport {
    type Sender<M: Send + 'static> = TokioSender<M>;
    type Receiver<M: Send + 'static> = TokioReceiver<M>;

    fn channel<M: Send + 'static>(&self) -> (TokioSender<M>, TokioReceiver<M>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (TokioSender(sender), TokioReceiver(receiver))
    }
}

impl<M: Send + 'static> Sender<M> for TokioSender<M> {
    fn send(&self, message: M) -> Result<(), M> {
        self.0.send(message).map_err(|SendError(message)| message)
    }
}

impl<M: Send + 'static> Receiver<M> for TokioReceiver<M> {
    fn recv(&mut self) -> impl Future<Output = Option<M>> {
        self.0.recv()
    }

    fn try_recv(&mut self) -> Option<M> {
        self.0.try_recv().ok()
    }
}

/// Sleeps on the thread for links.
pub(super) struct TokioTimer(Handle);

impl TokioTimer {
    /// Of the runtime it is called in.
    pub(super) fn here() -> TokioTimer {
        TokioTimer(Handle::current())
    }
}

/// Ends a sleep with whoever waited for it: deadlines of calls that are answered would pile up.
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let slept = self
            .0
            .spawn(async move { tokio::time::sleep(duration).await });
        let ends = Ends(slept.abort_handle());
        Box::pin(async move {
            // When the thread has ended the wait is over.
            let _ = slept.await;
            drop(ends);
        })
    }
}
