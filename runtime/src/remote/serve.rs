//! The receiving end of a link: what a peer's thread sends goes to a task thread of this process,
//! answers go back.
//!
//! Relies on the decoder for every check. What must stay true: messages reach the inbox in the order
//! they came; a frame that does not fit ends the link, which costs the peer a reconnect and this
//! process nothing; a link that is gone leaves no proxy behind.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_channel::oneshot;
use futures_util::future::{AbortHandle, Abortable, select};
use rama_io::{Category, Env};

use super::decode::{Awaited, Decoder};
use super::frame::{Answer, Frame};
use super::link::{FrameIn, FrameOut, Lane};
use crate::category_queue::Queue;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::message::{Message, Post};
use crate::proxy::slot::{Fed, Feed};

/// Where links from peers lead: one task thread.
pub(crate) struct Served<E: Env> {
    pub(crate) env: E,
    pub(crate) layout: Arc<Layout>,
    /// The task thread of this process.
    pub(crate) thread: u32,
    /// Its inbox.
    pub(crate) post: Arc<dyn Post>,
}

impl<E: Env> Clone for Served<E> {
    fn clone(&self) -> Served<E> {
        let (layout, post) = (self.layout.clone(), self.post.clone());
        Served {
            env: self.env.clone(),
            layout,
            thread: self.thread,
            post,
        }
    }
}

/// What the answering tasks share.
#[derive(Default)]
struct Answers {
    /// Each with who wants to know when it was sent.
    ready: Queue<(Frame, Option<oneshot::Sender<()>>)>,
    proxies: RefCell<BTreeMap<u64, AbortHandle>>,
}

impl<E: Env> Served<E> {
    /// Runs until the link breaks, the peer breaks the protocol, or the task thread is gone.
    pub(crate) async fn run<I: FrameIn, O: FrameOut>(self, lane: Lane, incoming: I, out: O) {
        let answers = Rc::new(Answers::default());
        let reads = pin!(self.read(lane, incoming, &answers));
        let writes = pin!(write(out, &answers));
        select(reads, writes).await;
        for (_, proxy) in answers.proxies.take() {
            proxy.abort();
        }
    }

    async fn read<I: FrameIn>(&self, lane: Lane, mut incoming: I, answers: &Rc<Answers>) {
        while let Some(bytes) = incoming.recv().await {
            if let Err(error) = self.take(lane, &bytes, answers) {
                tracing::warn!(error = format!("{error:#}"), "a link from a peer is closed");
                return;
            }
        }
    }

    fn take(&self, lane: Lane, bytes: &[u8], answers: &Rc<Answers>) -> Result<()> {
        let (layout, thread) = (&*self.layout, self.thread);
        let decoder = Decoder { layout, thread };
        match Frame::from_bytes(bytes)? {
            Frame::Event(event) if lane != Lane::Client => self.post(decoder.event(event)?),
            Frame::Request { id, request } if lane == Lane::Client => {
                let (message, awaited) = decoder.request(request)?;
                self.post(message)?;
                if id != 0 {
                    self.answer(id, awaited, answers);
                }
                Ok(())
            }
            Frame::Cancel { id } => {
                let proxy = answers.proxies.borrow_mut().remove(&id);
                if let Some(proxy) = proxy {
                    proxy.abort();
                }
                Ok(())
            }
            // Peers that may ask need not be peers that may move values.
            Frame::Answer { .. } | Frame::Event(_) | Frame::Request { .. } => {
                let text = format!("a peer sent what does not belong on its {lane:?} link");
                Err(Error::invalid(text))
            }
        }
    }

    fn post(&self, message: Message) -> Result<()> {
        self.post.post(message).map_err(|_| {
            let thread = self.thread;
            Error::unavailable(format!("task thread {thread} has stopped"))
        })
    }

    fn answer(&self, id: u64, awaited: Awaited, answers: &Rc<Answers>) {
        let to = answers.clone();
        match awaited {
            Awaited::One(answer) => self.env.spawn(Category::Client, async move {
                let answer = answer.await;
                to.ready.push((Frame::Answer { id, answer }, None));
            }),
            Awaited::Updates(feed) => {
                let (handle, registration) = AbortHandle::new_pair();
                answers.proxies.borrow_mut().insert(id, handle);
                let follow = Abortable::new(follow(id, feed, to), registration);
                self.env.spawn(Category::Client, async move {
                    let _ = follow.await;
                });
            }
        }
    }
}

async fn write<O: FrameOut>(mut out: O, answers: &Answers) {
    loop {
        answers.ready.ready().await;
        while let Some((frame, sent)) = answers.ready.pop() {
            if out.send(frame.to_bytes()).await.is_err() {
                return;
            }
            if let Some(sent) = sent {
                let _ = sent.send(());
            }
        }
    }
}

/// Sends the updates of a proxy as they come, one at a time: while one waits for the link, newer ones
/// wait in the proxy's queue, whose bound makes one whole value of too many.
async fn follow(id: u64, feed: Feed, answers: Rc<Answers>) {
    loop {
        let (answer, last) = match feed.next().await {
            Fed::Update(update) => (Answer::Update(update.to_bytes()), false),
            Fed::Refused(error) => (Answer::failed(&error), true),
            Fed::Gone => (Answer::Ended, true),
        };
        let (sent, is_sent) = oneshot::channel();
        answers
            .ready
            .push((Frame::Answer { id, answer }, Some(sent)));
        if last || is_sent.await.is_err() {
            break;
        }
    }
    answers.proxies.borrow_mut().remove(&id);
}
