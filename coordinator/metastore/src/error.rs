//! Why a call of the metastore did not work.
//!
//! Relies on nothing. What must stay true: an error of a write means that nothing was changed; a
//! write that may have happened is [`TxnOutcome::Unknown`](crate::TxnOutcome), not an error.

use std::path::PathBuf;
use std::time::Duration;

use crate::lease::LeaseId;

/// A call that had no effect, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No member answered in time. Nothing was changed; trying again later is right.
    #[error(
        "could not {attempt} within {waited:?}: {cause}; check that the metastore runs at {target}"
    )]
    Unavailable {
        /// What was attempted on what.
        attempt: String,
        /// How long.
        waited: Duration,
        /// The last failure.
        cause: String,
        /// Where.
        target: String,
    },
    /// The metastore knows the caller but does not let it.
    #[error("could not {attempt}: {cause}; check user, password, certificate and key permissions")]
    Denied {
        /// What was attempted on what.
        attempt: String,
        /// What it said.
        cause: String,
    },
    /// More than a metastore takes.
    #[error("could not {attempt}: {bytes} bytes, at most {limit} fit; store one key per unit")]
    TooLarge {
        /// What was attempted on what.
        attempt: String,
        /// How much it is.
        bytes: usize,
        /// How much it may be.
        limit: usize,
    },
    /// The caller's mistake.
    #[error("could not {attempt}: {cause}")]
    Invalid {
        /// What was attempted on what.
        attempt: String,
        /// The rule it breaks.
        cause: String,
    },
    /// The lease is gone, and its keys with it.
    #[error(
        "could not {attempt}: {lease} has expired or was revoked; register again with a new one"
    )]
    LeaseGone {
        /// What was attempted on what.
        attempt: String,
        /// Which.
        lease: LeaseId,
    },
    /// A release that must not be used.
    #[error("refused the metastore at {target}: etcd {version} {why}; {remedy}")]
    Version {
        /// Where.
        target: String,
        /// What runs there.
        version: String,
        /// What is wrong with it.
        why: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Another process has the file.
    #[error(
        "could not open {path}: another process uses it; stop that one, or choose another file"
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold what was written to it.
    #[error(
        "{path} is corrupt at offset {offset}: {found}; restore it from a copy, or move it away to \
         start empty"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What was found.
        found: String,
    },
    /// The disk refused. After a failed write nothing more is written by this process.
    #[error("could not {attempt}: {cause}")]
    Io {
        /// What was attempted on what.
        attempt: String,
        /// What the system said.
        cause: String,
    },
    /// The store was closed.
    #[error("could not {attempt}: the store is closed")]
    Closed {
        /// What was attempted on what.
        attempt: String,
    },
}

impl Error {
    pub(crate) fn invalid(attempt: impl Into<String>, cause: impl Into<String>) -> Error {
        Error::Invalid {
            attempt: attempt.into(),
            cause: cause.into(),
        }
    }

    pub(crate) fn io(attempt: impl Into<String>, cause: &std::io::Error) -> Error {
        Error::Io {
            attempt: attempt.into(),
            cause: cause.to_string(),
        }
    }
}
