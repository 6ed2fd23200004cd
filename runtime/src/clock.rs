//! The wall clock that author code sees, which a test may set (T-10).
//!
//! Relies on the environment for the real one. What must stay true: nothing of the engine reads it:
//! times of appends, timeouts and ticks are those of the machine.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One for all modules of a cluster.
#[derive(Debug)]
pub(crate) struct Clock {
    /// What it shows; [`REAL`] while it was never set.
    set_ms: AtomicU64,
}

const REAL: u64 = u64::MAX;

impl Default for Clock {
    fn default() -> Clock {
        Clock {
            set_ms: AtomicU64::new(REAL),
        }
    }
}

impl Clock {
    /// What it shows where the real one shows `real_ms`.
    pub(crate) fn now_ms(&self, real_ms: u64) -> u64 {
        match self.set_ms.load(Relaxed) {
            REAL => real_ms,
            set => set,
        }
    }

    /// Shows `now_ms` from now on, and stands there.
    pub(crate) fn set(&self, now_ms: u64) {
        self.set_ms.store(now_ms.min(REAL - 1), Relaxed);
    }

    /// Goes on by `by_ms` from where it stands; false when it was never set.
    pub(crate) fn advance(&self, by_ms: u64) -> bool {
        let advanced = self.set_ms.fetch_update(Relaxed, Relaxed, |set| {
            (set != REAL).then(|| set.saturating_add(by_ms).min(REAL - 1))
        });
        advanced.is_ok()
    }
}
