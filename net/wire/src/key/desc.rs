//! What a key type looks like: for messages and fingerprints ([`KeyDesc`]), and for finding the end
//! of an encoding without knowing the type ([`KeyShape`]).

use super::KeyError;

/// A description of a key type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyDesc {
    /// A key of fixed size, by its Rust name and its length in bytes.
    Fixed(&'static str, u8),
    /// `String` or `Vec<u8>`: escaped and terminated.
    Escaped(&'static str),
    /// `Option`.
    Option(Box<KeyDesc>),
    /// A tuple.
    Tuple(Vec<KeyDesc>),
    /// A `#[derive(Key)]` struct: its name and fields.
    Struct(&'static str, Vec<(&'static str, KeyDesc)>),
    /// A `#[derive(Key)]` enum: its name and variants.
    Enum(&'static str, Vec<&'static str>),
}

impl KeyDesc {
    /// Rust-like name of the type.
    pub fn name(&self) -> String {
        match self {
            KeyDesc::Fixed(name, _) | KeyDesc::Escaped(name) => (*name).to_owned(),
            KeyDesc::Option(inner) => format!("Option<{}>", inner.name()),
            KeyDesc::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(KeyDesc::name).collect();
                format!("({})", parts.join(", "))
            }
            KeyDesc::Struct(name, _) | KeyDesc::Enum(name, _) => (*name).to_owned(),
        }
    }

    /// Everything that decides the encoding, as text; part of a schema's fingerprint.
    pub fn layout(&self) -> String {
        match self {
            KeyDesc::Fixed(name, _) | KeyDesc::Escaped(name) => (*name).to_owned(),
            KeyDesc::Option(inner) => format!("Option<{}>", inner.layout()),
            KeyDesc::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(KeyDesc::layout).collect();
                format!("({})", parts.join(","))
            }
            KeyDesc::Struct(_, fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, desc)| format!("{name}:{}", desc.layout()))
                    .collect();
                format!("struct{{{}}}", fields.join(","))
            }
            KeyDesc::Enum(_, variants) => format!("enum{{{}}}", variants.join(",")),
        }
    }

    /// Where encodings of the type end.
    pub fn shape(&self) -> KeyShape {
        match self {
            KeyDesc::Fixed(_, len) => KeyShape::Fixed(*len),
            KeyDesc::Escaped(_) => KeyShape::Escaped,
            KeyDesc::Option(inner) => KeyShape::Option(Box::new(inner.shape())),
            KeyDesc::Tuple(parts) => KeyShape::Sequence(parts.iter().map(KeyDesc::shape).collect()),
            KeyDesc::Struct(_, fields) => {
                KeyShape::Sequence(fields.iter().map(|(_, desc)| desc.shape()).collect())
            }
            KeyDesc::Enum(..) => KeyShape::Fixed(1),
        }
    }
}

/// How to find the end of an encoded key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyShape {
    /// So many bytes.
    Fixed(u8),
    /// Up to and including the first 0x00.
    Escaped,
    /// One byte, and when that is 1 the inner shape.
    Option(Box<KeyShape>),
    /// One after another.
    Sequence(Vec<KeyShape>),
}

/// Deeper or wider shapes than these do not come from a key type.
const SHAPE_DEPTH_MAX: u32 = 16;
const SHAPE_PARTS_MAX: usize = 64;

impl KeyShape {
    /// Length of the key at the front of `bytes`, or `None` when they end too early.
    pub fn measure(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            KeyShape::Fixed(len) => {
                let len = usize::from(*len);
                (bytes.len() >= len).then_some(len)
            }
            KeyShape::Escaped => Some(bytes.iter().position(|byte| *byte == 0)? + 1),
            KeyShape::Option(inner) => match bytes.first()? {
                0 => Some(1),
                _ => Some(1 + inner.measure(&bytes[1..])?),
            },
            KeyShape::Sequence(parts) => {
                let mut len = 0;
                for part in parts {
                    len += part.measure(&bytes[len..])?;
                }
                Some(len)
            }
        }
    }

    /// Appends the shape to a message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            KeyShape::Fixed(len) => out.extend([0, *len]),
            KeyShape::Escaped => out.push(1),
            KeyShape::Option(inner) => {
                out.push(2);
                inner.encode(out);
            }
            KeyShape::Sequence(parts) => {
                out.extend([3, parts.len() as u8]);
                parts.iter().for_each(|part| part.encode(out));
            }
        }
    }

    /// Takes a shape from the front of a message; refuses what no key type has.
    pub fn decode(input: &mut &[u8]) -> Result<KeyShape, KeyError> {
        decode_within(input, SHAPE_DEPTH_MAX)
    }
}

fn decode_within(input: &mut &[u8], depth: u32) -> Result<KeyShape, KeyError> {
    let invalid = |what| KeyError::Invalid {
        type_name: "KeyShape",
        what,
    };
    if depth == 0 {
        return Err(invalid("nested too deep"));
    }
    match take_byte(input)? {
        0 => Ok(KeyShape::Fixed(take_byte(input)?)),
        1 => Ok(KeyShape::Escaped),
        2 => Ok(KeyShape::Option(Box::new(decode_within(input, depth - 1)?))),
        3 => {
            let parts = usize::from(take_byte(input)?);
            if parts > SHAPE_PARTS_MAX {
                return Err(invalid("too many parts"));
            }
            let parts: Result<Vec<_>, _> = (0..parts)
                .map(|_| decode_within(input, depth - 1))
                .collect();
            Ok(KeyShape::Sequence(parts?))
        }
        _ => Err(invalid("unknown tag")),
    }
}

fn take_byte(input: &mut &[u8]) -> Result<u8, KeyError> {
    let (first, rest) = input.split_first().ok_or(KeyError::Truncated {
        type_name: "KeyShape",
    })?;
    *input = rest;
    Ok(*first)
}
