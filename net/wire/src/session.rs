//! What two processes say to each other before they exchange messages: who they are, which wire
//! versions they speak, what a stream is for, and what a file transfer wants.
//!
//! Relies on rkyv with checked access. Every record travels behind a length that is checked before
//! anything is allocated. What must stay true: the prelude of a greeting never changes its layout,
//! so that processes of any two versions can name both; no record holds a hash table, a shared
//! pointer or anything nested without a bound.
//!
//! ```text
//! greeting   0 magic "RaQ1" | 4 wire_min u16 | 6 wire_max u16 | 8 body length u32 | 12 body (rkyv)
//! header     0 length u32 | 4 body (rkyv)
//! ```

mod roles;
#[cfg(test)]
mod tests;

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};
use uuid::Uuid;

pub use roles::{Role, Roles};

/// The oldest wire version this build speaks.
pub const WIRE_MIN: u16 = 1;
/// The newest wire version this build speaks.
pub const WIRE_MAX: u16 = 1;
/// Length of the part of a greeting that never changes.
pub const PRELUDE_BYTES: usize = 12;
/// The longest body of a greeting.
pub const GREETING_BYTES_MAX: usize = 4096;
/// The longest stream header.
pub const HEADER_BYTES_MAX: usize = 512;
/// The longest release name in a greeting.
pub const RELEASE_BYTES_MAX: usize = 128;

const MAGIC: [u8; 4] = *b"RaQ1";

const _: () = assert!(RELEASE_BYTES_MAX * 4 < GREETING_BYTES_MAX);

/// Why bytes are not a record of a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// The first bytes are not those of a greeting.
    #[error("a greeting begins with other bytes: the peer speaks another protocol")]
    Magic,
    /// A length above its limit.
    #[error("{what} of {found} bytes is longer than {limit} bytes")]
    TooLong {
        /// Which record.
        what: &'static str,
        /// Its claimed length.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Bytes that are no such record.
    #[error("could not read {what}: {cause}")]
    Malformed {
        /// Which record.
        what: &'static str,
        /// What the check found.
        cause: String,
    },
}

/// The wire versions a process speaks, from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl Versions {
    /// What this build speaks.
    pub const OURS: Versions = Versions {
        min: WIRE_MIN,
        max: WIRE_MAX,
    };

    /// The newest version both speak.
    pub fn common(self, other: Versions) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max {
            return write!(f, "{}", self.min);
        }
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// Who a process is.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest wire version it speaks.
    pub wire_min: u16,
    /// Newest wire version it speaks.
    pub wire_max: u16,
    /// Its cluster.
    pub cluster: Uuid,
    /// Its node.
    pub node: Uuid,
    /// What it is; its certificate must say the same.
    pub role: Role,
    /// New at each start of the process.
    pub incarnation: u64,
    /// Its release, for people.
    pub release: String,
}

impl Hello {
    /// The versions it speaks.
    pub fn versions(&self) -> Versions {
        Versions {
            min: self.wire_min,
            max: self.wire_max,
        }
    }
}

/// What the accepting side says to a [`Hello`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Streams may be opened; who the accepting side is.
    Welcome(Hello),
    /// The connection ends; why, for people.
    Refused(String),
}

/// What a stream carries.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum StreamHeader {
    /// Messages from one task thread to another.
    Worp(WorpHeader),
    /// Requests and answers.
    Rpc,
    /// One file transfer.
    Weft,
}

/// Between which task threads a stream runs, and what it believes about both ends.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorpHeader {
    /// The module instance.
    pub instance: Uuid,
    /// Task thread that sends.
    pub source_thread: u32,
    /// Task thread that receives.
    pub destination_thread: u32,
    /// Category queue the messages belong to.
    pub category: u8,
    /// Leader epoch of the destination's task group, as the sender knows it.
    pub epoch: u64,
    /// Incarnation of the sending process.
    pub source_incarnation: u64,
    /// Incarnation of the process it believes to speak to.
    pub destination_incarnation: u64,
}

