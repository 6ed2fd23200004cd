//! QUIC between processes: certificates, endpoints, ordered streams of messages, file transfer.
//!
//! Relies on quinn and rustls, on `rama-io` for the glommio executor and on `rama-wire` for what is
//! said. Knows nothing of what messages mean or of storage. Reading order: `identity`,
//! `certificates` and `credentials` (who a process is), `security` (how that is checked),
//! `endpoint` (connections), `frame` and `stream` (messages), `weft` (files). `runtime` is where
//! tokio and glommio differ.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod certificates;
pub mod credentials;
mod endpoint;
mod error;
pub mod frame;
mod identity;
mod limits;
mod runtime;
mod security;
mod stream;
#[cfg(test)]
mod testing;
pub mod weft;

pub use endpoint::{Accepted, Access, Connection, Dial, Endpoint, EndpointConfig, Peer};
pub use error::{Lost, NetError, StreamError};
pub use identity::{BadIdentity, Identity};
pub use limits::{CHUNK_BYTES_MAX, Limits};
pub use rama_wire::session::{Role, Roles, StreamHeader, Versions, WorpHeader};
pub use security::Security;
pub use stream::{MessageReceiver, MessageSender, TrySendError};
