//! The random streams of the simulator and the hash over everything it decided.
//!
//! Relies on nothing. What must stay true: a stream depends on its seed and its name alone, so
//! that one more draw in one stream never shifts another; the formulas never change between two
//! runs of one build.

use std::time::Duration;

/// One stream of pseudo random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream called `name` of the run with `seed`.
    pub(super) fn new(seed: u64, name: &str) -> Rng {
        let mut trace = Trace::default();
        trace.fold(seed);
        trace.fold_bytes(name.as_bytes());
        Rng(trace.value())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `0..bound`; zero when `bound` is zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A position in a list of `len` elements.
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(super) fn chance(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// A duration in `min..=max`, near `min` more often than near `max`.
    pub(super) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        let span = max.saturating_sub(min).as_nanos() as u64;
        let draw = self.below(span + 1);
        let low = self.below(draw + 1);
        min + Duration::from_nanos(low)
    }
}

/// A running 64-bit hash. Not for files: only for comparing two runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trace(u64);

impl Trace {
    pub(super) fn fold(&mut self, word: u64) {
        self.0 = mix(self.0.rotate_left(7) ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }

    pub(super) fn fold_bytes(&mut self, bytes: &[u8]) {
        let mut sum = bytes.len() as u64;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            sum = (sum.rotate_left(5) ^ u64::from_le_bytes(*word))
                .wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        for byte in rest {
            sum = (sum.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        self.fold(sum);
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