/// The range of a file that is wanted.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WeftRequest {
    /// Below the served directory, with `/` between the parts.
    pub path: String,
    /// SHA-256 of the whole file, when it is known: another file is refused.
    pub hash: Option<[u8; 32]>,
    /// First byte wanted.
    pub offset: u64,
    /// Bytes wanted; `None` is up to the end.
    pub length: Option<u64>,
}

/// What comes back before the bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum WeftAnswer {
    /// The bytes follow, then a [`WeftEnd`].
    Found(WeftFile),
    /// Nothing follows: why, for programs and for people.
    Refused(WeftRefusal, String),
}

/// A file that was found, and how much of it follows.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeftFile {
    /// Length of the whole file.
    pub size: u64,
    /// SHA-256 of the whole file.
    pub hash: [u8; 32],
    /// How many bytes follow.
    pub length: u64,
}

/// Why a file is not sent.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeftRefusal {
    /// The path breaks the rules, or the range lies outside of the file.
    Invalid,
    /// No such file.
    NotFound,
    /// The file has another hash than the wanted one.
    Changed,
    /// It could not be read.
    Failed,
}

/// What follows the bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeftEnd {
    /// SHA-256 of the bytes that were sent.
    pub hash: [u8; 32],
}

/// Implements `encode` and `decode` of one record.
macro_rules! record {
    ($name:ident, $what:literal) => {
        impl $name {
            /// The bytes of the record.
            pub fn encode(&self) -> Vec<u8> {
                let bytes = rkyv::to_bytes::<rancor::Error>(self);
                bytes.expect("small records serialize").to_vec()
            }

            /// The record in `bytes`, checked.
            ///
            /// # Errors
            /// [`BadRecord::Malformed`].
            pub fn decode(bytes: &[u8]) -> Result<$name, BadRecord> {
                rkyv::from_bytes::<$name, rancor::Error>(bytes).map_err(|cause| {
                    BadRecord::Malformed {
                        what: $what,
                        cause: cause.to_string(),
                    }
                })
            }
        }
    };
}

record!(Hello, "a hello");
record!(Answer, "an answer to a hello");
record!(StreamHeader, "a stream header");
record!(WeftRequest, "a file request");
record!(WeftAnswer, "an answer to a file request");
record!(WeftEnd, "the end of a file");

/// The fixed part of a greeting and its body, ready to be sent.
pub fn greeting(versions: Versions, body: &[u8]) -> Vec<u8> {
    assert!(body.len() <= GREETING_BYTES_MAX, "greetings are short");
    let mut bytes = Vec::with_capacity(PRELUDE_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&versions.min.to_le_bytes());
    bytes.extend_from_slice(&versions.max.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// What a prelude says: the sender's versions and how long the body is.
///
/// # Errors
/// [`BadRecord::Magic`] or [`BadRecord::TooLong`].
pub fn read_prelude(bytes: &[u8; PRELUDE_BYTES]) -> Result<(Versions, usize), BadRecord> {
    if bytes[..4] != MAGIC {
        return Err(BadRecord::Magic);
    }
    let versions = Versions {
        min: u16::from_le_bytes([bytes[4], bytes[5]]),
        max: u16::from_le_bytes([bytes[6], bytes[7]]),
    };
    let length = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    within("a greeting", length, GREETING_BYTES_MAX)?;
    Ok((versions, length))
}

/// A stream header behind its length, ready to be sent.
pub fn framed_header(header: &StreamHeader) -> Vec<u8> {
    let body = header.encode();
    assert!(body.len() <= HEADER_BYTES_MAX, "stream headers are short");
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

/// The length of a stream header, from the four bytes before it.
///
/// # Errors
/// [`BadRecord::TooLong`].
pub fn header_length(bytes: [u8; 4]) -> Result<usize, BadRecord> {
    let length = u32::from_le_bytes(bytes) as usize;
    within("a stream header", length, HEADER_BYTES_MAX)?;
    Ok(length)
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), BadRecord> {
    if found <= limit {
        return Ok(());
    }
    Err(BadRecord::TooLong {
        what,
        found: found as u64,
        limit: limit as u64,
    })
}
