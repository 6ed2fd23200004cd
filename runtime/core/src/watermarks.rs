//! The five watermarks of a log, and the order between them.
//!
//! Relies on nothing. `appended ≥ durable ≥ committed ≥ applied ≥ visible`, none ever falls.
//! Each names the last entry that reached the stage; zero is before the first.

use rama_wire::Index;

/// A stage an entry passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// Written into the log in memory; has its index.
    Appended,
    /// On this machine's disk, flushed.
    Durable,
    /// On the disk of every member that must have it: will never be lost.
    Committed,
    /// Its writes are in the stores.
    Applied,
    /// Its writes are shown to readers.
    Visible,
}

impl Mark {
    /// All marks, first stage first.
    pub const ALL: [Mark; 5] = [
        Mark::Appended,
        Mark::Durable,
        Mark::Committed,
        Mark::Applied,
        Mark::Visible,
    ];
}

/// The watermarks of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    marks: [Index; 5],
}

impl Watermarks {
    /// All marks at `index`: a log that was recovered up to there.
    #[must_use]
    pub fn recovered(index: Index) -> Watermarks {
        Watermarks { marks: [index; 5] }
    }

    /// Where a mark stands.
    #[must_use]
    pub fn get(&self, mark: Mark) -> Index {
        self.marks[mark as usize]
    }

    /// Moves a mark forward to `to`; answers whether it moved. A mark asked to stand still or to
    /// go back stays: confirmations may be late.
    ///
    /// # Panics
    /// When `mark` would pass the stage before it: something was confirmed that did not happen.
    pub fn advance(&mut self, mark: Mark, to: Index) -> bool {
        if to <= self.get(mark) {
            return false;
        }
        if let Some(before) = (mark as usize).checked_sub(1) {
            let limit = self.marks[before];
            assert!(
                to <= limit,
                "{mark:?} {to} would pass {:?} {limit}",
                Mark::ALL[before]
            );
        }
        self.marks[mark as usize] = to;
        self.check();
        true
    }

    /// Asserts the order of the marks.
    pub fn check(&self) {
        for pair in self.marks.windows(2) {
            assert!(
                pair[0] >= pair[1],
                "watermarks out of order: {:?}",
                self.marks
            );
        }
    }
}

#[cfg(test)]
mod tests;
