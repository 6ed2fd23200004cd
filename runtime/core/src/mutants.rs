//! Deliberate defects, to prove that the simulations see them.
//!
//! Compiled to nothing unless this crate is under test or the feature `mutants` is on. The switch
//! belongs to one thread, as a simulation does. What must stay true: every mutant listed here is
//! shown red by a test; one that survives names a fault the tests do not produce.

/// One deliberate defect: the rule it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A participant runs hops of any attempt in the current overlay, or in the next one.
    NoAttemptCheck,
    /// A participant keeps the overlay of the former attempt.
    OverlayKept,
    /// A participant prepares an attempt that it is not running, and the coordinator does not
    /// mind that it restarted. Each check alone is enough.
    PrepareUnasked,
    /// A participant says prepared before the write is durable.
    PreparedNotDurable,
    /// A participant counts a hop as consumed when it arrives, before what it emits is known.
    XorBeforeEmission,
    /// The coordinator sends commits while the decision is still on its way to the disk.
    CommitBeforeDecision,
    /// The coordinator decides when the first task has prepared.
    DecideEarly,
    /// The coordinator fixes the ranges anew for every attempt.
    RangesRechosen,
    /// The coordinator starts an attempt before its ranges are durable.
    RangesNotDurable,
    /// The coordinator begins the next id when the first task has committed.
    NextEarly,
    /// The coordinator counts attempts from one again after a restart.
    AttemptsNotReserved,
    /// The coordinator forgets excluded records when it retries.
    ExclusionsForgotten,
    /// The coordinator gives up a record that failed behind one that is tried again.
    DependentGivenUp,
    /// The coordinator lets the next level go when the first task says that it is idle.
    LevelEarly,
    /// The coordinator does not send the commit again to a task that restarted.
    CommitNotRepeated,
    /// The tracker's checkpoint passes unfinished records.
    CheckpointTooFar,
    /// The tracker accepts acks of former attempts.
    StaleAckCounted,
    /// The tracker forgets the window.
    WindowIgnored,
    /// The tracker retries only the failed record in mode all-after.
    AllAfterForgotten,
    /// The tracker never times a tree out.
    NoTimeout,
    /// The tracker reckons with its newest limits where those of its former life count.
    ReachMoves,
    /// An option of the module hides that of the object.
    ModuleBeforeOwn,
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
