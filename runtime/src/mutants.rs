//! Deliberate mistakes of the engine below a simulated cluster, to prove that the tests see them.
//!
//! Compiled only into tests and with the feature `mutants`, which no release turns on. The switch
//! belongs to one thread, as a simulation does. What must stay true: every mutant listed here is
//! shown red by a simulation of a module; `list` is what the test of the bank walks, the others are
//! named by the test that sees them.

use std::cell::Cell;

/// One deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The log calls entries durable that were written and not flushed (D-15, P-29).
    AckBeforeFlush,
    /// The log goes on after a write or flush that failed (D-15, P-29).
    IgnoreFailedFlush,
    /// A participant takes hops of any attempt at a microbatch (M-4).
    NoAttemptCheck,
    /// A thorough attempt keeps what a failed event wrote.
    EventNotUndone,
    /// One change of a followed value is never told (P-43).
    DroppedDiff,
    /// A record that failed behind one that is tried again is given up alone.
    DependentGivenUp,
    /// What an attempt appends to depots is there as soon as it is prepared.
    AppendsOfPrepared,
    /// A stream keeps handlers that ran in a batch which was thrown away (S-9).
    HandlerKept,
    /// Trimming waits for no topology, whatever the options say.
    TrimUnconsumed,
}

thread_local! {
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Turns one mistake of this crate on for this thread, or all off.
pub(crate) fn set(mutant: Option<Mutant>) {
    ACTIVE.with(|active| active.set(mutant));
}

/// Whether the mistake is on in this thread.
pub(crate) fn active(mutant: Mutant) -> bool {
    ACTIVE.with(|active| active.get() == Some(mutant))
}

impl Mutant {
    /// Those that the bank sees.
    pub fn list() -> [Mutant; 3] {
        [
            Mutant::AckBeforeFlush,
            Mutant::IgnoreFailedFlush,
            Mutant::NoAttemptCheck,
        ]
    }

    /// The mistake inside the storage, if it is one there.
    pub(crate) fn of_storage(self) -> Option<rama_storage::Mutant> {
        match self {
            Mutant::AckBeforeFlush => Some(rama_storage::Mutant::AckBeforeFlush),
            Mutant::IgnoreFailedFlush => Some(rama_storage::Mutant::IgnorePoison),
            _ => None,
        }
    }

    /// The mistake inside the pure machines, if it is one there.
    pub(crate) fn of_core(self) -> Option<rama_core::mutants::Mutant> {
        match self {
            Mutant::NoAttemptCheck => Some(rama_core::mutants::Mutant::NoAttemptCheck),
            Mutant::DependentGivenUp => Some(rama_core::mutants::Mutant::DependentGivenUp),
            _ => None,
        }
    }
}
