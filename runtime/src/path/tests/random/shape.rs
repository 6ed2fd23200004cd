//! Schemas that are made at run time, with keys and values of few types.

use rama_wire::{AsKey, Key};
use serde_json::{Value, json};

use super::Random;
use crate::path::Cursor;
use crate::schema_desc::{KeyCodec, SchemaDesc, ValueCodec};

/// What keys are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keys {
    Small,
    Text,
    Pair,
}

/// A schema.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Numbers,
    Map(Keys, Box<Shape>, bool),
    Set(Keys, bool),
    List(Box<Shape>),
    Struct(Vec<Shape>),
}

const FIELDS: [&str; 3] = ["a", "b", "c"];

impl Keys {
    fn codec(self) -> KeyCodec {
        match self {
            Keys::Small => KeyCodec::of::<u8>(),
            Keys::Text => KeyCodec::of::<String>(),
            Keys::Pair => KeyCodec::of::<(u8, String)>(),
        }
    }

    /// A key of few, among them those at the ends and those that begin alike.
    pub(super) fn random(self, random: &mut Random) -> Value {
        let small = |random: &mut Random| json!([0, 1, 2, 254, 255][random.below(5) as usize]);
        let text = |random: &mut Random| {
            json!(["", "a", "ab", "\u{0}", "\u{1}", "\u{10FFFF}"][random.below(6) as usize])
        };
        match self {
            Keys::Small => small(random),
            Keys::Text => text(random),
            Keys::Pair => json!([small(random), text(random)]),
        }
    }

    pub(super) fn bytes(self, key: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        (self.codec().from_json)(key, &mut bytes).expect("a key of this type");
        bytes
    }

    /// One step along a typed path.
    pub(super) fn step(self, cursor: &Cursor, key: &Value) -> Cursor {
        fn step<K: Key + AsKey<K>>(cursor: &Cursor, key: &Value) -> Cursor {
            cursor.step::<K>(&K::key_from_json(key).expect("a key of this type"))
        }
        match self {
            Keys::Small => step::<u8>(cursor, key),
            Keys::Text => step::<String>(cursor, key),
            Keys::Pair => step::<(u8, String)>(cursor, key),
        }
    }
}

impl Shape {
    /// The shape of a whole PState (P-5).
    pub(super) fn root(random: &mut Random) -> Shape {
        match random.below(8) {
            0 => Shape::Numbers,
            1 => Shape::fields(random, 3),
            _ => Shape::map(random, 3),
        }
    }

    fn map(random: &mut Random, depth: u64) -> Shape {
        let value = Box::new(Shape::nested(random, depth - 1));
        Shape::Map(keys(random), value, random.one_in(2))
    }

    fn fields(random: &mut Random, depth: u64) -> Shape {
        let count = 1 + random.below(3);
        Shape::Struct(
            (0..count)
                .map(|_| Shape::nested(random, depth - 1))
                .collect(),
        )
    }

    fn nested(random: &mut Random, depth: u64) -> Shape {
        if depth == 0 {
            return Shape::Numbers;
        }
        match random.below(8) {
            0 | 1 => Shape::Numbers,
            2 => Shape::Set(keys(random), random.one_in(2)),
            3 => Shape::List(Box::new(Shape::nested(random, depth - 1))),
            4 => Shape::fields(random, depth),
            _ => Shape::map(random, depth),
        }
    }

    pub(super) fn is_value(&self) -> bool {
        matches!(self, Shape::Numbers)
    }

    /// Whether a nested one keeps a header whatever is above it.
    pub(super) fn keeps_header(&self) -> bool {
        matches!(
            self,
            Shape::Map(_, _, true) | Shape::Set(_, true) | Shape::List(_)
        )
    }

    pub(super) fn desc(&self) -> SchemaDesc {
        match self {
            Shape::Numbers => SchemaDesc::Value(ValueCodec::of::<Vec<i64>>()),
            Shape::Map(keys, value, tracked) => SchemaDesc::Map {
                key: keys.codec(),
                value: Box::new(value.desc()),
                tracked: *tracked,
            },
            Shape::Set(keys, tracked) => SchemaDesc::Set {
                key: keys.codec(),
                tracked: *tracked,
            },
            Shape::List(value) => SchemaDesc::List {
                value: Box::new(value.desc()),
            },
            Shape::Struct(fields) => SchemaDesc::Struct {
                name: "Random",
                fields: FIELDS
                    .into_iter()
                    .zip(fields.iter().map(Shape::desc))
                    .collect(),
            },
        }
    }

    /// What typed paths do when they come to a location of this shape.
    pub(super) fn arrive(&self, mut cursor: Cursor) -> Cursor {
        match self {
            Shape::Numbers => {}
            Shape::Map(_, _, tracked) | Shape::Set(_, tracked) => cursor.mark_collection(*tracked),
            Shape::List(_) => cursor.mark_list(),
            Shape::Struct(_) => cursor.mark_struct(),
        }
        cursor
    }

    /// The name of a field, and its number.
    pub(super) fn field(fields: &[Shape], random: &mut Random) -> (usize, &'static str) {
        let index = random.below(fields.len() as u64) as usize;
        (index, FIELDS[index])
    }
}

fn keys(random: &mut Random) -> Keys {
    [Keys::Small, Keys::Text, Keys::Pair][random.below(3) as usize]
}
