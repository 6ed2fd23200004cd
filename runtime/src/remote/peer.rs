//! The way to one task thread of another process: a [`Post`] and the loop behind it.
//!
//! Relies on whoever implements [`Dial`] to know where the thread is. The loop runs on the executor
//! of the sending thread, so that encoding costs nobody else. What must stay true: while the link is
//! down a post gives its message back; when a link breaks everything that waits for an answer on it
//! learns so; the sending thread is told of every change, so that it can repeat what must be known.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use rama_io::{Category, Env, Receiver, Sender, Transport};

use super::encode::{After, Waiting, encode};
use super::frame::Frame;
use super::link::{Broken, Dial, FrameIn, FrameOut, Lane, LocalFuture};
use crate::message::{Message, Post};

/// First pause between two attempts to connect; doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LONGEST: Duration = Duration::from_secs(1);

type Inbox<E> = <<E as Env>::Transport as Transport>::Receiver<Outgoing>;

/// What the loop takes out of its inbox.
enum Outgoing {
    Message(Message),
    Cancel(u64),
}

/// Sends to a task thread of another process, by the lane of each message.
struct Remote<S> {
    lanes: [(S, Arc<AtomicBool>); 3],
}

impl<S: Sender<Outgoing>> Post for Remote<S> {
    fn post(&self, message: Message) -> Result<(), Message> {
        let (sender, up) = &self.lanes[Lane::of(&message) as usize];
        if !up.load(Ordering::Acquire) {
            return Err(message);
        }
        match sender.send(Outgoing::Message(message)) {
            Err(Outgoing::Message(message)) => Err(message),
            Ok(()) | Err(Outgoing::Cancel(_)) => Ok(()),
        }
    }
}

/// The way to task thread `thread` of another process, and the loops that keep its links up. They
/// run for ever; changes are told to `local`.
pub(crate) fn open<E: Env>(
    env: &E,
    thread: u32,
    local: &Arc<dyn Post>,
    dial: impl Dial,
) -> (Arc<dyn Post>, Vec<(Category, LocalFuture)>) {
    let mut loops: Vec<(Category, LocalFuture)> = Vec::new();
    let lanes = Lane::ALL.map(|lane| {
        let (sender, inbox) = env.transport().channel();
        let up = Arc::new(AtomicBool::new(false));
        let peer = Peer {
            env: env.clone(),
            thread,
            lane,
            inbox,
            sender: sender.clone(),
            up: up.clone(),
            local: local.clone(),
        };
        loops.push((lane.category(), Box::pin(peer.run(dial.clone()))));
        (sender, up)
    });
    (Arc::new(Remote { lanes }), loops)
}

/// One link to be kept up.
struct Peer<E: Env> {
    env: E,
    /// The task thread at the other end.
    thread: u32,
    lane: Lane,
    inbox: Inbox<E>,
    sender: <E::Transport as Transport>::Sender<Outgoing>,
    up: Arc<AtomicBool>,
    /// Who hears of changes of the link.
    local: Arc<dyn Post>,
}

impl<E: Env> Peer<E> {
    /// Keeps the link up, for ever.
    async fn run<D: Dial>(mut self, dial: D) {
        let mut pause = RETRY_FIRST;
        loop {
            match dial.dial(self.lane).await {
                Ok((out, incoming)) => {
                    pause = RETRY_FIRST;
                    self.carry(out, incoming).await;
                }
                Err(error) => {
                    tracing::debug!(%error, thread = self.thread, "could not reach a task thread");
                }
            }
            let jitter =
                Duration::from_nanos(self.env.random_u64() % (pause.as_nanos() as u64).max(1));
            self.env.sleep(pause / 2 + jitter / 2).await;
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }

    /// Uses one link until it breaks.
    async fn carry<O: FrameOut, I: FrameIn>(&mut self, out: O, incoming: I) {
        self.tell(true);
        let waiting = Rc::new(RefCell::new(BTreeMap::new()));
        let last = Cell::new(0);
        let cancel = self.sender.clone();
        {
            let sends = pin!(send(&mut self.inbox, out, &waiting, &last));
            let receives = pin!(receive(incoming, &waiting, cancel));
            match select(sends, receives).await {
                Either::Left((Broken, _)) | Either::Right((Broken, _)) => {}
            }
        }
        self.tell(false);
        // What was posted and not sent is lost like what was sent and not answered.
        while self.inbox.try_recv().is_some() {}
    }

    fn tell(&self, up: bool) {
        self.up.store(up, Ordering::Release);
        let (thread, lane) = (self.thread, self.lane);
        if self.local.post(Message::Link { thread, lane, up }).is_err() {
            tracing::debug!(thread, "nobody hears of a link");
        }
    }
}

type Pending = Rc<RefCell<BTreeMap<u64, Waiting>>>;

async fn send<R: Receiver<Outgoing>, O: FrameOut>(
    inbox: &mut R,
    mut out: O,
    waiting: &Pending,
    last: &Cell<u64>,
) -> Broken {
    while let Some(outgoing) = inbox.recv().await {
        let frame = match outgoing {
            Outgoing::Cancel(id) => Frame::Cancel { id },
            Outgoing::Message(message) => {
                let id = last.get() + 1;
                last.set(id);
                match encode(message, id) {
                    Ok((frame, asker)) => {
                        if let Some(asker) = asker {
                            waiting.borrow_mut().insert(id, asker);
                        }
                        frame
                    }
                    Err(_) => {
                        tracing::error!("a message that stays in its process was sent to a peer");
                        continue;
                    }
                }
            }
        };
        if let Err(broken) = out.send(frame.to_bytes()).await {
            return broken;
        }
    }
    Broken
}

async fn receive<I: FrameIn>(
    mut incoming: I,
    waiting: &Pending,
    cancel: impl Sender<Outgoing>,
) -> Broken {
    while let Some(bytes) = incoming.recv().await {
        let (id, answer) = match Frame::from_bytes(&bytes) {
            Ok(Frame::Answer { id, answer }) => (id, answer),
            Ok(other) => {
                tracing::warn!(?other, "a peer sent something else than an answer");
                return Broken;
            }
            Err(error) => {
                tracing::warn!(%error, "a peer sent bytes that are no frame");
                return Broken;
            }
        };
        let Some(asker) = waiting.borrow_mut().remove(&id) else {
            continue;
        };
        match asker.answer(answer) {
            Ok(After::Over) => {}
            Ok(After::More(asker)) => {
                waiting.borrow_mut().insert(id, asker);
            }
            Ok(After::Cancel) => {
                let _ = cancel.send(Outgoing::Cancel(id));
            }
            Err(error) => {
                tracing::warn!(%error, "a peer answered what was not asked");
                return Broken;
            }
        }
    }
    Broken
}
