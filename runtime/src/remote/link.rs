//! An ordered link between two task threads, whatever carries it.
//!
//! Relies on the carrier for order, integrity and back-pressure: a QUIC stream (`rama-net`) between
//! processes, channels in the simulator. What must stay true: frames arrive whole and in the order
//! sent; after the first `Broken`, or the first `None`, nothing arrives any more.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rama_io::{Category, Env, Transport};

use crate::message::{Message, Post};
use crate::remote::serve::Served;

/// The link carries nothing any more; what was sent last may not have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// The half of a link that sends.
pub(crate) trait FrameOut: 'static {
    /// Waits while the receiver is behind (credits of the carrier).
    fn send(&mut self, frame: Vec<u8>) -> impl Future<Output = Result<(), Broken>>;
}

/// The half of a link that receives.
pub(crate) trait FrameIn: 'static {
    /// The next frame; `None` when the link is broken or was closed.
    fn recv(&mut self) -> impl Future<Output = Option<Vec<u8>>>;
}

/// Opens links to one task thread of another process. Where that thread is may change between two
/// calls; whoever implements this knows.
pub(crate) trait Dial: Clone + 'static {
    /// Sends requests and events, on an opened link.
    type Out: FrameOut;
    /// Receives answers.
    type In: FrameIn;

    /// One attempt, for messages of `lane`.
    fn dial(&self, lane: Lane) -> impl Future<Output = io::Result<(Self::Out, Self::In)>>;
}

/// Links between two task threads are one per category of messages, so that a reader who is behind
/// in one category holds up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// Requests of clients and operators, and their answers.
    Client,
    /// Stream and query topologies.
    LowLatency,
    /// Microbatch topologies.
    FlexLatency,
}

impl Lane {
    pub(crate) const ALL: [Lane; 3] = [Lane::Client, Lane::LowLatency, Lane::FlexLatency];

    /// Where a message belongs. What must stay in order goes by one lane: everything of one
    /// topology does.
    pub(crate) fn of(message: &Message) -> Lane {
        match message {
            Message::Client(_)
            | Message::Control(_)
            | Message::Unfollow { .. }
            | Message::Link { .. } => Lane::Client,
            Message::Stream { .. } | Message::Query { .. } | Message::StreamNewsLost => {
                Lane::LowLatency
            }
            Message::Hop { .. }
            | Message::ToParticipant { .. }
            | Message::ToCoordinator { .. }
            | Message::DepotEnd { .. } => Lane::FlexLatency,
        }
    }

    /// The queue in which the loops of a lane run.
    pub(crate) fn category(self) -> Category {
        match self {
            Lane::Client => Category::Client,
            Lane::LowLatency => Category::LowLatency,
            Lane::FlexLatency => Category::FlexLatency,
        }
    }
}

/// What the loop behind a link needs of the thread it runs on. Executors have it, and so has the
/// thread of a program that is no part of the cluster.
pub(crate) trait Ground: Clone + 'static {
    type Transport: Transport;

    /// Makes inboxes for loops of this thread.
    fn inboxes(&self) -> Self::Transport;

    fn pause(&self, duration: Duration) -> impl Future<Output = ()>;

    fn random(&self) -> u64;
}

impl<E: Env> Ground for E {
    type Transport = E::Transport;

    fn inboxes(&self) -> E::Transport {
        self.transport()
    }

    fn pause(&self, duration: Duration) -> impl Future<Output = ()> {
        self.sleep(duration)
    }

    fn random(&self) -> u64 {
        self.random_u64()
    }
}

/// A future of one executor.
pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// How the task threads of a process reach those of others.
pub(crate) trait Links<E: Env>: Send + Sync {
    /// The way from thread `from` of this process (`None`: from its clients) to thread `to` of
    /// another, and what must run for it on the executor of `env`. Changes are told to `local`.
    fn open(
        &self,
        env: &E,
        from: Option<u32>,
        to: u32,
        local: &Arc<dyn Post>,
    ) -> (Arc<dyn Post>, Vec<(Category, LocalFuture)>);

    /// Takes links of peers to a thread of this process, for ever.
    fn accept(&self, served: Served<E>) -> LocalFuture;
}
