//! Changes that put entries under other keys: values that become subindexed structures, and structs
//! whose fixed keys are others (spec P-50).
//!
//! Relies on the key space described in `schema`: what belongs to a location are the keys that start
//! with its own, and no key is the beginning of another one beside it. What must stay true: keys keep
//! their order, so fields keep theirs; a structure has the header that its paths expect.

use std::collections::{BTreeMap, BTreeSet};

use rama_storage::lsm::{Form, Reshape};
use rama_wire::key::successor;
use rama_wire::{Key, Record};

use super::{Location, Part, Parts};
use crate::schema::{List, Map, Schema, Set};
use crate::schema_desc::SchemaDesc;

/// A key behind all that there are.
const AFTER_ALL_KEYS: [u8; 1024] = [0xff; 1024];

/// All elements of a subindexed structure, as a migration gives them: a `BTreeMap` for a
/// [`Map`], a `BTreeSet` for a [`Set`], a `Vec` for a [`List`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a subindexed structure is made of",
    label = "not a `BTreeMap`, `BTreeSet` or `Vec`",
    note = "let the function give a `BTreeMap<K, V>` for a `Map<K, V>`, a `BTreeSet<K>` for a \
            `Set<K>`, a `Vec<V>` for a `List<V>`"
)]
pub trait Elements: 'static {
    /// The structure's schema.
    #[doc(hidden)]
    fn desc() -> SchemaDesc;

    /// Encoded keys and values.
    #[doc(hidden)]
    fn into_parts(self) -> Vec<Part>;
}

impl<K: Key, V: Record> Elements for BTreeMap<K, V> {
    fn desc() -> SchemaDesc {
        Map::<K, V>::desc()
    }

    fn into_parts(self) -> Vec<Part> {
        let parts = self.into_iter();
        parts
            .map(|(key, value)| (key.key_bytes(), value.to_bytes()))
            .collect()
    }
}

impl<K: Key> Elements for BTreeSet<K> {
    fn desc() -> SchemaDesc {
        Set::<K>::desc()
    }

    fn into_parts(self) -> Vec<Part> {
        let parts = self.into_iter();
        parts.map(|key| (key.key_bytes(), Vec::new())).collect()
    }
}

impl<V: Record> Elements for Vec<V> {
    fn desc() -> SchemaDesc {
        List::<V>::desc()
    }

    fn into_parts(self) -> Vec<Part> {
        let parts = (0u64..).zip(self);
        parts
            .map(|(index, value)| (index.key_bytes(), value.to_bytes()))
            .collect()
    }
}

/// What stands under the key of a structure itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// How many elements it has.
    Count,
    /// That it is there.
    Present,
    /// Nothing.
    Missing,
}

/// A value becomes a subindexed structure.
pub(crate) struct Spread {
    location: Location,
    header: Header,
    parts: Parts,
}

impl Spread {
    /// `schema` is the one with the structure.
    pub(crate) fn new(location: Location, schema: &SchemaDesc, parts: Parts) -> Spread {
        let mut schema = schema.clone();
        let counted = location.is_counted(&schema);
        let top = location.is_top();
        let header = match location.part_mut(&mut schema) {
            Some(SchemaDesc::List { .. }) => Header::Count,
            Some(SchemaDesc::Map { tracked, .. } | SchemaDesc::Set { tracked, .. })
                if *tracked && !top =>
            {
                Header::Count
            }
            _ if counted => Header::Present,
            _ => Header::Missing,
        };
        Spread {
            location,
            header,
            parts,
        }
    }
}

impl Reshape for Spread {
    fn reshape(&self, key: &[u8], value: Option<&[u8]>) -> Result<Form, String> {
        if !self.location.leads_to(key) {
            return Ok(Form::Same);
        }
        let Some(value) = value else {
            return Ok(Form::Spread {
                header: None,
                elements: Vec::new(),
            });
        };
        let elements = (self.parts)(value)?;
        let header = match self.header {
            Header::Count => Some((elements.len() as u64).to_le_bytes().to_vec()),
            Header::Present => Some(Vec::new()),
            Header::Missing => None,
        };
        Ok(Form::Spread { header, elements })
    }

    fn present_bound(&self, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }

    fn old_lo(&self, key: &[u8]) -> Vec<u8> {
        let len = self.location.prefix_len(key).unwrap_or(key.len());
        key[..len].to_vec()
    }

    fn old_hi(&self, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }
}

