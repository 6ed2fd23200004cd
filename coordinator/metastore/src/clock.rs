//! The clock that leases are measured with.
//!
//! Relies on CLOCK_BOOTTIME: it goes on while the machine is suspended, which CLOCK_MONOTONIC does
//! not, and nobody sets it. What must stay true: a lease is judged by a fresh reading, never by a
//! time that was read before waiting.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point in time of this boot of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Later than every other.
    pub const NEVER: Moment = Moment(u64::MAX);
    /// Before every other.
    pub const PAST: Moment = Moment(0);

    /// The present.
    pub fn now() -> Moment {
        let read = clock_gettime(ClockId::Boottime);
        let elapsed = Duration::new(read.tv_sec as u64, read.tv_nsec as u32);
        Moment(elapsed.as_nanos() as u64)
    }

    /// So much later.
    pub fn after(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(duration.as_nanos() as u64))
    }

    /// How long it takes until then; zero when it has passed.
    pub fn left(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(Moment::now().0))
    }

    /// As a number, for an atomic.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// Back from a number.
    pub fn from_nanos(nanos: u64) -> Moment {
        Moment(nanos)
    }
}
