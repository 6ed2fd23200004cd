//! Following the keys under a prefix.
//!
//! Relies on an implementation that survives outages. What must stay true: changes come in the
//! order of their revisions, each once; what could not be followed one by one (a gap, compacted
//! history) comes as a whole listing; and a watch is a hint: it tells that something changed, not
//! that something may be done.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};

use crate::error::Error;
use crate::store::{Entry, Listing};

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// With a listing of the present, then every change after it.
    Listing,
    /// With the first change at or after this revision: one more than that of a listing.
    Revision(u64),
}

/// One thing that a watch saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A key was written.
    Put(Entry),
    /// A key was deleted, or died with its lease.
    Delete {
        /// The key.
        key: String,
        /// The revision that removed it.
        revision: u64,
    },
    /// Forget what was seen before: this is all there is, as of its revision.
    Relisted(Listing),
}

impl WatchEvent {
    /// The revision of the change or listing.
    pub fn revision(&self) -> u64 {
        match self {
            WatchEvent::Put(entry) => entry.versioned.revision,
            WatchEvent::Delete { revision, .. } => *revision,
            WatchEvent::Relisted(listing) => listing.revision,
        }
    }
}

type Source = Pin<Box<dyn Stream<Item = Result<WatchEvent, Error>> + Send>>;

/// A watch. An error says that the metastore cannot be followed at present, once for each outage;
/// the watch goes on by itself, with what happened meanwhile, when it can be followed again.
///
/// It is also a [`Stream`] that ends only when the store is closed. Dropping it ends it.
pub struct Watch(Source);

impl Watch {
    /// A watch over what an implementation yields.
    pub fn new(source: impl Stream<Item = Result<WatchEvent, Error>> + Send + 'static) -> Watch {
        Watch(Box::pin(source))
    }

    /// The next event. Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// The metastore cannot be followed at present; call again to wait for it.
    pub async fn next(&mut self) -> Result<WatchEvent, Error> {
        match self.0.next().await {
            Some(event) => event,
            None => Err(Error::Closed {
                attempt: "follow the metastore".into(),
            }),
        }
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl Debug for Watch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
