//! The bounded queue between who tells the changes of a path and who follows them.
//!
//! Relies on nothing of an executor: both halves may be on any thread. What must stay true: a slow
//! reader never makes the queue grow (what does not fit becomes one whole value, P-46); updates
//! leave in the order they came; either half may go away at any time and the other learns of it,
//! the writer at once (P-44).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::update::{Update, Whole};
use crate::error::Error;
use crate::limits;

/// Called once when the reader goes away.
type Closer = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Slot {
    queue: VecDeque<Arc<Update>>,
    bytes: usize,
    /// How many updates were taken out, or thrown away.
    passed: u64,
    /// The same when the last was taken out.
    taken: u64,
    /// What did not fit was thrown away: nothing but a whole value makes sense now.
    behind: bool,
    refused: Option<Error>,
    reader: Option<Waker>,
    closer: Option<Closer>,
    reader_gone: bool,
    writer_gone: bool,
}

type Shared = Arc<Mutex<Slot>>;

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The half of who tells.
pub(crate) struct Subscription(Shared);

/// The half of who follows.
pub(crate) struct Feed(Shared);

/// Both halves.
pub(crate) fn pair() -> (Subscription, Feed) {
    let slot = Shared::default();
    (Subscription(slot.clone()), Feed(slot))
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for the reader, or is one of those that a whole value will stand for.
    Taken,
    /// The reader is too far behind: tell it the whole value next.
    Behind,
    /// Nobody reads any more.
    Over,
}

/// What a reader finds.
#[derive(Debug)]
pub(crate) enum Fed {
    Update(Arc<Update>),
    /// The task will not tell anything.
    Refused(Error),
    /// Whoever told is gone; somebody else may be asked.
    Gone,
}

impl Slot {
    fn clear(&mut self) {
        self.passed += self.queue.len() as u64;
        self.queue.clear();
        self.bytes = 0;
    }

    fn add(&mut self, update: Arc<Update>) {
        self.bytes += update.size();
        self.queue.push_back(update);
    }

    fn push(&mut self, update: &Arc<Update>, waiting_max: usize) -> Pushed {
        let fits = self.queue.is_empty()
            || (self.queue.len() < waiting_max
                && self.bytes + update.size() <= limits::PROXY_WAITING_BYTES_MAX);
        match &**update {
            Update::Whole { why, .. } if *why == Whole::Resync => {
                self.clear();
                self.behind = false;
                self.add(update.clone());
            }
            _ if self.behind => return Pushed::Taken,
            _ if fits => self.add(update.clone()),
            Update::Whole {
                checksum, answer, ..
            } => {
                // The newest value stands for those that did not fit.
                self.clear();
                self.add(Arc::new(Update::Whole {
                    why: Whole::Resync,
                    checksum: *checksum,
                    answer: answer.clone(),
                }));
            }
            Update::Changes { .. } => {
                self.clear();
                self.behind = true;
                return Pushed::Behind;
            }
        }
        Pushed::Taken
    }
}

impl Subscription {
    /// Tells the reader, of whom at most so many updates wait.
    pub(crate) fn push(&self, update: &Arc<Update>, waiting_max: usize) -> Pushed {
        let mut slot = lock(&self.0);
        if slot.reader_gone {
            return Pushed::Over;
        }
        let pushed = slot.push(update, waiting_max);
        wake(slot);
        pushed
    }

    /// Tells the reader that there is nothing to follow.
    pub(crate) fn refuse(&self, error: Error) {
        let mut slot = lock(&self.0);
        slot.refused = Some(error);
        wake(slot);
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.0).reader_gone
    }

    /// Has `closer` called when the reader goes away; at once if it is gone. While the writer is
    /// there, that is.
    pub(crate) fn on_reader_gone(&self, closer: Closer) {
        let mut slot = lock(&self.0);
        if slot.reader_gone {
            drop(slot);
            closer();
        } else {
            slot.closer = Some(closer);
        }
    }
}

fn wake(mut slot: MutexGuard<'_, Slot>) {
    let reader = slot.reader.take();
    drop(slot);
    if let Some(reader) = reader {
        reader.wake();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.writer_gone = true;
        // It may hold the inbox of a task thread open.
        let closer = slot.closer.take();
        wake(slot);
        drop(closer);
    }
}

impl Feed {
    /// The next update, or how it ended.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Fed> {
        let mut slot = lock(&self.0);
        if let Some(update) = slot.queue.pop_front() {
            slot.bytes -= update.size();
            slot.passed += 1;
            slot.taken = slot.passed;
            return Poll::Ready(Fed::Update(update));
        }
        if let Some(error) = slot.refused.take() {
            slot.writer_gone = true;
            return Poll::Ready(Fed::Refused(error));
        }
        if slot.writer_gone {
            return Poll::Ready(Fed::Gone);
        }
        slot.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The same, to be awaited.
    pub(crate) async fn next(&self) -> Fed {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The updates that wait from number `from` on, and the number of the first of them. They stay.
    pub(crate) fn waiting(&self, from: u64) -> (u64, Vec<Arc<Update>>) {
        let slot = lock(&self.0);
        let first = from.max(slot.passed);
        let skipped = (first - slot.passed) as usize;
        (first, slot.queue.iter().skip(skipped).cloned().collect())
    }

    /// How many updates were taken out, or thrown away.
    pub(crate) fn passed(&self) -> u64 {
        lock(&self.0).passed
    }

    /// The same as of when the last was taken out: the number of the one after it.
    pub(crate) fn taken(&self) -> u64 {
        lock(&self.0).taken
    }

    /// Whether nothing more will come, and nothing waits.
    pub(crate) fn is_over(&self) -> bool {
        let slot = lock(&self.0);
        slot.queue.is_empty() && (slot.writer_gone || slot.refused.is_some())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.reader_gone = true;
        slot.clear();
        let closer = slot.closer.take();
        drop(slot);
        if let Some(closer) = closer {
            closer();
        }
    }
}

#[cfg(test)]
mod tests;
