//! What a record type looks like: the source of its fingerprint and of its JSON schema.
//!
//! Relies on the generated code of `#[rama::record]` and on the macros in `record`. What must stay
//! true: two types with different archived bytes have different fingerprints. The name of a struct
//! is not part of its fingerprint, the names, types and order of its fields are.

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// A description of a record type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeDesc {
    /// A type without parts: `u64`, `String`, `Uuid` …, by its Rust name.
    Scalar(&'static str),
    /// A container of one kind of element: `Vec`, `BTreeSet`, `Option` …
    Container(&'static str, Box<TypeDesc>),
    /// A map, ordered or not: its name, keys and values.
    Map(&'static str, Box<TypeDesc>, Box<TypeDesc>),
    /// `N` elements of one type.
    Array(usize, Box<TypeDesc>),
    /// A tuple.
    Tuple(Vec<TypeDesc>),
    /// A struct with named fields (a tuple struct has fields `0`, `1` …).
    Struct(&'static str, Vec<(&'static str, TypeDesc)>),
    /// An enum: each variant with its fields.
    Enum(
        &'static str,
        Vec<(&'static str, Vec<(&'static str, TypeDesc)>)>,
    ),
}

impl TypeDesc {
    /// The Rust-like name of the type.
    pub fn name(&self) -> String {
        match self {
            TypeDesc::Scalar(name) => (*name).to_owned(),
            TypeDesc::Container(name, inner) => format!("{name}<{}>", inner.name()),
            TypeDesc::Map(name, key, value) => format!("{name}<{}, {}>", key.name(), value.name()),
            TypeDesc::Array(len, inner) => format!("[{}; {len}]", inner.name()),
            TypeDesc::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(TypeDesc::name).collect();
                format!("({})", parts.join(", "))
            }
            TypeDesc::Struct(name, _) | TypeDesc::Enum(name, _) => (*name).to_owned(),
        }
    }

    /// Everything that decides the archived bytes, as text.
    pub fn layout(&self) -> String {
        match self {
            TypeDesc::Scalar(name) => (*name).to_owned(),
            TypeDesc::Container(name, inner) => format!("{name}<{}>", inner.layout()),
            TypeDesc::Map(name, key, value) => {
                format!("{name}<{},{}>", key.layout(), value.layout())
            }
            TypeDesc::Array(len, inner) => format!("[{};{len}]", inner.layout()),
            TypeDesc::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(TypeDesc::layout).collect();
                format!("({})", parts.join(","))
            }
            TypeDesc::Struct(_, fields) => format!("struct{}", fields_layout(fields)),
            TypeDesc::Enum(_, variants) => {
                let variants: Vec<String> = variants
                    .iter()
                    .map(|(name, fields)| format!("{name}{}", fields_layout(fields)))
                    .collect();
                format!("enum{{{}}}", variants.join(","))
            }
        }
    }

    /// A number that differs whenever the archived bytes of two types could differ.
    pub fn fingerprint(&self) -> u64 {
        xxh3_64(self.layout().as_bytes())
    }

    /// The JSON schema of what serde writes for the type.
    pub fn json_schema(&self) -> Value {
        match self {
            TypeDesc::Scalar(name) => scalar_schema(name),
            TypeDesc::Container("Option", inner) => {
                json!({ "anyOf": [inner.json_schema(), { "type": "null" }] })
            }
            TypeDesc::Container("Box", inner) => inner.json_schema(),
            TypeDesc::Container(name, inner) => {
                let unique = name.ends_with("Set");
                json!({ "type": "array", "items": inner.json_schema(), "uniqueItems": unique })
            }
            TypeDesc::Map(_, _, value) => {
                json!({ "type": "object", "additionalProperties": value.json_schema() })
            }
            TypeDesc::Array(len, inner) => {
                let items = inner.json_schema();
                json!({ "type": "array", "items": items, "minItems": len, "maxItems": len })
            }
            TypeDesc::Tuple(parts) => tuple_schema(parts.iter()),
            TypeDesc::Struct(name, fields) => {
                let mut schema = fields_schema(fields);
                schema["title"] = json!(name);
                schema
            }
            TypeDesc::Enum(name, variants) => {
                let variants: Vec<Value> = variants.iter().map(variant_schema).collect();
                json!({ "title": name, "anyOf": variants })
            }
        }
    }
}

fn fields_layout(fields: &[(&'static str, TypeDesc)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, desc)| format!("{name}:{}", desc.layout()))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn scalar_schema(name: &str) -> Value {
    match name {
        "bool" => json!({ "type": "boolean" }),
        "char" => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        "String" => json!({ "type": "string" }),
        "Uuid" => json!({ "type": "string", "format": "uuid" }),
        "()" => json!({ "type": "null" }),
        "f32" | "f64" => json!({ "type": "number", "format": name }),
        "Duration" => json!({ "type": "object", "title": "Duration" }),
        unsigned if unsigned.starts_with('u') => {
            json!({ "type": "integer", "minimum": 0, "format": name })
        }
        _ => json!({ "type": "integer", "format": name }),
    }
}

fn tuple_schema<'a>(parts: impl ExactSizeIterator<Item = &'a TypeDesc>) -> Value {
    let len = parts.len();
    let parts: Vec<Value> = parts.map(TypeDesc::json_schema).collect();
    json!({ "type": "array", "prefixItems": parts, "minItems": len, "maxItems": len })
}

/// Positional fields are a tuple; a single one is what it holds, as serde writes a newtype.
fn fields_schema(fields: &[(&'static str, TypeDesc)]) -> Value {
    if fields.is_empty() {
        return json!({ "type": "null" });
    }
    if fields[0].0 == "0" {
        return match fields {
            [(_, only)] => only.json_schema(),
            many => tuple_schema(many.iter().map(|(_, desc)| desc)),
        };
    }
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for (name, desc) in fields {
        properties.insert((*name).to_owned(), desc.json_schema());
        if !matches!(desc, TypeDesc::Container("Option", _)) {
            required.push(*name);
        }
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn variant_schema((name, fields): &(&'static str, Vec<(&'static str, TypeDesc)>)) -> Value {
    if fields.is_empty() {
        return json!({ "const": name });
    }
    let mut properties = serde_json::Map::new();
    properties.insert((*name).to_owned(), fields_schema(fields));
    json!({ "type": "object", "properties": properties, "required": [name] })
}
