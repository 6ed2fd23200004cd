//! Keys of the standard library.

use serde_json::Value;
use uuid::Uuid;

use super::{Key, KeyDesc, KeyError, KeySink};

fn take<const N: usize>(input: &mut &[u8], type_name: &'static str) -> Result<[u8; N], KeyError> {
    let (head, rest) = input
        .split_first_chunk::<N>()
        .ok_or(KeyError::Truncated { type_name })?;
    *input = rest;
    Ok(*head)
}

/// `"#__L7"`, `"#__S7"`, `"#__B7"`: numbers the REST path syntax writes as tagged strings
/// (spec operations 8.2).
fn tagged_number(json: &Value) -> Option<&str> {
    let tagged = json.as_str()?.strip_prefix("#__")?;
    tagged.strip_prefix(['L', 'S', 'B', 'F'])
}

macro_rules! integer {
    ($($type:ident $sign:expr;)*) => {$(
        impl Key for $type {
            #[inline]
            fn encode_key<S: KeySink>(&self, out: &mut S) {
                out.put(&(*self ^ $sign).to_be_bytes());
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
                Ok($type::from_be_bytes(take(input, stringify!($type))?) ^ $sign)
            }

            fn key_desc() -> KeyDesc {
                KeyDesc::Fixed(stringify!($type), size_of::<$type>() as u8)
            }

            fn key_to_json(&self) -> Value {
                // Beyond 64 bits JSON numbers are not exact; digits in a string are.
                match i64::try_from(*self) {
                    Ok(small) => Value::from(small),
                    Err(_) => match u64::try_from(*self) {
                        Ok(large) => Value::from(large),
                        Err(_) => Value::from(self.to_string()),
                    },
                }
            }

            fn key_from_json(json: &Value) -> Result<Self, KeyError> {
                let wide = match (json.as_i64(), json.as_u64()) {
                    (Some(small), _) => $type::try_from(small).ok(),
                    (_, Some(large)) => $type::try_from(large).ok(),
                    _ => tagged_number(json).or(json.as_str()).and_then(|text| text.parse().ok()),
                };
                wide.ok_or_else(|| Self::wrong_json(json))
            }
        }
    )*};
}

integer! {
    u8 0; u16 0; u32 0; u64 0; u128 0;
    i8 i8::MIN; i16 i16::MIN; i32 i32::MIN; i64 i64::MIN; i128 i128::MIN;
}

macro_rules! float {
    ($($type:ident $bits:ident;)*) => {$(
        impl Key for $type {
            #[inline]
            fn encode_key<S: KeySink>(&self, out: &mut S) {
                let sign = 1 << ($bits::BITS - 1);
                let bits = self.to_bits();
                let ordered = if bits & sign == 0 { bits | sign } else { !bits };
                out.put(&ordered.to_be_bytes());
            }

            fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
                let sign = 1 << ($bits::BITS - 1);
                let ordered = $bits::from_be_bytes(take(input, stringify!($type))?);
                let bits = if ordered & sign == 0 { !ordered } else { ordered & !sign };
                Ok($type::from_bits(bits))
            }

            fn key_desc() -> KeyDesc {
                KeyDesc::Fixed(stringify!($type), size_of::<$type>() as u8)
            }

            fn key_to_json(&self) -> Value {
                // NaN and the infinities have no JSON number.
                if self.is_finite() { Value::from(*self) } else { Value::from(self.to_string()) }
            }

            fn key_from_json(json: &Value) -> Result<Self, KeyError> {
                let text = || tagged_number(json).or(json.as_str())?.parse().ok();
                json.as_f64()
                    .map(|number| number as $type)
                    .or_else(text)
                    .ok_or_else(|| Self::wrong_json(json))
            }
        }
    )*};
}

float! { f32 u32; f64 u64; }

impl Key for bool {
    fn encode_key<S: KeySink>(&self, out: &mut S) {
        out.put(&[u8::from(*self)]);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
        match take::<1>(input, "bool")? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(KeyError::Invalid {
                type_name: "bool",
                what: "neither 0 nor 1",
            }),
        }
    }

    fn key_desc() -> KeyDesc {
        KeyDesc::Fixed("bool", 1)
    }

    fn key_to_json(&self) -> Value {
        Value::from(*self)
    }

    fn key_from_json(json: &Value) -> Result<Self, KeyError> {
        json.as_bool().ok_or_else(|| Self::wrong_json(json))
    }
}

impl Key for () {
    fn encode_key<S: KeySink>(&self, out: &mut S) {
        out.put(&[0]);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
        match take::<1>(input, "()")? {
            [0] => Ok(()),
            _ => Err(KeyError::Invalid {
                type_name: "()",
                what: "not 0",
            }),
        }
    }

    fn key_desc() -> KeyDesc {
        KeyDesc::Fixed("()", 1)
    }

    fn key_to_json(&self) -> Value {
        Value::Null
    }

    fn key_from_json(json: &Value) -> Result<Self, KeyError> {
        if json.is_null() {
            Ok(())
        } else {
            Err(Self::wrong_json(json))
        }
    }
}

impl Key for char {
    fn encode_key<S: KeySink>(&self, out: &mut S) {
        out.put(&u32::from(*self).to_be_bytes());
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
        char::from_u32(u32::from_be_bytes(take(input, "char")?)).ok_or(KeyError::Invalid {
            type_name: "char",
            what: "not a Unicode scalar value",
        })
    }

    fn key_desc() -> KeyDesc {
        KeyDesc::Fixed("char", 4)
    }

    fn key_to_json(&self) -> Value {
        Value::from(self.to_string())
    }

