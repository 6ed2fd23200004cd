//! What an error of etcd says about the call: that it had no effect, or not even that.
//!
//! Relies on gRPC codes and, where one code means several things, on etcd's messages. What must
//! stay true: when in doubt a call counts as sent, because a write taken for undone may be done
//! twice.

use etcd_client::Error as ApiError;

use crate::error::Error;

/// When a call may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is as good as once.
    Always,
    /// It cannot be done twice, but its second answer may be about the first attempt.
    Doubting,
    /// Only while it certainly did not reach anybody.
    IfNotSent,
}

/// An answer that another attempt would not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Final {
    /// A lease that does not exist.
    LeaseGone,
    /// A revision whose history is gone.
    Compacted,
    /// Larger than it may be.
    TooLarge,
    /// Not allowed.
    Denied(String),
    /// Not understood.
    Invalid(String),
    /// Decided on this side.
    Own(Error),
}

/// Why a call ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// With an answer that is final.
    Final(Final),
    /// Nobody took it in time; it had no effect.
    Away(String),
    /// Somebody may have taken it.
    Unknown(String),
}

/// Why one attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing will change it.
    Final(Final),
    /// The member is away, or cannot serve.
    Away {
        /// What was seen.
        cause: String,
        /// Whether the call may have reached it.
        sent: bool,
    },
}

/// gRPC's codes, by their numbers.
mod code {
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const NOT_FOUND: i32 = 5;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const OUT_OF_RANGE: i32 = 11;
    pub const UNIMPLEMENTED: i32 = 12;
    pub const UNAUTHENTICATED: i32 = 16;
}

/// Messages after which a call certainly had no effect.
const NOT_SENT: &[&str] = &[
    "connect error",
    "error trying to connect",
    "dns error",
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: not capable",
    "etcdserver: invalid auth token",
    "etcdserver: revision of auth store is old",
];

/// Sorts an error of the client.
pub fn classify(error: &ApiError) -> Failure {
    match error {
        ApiError::GRpcStatus(status) => by_status(status.code() as i32, &chain(status)),
        ApiError::LeaseKeepAliveError(text) if text.contains("not found") => {
            Failure::Final(Final::LeaseGone)
        }
        ApiError::InvalidArgs(text) => Failure::Final(Final::Invalid(text.clone())),
        ApiError::InvalidUri(cause) => Failure::Final(Final::Invalid(cause.to_string())),
        ApiError::TransportError(cause) => Failure::Away {
            cause: chain(cause),
            // Only made before a connection is.
            sent: false,
        },
        other => Failure::Away {
            cause: other.to_string(),
            sent: true,
        },
    }
}

pub fn by_status(status: i32, text: &str) -> Failure {
    let away = |sent| Failure::Away {
        cause: text.to_owned(),
        sent,
    };
    if NOT_SENT.iter().any(|known| text.contains(known)) {
        return away(false);
    }
    Failure::Final(match status {
        code::NOT_FOUND if text.contains("lease not found") => Final::LeaseGone,
        code::OUT_OF_RANGE if text.contains("compacted") => Final::Compacted,
        code::OUT_OF_RANGE if text.contains("message length too large") => Final::TooLarge,
        code::RESOURCE_EXHAUSTED if text.contains("larger than max") => Final::TooLarge,
        code::INVALID_ARGUMENT if text.contains("request is too large") => Final::TooLarge,
        code::PERMISSION_DENIED | code::UNAUTHENTICATED => Final::Denied(text.to_owned()),
        code::INVALID_ARGUMENT | code::FAILED_PRECONDITION if about_users(text) => {
            Final::Denied(text.to_owned())
        }
        code::INVALID_ARGUMENT
        | code::NOT_FOUND
        | code::RESOURCE_EXHAUSTED
        | code::FAILED_PRECONDITION
        | code::OUT_OF_RANGE
        | code::UNIMPLEMENTED => Final::Invalid(text.to_owned()),
        _ => return away(true),
    })
}

fn about_users(text: &str) -> bool {
    ["authenticat", "user name", "password"]
        .iter()
        .any(|word| text.contains(word))
}

/// An error with its causes, because the first line of a transport's error says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
