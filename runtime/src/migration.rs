//! Changes of the types of what is stored: which values they concern, and what becomes of those.
//!
//! Relies on `rama_storage::lsm` to call the functions where old values are read or written again,
//! and on the catalog to know which types the stored bytes have. What must stay true: the type that
//! a function takes is the one the bytes were written with, checked before a module is launched; a
//! function that panics or meets other bytes is an error of whoever reads the value, never of the
//! task thread; a location is whole stored values (spec P-52), which the types of paths see to.

use std::fmt;
use std::sync::Arc;

use rama_storage::ConvertRecord;
use rama_storage::lsm::Convert;
use rama_wire::{Record, TypeDesc};

use crate::failure::guard;
use crate::graph::Place;
use crate::path::Cursor;
use crate::schema_desc::{KeyCodec, SchemaDesc, ValueCodec};

/// What makes a new value of an old one, in bytes. Says why when it cannot.
pub(crate) type Change = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// A declared change of the values at one location of a PState (spec P-50).
#[derive(Clone)]
pub struct MigrationDef {
    /// Its name within the PState: the same name is the same migration, for ever.
    pub id: String,
    /// The whole schema before it.
    pub from: SchemaDesc,
    /// The whole schema after it.
    pub to: SchemaDesc,
    /// Where it is declared.
    pub place: Place,
    pub(crate) location: Location,
    pub(crate) change: Change,
}

/// A declared change of the records of a depot (spec D-40).
#[derive(Clone)]
pub struct RecordMigrationDef {
    /// Its name within the depot: the same name is the same migration, for ever.
    pub id: String,
    /// The type before it.
    pub from: RecordType,
    /// The type after it.
    pub to: RecordType,
    /// Where it is declared.
    pub place: Place,
    pub(crate) change: ConvertRecord,
}

/// A type of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordType {
    /// For people.
    pub name: String,
    /// Differs when the encoded bytes may differ.
    pub fingerprint: u64,
}

impl RecordType {
    /// The type `T`.
    pub fn of<T: Record>() -> RecordType {
        RecordType {
            name: T::type_name(),
            fingerprint: T::fingerprint(),
        }
    }
}

impl RecordMigrationDef {
    /// Of an author's function, which answers nothing for a record that is to vanish (spec D-41).
    pub(crate) fn of<Old: Record, New: Record>(
        id: String,
        change: impl Fn(Old) -> Option<New> + Send + Sync + 'static,
        place: Place,
    ) -> RecordMigrationDef {
        let change = move |bytes: &[u8]| {
            let old = Old::decode(bytes).map_err(|error| error.to_string())?;
            let new = guard(|| change(old)).map_err(|failure| failure.to_string())?;
            Ok(new.map(|new| new.to_bytes()))
        };
        RecordMigrationDef {
            id,
            from: RecordType::of::<Old>(),
            to: RecordType::of::<New>(),
            place,
            change: Arc::new(change),
        }
    }
}

impl fmt::Debug for RecordMigrationDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.from.name, &self.to.name);
        write!(f, "RecordMigrationDef({}: {from} to {to})", self.id)
    }
}

/// Leads from the top of a schema to a value.
#[derive(Clone, Default)]
pub(crate) struct Location {
    hops: Vec<Hop>,
}

#[derive(Clone)]
enum Hop {
    /// Any element of a map.
    Element(KeyCodec),
    /// Any element of a list.
    Index,
    /// A field of a fixed-keys struct.
    Field(u8),
}

/// The types a function changes, and the function in bytes.
pub(crate) struct Changing {
    pub(crate) old: ValueCodec,
    pub(crate) new: TypeDesc,
    pub(crate) change: Change,
}

impl Changing {
    /// Of an author's function.
    pub(crate) fn of<Old: Record, New: Record>(
        change: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Changing {
        let change = move |bytes: &[u8]| {
            let old = Old::decode(bytes).map_err(|error| error.to_string())?;
            let new = guard(|| change(old)).map_err(|failure| failure.to_string())?;
            Ok(new.to_bytes())
        };
        Changing {
            old: ValueCodec::of::<Old>(),
            new: New::type_desc(),
            change: Arc::new(change),
        }
    }
}

impl fmt::Debug for MigrationDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.name(), self.to.name());
        write!(f, "MigrationDef({}: {from} to {to})", self.id)
    }
}

impl MigrationDef {
    /// As the store calls it.
    pub(crate) fn convert(&self) -> Convert {
        let (location, change) = (self.location.clone(), self.change.clone());
        Arc::new(move |key, value| match location.leads_to(key) {
            true => change(value).map(Some),
            false => Ok(None),
        })
    }
}

impl Location {
    /// Where a path leads in which each element is any element; `None` when one of them is not.
    pub(crate) fn of(schema: &SchemaDesc, path: &Cursor) -> Option<Location> {
        let (mut hops, mut at) = (Vec::new(), schema);
        let (steps, mut elements) = (path.key(), path.any_count());
        for &step in steps {
            let (hop, next) = match at {
                SchemaDesc::Map { key, value, .. } => (Hop::Element(key.clone()), &**value),
                SchemaDesc::List { value } => (Hop::Index, &**value),
                SchemaDesc::Struct { fields, .. } => {
                    hops.push(Hop::Field(step));
                    at = &fields.get(usize::from(step))?.1;
                    continue;
                }
                SchemaDesc::Value(_) | SchemaDesc::Set { .. } => return None,
            };
            elements = elements.checked_sub(1)?;
            hops.push(hop);
            at = next;
        }
        let whole = matches!(at, SchemaDesc::Value(_)) && elements == 0;
        whole.then_some(Location { hops })
    }

    /// The value there.
    pub(crate) fn value_mut<'a>(&self, schema: &'a mut SchemaDesc) -> Option<&'a mut ValueCodec> {
        let mut at = schema;
        for hop in &self.hops {
            at = match (hop, at) {
                (Hop::Element(_), SchemaDesc::Map { value, .. }) => value,
                (Hop::Index, SchemaDesc::List { value }) => value,
                (Hop::Field(tag), SchemaDesc::Struct { fields, .. }) => {
                    &mut fields.get_mut(usize::from(*tag))?.1
                }
                _ => return None,
            };
        }
        match at {
            SchemaDesc::Value(codec) => Some(codec),
            _ => None,
        }
    }

    /// Whether a stored key is that of a value there.
    fn leads_to(&self, key: &[u8]) -> bool {
        let mut rest = key;
        for hop in &self.hops {
            let there = match hop {
                Hop::Element(codec) => (codec.skip)(&mut rest).is_ok(),
                Hop::Index => rest.split_off(..size_of::<u64>()).is_some(),
                Hop::Field(tag) => rest.split_off_first() == Some(tag),
            };
            if !there {
                // The header of a structure on the way, or what lies under another field.
                return false;
            }
        }
        rest.is_empty()
    }
}

#[cfg(test)]
mod tests;
