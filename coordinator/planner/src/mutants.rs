//! Deliberate defects, to prove that the storm sees them.
//!
//! Compiled to nothing unless this crate is under test or the feature `mutants` is on. The switch
//! belongs to one thread, as a simulation does. What must stay true: every mutant listed here is
//! shown red by a test; one that survives names a fault the tests do not produce.

/// One deliberate defect: the rule it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A conductor writes steps without comparing the operation's revision.
    OperationWithoutCompare,
    /// A conductor goes on with what one of a later term drives.
    TakenOverUnseen,
    /// A conductor begins operations when its term is over.
    TermIgnored,
    /// A conductor places without comparing who else placed in the meantime.
    PlacedUnseen,
    /// A conductor that starts takes no unfinished operation up.
    ResumeForgotten,
    /// A candidate takes the leadership without comparing what it saw.
    ClaimWithoutCompare,
    /// A new leader keeps the epoch of the one before.
    EpochKept,
    /// A supervisor believes that whoever has the remembered process id is its worker.
    AdoptWithoutStartTime,
    /// A supervisor that starts does not look for processes it started before.
    NotAdopted,
    /// A supervisor confirms before it has deleted the data.
    ConfirmBeforeDelete,
    /// A worker serves until it hears that its lease is lost.
    NoLocalStop,
}

#[cfg(any(test, feature = "mutants"))]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Turns one defect on for this thread, or all off.
    pub fn set(mutant: Option<Mutant>) {
        ACTIVE.with(|active| active.set(mutant));
    }

    /// Whether the defect is on in this thread.
    #[must_use]
    pub fn active(mutant: Mutant) -> bool {
        ACTIVE.with(|active| active.get() == Some(mutant))
    }
}

#[cfg(any(test, feature = "mutants"))]
pub use switch::{active, set};

/// Always false: the defects are not compiled in.
#[cfg(not(any(test, feature = "mutants")))]
#[inline(always)]
pub(crate) fn active(_mutant: Mutant) -> bool {
    false
}
