//! Files from one process to another, by range, resumable, verified.
//!
//! Relies on streams of messages for the bytes and on ring for SHA-256. Reading order: `path` (what
//! may be asked for), `rate` (how fast), `server`, `download`. Transfers have a connection of their
//! own, whose streams give way to others. What must stay true: nothing outside of the served
//! directory is ever opened; a file is complete under its name only after its hash was compared.
//!
//! ```text
//! asks      request
//! answers   file, then its bytes in messages, then the hash of those bytes | refusal
//! ```

mod download;
mod path;
mod rate;
mod server;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use rama_wire::session::{BadRecord, WeftRefusal};
use ring::digest;

use crate::certificates::hexadecimal;
use crate::error::{NetError, StreamError};

pub use download::{Download, fetch};
pub use path::{PATH_BYTES_MAX, check_path};
pub use rama_wire::session::{WeftFile, WeftRequest};
pub use rate::TokenBucket;
pub use server::FileServer;

/// SHA-256 of something.
pub type Hash = [u8; 32];

/// Why a file did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum WeftError {
    /// No connection.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The connection or the stream ended; what arrived is kept, and the next try goes on there.
    #[error("could not fetch {path}: {source}")]
    Stream {
        /// The file.
        path: String,
        /// How it ended.
        source: StreamError,
    },
    /// The server does not send it.
    #[error("could not fetch {path}: {text}")]
    Refused {
        /// The file.
        path: String,
        /// Why, for programs.
        reason: WeftRefusal,
        /// Why, for people.
        text: String,
    },
    /// The server said something else than the protocol wants.
    #[error("could not fetch {path}: {source}")]
    Record {
        /// The file.
        path: String,
        /// What is wrong.
        source: BadRecord,
    },
    /// More or fewer bytes than announced.
    #[error("could not fetch {path}: {expected} bytes were announced, {found} came")]
    Length {
        /// The file.
        path: String,
        /// Announced.
        expected: u64,
        /// Received.
        found: u64,
    },
    /// The bytes are not those of the file.
    #[error(
        "could not fetch {path}: its bytes have SHA-256 {}, expected {}",
        hexadecimal(found),
        hexadecimal(expected)
    )]
    Corrupt {
        /// The file.
        path: String,
        /// The hash it had to have.
        expected: Hash,
        /// The hash it has.
        found: Hash,
    },
    /// The file here.
    #[error("could not {verb} {path}")]
    File {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// A SHA-256 that grows.
#[derive(Clone)]
pub(crate) struct Hasher(digest::Context);

impl Hasher {
    pub(crate) fn new() -> Hasher {
        Hasher(digest::Context::new(&digest::SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Hash {
        let digest = self.0.finish();
        digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}
