//! What a cluster keeps under its keys: small JSON objects with `"v":1`.
//!
//! Relies on `key` for where a value stands. Here are the form of all values and those kinds that no
//! machine decides about; the others are the planner's records. What must stay true: values stay
//! readable with etcdctl; fields that this release does not know are passed over, so a newer
//! release may add some; a value of another version, too large, or without a needed field is
//! refused with its key named, never half read.

mod cluster;
mod module;
#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use cluster::{ClusterId, ClusterState, ClusterVersion, Phase};
pub use module::{Paused, Setting};

use crate::key::{FORMAT, Key};
use crate::limits::VALUE_BYTES_MAX;

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not read {key}: {cause}")]
pub struct ValueError {
    /// Where it stands.
    pub key: String,
    /// What is wrong with it.
    pub cause: String,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// A value as bytes for the store.
///
/// # Panics
/// When the value is no struct, or has map keys that are no text or number.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let versioned = Versioned { v: FORMAT, value };
    // Every value type is a struct with string keys: nothing in it can fail to serialize.
    serde_json::to_vec(&versioned).expect("plain structs serialize")
}

/// The value under a key.
///
/// # Errors
/// The bytes are no such value; the key and the reason are named.
pub fn decode<T: DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<T, ValueError> {
    let error = |cause: String| ValueError {
        key: key.to_string(),
        cause,
    };
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(error(format!(
            "{} bytes, at most {VALUE_BYTES_MAX}",
            bytes.len()
        )));
    }
    let version: Version = serde_json::from_slice(bytes)
        .map_err(|cause| error(format!("not a JSON object with a version: {cause}")))?;
    if version.v != FORMAT {
        return Err(error(format!(
            "its version is {}, this release reads {FORMAT}; use the release that wrote it",
            version.v
        )));
    }
    serde_json::from_slice(bytes).map_err(|cause| error(cause.to_string()))
}
