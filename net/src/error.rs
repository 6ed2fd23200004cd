//! Everything that can go wrong between two processes.
//!
//! Relies on quinn for the reasons of connections. What must stay true: each text says what was
//! attempted with whom, and what to do where something can be done.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::ConnectionError;
use rama_wire::session::{BadRecord, Role, Roles, Versions};
use uuid::Uuid;

use crate::certificates::CertificateError;
use crate::frame::BadFrame;
use crate::identity::BadIdentity;

/// Why something between two processes did not happen.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address others can reach, without certificates.
    #[error(
        "could not use {0} without certificates: only loopback addresses may be insecure; \
         `rama certs` makes certificates"
    )]
    InsecureAddress(SocketAddr),
    /// The socket.
    #[error("could not {verb} {address}")]
    Socket {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The TLS library.
    #[error("could not set up TLS: {0}")]
    Tls(String),
    /// The certificate for insecure connections.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Nobody answered, or not in time, or with an error.
    #[error("could not reach {address}: {cause}")]
    Unreachable {
        /// Whom.
        address: SocketAddr,
        /// Why not.
        cause: Lost,
    },
    /// The versions of both sides have nothing in common.
    #[error(
        "could not speak to {address}: it speaks wire version {theirs}, this process {ours}; \
         upgrade the older one"
    )]
    Version {
        /// Whom.
        address: SocketAddr,
        /// Its versions.
        theirs: Versions,
        /// Ours.
        ours: Versions,
    },
    /// The peer is of another cluster.
    #[error("could not speak to {address}: it is of cluster {theirs}, this process of {ours}")]
    Cluster {
        /// Whom.
        address: SocketAddr,
        /// Its cluster.
        theirs: Uuid,
        /// Ours.
        ours: Uuid,
    },
    /// The peer is not what was expected.
    #[error("could not speak to {address}: expected {expected}, found {found}")]
    Unexpected {
        /// Whom.
        address: SocketAddr,
        /// What it had to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The peer does not want to speak to us.
    #[error("{address} refused this process: {text}")]
    Refused {
        /// Who.
        address: SocketAddr,
        /// Its words.
        text: String,
    },
    /// The certificate of the peer names nobody.
    #[error("could not speak to {address}")]
    Identity {
        /// Whom.
        address: SocketAddr,
        /// What is wrong with its certificate.
        source: BadIdentity,
    },
    /// A greeting or header that cannot be read.
    #[error("could not understand {address}")]
    Record {
        /// Who.
        address: SocketAddr,
        /// What is wrong.
        source: BadRecord,
    },
    /// The endpoint was closed here.
    #[error("the endpoint is closed")]
    Closed,
    /// A dial that failed, for all who waited for it.
    #[error(transparent)]
    Shared(Arc<NetError>),
}

impl NetError {
    /// The failure itself, whoever else was told.
    pub fn root(&self) -> &NetError {
        match self {
            NetError::Shared(error) => error.root(),
            error => error,
        }
    }

    pub(crate) fn tls(cause: rustls::Error) -> NetError {
        NetError::Tls(cause.to_string())
    }

    /// What the end of a connection to `address` means to someone who wanted to begin one.
    pub(crate) fn from_connection(address: SocketAddr, cause: ConnectionError) -> NetError {
        match Lost::from(cause) {
            Lost::Refused(text) => NetError::Refused { address, text },
            cause => NetError::Unreachable { address, cause },
        }
    }

    pub(crate) fn unexpected_role(address: SocketAddr, wanted: Roles, found: Role) -> NetError {
        NetError::Unexpected {
            address,
            expected: format!("a {}", wanted.to_string().replace(", ", " or a ")),
            found: format!("a {found}"),
        }
    }
}

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Nothing was heard for too long.
    #[error("it did not answer in time")]
    TimedOut,
    /// The peer ended it, with a word for people.
    #[error("it refused: {0}")]
    Refused(String),
    /// The peer closed its endpoint.
    #[error("it closed the connection")]
    ClosedByPeer,
    /// This side closed it.
    #[error("this process closed the connection")]
    ClosedHere,
    /// The peer has no memory of it: it was started anew.
    #[error("it forgot the connection; it was started anew")]
    Reset,
    /// The protocol or TLS was violated, or the peer's certificate not accepted.
    #[error("{0}")]
    Protocol(String),
}

/// Application close codes. Zero is a close without a reason.
pub(crate) mod code {
    use quinn::VarInt;

    /// The endpoint or a stream is no longer needed.
    pub(crate) const DONE: VarInt = VarInt::from_u32(0);
    /// The greeting was not acceptable.
    pub(crate) const REFUSED: VarInt = VarInt::from_u32(1);
    /// What a stream carried was not acceptable.
    pub(crate) const BAD_STREAM: VarInt = VarInt::from_u32(2);
    /// A stream speaks of another incarnation of a process.
    pub(crate) const FENCED: VarInt = VarInt::from_u32(3);
    /// The role may not open such streams.
    pub(crate) const FORBIDDEN: VarInt = VarInt::from_u32(4);
}

impl From<ConnectionError> for Lost {
    fn from(error: ConnectionError) -> Lost {
        match error {
            ConnectionError::TimedOut => Lost::TimedOut,
            ConnectionError::LocallyClosed => Lost::ClosedHere,
            ConnectionError::Reset => Lost::Reset,
            ConnectionError::ApplicationClosed(close) if close.error_code == code::DONE => {
                Lost::ClosedByPeer
            }
            ConnectionError::ApplicationClosed(close) => {
                Lost::Refused(String::from_utf8_lossy(&close.reason).into_owned())
            }
            ConnectionError::ConnectionClosed(close) => {
                let text = String::from_utf8_lossy(&close.reason).into_owned();
                Lost::Protocol(if text.is_empty() {
                    close.error_code.to_string()
                } else {
                    format!("{text} ({})", close.error_code)
                })
            }
            other => Lost::Protocol(other.to_string()),
        }
    }
}

/// Why a stream carries no more messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The connection is gone.
    #[error("the connection is lost: {0}")]
    Lost(Lost),
    /// The peer's receiver is gone.
    #[error("the receiver takes no more messages")]
    Stopped,
    /// The peer's sender gave up in the middle.
    #[error("the sender gave the stream up")]
    Abandoned,
    /// One side speaks of an incarnation that is no more: ask for the current one.
    #[error("the stream is for another incarnation of a process")]
    Fenced,
    /// The role of this process may not open such streams.
    #[error("the peer does not take such streams from this role")]
    Forbidden,
    /// A message above the limit.
    #[error("a message of {bytes} bytes is longer than {limit} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Bytes that are no message.
    #[error("could not read a message: {0}")]
    Bad(BadFrame),
}

impl StreamError {
    /// What a stop or reset with `code` by the peer means.
    pub(crate) fn from_code(code: quinn::VarInt, otherwise: StreamError) -> StreamError {
        match code {
            code::FENCED => StreamError::Fenced,
            code::FORBIDDEN => StreamError::Forbidden,
            _ => otherwise,
        }
    }
}

impl From<ConnectionError> for StreamError {
    fn from(error: ConnectionError) -> StreamError {
        StreamError::Lost(error.into())
    }
}
