//! Schemas at run time: what `describe` prints, what fingerprints are made of, and how JSON becomes
//! keys and values when no Rust type is at hand.
//!
//! Relies on the codecs of `rama_wire`. What must stay true: two schemas whose entries could be
//! misread as one another have different layouts; adding fields at the end of a fixed-keys struct
//! is the only change that keeps old entries readable (spec P-55).

use std::collections::BTreeSet;
use std::fmt;

use rama_wire::{Key, KeyDesc, KeyError, Record, RecordError, TypeDesc};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// So many shapes of nested structs with fewer fields are recognized.
const SHORTER_MAX: usize = 256;

/// The keys of a map or set, as functions between bytes and JSON.
#[derive(Clone)]
pub struct KeyCodec {
    /// What the keys look like.
    pub desc: KeyDesc,
    /// Takes a key from the front of the bytes.
    pub to_json: fn(&mut &[u8]) -> Result<Value, KeyError>,
    /// Appends the encoding of the key that the JSON describes.
    pub from_json: fn(&Value, &mut Vec<u8>) -> Result<(), KeyError>,
    /// Steps over a key at the front of the bytes.
    pub skip: fn(&mut &[u8]) -> Result<(), KeyError>,
}

/// A value, as functions between bytes and JSON.
#[derive(Clone)]
pub struct ValueCodec {
    /// What the value looks like.
    pub desc: TypeDesc,
    /// Decodes a value.
    pub to_json: fn(&[u8]) -> Result<Value, RecordError>,
    /// Encodes a value.
    pub from_json: fn(&Value) -> Result<Vec<u8>, RecordError>,
}

/// The shape of a PState or of a part of it.
#[derive(Clone, Debug)]
pub enum SchemaDesc {
    /// One value, read and written whole.
    Value(ValueCodec),
    /// A subindexed map.
    Map {
        /// Its keys.
        key: KeyCodec,
        /// What lies under each key.
        value: Box<SchemaDesc>,
        /// Whether its size is kept, when nested.
        tracked: bool,
    },
    /// A subindexed set.
    Set {
        /// Its elements.
        key: KeyCodec,
        /// Whether its size is kept.
        tracked: bool,
    },
    /// A subindexed list.
    List {
        /// Its elements.
        value: Box<SchemaDesc>,
    },
    /// A `#[derive(Schema)]` struct: fixed keys.
    Struct {
        /// Name of the struct.
        name: &'static str,
        /// Its fields; the position is the field's tag.
        fields: Vec<(&'static str, SchemaDesc)>,
    },
}

impl KeyCodec {
    /// The codec of a key type.
    pub fn of<K: Key>() -> KeyCodec {
        KeyCodec {
            desc: K::key_desc(),
            to_json: |bytes| Ok(K::decode_key(bytes)?.key_to_json()),
            from_json: |json, out| {
                K::key_from_json(json)?.encode_key(out);
                Ok(())
            },
            skip: |bytes| K::decode_key(bytes).map(drop),
        }
    }
}

impl ValueCodec {
    /// The codec of a record type.
    pub fn of<V: Record>() -> ValueCodec {
        ValueCodec {
            desc: V::type_desc(),
            to_json: |bytes| V::decode(bytes)?.to_json(),
            from_json: |json| Ok(V::from_json(json)?.to_bytes()),
        }
    }
}

impl fmt::Debug for KeyCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.desc.name())
    }
}

impl fmt::Debug for ValueCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.desc.name())
    }
}

impl SchemaDesc {
    /// The schema as an author writes it: `Map<String, List<u64>>`.
    pub fn name(&self) -> String {
        match self {
            SchemaDesc::Value(codec) => codec.desc.name(),
            SchemaDesc::Map {
                key,
                value,
                tracked,
            } => {
                let tracking = if *tracked { "" } else { ", Untracked" };
                format!("Map<{}, {}{tracking}>", key.desc.name(), value.name())
            }
            SchemaDesc::Set { key, tracked } => {
                let tracking = if *tracked { "" } else { ", Untracked" };
                format!("Set<{}{tracking}>", key.desc.name())
            }
            SchemaDesc::List { value } => format!("List<{}>", value.name()),
            SchemaDesc::Struct { name, .. } => (*name).to_owned(),
        }
    }

