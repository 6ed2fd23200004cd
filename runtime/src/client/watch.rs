//! The values of a path as they change, without the changes: a thin view of what a proxy follows.
//!
//! Relies on `proxy` for the copy and its checksums. What must stay true: the first value is the
//! state at the time of the watch; a slow reader skips values and never makes a queue grow; after
//! the last change the last value read is the current one; an unchanged value is not told again.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::proxy::footprint::Footprint;
use crate::proxy::replica::{Applied, Replica};
use crate::proxy::slot::{self, Fed, Feed, Subscription};

type Decode<T> = Box<dyn Fn(&[u8]) -> Result<T> + Send>;

/// A stream of the newest values of a path: the current one first, then one after each change.
///
/// Values in between may be skipped when the reader is slow. Ends with an `unavailable` error when
/// the module stops or restarts: watch again. A [`Proxy`](crate::Proxy) survives that, and tells
/// how values changed.
#[must_use = "a watch does nothing unless it is read"]
pub struct Watch<T> {
    feed: Feed,
    replica: Replica,
    decode: Decode<T>,
    /// The checksum of what was read last.
    told: Option<u64>,
    /// What to say after the newest value.
    end: Option<Error>,
    done: bool,
}

/// Both halves of a new watch.
pub(crate) fn pair<T>(plan: &Plan, decode: Decode<T>) -> (Subscription, Watch<T>) {
    let (subscription, feed) = slot::pair();
    let watch = Watch {
        feed,
        replica: Replica::of(&Footprint::of(plan)),
        decode,
        told: None,
        end: None,
        done: false,
    };
    (subscription, watch)
}

impl<T> Watch<T> {
    /// The next value; `None` after the end.
    pub async fn next(&mut self) -> Option<Result<T>> {
        std::future::poll_fn(|cx| self.poll_value(cx)).await
    }

    fn poll_value(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let told = self.told;
        while self.end.is_none() {
            match self.feed.poll_next(cx) {
                Poll::Ready(Fed::Update(update)) => match self.replica.apply(&update) {
                    Ok(Applied::Nothing) => {}
                    Ok(_) => self.told = Some(self.replica.checksum()),
                    Err(error) => {
                        let text = "could not read an update; watch again";
                        let error = Error::new(ErrorKind::Corrupt, text).caused_by(error);
                        self.end = Some(error);
                    }
                },
                Poll::Ready(Fed::Refused(error)) => self.end = Some(error),
                Poll::Ready(Fed::Gone) => {
                    let text = "the watched module stopped; watch again";
                    self.end = Some(Error::unavailable(text));
                }
                Poll::Pending => break,
            }
        }
        if self.told != told {
            let value = (self.decode)(&self.replica.answer());
            self.done = value.is_err();
            return Poll::Ready(Some(value));
        }
        match self.end.take() {
            Some(error) => {
                self.done = true;
                Poll::Ready(Some(Err(error)))
            }
            None => Poll::Pending,
        }
    }
}

impl<T> Stream for Watch<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        self.poll_value(cx)
    }
}
