//! The sending half of a stream of messages: a bounded queue and a task that writes.
//!
//! Relies on `frame::Encoder`. While one write waits for credit or for the connection, the next
//! messages gather and leave together: no timer at low load, large writes under load. What must
//! stay true: the queue holds at most `send_buffer` bytes, or one longer message; what was queued
//! before `close` or the drop of the sender is still sent; an error is told to every later call.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{SendStream, StoppedError, VarInt, WriteError};

use crate::error::{StreamError, code};
use crate::frame::{CHUNK_HEAD_BYTES, Encoder};
use crate::limits::{CHUNK_BYTES_MAX, Limits};
use crate::runtime::Runtime;

/// A message that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TrySendError {
    /// The receiver is slow; the message comes back.
    #[error("the stream has no room")]
    Full(Bytes),
    /// The stream is over.
    #[error(transparent)]
    Ended(#[from] StreamError),
}

/// The sending half of a stream of messages. Dropping it sends what is queued and finishes.
pub struct MessageSender(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    send_buffer: usize,
    message_bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    /// Of messages that are queued or being written, with their heads.
    byte_count: usize,
    closing: Option<Closing>,
    /// How the stream ended: everything was confirmed, or not.
    ended: Option<Result<(), StreamError>>,
    /// The writer, while it has nothing to write.
    writer: Option<Waker>,
    /// The writer, while a write waits for credit: only an end may disturb it.
    writing: Option<Waker>,
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// After what is queued.
    Finish,
    /// At once.
    Abandon,
}

