//! Draws ranks by popularity: the first far more often than the last, as people, pages and words
//! are.
//!
//! Relies on a table of cumulated weights. What must stay true: the same seed draws the same ranks.

use fastrand::Rng;

/// Ranks whose weight falls with a power of the rank.
pub struct Ranks {
    /// How much the ranks up to each weigh together; the last is 1.
    cumulated: Vec<f64>,
}

impl Ranks {
    /// `count` ranks, where rank r (from 1) weighs 1/r^`exponent`.
    ///
    /// # Panics
    /// When there are none.
    pub fn zipf(count: usize, exponent: f64) -> Ranks {
        assert!(count > 0, "one of no ranks cannot be drawn");
        let mut total = 0.0;
        let mut cumulated: Vec<f64> = (1..=count)
            .map(|rank| {
                total += (rank as f64).powf(-exponent);
                total
            })
            .collect();
        for weight in &mut cumulated {
            *weight /= total;
        }
        Ranks { cumulated }
    }

    /// A rank, from 0.
    pub fn draw(&self, rng: &mut Rng) -> usize {
        let at = rng.f64();
        let rank = self.cumulated.partition_point(|weight| *weight <= at);
        rank.min(self.cumulated.len() - 1)
    }

    /// The probability of a rank, from 0.
    pub fn share(&self, rank: usize) -> f64 {
        let before = rank.checked_sub(1).map_or(0.0, |rank| self.cumulated[rank]);
        self.cumulated[rank] - before
    }
}
