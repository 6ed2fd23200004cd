//! What a source does with records that fail: how often and how late to try again, and then.
//!
//! Relies on nothing. `FailurePolicy` is the author's setting; `Failures` counts per record and
//! decides. What must stay true: the count of a record only grows until it is forgiven, so a
//! poison record cannot be retried for ever unless the policy says so.

use core::time::Duration;
use std::collections::BTreeMap;

/// What to do with a record after its last retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Put it into the dead-letter depot and go on.
    DeadLetter,
    /// Leave it out and go on.
    Skip,
    /// Stop the topology until someone resumes it; the record is tried again then.
    Pause,
}

/// The failure policy of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    /// Retries after the first failure; `u32::MAX` retries for ever.
    pub retries: u32,
    /// Delay before the first retry.
    pub backoff_base_ms: u64,
    /// Each further delay is so many times the one before.
    pub backoff_factor: u32,
    /// No delay is longer.
    pub backoff_max_ms: u64,
    /// What happens after the last retry.
    pub then: Exhausted,
}

impl Default for FailurePolicy {
    /// Ten retries from 10 ms doubling to 10 s (about 10 s in all), then the dead-letter depot.
    fn default() -> FailurePolicy {
        FailurePolicy {
            retries: 10,
            backoff_base_ms: 10,
            backoff_factor: 2,
            backoff_max_ms: 10_000,
            then: Exhausted::DeadLetter,
        }
    }
}

impl FailurePolicy {
    /// The delay before retry number `retry` (the first is 1).
    #[must_use]
    pub fn backoff(&self, retry: u32) -> Duration {
        let exponent = retry.saturating_sub(1);
        let factor = u64::from(self.backoff_factor.max(1)).saturating_pow(exponent);
        let delay_ms = self
            .backoff_base_ms
            .saturating_mul(factor)
            .min(self.backoff_max_ms);
        Duration::from_millis(delay_ms)
    }
}

/// The decision about one failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after the delay.
    Retry {
        /// How long to wait.
        after: Duration,
    },
    /// No retry is left.
    GiveUp {
        /// What the policy wants.
        then: Exhausted,
        /// How often it failed.
        failures: u32,
    },
}

/// Counts the failures of records and decides by policy. `K` names a record.
#[derive(Clone, Debug)]
pub struct Failures<K> {
    counts: BTreeMap<K, u32>,
}

impl<K: Ord + Copy> Default for Failures<K> {
    fn default() -> Failures<K> {
        Failures {
            counts: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Copy> Failures<K> {
    /// Counts a failure of `record` and decides what to do.
    pub fn on_failure(&mut self, record: K, policy: &FailurePolicy) -> Verdict {
        let count = self.counts.entry(record).or_insert(0);
        *count = count.saturating_add(1);
        let failures = *count;
        if failures > policy.retries {
            return Verdict::GiveUp {
                then: policy.then,
                failures,
            };
        }
        Verdict::Retry {
            after: policy.backoff(failures),
        }
    }

    /// Forgets the failures of `record`.
    pub fn forgive(&mut self, record: K) {
        self.counts.remove(&record);
    }

    /// Forgets all failures.
    pub fn forgive_all(&mut self) {
        self.counts.clear();
    }

    /// How often `record` has failed.
    #[must_use]
    pub fn count(&self, record: K) -> u32 {
        self.counts.get(&record).copied().unwrap_or(0)
    }

    /// Number of records with failures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether no record has failures.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests;
