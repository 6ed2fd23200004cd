//! Requests between processes of a cluster: HTTP messages on QUIC streams.
//!
//! Relies on `rama-net` for who speaks, for order, credits and dead peers, and on axum for what is
//! asked: one router answers plain HTTP and these streams alike, so there is one API and one place
//! for its errors. Reading order: `head` (what travels), `client` (asking), `server` (answering).
//! What must stay true: a request has a stream of its own, which nobody uses again; the first
//! message is a head, all others are pieces of the body; a body that breaks off is an error and never
//! looks complete; a request that was not sent is told apart from one whose answer is missing.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod head;
mod server;
#[cfg(test)]
mod tests;

pub use client::{RpcError, request};
pub use head::HEAD_BYTES_MAX;
pub use server::answer;