    /// The same with a size, if it is a map or a set.
    pub(crate) fn tracked(&self) -> SchemaDesc {
        let mut sized = self.clone();
        if let SchemaDesc::Map { tracked, .. } | SchemaDesc::Set { tracked, .. } = &mut sized {
            *tracked = true;
        }
        sized
    }

    /// Everything that decides where entries lie and what they hold, as text.
    pub fn layout(&self) -> String {
        match self {
            SchemaDesc::Value(codec) => codec.desc.layout(),
            SchemaDesc::Map {
                key,
                value,
                tracked,
            } => {
                format!("Map<{},{},{tracked}>", key.desc.layout(), value.layout())
            }
            SchemaDesc::Set { key, tracked } => format!("Set<{},{tracked}>", key.desc.layout()),
            SchemaDesc::List { value } => format!("List<{}>", value.layout()),
            SchemaDesc::Struct { fields, .. } => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, field)| format!("{name}:{}", field.layout()))
                    .collect();
                format!("Struct{{{}}}", fields.join(","))
            }
        }
    }

    /// A number that changes when stored entries could be misread.
    pub fn fingerprint(&self) -> u64 {
        xxh3_64(self.layout().as_bytes())
    }

    /// The fingerprints of schemas whose entries this one reads as they are: those that lack fields
    /// at the end of fixed-keys structs (spec P-55).
    pub fn reads(&self) -> BTreeSet<u64> {
        let shorter = self.shorter(SHORTER_MAX);
        shorter.iter().map(SchemaDesc::fingerprint).collect()
    }

    /// Up to so many schemas, this one first, made by leaving out fields at the end of structs.
    fn shorter(&self, most: usize) -> Vec<SchemaDesc> {
        let mut all = match self {
            SchemaDesc::Value(_) | SchemaDesc::Set { .. } => vec![self.clone()],
            SchemaDesc::Map {
                key,
                value,
                tracked,
            } => {
                let map = |value| SchemaDesc::Map {
                    key: key.clone(),
                    value: Box::new(value),
                    tracked: *tracked,
                };
                value.shorter(most).into_iter().map(map).collect()
            }
            SchemaDesc::List { value } => {
                let list = |value| SchemaDesc::List {
                    value: Box::new(value),
                };
                value.shorter(most).into_iter().map(list).collect()
            }
            SchemaDesc::Struct { name, fields } => {
                let mut begun: Vec<Vec<(&'static str, SchemaDesc)>> = vec![Vec::new()];
                let mut all = Vec::new();
                for (field, schema) in fields {
                    let longer = begun.iter().flat_map(|before| {
                        let add = |schema| [&before[..], &[(*field, schema)]].concat();
                        schema.shorter(most).into_iter().map(add)
                    });
                    begun = longer.take(most).collect();
                    all.extend(begun.iter().rev().cloned());
                }
                let of = |fields| SchemaDesc::Struct { name, fields };
                all.into_iter().rev().map(of).collect()
            }
        };
        all.truncate(most);
        all
    }

    /// The schema for people and tools: kinds, key names and JSON schemas of the values.
    pub fn to_json(&self) -> Value {
        match self {
            SchemaDesc::Value(codec) => json!({
                "kind": "value", "type": codec.desc.name(), "json": codec.desc.json_schema(),
            }),
            SchemaDesc::Map { key, value, .. } => json!({
                "kind": "map", "key": key.desc.name(), "value": value.to_json(),
            }),
            SchemaDesc::Set { key, .. } => json!({ "kind": "set", "element": key.desc.name() }),
            SchemaDesc::List { value } => json!({ "kind": "list", "element": value.to_json() }),
            SchemaDesc::Struct { name, fields } => {
                let fields: Vec<Value> = fields
                    .iter()
                    .map(|(name, field)| json!({ "name": name, "schema": field.to_json() }))
                    .collect();
                json!({ "kind": "struct", "name": name, "fields": fields })
            }
        }
    }
}
