//! Moments as the pure machines see them.
//!
//! Relies on nothing. A machine never reads a clock: whoever drives it passes `Now` with every
//! input, taken from one monotonic source, and calls it again at the moment it asked for. What
//! must stay true: the values given to one machine never go back.

use core::time::Duration;

/// A moment: monotonic nanoseconds since an arbitrary start chosen by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now(pub u64);

impl Now {
    /// The moment `duration` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Now {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Now(self.0.saturating_add(nanos))
    }

    /// Time passed since `earlier`; zero when `earlier` lies in the future.
    #[must_use]
    pub fn since(self, earlier: Now) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
