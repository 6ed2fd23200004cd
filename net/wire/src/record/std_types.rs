//! Records of the standard library.
//!
//! Scalars write the bytes rkyv would, without its set-up cost: they are the values of counters,
//! the hottest path there is. A test compares both.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Record, RecordError, wrong_bytes};
use crate::type_desc::TypeDesc;

macro_rules! number {
    ($($type:ident),*) => {$(
        impl Record for $type {
            fn type_desc() -> TypeDesc {
                TypeDesc::Scalar(stringify!($type))
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
                match bytes.try_into() {
                    Ok(bytes) => Ok($type::from_le_bytes(bytes)),
                    Err(_) => Err(wrong_bytes::<Self>(bytes, "wrong length")),
                }
            }
        }
    )*};
}

number!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

macro_rules! scalar {
    ($($type:ty as $name:literal),*) => {$(
        impl Record for $type {
            fn type_desc() -> TypeDesc {
                TypeDesc::Scalar($name)
            }
        }
    )*};
}

scalar!(bool as "bool", char as "char", String as "String", Uuid as "Uuid", Duration as "Duration");

impl Record for () {
    fn type_desc() -> TypeDesc {
        TypeDesc::Scalar("()")
    }

    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(wrong_bytes::<Self>(bytes, "wrong length"))
        }
    }
}

macro_rules! container {
    ($($name:ident<$t:ident: $($bound:path),*> $(where $archived:path)?;)*) => {$(
        impl<$t: Record $(+ $bound)*> Record for $name<$t>
        $(where
            $t::Archived: $archived,
        )?
        {
            fn type_desc() -> TypeDesc {
                TypeDesc::Container(stringify!($name), Box::new($t::type_desc()))
            }
        }
    )*};
}

container! {
    Option<T:>;
    Vec<T:>;
    Box<T:>;
    BTreeSet<T: Ord> where Ord;
}

impl<K: Record + Ord, V: Record> Record for BTreeMap<K, V>
where
    K::Archived: Ord,
{
    fn type_desc() -> TypeDesc {
        TypeDesc::Map(
            "BTreeMap",
            Box::new(K::type_desc()),
            Box::new(V::type_desc()),
        )
    }
}

macro_rules! tuple {
    ($($part:ident)*) => {
        impl<$($part: Record),*> Record for ($($part,)*) {
            fn type_desc() -> TypeDesc {
                TypeDesc::Tuple(vec![$($part::type_desc()),*])
            }
        }
    };
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);

macro_rules! array {
    ($($len:literal)*) => {$(
        impl<T: Record> Record for [T; $len] {
            fn type_desc() -> TypeDesc {
                TypeDesc::Array($len, Box::new(T::type_desc()))
            }
        }
    )*};
}

// The lengths serde knows.
array!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
