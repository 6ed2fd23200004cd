//! Deliberate mistakes of the stack below a simulated cluster, to prove that the tests see them.
//!
//! Compiled only into tests and with the feature `mutants`, which no release turns on. What must
//! stay true: every mutant listed here is shown red by a simulation of a module; `list` is what
//! that test walks.

/// One deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The log calls entries durable that were written and not flushed (D-15, P-29).
    AckBeforeFlush,
    /// The log goes on after a write or flush that failed (D-15, P-29).
    IgnoreFailedFlush,
    /// A participant takes hops of any attempt at a microbatch (M-4).
    NoAttemptCheck,
}

impl Mutant {
    /// All of them.
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
            Mutant::NoAttemptCheck => None,
        }
    }

    /// The mistake inside the pure machines, if it is one there.
    pub(crate) fn of_core(self) -> Option<rama_core::mutants::Mutant> {
        match self {
            Mutant::AckBeforeFlush | Mutant::IgnoreFailedFlush => None,
            Mutant::NoAttemptCheck => Some(rama_core::mutants::Mutant::NoAttemptCheck),
        }
    }
}