impl MessageSender {
    pub(crate) fn new(stream: SendStream, limits: &Limits, runtime: &Runtime) -> MessageSender {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            send_buffer: limits.send_buffer,
            message_bytes_max: limits.message_bytes_max,
        });
        runtime.spawn(Writer::new(stream, shared.clone()).run());
        MessageSender(shared)
    }

    /// Queues a message, after it waited for room. Queued says nothing about received.
    ///
    /// # Errors
    /// [`StreamError::TooLong`], which leaves the stream as it was, or why the stream is over.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<(), StreamError> {
        let mut message = Some(message.into());
        poll_fn(|cx| {
            let taken = message.take().expect("polled until ready");
            match self.0.offer(taken, Some(cx)) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(TrySendError::Ended(error)) => Poll::Ready(Err(error)),
                Err(TrySendError::Full(back)) => {
                    message = Some(back);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Queues a message if there is room.
    ///
    /// # Errors
    /// [`TrySendError::Full`] gives the message back.
    pub fn try_send(&self, message: impl Into<Bytes>) -> Result<(), TrySendError> {
        self.0.offer(message.into(), None)
    }

    /// Bytes that are queued or being written.
    pub fn queued_bytes(&self) -> usize {
        self.0.queue().byte_count
    }

    /// Finishes the stream and waits until the peer's process has received all of it.
    ///
    /// # Errors
    /// Why that will not happen.
    pub async fn close(self) -> Result<(), StreamError> {
        self.0.queue().close(Closing::Finish);
        poll_fn(|cx| {
            let mut queue = self.0.queue();
            match &queue.ended {
                Some(ended) => Poll::Ready(ended.clone()),
                None => queue.wait(cx),
            }
        })
        .await
    }

    /// Drops what is queued and tells the peer that the stream is worthless.
    pub fn abandon(self) {
        // The drop that follows finishes what was not abandoned.
        self.0.queue().close(Closing::Abandon);
    }
}

impl Drop for MessageSender {
    fn drop(&mut self) {
        self.0.queue().close(Closing::Finish);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, message: Bytes, cx: Option<&mut Context<'_>>) -> Result<(), TrySendError> {
        let bytes = message.len();
        if bytes > self.message_bytes_max {
            let limit = self.message_bytes_max;
            return Err(StreamError::TooLong { bytes, limit }.into());
        }
        let cost = cost(&message);
        let mut queue = self.queue();
        if let Some(ended) = &queue.ended {
            return Err(ended.clone().err().unwrap_or(StreamError::Stopped).into());
        }
        if queue.byte_count > 0 && queue.byte_count + cost > self.send_buffer {
            if let Some(cx) = cx {
                let _: Poll<()> = queue.wait(cx);
            }
            return Err(TrySendError::Full(message));
        }
        queue.byte_count += cost;
        queue.messages.push_back(message);
        if let Some(writer) = queue.writer.take() {
            drop(queue);
            writer.wake();
        }
        Ok(())
    }
}

/// What a message counts against the send buffer.
fn cost(message: &Bytes) -> usize {
    message.len() + CHUNK_HEAD_BYTES * (1 + message.len() / CHUNK_BYTES_MAX)
}

impl Queue {
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn close(&mut self, how: Closing) {
        self.closing.get_or_insert(how);
        for writer in [self.writer.take(), self.writing.take()] {
            writer.into_iter().for_each(Waker::wake);
        }
    }

    fn wake_waiting(&mut self) {
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

/// What the writer does next.
enum Step {
    /// Write this much of the queue, already encoded.
    Write(usize),
    Finish,
    Abandon,
    /// The peer takes no more, or the connection is lost.
    End(StreamError),
}

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// The task behind a sender.
struct Writer {
    stream: SendStream,
    stopped: Stopped,
    shared: Arc<Shared>,
    encoder: Encoder,
    parts: Vec<Bytes>,
}

impl Writer {
    fn new(stream: SendStream, shared: Arc<Shared>) -> Writer {
        Writer {
            stopped: Box::pin(stream.stopped()),
            stream,
            shared,
            encoder: Encoder::default(),
            parts: Vec::new(),
        }
    }

    async fn run(mut self) {
        let ended = loop {
            match self.next().await {
                Step::Write(bytes) => {
                    self.encoder.take(&mut self.parts);
                    let written = self.write().await;
                    self.parts.clear();
                    match written {
                        Some(Ok(())) => {}
                        Some(Err(error)) => break Err(reason(error)),
                        // Abandoned: the next step says so.
                        None => continue,
                    }
                    let mut queue = self.shared.queue();
                    queue.byte_count -= bytes;
                    queue.wake_waiting();
                }
                Step::Finish => {
                    // An error means that the peer stopped it, which `stopped` tells as well.
                    let _ = self.stream.finish();
                    break match self.stopped.as_mut().await {
                        Ok(None) => Ok(()),
                        Ok(Some(code)) => Err(stopped(code)),
                        Err(error) => Err(lost(error)),
                    };
                }
                Step::Abandon => {
                    let _ = self.stream.reset(code::DONE);
                    break Err(StreamError::Abandoned);
                }
                Step::End(error) => break Err(error),
            }
        };
        let mut queue = self.shared.queue();
        queue.ended = Some(ended);
        queue.messages.clear();
        queue.byte_count = 0;
        queue.wake_waiting();
    }

    /// Writes all parts, unless the sender gives up meanwhile.
    async fn write(&mut self) -> Option<Result<(), WriteError>> {
        let mut writing = pin!(self.stream.write_all_chunks(&mut self.parts));
        let shared = &self.shared;
        poll_fn(|cx| {
            if let Poll::Ready(written) = writing.as_mut().poll(cx) {
                return Poll::Ready(Some(written));
            }
            let mut queue = shared.queue();
            if queue.closing == Some(Closing::Abandon) {
                return Poll::Ready(None);
            }
            queue.writing = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn next(&mut self) -> Step {
        let Writer {
            stopped: peer,
            shared,
            encoder,
            ..
        } = self;
        poll_fn(|cx| {
            let mut queue = shared.queue();
            if queue.closing == Some(Closing::Abandon) {
                return Poll::Ready(Step::Abandon);
            }
            let mut bytes = 0;
            while encoder.len() < CHUNK_BYTES_MAX
                && let Some(message) = queue.messages.pop_front()
            {
                bytes += cost(&message);
                encoder.push(message);
            }
            if bytes > 0 {
                return Poll::Ready(Step::Write(bytes));
            }
            if queue.closing.is_some() {
                return Poll::Ready(Step::Finish);
            }
            match peer.as_mut().poll(cx) {
                Poll::Ready(Ok(Some(code))) => return Poll::Ready(Step::End(stopped(code))),
                // A stream that was not finished is not confirmed as a whole.
                Poll::Ready(Ok(None)) => return Poll::Ready(Step::End(StreamError::Stopped)),
                Poll::Ready(Err(error)) => return Poll::Ready(Step::End(lost(error))),
                Poll::Pending => {}
            }
            queue.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

fn stopped(code: VarInt) -> StreamError {
    StreamError::from_code(code, StreamError::Stopped)
}

fn lost(error: StoppedError) -> StreamError {
    match error {
        StoppedError::ConnectionLost(cause) => cause.into(),
        StoppedError::ZeroRttRejected => StreamError::Abandoned,
    }
}

fn reason(error: WriteError) -> StreamError {
    match error {
        WriteError::Stopped(code) => stopped(code),
        WriteError::ConnectionLost(cause) => cause.into(),
        WriteError::ClosedStream | WriteError::ZeroRttRejected => StreamError::Abandoned,
    }
}