/// A struct has other fixed keys: fields of the same name are the same, and the others go.
pub(crate) struct Fields {
    location: Location,
    /// Where each old field is now; ascending.
    new: Vec<Option<u8>>,
}

impl Fields {
    /// Compares a struct with what it was. `Err`: what is wrong, and the fix.
    pub(crate) fn new(
        location: Location,
        old: &SchemaDesc,
        new: &SchemaDesc,
    ) -> Result<Fields, (String, String)> {
        let (SchemaDesc::Struct { fields: old, .. }, SchemaDesc::Struct { fields, name }) =
            (old, new)
        else {
            return Err((
                format!("is from {} to {}", old.name(), new.name()),
                "name two structs with #[derive(Schema)]".to_owned(),
            ));
        };
        let (mut tags, mut last) = (Vec::new(), None);
        for (field, was) in old {
            let Some(at) = fields.iter().position(|(name, _)| name == field) else {
                tags.push(None);
                continue;
            };
            let is = &fields[at].1;
            if was.layout() != is.layout() {
                return Err((
                    format!(
                        "finds {} in field {field}, and {} after it",
                        was.name(),
                        is.name()
                    ),
                    format!("change the type of {field} with a migration of its own"),
                ));
            }
            if last.is_some_and(|last| last > at) {
                return Err((
                    format!("finds field {field} of {name} before others that it stood behind"),
                    "keep the fields that stay in their order".to_owned(),
                ));
            }
            last = Some(at);
            tags.push(Some(at as u8));
        }
        let new = tags;
        Ok(Fields { location, new })
    }

    /// Makes of the steps of a path to what is now there the steps to what was there before; `None`
    /// when there was nothing.
    pub(super) fn go_back(&self, steps: &mut [u8]) -> Option<()> {
        let depth = self.location.depth();
        if self.location.is_on_the_way(steps) && depth < steps.len() {
            let old = self.new.iter().position(|new| *new == Some(steps[depth]))?;
            steps[depth] = old as u8;
        }
        Some(())
    }

    /// The key of the struct, the field's tag, and what follows it.
    fn take_apart<'k>(&self, key: &'k [u8]) -> Option<(&'k [u8], u8, &'k [u8])> {
        let (owner, rest) = key.split_at(self.location.prefix_len(key)?);
        let (tag, rest) = rest.split_first()?;
        Some((owner, *tag, rest))
    }
}

/// The first key of a field, or what comes behind all of the struct.
fn field_bound(owner: &[u8], tag: Option<usize>) -> Vec<u8> {
    match tag.and_then(|tag| u8::try_from(tag).ok()) {
        Some(tag) => [owner, &[tag]].concat(),
        None => successor(owner).unwrap_or(AFTER_ALL_KEYS.to_vec()),
    }
}

impl Reshape for Fields {
    fn reshape(&self, key: &[u8], _: Option<&[u8]>) -> Result<Form, String> {
        let Some((owner, tag, rest)) = self.take_apart(key) else {
            return Ok(Form::Same);
        };
        Ok(match self.new.get(usize::from(tag)) {
            Some(Some(new)) if *new == tag => Form::Same,
            Some(Some(new)) => Form::Moved([owner, &[*new], rest].concat()),
            Some(None) => Form::Gone,
            None => return Err(format!("there is no field {tag}")),
        })
    }

    fn present_bound(&self, key: &[u8]) -> Vec<u8> {
        let Some((owner, tag, rest)) = self.take_apart(key) else {
            return key.to_vec();
        };
        let at_or_behind = self.new.get(usize::from(tag)..).unwrap_or_default();
        match at_or_behind.first() {
            Some(Some(new)) => [owner, &[*new], rest].concat(),
            _ => {
                let next = at_or_behind.iter().flatten().next();
                field_bound(owner, next.map(|tag| usize::from(*tag)))
            }
        }
    }

    fn old_lo(&self, key: &[u8]) -> Vec<u8> {
        let Some((owner, tag, rest)) = self.take_apart(key) else {
            return key.to_vec();
        };
        let reached = |new: &Option<u8>| new.is_some_and(|new| new >= tag);
        let at = self.new.iter().position(reached);
        let bound = field_bound(owner, at);
        match at.is_some_and(|at| self.new[at] == Some(tag)) {
            true => [&bound, rest].concat(),
            false => bound,
        }
    }

    fn old_hi(&self, key: &[u8]) -> Vec<u8> {
        self.old_lo(key)
    }
}
