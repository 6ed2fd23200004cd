//! Keys: encodings whose byte order is the order of the values, and which know where they end.
//!
//! ```text
//! bool        1 byte, 0 or 1             unit      1 byte, 0
//! u8 … u128   big endian                 i8 … i128 big endian, sign bit flipped
//! f32, f64    big endian; sign bit flipped if positive, all bits if negative (total order)
//! char        4 bytes, big endian        Uuid      its 16 bytes
//! String      UTF-8, 0x00 as 01 01, 0x01 as 01 02, then 00         Vec<u8>  the same
//! Option<K>   00, or 01 and K            tuples, derive(Key) structs  their parts in order
//! derive(Key) fieldless enum             1 byte, the variant's position
//! ```
//!
//! What must stay true: an encoding is never empty and never a prefix of another value's encoding,
//! so nested keys simply follow one another; and it never changes, because stored bytes are
//! compared.

mod desc;
mod std_types;

use std::fmt;

use serde_json::Value;

pub use desc::{KeyDesc, KeyShape};

/// Where encoded keys go: a vector, or the inline buffer of a path.
pub trait KeySink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl KeySink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The bytes or the JSON of a key could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes end inside the key.
    #[error("could not decode a key of type {type_name}: its bytes end too early")]
    Truncated {
        /// The type asked for.
        type_name: &'static str,
    },
    /// The bytes are not an encoding of the type.
    #[error("could not decode a key of type {type_name}: {what}")]
    Invalid {
        /// The type asked for.
        type_name: &'static str,
        /// What is wrong with them.
        what: &'static str,
    },
    /// More bytes follow where the key should have ended.
    #[error("could not decode a key: {extra} bytes are left over")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// The JSON does not describe a key of the type.
    #[error("could not read {found} as a key of type {expected}")]
    Json {
        /// The type asked for.
        expected: String,
        /// The JSON given.
        found: String,
    },
}

/// A type that can be the key of a map, the element of a set, or what a partitioner hashes.
///
/// Integers of fixed size, floats, `bool`, `char`, `String`, `Vec<u8>`, `Uuid`, `()`, `Option` and
/// tuples of keys are keys. `#[derive(Key)]` makes one of a struct (its fields in order: a
/// composite key) or of an enum without data.
///
/// # Ordering
/// Maps and sets are sorted by the encoding, which is the order of the values: numbers numerically,
/// strings alphabetically (by code point), composites field by field, `None` before `Some`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key: it has no order-preserving encoding",
    label = "not a key",
    note = "integers, floats, bool, char, String, Vec<u8>, Uuid, Option and tuples can be keys",
    note = "put `#[derive(Key)]` on a struct or an enum without data to make it a key"
)]
pub trait Key: Clone + fmt::Debug + 'static {
    /// Appends the encoding of the key.
    fn encode_key<S: KeySink>(&self, out: &mut S);

    /// Takes one key from the front of `input`.
    fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError>;

    /// What the key looks like.
    fn key_desc() -> KeyDesc;

    /// The key as JSON.
    fn key_to_json(&self) -> Value;

    /// The key that JSON describes.
    fn key_from_json(json: &Value) -> Result<Self, KeyError>;

    /// The encoding in a buffer of its own.
    fn key_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        self.encode_key(&mut out);
        out
    }

    /// Decodes bytes that hold exactly one key.
    fn from_key_bytes(mut bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Self::decode_key(&mut bytes)?;
        if bytes.is_empty() {
            Ok(key)
        } else {
            Err(KeyError::Trailing { extra: bytes.len() })
        }
    }

    /// The error for JSON that is not such a key. For implementors.
    #[doc(hidden)]
    fn wrong_json(json: &Value) -> KeyError {
        KeyError::Json {
            expected: Self::key_desc().name(),
            found: json.to_string(),
        }
    }
}

/// What may be given where a key of type `K` is asked for: `K` itself, `str` for `String`, `[u8]`
/// for `Vec<u8>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the key type here: a `{K}` is expected",
    label = "expected `{K}`",
    note = "the key type is the first parameter of the `Map` or `Set` in the PState's schema"
)]
pub trait AsKey<K: Key> {
    /// Appends the encoding of the key.
    fn encode_as_key<S: KeySink>(&self, out: &mut S);
}

impl<K: Key> AsKey<K> for K {
    #[inline]
    fn encode_as_key<S: KeySink>(&self, out: &mut S) {
        self.encode_key(out);
    }
}

#[diagnostic::do_not_recommend]
impl AsKey<String> for str {
    #[inline]
    fn encode_as_key<S: KeySink>(&self, out: &mut S) {
        std_types::put_escaped(self.as_bytes(), out);
    }
}

#[diagnostic::do_not_recommend]
impl AsKey<Vec<u8>> for [u8] {
    #[inline]
    fn encode_as_key<S: KeySink>(&self, out: &mut S) {
        std_types::put_escaped(self, out);
    }
}

/// The smallest byte string greater than every string that starts with `prefix`, or `None` when
/// there is none (the prefix is all 0xFF).
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut bound = prefix[..=last].to_vec();
    bound[last] += 1;
    Some(bound)
}

#[cfg(test)]
mod tests;
