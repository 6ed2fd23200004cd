//! The way to one task thread of another process: a [`Post`] and the loop behind it.
//!
//! Relies on whoever implements [`Dial`] to know where the thread is. The loop runs on the executor
//! of the sending thread, so that encoding costs nobody else. What must stay true: while the link is
//! down a post gives its message back; when a link breaks everything that waits for an answer on it
//! learns so; both threads are told of a link that broke, so that they repeat what must be known.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use rama_io::{Category, Receiver, Sender, Transport};

use super::encode::{After, Waiting, encode};
use super::frame::{Answer, Event, Frame};
use super::link::{Broken, Dial, FrameIn, FrameOut, Ground, Lane, LocalFuture};
use crate::message::{Message, Post};

/// First pause between two attempts to connect; doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// Messages of a patient program that wait for a link, at most; further ones are given back.
const WAITING_MAX: usize = 1 << 16;

type Inbox<G> = <<G as Ground>::Transport as Transport>::Receiver<Outgoing>;
type Outbox<G> = <<G as Ground>::Transport as Transport>::Sender<Outgoing>;

/// What the loop takes out of its inbox.
enum Outgoing {
    Message(Message),
    /// The reader of a proxy is gone.
    Cancel(u64),
    /// A proxy is to be told anew, by the frame that asked for it.
    Anew(u64, Vec<u8>),
}

/// What becomes of a message that cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhileDown {
    /// It is given back: whoever sends it repeats what matters.
    Refuse,
    /// It waits for the link for as long as its asker does. What was sent and not answered when the
    /// link broke is sent again over the next one: reads may be, and appends carry numbers.
    Wait,
}

/// The sending side of one lane.
#[derive(Clone)]
struct Way<S> {
    sender: S,
    up: Arc<AtomicBool>,
    /// News were not sent, or may have been lost with a link.
    lost: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
}

/// Sends to a task thread of another process, by the lane of each message.
struct Remote<S> {
    lanes: [Way<S>; 3],
    while_down: WhileDown,
}

