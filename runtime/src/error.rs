//! What callers of the runtime get when something could not be done.
//!
//! Relies on nothing. Every [`ErrorKind`] tells the caller what to do next, above all whether the
//! work may have been done ([`ErrorKind::Unknown`], spec D-16). Texts are lower case, name what was
//! attempted on what, and never include their source: the chain is printed once, by `{:#}`.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

/// The result of a call to the runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is, which is what the caller has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// Nothing was done, and the same call may succeed later: retry with a pause.
    Unavailable,
    /// The call was accepted and its outcome is not known (the connection or the process went
    /// away): it may have happened. Retry only what is idempotent (D-16).
    Unknown,
    /// A record was appended durably, and a stream topology failed to process it (D-20, D-21).
    /// Do not append it again.
    Failed,
    /// The request makes no sense as it stands: fix the caller.
    Invalid,
    /// The request is understood and refused by a rule of the module or the cluster.
    Rejected,
    /// The named object does not exist.
    NotFound,
    /// Another owner took over; get a fresh handle.
    Fenced,
    /// Bytes on disk are not what was written. Stop, and restore or repair.
    Corrupt,
    /// The device failed or is full. Nothing more is acknowledged until the cluster restarts.
    Storage,
    /// The module or cluster is shut down.
    Closed,
}

impl ErrorKind {
    /// Every kind.
    const ALL: [ErrorKind; 10] = [
        ErrorKind::Unavailable,
        ErrorKind::Unknown,
        ErrorKind::Failed,
        ErrorKind::Invalid,
        ErrorKind::Rejected,
        ErrorKind::NotFound,
        ErrorKind::Fenced,
        ErrorKind::Corrupt,
        ErrorKind::Storage,
        ErrorKind::Closed,
    ];

    /// The kind that [`ErrorKind::as_str`] calls `word`.
    pub fn from_word(word: &str) -> Option<ErrorKind> {
        ErrorKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// A stable lower-case word for logs, JSON and exit codes.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Unknown => "unknown",
            ErrorKind::Failed => "failed",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Rejected => "rejected",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Fenced => "fenced",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Storage => "storage",
            ErrorKind::Closed => "closed",
        }
    }
}

/// What became of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Nothing was done.
    NotDone,
    /// It was done, and what was to follow from it failed: do not do it again.
    Done,
    /// It may have been done.
    Unknown,
}

/// A failure: its kind, one sentence, and what caused it.
pub struct Error {
    kind: ErrorKind,
    text: Box<str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of `kind`, described by `text`.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error {
            kind,
            text: text.into().into_boxed_str(),
            source: None,
        }
    }

    /// The same failure with the error that caused it.
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What became of the call.
    pub fn outcome(&self) -> Outcome {
        match self.kind {
            ErrorKind::Failed => Outcome::Done,
            ErrorKind::Unknown | ErrorKind::Storage => Outcome::Unknown,
            ErrorKind::Unavailable
            | ErrorKind::Invalid
            | ErrorKind::Rejected
            | ErrorKind::NotFound
            | ErrorKind::Fenced
            | ErrorKind::Corrupt
            | ErrorKind::Closed => Outcome::NotDone,
        }
    }

    /// Whether the same call may succeed later, and does nothing twice. What is idempotent, such as
    /// a read, may be called again after [`Outcome::Unknown`], too.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// The sentence without its causes.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, text)
    }

    pub(crate) fn rejected(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::Rejected, text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, text)
    }

    pub(crate) fn unavailable(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unavailable, text)
    }

    pub(crate) fn unknown(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unknown, text)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}

impl From<rama_storage::Error> for Error {
    fn from(source: rama_storage::Error) -> Error {
        use rama_storage::Error as Storage;
        let kind = match &source {
            Storage::Corrupt { .. } => ErrorKind::Corrupt,
            Storage::Mismatch { .. } => ErrorKind::Rejected,
            Storage::Closed { .. } => ErrorKind::Closed,
            Storage::TooLarge { .. } | Storage::OutOfRange { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Storage,
        };
        Error::new(kind, "storage failed").caused_by(source)
    }
}

impl From<rama_storage::lsm::Error> for Error {
    fn from(source: rama_storage::lsm::Error) -> Error {
        let kind = match &source {
            rama_storage::lsm::Error::Corrupt(_) => ErrorKind::Corrupt,
            _ => ErrorKind::Storage,
        };
        Error::new(kind, "a store failed").caused_by(source)
    }
}

impl fmt::Display for Error {
    /// `{}` prints the sentence; `{:#}` prints the causes after it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if f.alternate() {
            let mut cause = self.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self:#}", self.kind.as_str())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_whether_the_work_was_done_and_may_be_tried_again() {
        let of = |kind| Error::new(kind, "x");
        for kind in ErrorKind::ALL {
            let (outcome, retryable) = (of(kind).outcome(), of(kind).is_retryable());
            assert!(!retryable || outcome == Outcome::NotDone, "{kind:?}");
        }
        assert_eq!(of(ErrorKind::Unknown).outcome(), Outcome::Unknown);
        assert_eq!(of(ErrorKind::Failed).outcome(), Outcome::Done);
        assert!(of(ErrorKind::Unavailable).is_retryable());
    }

    #[test]
    fn the_alternate_form_prints_the_chain_once() {
        let inner = Error::new(ErrorKind::Storage, "could not flush segment 3");
        let outer = Error::unknown("could not append to *d of module M").caused_by(inner);
        assert_eq!(outer.to_string(), "could not append to *d of module M");
        assert_eq!(
            format!("{outer:#}"),
            "could not append to *d of module M: could not flush segment 3"
        );
        assert_eq!(outer.kind().as_str(), "unknown");
    }
}
