//! Why a request was not done, in the words of the HTTP interface.
//!
//! Relies on the engine's error kinds, which become codes one to one. What must stay true: a
//! [`Refusal`] says whether the work may have been done, because that is what decides between
//! repeating a request and asking first (spec D-16).

use rama_runtime::{Error, ErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why the cluster did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// What the caller has to do about it.
    pub code: Code,
    /// What was attempted on what, and why not.
    pub detail: String,
    /// The next step, if there is a better one than the code's own.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal with the code's own hint.
    pub fn new(code: Code, detail: impl Into<String>) -> Refusal {
        Refusal {
            code,
            detail: detail.into(),
            hint: None,
        }
    }

    /// The same with a hint of its own.
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = match error.kind() {
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Unknown => Code::Unknown,
            ErrorKind::Failed => Code::Failed,
            ErrorKind::Invalid => Code::Invalid,
            ErrorKind::Rejected => Code::Rejected,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Fenced => Code::Fenced,
            ErrorKind::Corrupt => Code::Corrupt,
            ErrorKind::Storage => Code::Storage,
            ErrorKind::Closed => Code::Closed,
        };
        Refusal::new(code, format!("{error:#}"))
    }
}

/// Kinds of refusals; their words are part of the HTTP interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Nothing was done; repeat after a pause.
    Unavailable,
    /// It may have happened (D-16).
    Unknown,
    /// Durably appended, and a topology failed on it (D-20, D-21): do not append it again.
    Failed,
    /// The request makes no sense.
    Invalid,
    /// A rule of the module or cluster forbids it.
    Rejected,
    /// The named thing does not exist.
    NotFound,
    /// Another owner took over.
    Fenced,
    /// Bytes on disk are not what was written.
    Corrupt,
    /// The device failed or is full.
    Storage,
    /// The module or cluster is shut down.
    Closed,
    /// There is no module of this name, alive or not.
    UnknownModule,
    /// Another server answers this; nothing was done.
    Elsewhere,
    /// It is not known who asks.
    Unauthorized,
    /// Who asks may not.
    Forbidden,
    /// The request is larger than the server takes.
    TooLarge,
    /// It came too slowly; nothing was done.
    TooSlow,
    /// The path exists, the method does not.
    Method,
}
