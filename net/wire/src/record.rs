//! Records: the values of depots, PState leaves and hops between tasks.
//!
//! Relies on rkyv (little endian, 32-bit relative pointers, unaligned archives: bytes may stand at
//! any address). Decoding checks every byte it follows and never trusts a length. What must stay
//! true: the bytes of a record are the end of the buffer it was encoded into, so a record may be
//! appended to a buffer that already holds something, and is read from exactly its own range.
//!
//! Implemented for the standard types below and by `#[rama::record]`.

mod std_types;

use std::fmt;

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::ser::allocator::ArenaHandle;
use serde_json::Value;

use crate::type_desc::TypeDesc;

/// The error type records are checked with.
pub type Cause = rkyv::rancor::Error;

/// The bytes of a record could not be understood, or its JSON did not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not an archive of the type.
    #[error("could not decode {len} bytes as {type_name}: {cause}")]
    Bytes {
        /// The type asked for.
        type_name: String,
        /// How many bytes there were.
        len: usize,
        /// What was wrong with them.
        cause: String,
    },
    /// The JSON does not describe a value of the type.
    #[error("could not read JSON as {type_name}: {cause}")]
    FromJson {
        /// The type asked for.
        type_name: String,
        /// What did not fit, and where.
        cause: String,
    },
    /// The value has no JSON form.
    #[error("could not write {type_name} as JSON: {cause}")]
    ToJson {
        /// The type.
        type_name: String,
        /// Why not.
        cause: String,
    },
}

/// A value that can be stored, sent to another task and shown as JSON.
///
/// Put `#[rama::record]` on a struct or enum to get it. Standard types have it: integers of fixed
/// size, floats, `bool`, `char`, `String`, `Uuid`, `Duration`, `Option`, `Vec`, `Box`, arrays,
/// tuples, `BTreeMap`, `BTreeSet`.
///
/// # Ordering
/// Equal values have equal bytes. That is why `HashMap` and `HashSet` are no records: their bytes
/// would follow their iteration order, which differs from process to process.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record, so it cannot be stored or sent to another task",
    label = "not a record",
    note = "put `#[rama::record]` on the definition of `{Self}`",
    note = "records own their data: use `String` for `&str`, `Vec<T>` for `&[T]`, `u64` for `usize`",
    note = "equal records have equal bytes: use `BTreeMap` for `HashMap`, `BTreeSet` for `HashSet`"
)]
pub trait Record:
    rkyv::Archive<
        Archived: for<'a> rkyv::bytecheck::CheckBytes<HighValidator<'a, Cause>>
                      + rkyv::Deserialize<Self, HighDeserializer<Cause>>,
    > + for<'a> rkyv::Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, Cause>>
    + serde::Serialize
    + serde::de::DeserializeOwned
    + Clone
    + fmt::Debug
    + 'static
{
    /// What the type looks like.
    fn type_desc() -> TypeDesc;

    /// Appends the bytes of the value to `out`.
    ///
    /// # Panics
    /// When the value is larger than 2 GiB, the reach of a relative pointer.
    fn encode(&self, out: &mut Vec<u8>) {
        let written = rkyv::api::high::to_bytes_in::<_, Cause>(self, std::mem::take(out));
        *out = written.unwrap_or_else(|cause| {
            panic!("could not encode a value of {}: {cause}", Self::type_name())
        });
    }

    /// Reads a value back from exactly the bytes `encode` appended.
    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        rkyv::from_bytes::<Self, Cause>(bytes).map_err(|cause| wrong_bytes::<Self>(bytes, cause))
    }

    /// The bytes of the value in a buffer of their own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Rust-like name of the type.
    fn type_name() -> String {
        Self::type_desc().name()
    }

    /// A number that changes when the archived layout of the type may have changed: names, types
    /// and order of fields and variants, at any depth.
    fn fingerprint() -> u64 {
        Self::type_desc().fingerprint()
    }

    /// JSON schema of what [`Record::to_json`] writes.
    fn json_schema() -> Value {
        Self::type_desc().json_schema()
    }

    /// The value as JSON.
    fn to_json(&self) -> Result<Value, RecordError> {
        serde_json::to_value(self).map_err(|cause| RecordError::ToJson {
            type_name: Self::type_name(),
            cause: cause.to_string(),
        })
    }

    /// The value that JSON describes.
    fn from_json(json: &Value) -> Result<Self, RecordError> {
        Self::deserialize(json).map_err(|cause| RecordError::FromJson {
            type_name: Self::type_name(),
            cause: cause.to_string(),
        })
    }
}

fn wrong_bytes<T: Record>(bytes: &[u8], cause: impl fmt::Display) -> RecordError {
    RecordError::Bytes {
        type_name: T::type_name(),
        len: bytes.len(),
        cause: cause.to_string(),
    }
}

#[cfg(test)]
mod tests;
