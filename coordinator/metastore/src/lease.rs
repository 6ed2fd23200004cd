//! A lease as its holder sees it.
//!
//! Relies on an implementation that renews it, and on a clock that goes on while the machine is
//! suspended. What must stay true: local validity is counted from the moment a renewal was *sent*,
//! less a margin, so the holder stops believing before the metastore does. A lease elects; it does
//! not fence: a metastore may end one early, so writes are guarded by revisions and epochs as well.

use std::any::Any;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Moment;

/// Names a lease in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl Display for LeaseId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "lease {:x}", self.0)
    }
}

/// What the holder knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Renewed in time.
    Held,
    /// Not renewed in time. The metastore may have deleted the keys; what they protect must stop.
    /// It can be held again, when the metastore comes back and still knows it.
    Lapsed,
    /// Gone for good, with its keys.
    Lost,
}

/// What the holder and the renewing side share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub id: LeaseId,
    pub ttl: Duration,
    valid_until: AtomicU64,
    state: watch::Sender<LeaseState>,
}

impl Shared {
    /// A lease that was asked for at this moment.
    pub fn new(id: LeaseId, ttl: Duration, valid_until: Moment) -> Shared {
        Shared {
            id,
            ttl,
            valid_until: AtomicU64::new(valid_until.nanos()),
            state: watch::Sender::new(LeaseState::Held),
        }
    }

    /// Until when it is held at least.
    pub fn valid_until(&self) -> Moment {
        Moment::from_nanos(self.valid_until.load(Ordering::Acquire))
    }

    /// Was renewed.
    #[cfg(feature = "etcd")]
    pub fn on_renewed(&self, valid_until: Moment) {
        // Order: a reader that sees the state also sees the time.
        self.valid_until
            .fetch_max(valid_until.nanos(), Ordering::AcqRel);
        if Moment::now() < valid_until {
            self.change(LeaseState::Held);
        }
    }

    /// Was not renewed in time.
    #[cfg(feature = "etcd")]
    pub fn on_lapsed(&self) {
        self.change(LeaseState::Lapsed);
    }

    /// Waits for a state.
    pub async fn wait(&self, done: impl Fn(LeaseState) -> bool) -> LeaseState {
        let mut changes = self.state.subscribe();
        match changes.wait_for(|state| done(*state)).await {
            Ok(state) => *state,
            // The sender is in `self`.
            Err(_) => LeaseState::Lost,
        }
    }

    /// Is gone.
    pub fn on_lost(&self) {
        self.valid_until
            .store(Moment::PAST.nanos(), Ordering::Release);
        self.change(LeaseState::Lost);
    }

    fn change(&self, to: LeaseState) {
        self.state.send_if_modified(|state| {
            let changes = *state != to && *state != LeaseState::Lost;
            if changes {
                *state = to;
            }
            changes
        });
    }
}

/// A lease, kept alive for as long as a clone of this handle exists.
///
/// Dropping the last clone stops the keep-alive: the keys die when the time to live has run out, as
/// after a crash. Revoke it to end it at once.
#[derive(Clone)]
pub struct Lease {
    shared: Arc<Shared>,
    /// Ends the keep-alive with the last clone.
    _keeper: Arc<dyn Any + Send + Sync>,
}

impl Lease {
    pub(crate) fn new(shared: Arc<Shared>, keeper: impl Any + Send + Sync) -> Lease {
        Lease {
            shared,
            _keeper: Arc::new(keeper),
        }
    }

    /// Names it in transactions.
    pub fn id(&self) -> LeaseId {
        self.shared.id
    }

    /// How long its keys live without renewal, as the metastore chose.
    pub fn ttl(&self) -> Duration {
        self.shared.ttl
    }

    /// Whether it is held, by a fresh reading of the clock. Ask this after taking a request from a
    /// queue and before acting on it.
    pub fn held(&self) -> bool {
        *self.shared.state.borrow() != LeaseState::Lost && Moment::now() < self.shared.valid_until()
    }

    /// For how much longer it is held without another renewal.
    pub fn held_for(&self) -> Duration {
        self.shared.valid_until().left()
    }

    /// What is known.
    pub fn state(&self) -> LeaseState {
        let state = *self.shared.state.borrow();
        // The renewing side may not have had a turn yet.
        if state == LeaseState::Held && !self.held() {
            return LeaseState::Lapsed;
        }
        state
    }

    /// Waits until it is gone for good. After a lapse this may take as long as the metastore is
    /// away.
    pub async fn lost(&self) {
        self.shared.wait(|state| state == LeaseState::Lost).await;
    }

    /// Waits until it lapses or is lost.
    pub async fn lapsed(&self) {
        self.shared.wait(|state| state != LeaseState::Held).await;
    }

    /// Waits until a lapsed lease is held again, or lost.
    pub async fn settled(&self) -> LeaseState {
        self.shared.wait(|state| state != LeaseState::Lapsed).await
    }
}

impl Debug for Lease {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id())
            .field("state", &self.state())
            .finish()
    }
}