    fn key_from_json(json: &Value) -> Result<Self, KeyError> {
        let text = json
            .as_str()
            .map(|text| text.strip_prefix("#__C").unwrap_or(text));
        let mut chars = text.into_iter().flat_map(str::chars);
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Self::wrong_json(json)),
        }
    }
}

impl Key for Uuid {
    fn encode_key<S: KeySink>(&self, out: &mut S) {
        out.put(self.as_bytes());
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
        Ok(Uuid::from_bytes(take(input, "Uuid")?))
    }

    fn key_desc() -> KeyDesc {
        KeyDesc::Fixed("Uuid", 16)
    }

    fn key_to_json(&self) -> Value {
        Value::from(self.to_string())
    }

    fn key_from_json(json: &Value) -> Result<Self, KeyError> {
        json.as_str()
            .and_then(|text| Uuid::parse_str(text).ok())
            .ok_or_else(|| Self::wrong_json(json))
    }
}

/// Escapes 0x00 and 0x01 and ends with 0x00: shorter strings come before longer ones that start the
/// same, and no content can look like the end.
#[inline]
pub(super) fn put_escaped<S: KeySink>(bytes: &[u8], out: &mut S) {
    let mut rest = bytes;
    while let Some(special) = rest.iter().position(|byte| *byte <= 1) {
        out.put(&rest[..special]);
        out.put(&[1, rest[special] + 1]);
        rest = &rest[special + 1..];
    }
    out.put(rest);
    out.put(&[0]);
}

fn take_escaped(input: &mut &[u8], type_name: &'static str) -> Result<Vec<u8>, KeyError> {
    let end = input
        .iter()
        .position(|b| *b == 0)
        .ok_or(KeyError::Truncated { type_name })?;
    let escaped = &input[..end];
    *input = &input[end + 1..];
    if !escaped.contains(&1) {
        return Ok(escaped.to_vec());
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            1 => match rest.next() {
                Some(1) => 0,
                Some(2) => 1,
                _ => {
                    return Err(KeyError::Invalid {
                        type_name,
                        what: "a broken escape",
                    });
                }
            },
            plain => *plain,
        };
        bytes.push(byte);
    }
    Ok(bytes)
}

impl Key for String {
    #[inline]
    fn encode_key<S: KeySink>(&self, out: &mut S) {
        put_escaped(self.as_bytes(), out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
        String::from_utf8(take_escaped(input, "String")?).map_err(|_| KeyError::Invalid {
            type_name: "String",
            what: "not UTF-8",
        })
    }

    fn key_desc() -> KeyDesc {
        KeyDesc::Escaped("String")
    }

    fn key_to_json(&self) -> Value {
        Value::from(self.as_str())
    }

    fn key_from_json(json: &Value) -> Result<Self, KeyError> {
        json.as_str()
            .map(str::to_owned)
            .ok_or_else(|| Self::wrong_json(json))
    }
}

impl Key for Vec<u8> {
    #[inline]
    fn encode_key<S: KeySink>(&self, out: &mut S) {
        put_escaped(self, out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
        take_escaped(input, "Vec<u8>")
    }

    fn key_desc() -> KeyDesc {
        KeyDesc::Escaped("Vec<u8>")
    }

    fn key_to_json(&self) -> Value {
        Value::from(self.as_slice())
    }

    fn key_from_json(json: &Value) -> Result<Self, KeyError> {
        serde::Deserialize::deserialize(json).map_err(|_| Self::wrong_json(json))
    }
}

impl<K: Key> Key for Option<K> {
    fn encode_key<S: KeySink>(&self, out: &mut S) {
        match self {
            None => out.put(&[0]),
            Some(key) => {
                out.put(&[1]);
                key.encode_key(out);
            }
        }
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
        match take::<1>(input, "Option")? {
            [0] => Ok(None),
            [1] => Ok(Some(K::decode_key(input)?)),
            _ => Err(KeyError::Invalid {
                type_name: "Option",
                what: "neither 0 nor 1",
            }),
        }
    }

    fn key_desc() -> KeyDesc {
        KeyDesc::Option(Box::new(K::key_desc()))
    }

    fn key_to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Key::key_to_json)
    }

    fn key_from_json(json: &Value) -> Result<Self, KeyError> {
        if json.is_null() {
            Ok(None)
        } else {
            K::key_from_json(json).map(Some)
        }
    }
}

macro_rules! tuple {
    ($len:literal: $($part:ident $index:tt)*) => {
        impl<$($part: Key),*> Key for ($($part,)*) {
            #[inline]
            fn encode_key<S: KeySink>(&self, out: &mut S) {
                $(self.$index.encode_key(out);)*
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, KeyError> {
                Ok(($($part::decode_key(input)?,)*))
            }

            fn key_desc() -> KeyDesc {
                KeyDesc::Tuple(vec![$($part::key_desc()),*])
            }

            fn key_to_json(&self) -> Value {
                Value::Array(vec![$(self.$index.key_to_json()),*])
            }

            fn key_from_json(json: &Value) -> Result<Self, KeyError> {
                match json.as_array() {
                    Some(parts) if parts.len() == $len => {
                        Ok(($($part::key_from_json(&parts[$index])?,)*))
                    }
                    _ => Err(Self::wrong_json(json)),
                }
            }
        }
    };
}

tuple!(1: A 0);
tuple!(2: A 0 B 1);
tuple!(3: A 0 B 1 C 2);
tuple!(4: A 0 B 1 C 2 D 3);
tuple!(5: A 0 B 1 C 2 D 3 E 4);
tuple!(6: A 0 B 1 C 2 D 3 E 4 F 5);
