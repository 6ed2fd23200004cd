//! The limits of a tracker, and how they change while it runs.
//!
//! Relies on the dynamic options for their values (spec operations §6.3). What must stay true: what
//! began under other limits may finish, so a limit that falls is kept to as soon as it can be; in
//! mode `None` the reach past a checkpoint never changes, because the life after this one reckons
//! with it.

use core::time::Duration;

use crate::options::{
    ACK_FAILURE_ON_ANY, DEPOT_MAX_PENDING, Level, STREAM_CHECKPOINT_SECONDS,
    STREAM_CHECKPOINT_THRESHOLD, STREAM_MAX_EXECUTING, STREAM_TIMEOUT, Settings,
};
use crate::stream::TrackerOptions;
use crate::stream::tracker::Tracker;
use crate::time::Now;

/// The window holds at most so many records per unfinished one: newer records may overtake one
/// that fails, but not without bound.
const WINDOW_FACTOR: usize = 16;

/// What a tracker may do at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerLimits {
    /// Unfinished records at most (`topology.stream.max.executing.per.task`).
    pub max_executing: u32,
    /// ACK appends waiting at most (`depot.max.pending.streaming.per.partition`, D-22).
    pub max_waiting: u32,
    /// A tree that is not done after this long has failed (S-8).
    pub timeout: Duration,
    /// Checkpoint after so many records …
    pub checkpoint_records: u64,
    /// … or after this long, whichever comes first, when there is something new (S-13).
    pub checkpoint_interval: Duration,
    /// Whether a failed first attempt fails the waiting append although a retry may succeed
    /// (`depot.ack.failure.on.any.streaming.failure`, D-20).
    pub first_attempt_decides: bool,
}

impl TrackerLimits {
    /// What is set for a topology and for the depot that it reads.
    #[must_use]
    pub fn of(settings: &Settings, topology: &Level, depot: &Level) -> TrackerLimits {
        let seconds = |option| Duration::from_secs(settings.whole(option, topology));
        TrackerLimits {
            max_executing: settings.whole(&STREAM_MAX_EXECUTING, topology) as u32,
            max_waiting: settings.whole(&DEPOT_MAX_PENDING, depot) as u32,
            timeout: seconds(&STREAM_TIMEOUT),
            checkpoint_records: settings.whole(&STREAM_CHECKPOINT_THRESHOLD, topology),
            checkpoint_interval: seconds(&STREAM_CHECKPOINT_SECONDS),
            first_attempt_decides: settings.switch(&ACK_FAILURE_ON_ANY, depot),
        }
    }
}

impl Default for TrackerLimits {
    fn default() -> TrackerLimits {
        TrackerLimits::of(&Settings::new(), &Level::Module, &Level::Module)
    }
}

/// What there was when a limit last changed: so much may stay above it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inherited {
    pub(super) unfinished: usize,
    pub(super) window: usize,
    pub(super) waiting: usize,
}

impl Tracker {
    pub(super) fn handle_limits(&mut self, now: Now, limits: TrackerLimits) {
        assert!(
            limits.max_executing > 0,
            "a source must be allowed to execute records"
        );
        self.inherited = Inherited {
            unfinished: self.window.unfinished(),
            window: self.window.len(),
            waiting: self.watched.len(),
        };
        self.options.limits = limits;
        let next = now.after(limits.checkpoint_interval);
        self.checkpoint_at = self.checkpoint_at.min(next);
    }

    pub(super) fn window_max(&self) -> usize {
        self.options.limits.max_executing as usize * WINDOW_FACTOR
    }

    /// Slots that the window may still get.
    pub(super) fn spare(&self) -> usize {
        self.window_max().saturating_sub(self.window.len())
    }
}

/// How far past a durable checkpoint records may be pushed under the first limits of a tracker.
pub(super) fn reach(options: &TrackerOptions) -> u64 {
    let limits = &options.limits;
    u64::from(limits.max_executing) * WINDOW_FACTOR as u64 + limits.checkpoint_records
}
