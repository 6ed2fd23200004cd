//! A token bucket: bytes per second, with a burst. Pure: the time is an input.
//!
//! Relies on nothing. What must stay true: over any span of time `t` no more than
//! `burst + rate × t` bytes are let through, beside the one portion that is under way.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// How fast bytes may leave.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    bytes_per_second: u64,
    burst: u64,
    /// Bytes that may leave at once; below zero after a portion larger than what was there.
    tokens: i128,
    at: Duration,
}

impl TokenBucket {
    /// A full bucket at time zero.
    ///
    /// # Panics
    /// When either is zero: nothing would ever leave.
    pub fn new(bytes_per_second: u64, burst: u64) -> TokenBucket {
        assert!(bytes_per_second > 0, "a rate is more than nothing");
        assert!(burst > 0, "a burst is more than nothing");
        TokenBucket {
            bytes_per_second,
            burst,
            tokens: i128::from(burst),
            at: Duration::ZERO,
        }
    }

    /// Takes `bytes` at `now`, and tells how long they have to wait. Time never goes back.
    pub fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let passed = now.saturating_sub(self.at);
        let gained = passed.as_nanos() * u128::from(self.bytes_per_second) / NANOS;
        // What is gained is less than a byte when it is asked too often: the time stays, so that
        // nothing is lost to rounding.
        if gained > 0 {
            self.at = now;
            let gained = i128::try_from(gained).unwrap_or(i128::MAX);
            self.tokens = self
                .tokens
                .saturating_add(gained)
                .min(i128::from(self.burst));
        }
        self.tokens -= i128::from(bytes);
        let debt = u128::try_from(-self.tokens).unwrap_or(0);
        let nanos = debt * NANOS / u128::from(self.bytes_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
