//! What the code written by `rama_macros` names. Not for authors: anything here may change.

pub use rama_wire::{Key, KeyDesc, KeyError, KeySink, Record, TypeDesc};
pub use {rkyv, serde, serde_json};

pub use crate::path::{Cursor, Located};
pub use crate::schema::{Root, Schema};
pub use crate::schema_desc::SchemaDesc;

/// Takes the byte of a fieldless enum from the front of an encoded key.
pub fn take_variant(input: &mut &[u8], type_name: &'static str) -> Result<u8, KeyError> {
    let (first, rest) = input
        .split_first()
        .ok_or(KeyError::Truncated { type_name })?;
    *input = rest;
    Ok(*first)
}

#[cfg(test)]
mod tests;