impl<S: Sender<Outgoing>> Post for Remote<S> {
    fn post(&self, message: Message) -> Result<(), Message> {
        let way = &self.lanes[Lane::of(&message) as usize];
        let takes = match self.while_down {
            WhileDown::Refuse => way.up.load(Ordering::Acquire),
            WhileDown::Wait => way.waiting.load(Ordering::Relaxed) < WAITING_MAX,
        };
        if !takes {
            if message.is_news() {
                way.lost.store(true, Ordering::Relaxed);
            }
            return Err(message);
        }
        way.waiting.fetch_add(1, Ordering::Relaxed);
        match way.sender.send(Outgoing::Message(message)) {
            Err(Outgoing::Message(message)) => Err(message),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The way to task thread `thread` of another process, and the loops that keep its links up. They
/// run for ever; changes are told to `local`.
pub(crate) fn open<G: Ground>(
    ground: &G,
    thread: u32,
    local: &Arc<dyn Post>,
    while_down: WhileDown,
    dial: impl Dial,
) -> (Arc<dyn Post>, Vec<(Category, LocalFuture)>) {
    let mut loops: Vec<(Category, LocalFuture)> = Vec::new();
    let lanes = Lane::ALL.map(|lane| {
        let (sender, inbox) = ground.inboxes().channel();
        let way = Way {
            sender,
            up: Arc::default(),
            lost: Arc::default(),
            waiting: Arc::default(),
        };
        let peer = Peer {
            ground: ground.clone(),
            thread,
            lane,
            inbox,
            way: way.clone(),
            local: local.clone(),
            while_down,
        };
        // A program that is no part of the cluster only asks.
        if lane == Lane::Client || while_down == WhileDown::Refuse {
            loops.push((lane.category(), Box::pin(peer.run(dial.clone()))));
        }
        way
    });
    (Arc::new(Remote { lanes, while_down }), loops)
}

/// One link to be kept up.
struct Peer<G: Ground> {
    ground: G,
    /// The task thread at the other end.
    thread: u32,
    lane: Lane,
    inbox: Inbox<G>,
    way: Way<Outbox<G>>,
    /// Who hears of changes of the link.
    local: Arc<dyn Post>,
    while_down: WhileDown,
}

impl<G: Ground> Peer<G> {
    /// Keeps the link up, for ever.
    async fn run<D: Dial>(mut self, dial: D) {
        let mut pause = RETRY_FIRST;
        let asked = Asked::new(self.while_down);
        loop {
            match dial.dial(self.lane).await {
                Ok((out, incoming)) => {
                    self.carry(&asked, out, incoming).await;
                    // A peer that takes links and answers nothing is not asked again at once.
                    if asked.answered.take() {
                        pause = RETRY_FIRST;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, thread = self.thread, "could not reach a task thread");
                }
            }
            let jitter =
                Duration::from_nanos(self.ground.random() % (pause.as_nanos() as u64).max(1));
            self.ground.pause(pause / 2 + jitter / 2).await;
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }

    /// Uses one link until it breaks.
    async fn carry<O: FrameOut, I: FrameIn>(&mut self, asked: &Asked, mut out: O, incoming: I) {
        self.tell(true);
        let own = self.way.sender.clone();
        {
            let (inbox, unsent) = (&mut self.inbox, &self.way.waiting);
            let sorry =
                self.lane == Lane::LowLatency && self.way.lost.swap(false, Ordering::Relaxed);
            let sends = pin!(async {
                if sorry {
                    let frame = Frame::Event(Event::StreamNewsLost).to_bytes();
                    if let Err(broken) = out.send(frame).await {
                        return broken;
                    }
                }
                match resend(asked, &mut out).await {
                    Ok(()) => send((inbox, &own), unsent, out, asked).await,
                    Err(broken) => broken,
                }
            });
            let receives = pin!(receive(incoming, asked, own.clone()));
            match select(sends, receives).await {
                Either::Left((Broken, _)) | Either::Right((Broken, _)) => {}
            }
        }
        self.tell(false);
        self.way.lost.store(true, Ordering::Relaxed);
        if self.while_down == WhileDown::Refuse {
            // What was posted and not sent is lost like what was sent and not answered.
            asked.waiting.borrow_mut().clear();
            while let Some(unsent) = self.inbox.try_recv() {
                if matches!(unsent, Outgoing::Message(_)) {
                    self.way.waiting.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn tell(&self, up: bool) {
        self.way.up.store(up, Ordering::Release);
        let (thread, lane) = (self.thread, self.lane);
        if self.local.post(Message::Link { thread, lane, up }).is_err() {
            tracing::debug!(thread, "nobody hears of a link");
        }
    }
}

/// What was sent and is not answered, by number.
struct Asked {
    while_down: WhileDown,
    waiting: RefCell<BTreeMap<u64, (Waiting, Vec<u8>)>>,
    last: Cell<u64>,
    /// Whether anything was answered since it was looked at.
    answered: Cell<bool>,
}

impl Asked {
    fn new(while_down: WhileDown) -> Asked {
        Asked {
            while_down,
            waiting: RefCell::default(),
            last: Cell::new(0),
            answered: Cell::new(false),
        }
    }

    /// The frame of a message; none when it makes no sense elsewhere. What is to be sent later goes
    /// into `own`.
    fn ask(&self, message: Message, own: &(impl Sender<Outgoing> + 'static)) -> Option<Vec<u8>> {
        let id = self.last.get() + 1;
        self.last.set(id);
        match encode(message, id) {
            Ok((frame, asker)) => {
                let bytes = frame.to_bytes();
                if let Some(asker) = asker {
                    let again = match (self.while_down, &asker) {
                        (WhileDown::Wait, _) | (_, Waiting::Follow(_)) => bytes.clone(),
                        (WhileDown::Refuse, _) => Vec::new(),
                    };
                    if let Waiting::Follow(subscription) = &asker {
                        let own = own.clone();
                        subscription.on_reader_gone(Box::new(move || {
                            // A loop that has ended took its links with it.
                            let _ = own.send(Outgoing::Cancel(id));
                        }));
                    }
                    self.waiting.borrow_mut().insert(id, (asker, again));
                }
                Some(bytes)
            }
            Err(_) => {
                tracing::error!("a message that stays in its process was sent to a peer");
                None
            }
        }
    }

    /// Nobody waits for this any more.
    fn forget(&self, id: u64) {
        let forgotten = self.waiting.borrow_mut().remove(&id);
        drop(forgotten);
    }

    /// Hands an answer to who waits for it. `Break` ends the link.
    fn answer(&self, id: u64, answer: Answer, own: &impl Sender<Outgoing>) -> ControlFlow<()> {
        let mut waiting = self.waiting.borrow_mut();
        let Some((asker, again)) = waiting.remove(&id) else {
            return ControlFlow::Continue(());
        };
        if self.while_down == WhileDown::Wait && asker.may_ask_again(&answer) {
            waiting.insert(id, (asker, again));
            return ControlFlow::Break(());
        }
        drop(waiting);
        self.answered.set(true);
        match asker.answer(answer) {
            Ok(After::Over) => {}
            Ok(After::More(asker)) => {
                self.waiting.borrow_mut().insert(id, (asker, again));
            }
            Ok(After::Cancel) => {
                let _ = own.send(Outgoing::Cancel(id));
            }
            Ok(After::Anew(asker)) => {
                let frame = again.clone();
                self.waiting.borrow_mut().insert(id, (asker, again));
                let _ = own.send(Outgoing::Anew(id, frame));
            }
            Err(error) => {
                tracing::warn!(%error, "a peer answered what was not asked");
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Sends what the links before did not answer, in the order it was sent first.
async fn resend<O: FrameOut>(asked: &Asked, out: &mut O) -> Result<(), Broken> {
    let forgotten = |(asker, _): &mut (Waiting, Vec<u8>)| asker.is_forgotten();
    asked
        .waiting
        .borrow_mut()
        .retain(|_, entry| !forgotten(entry));
    let frames: Vec<Vec<u8>> = {
        let waiting = asked.waiting.borrow();
        waiting.values().map(|(_, frame)| frame.clone()).collect()
    };
    for frame in frames {
        out.send(frame).await?;
    }
    Ok(())
}

async fn send<R: Receiver<Outgoing>, S: Sender<Outgoing> + 'static, O: FrameOut>(
    (inbox, own): (&mut R, &S),
    unsent: &AtomicUsize,
    mut out: O,
    asked: &Asked,
) -> Broken {
    while let Some(outgoing) = inbox.recv().await {
        let frame = match outgoing {
            Outgoing::Cancel(id) => {
                asked.forget(id);
                Some(Frame::Cancel { id }.to_bytes())
            }
            Outgoing::Anew(id, again) => {
                let cancel = Frame::Cancel { id }.to_bytes();
                if let Err(broken) = out.send(cancel).await {
                    return broken;
                }
                // Unless it was cancelled meanwhile.
                let wanted = asked.waiting.borrow().contains_key(&id);
                wanted.then_some(again)
            }
            Outgoing::Message(message) => {
                unsent.fetch_sub(1, Ordering::Relaxed);
                message.departs().then(|| asked.ask(message, own)).flatten()
            }
        };
        if let Some(frame) = frame
            && let Err(broken) = out.send(frame).await
        {
            return broken;
        }
    }
    Broken
}

async fn receive<I: FrameIn>(mut incoming: I, asked: &Asked, own: impl Sender<Outgoing>) -> Broken {
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
        if asked.answer(id, answer, &own).is_break() {
            return Broken;
        }
    }
    Broken
}
