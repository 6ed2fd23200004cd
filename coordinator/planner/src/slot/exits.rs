//! How a worker ended, for operators: the last exits of a slot, each with its cause.

use std::fmt;

use rama_core::time::Now;

/// One exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When.
    pub at: Now,
    /// Why.
    pub cause: ExitCause,
}

/// Why a worker ended, or did not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitCause {
    /// It ended by itself.
    Ended(String),
    /// It was asked to.
    Stopped(String),
    /// No first heartbeat in time.
    LaunchTimeout,
    /// No heartbeat in time.
    HeartbeatMissed,
    /// There were two of the slot when the supervisor started.
    Stray,
    /// The artifact could not be had.
    Fetch(String),
    /// The process could not be started.
    Spawn(String),
    /// The data could not be deleted.
    Delete(String),
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitCause::Ended(text) => write!(f, "it ended: {text}"),
            ExitCause::Stopped(text) => write!(f, "it was stopped: {text}"),
            ExitCause::LaunchTimeout => f.write_str("no first heartbeat in time; see its log"),
            ExitCause::HeartbeatMissed => f.write_str("no heartbeat in time; see its log"),
            ExitCause::Stray => f.write_str("two processes of this worker were found"),
            ExitCause::Fetch(text) => write!(f, "could not fetch its artifact: {text}"),
            ExitCause::Spawn(text) => write!(f, "could not start it: {text}"),
            ExitCause::Delete(text) => write!(f, "could not delete its data: {text}"),
        }
    }
}
