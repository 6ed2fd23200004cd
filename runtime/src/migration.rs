//! Changes of the types of what is stored: which entries they concern, and what becomes of those.
//!
//! Relies on `rama_storage::lsm` to call the functions where old entries are read or written again,
//! and on the catalog to know which types the stored bytes have. What must stay true: the type that
//! a function takes is the one the bytes were written with, checked before a module is launched; a
//! function that panics or meets other bytes is an error of whoever reads the value, never of the
//! task thread; a location is whole stored values (spec P-52), or the fixed keys of a struct, never
//! one key among others.

mod location;
mod reshape;
mod whole;

use std::fmt;
use std::sync::Arc;

use rama_storage::ConvertRecord;
use rama_storage::lsm::Effect;
use rama_wire::{Record, TypeDesc};

use crate::failure::guard;
use crate::graph::Place;
use crate::schema::Schema;
use crate::schema_desc::{SchemaDesc, ValueCodec};

pub use reshape::Elements;
pub use whole::{Subindexed, Whole};

pub(crate) use location::Location;
pub(crate) use reshape::{Fields, Spread};
pub(crate) use whole::{Merge, Merged};

/// What makes a new value of an old one, in bytes. Says why when it cannot.
pub(crate) type Change = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// What makes elements of an old value: encoded keys, ascending, and encoded values. Says why when it
/// cannot.
pub(crate) type Parts = Arc<dyn Fn(&[u8]) -> Result<Vec<Part>, String> + Send + Sync>;

/// An encoded key and an encoded value.
pub(crate) type Part = (Vec<u8>, Vec<u8>);

/// A declared change at one location of a PState (spec P-50).
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
    pub(crate) effect: Effect,
    /// Which fields a struct had, and where.
    pub(crate) fields: Option<Arc<Fields>>,
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

/// What the author says becomes of what is at a location.
pub(crate) enum Changing {
    /// A value becomes another one.
    Value {
        old: ValueCodec,
        new: TypeDesc,
        change: Change,
    },
    /// A value becomes a subindexed structure.
    Spread {
        old: ValueCodec,
        new: SchemaDesc,
        parts: Parts,
    },
    /// A subindexed structure becomes a value.
    Merged {
        old: SchemaDesc,
        new: TypeDesc,
        merge: Merge,
    },
    /// A struct had these fields.
    Fields { old: SchemaDesc },
}

impl Changing {
    /// Of an author's function.
    pub(crate) fn value<Old: Record, New: Record>(
        change: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Changing {
        Changing::Value {
            old: ValueCodec::of::<Old>(),
            new: New::type_desc(),
            change: Arc::new(move |bytes| Ok(changed(bytes, &change)?.to_bytes())),
        }
    }

    /// Of an author's function that gives all elements.
    pub(crate) fn spread<Old: Record, New: Elements>(
        change: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Changing {
        let parts = move |bytes: &[u8]| {
            let mut parts = changed(bytes, &change)?.into_parts();
            parts.sort();
            Ok(parts)
        };
        Changing::Spread {
            old: ValueCodec::of::<Old>(),
            new: New::desc(),
            parts: Arc::new(parts),
        }
    }

    /// Of an author's function that takes all elements.
    pub(crate) fn merged<Old: Subindexed, New: Record>(
        change: impl Fn(Old::Value) -> New + Send + Sync + 'static,
    ) -> Changing {
        let merge = move |stored: &[whole::Stored<'_>]| {
            let old = Old::gather(stored)?;
            let new = guard(|| change(old)).map_err(|failure| failure.to_string())?;
            Ok(new.to_bytes())
        };
        Changing::Merged {
            old: Old::desc(),
            new: New::type_desc(),
            merge: Arc::new(merge),
        }
    }

    /// Of the struct as it was.
    pub(crate) fn fields<Old: Schema>() -> Changing {
        let old = Old::desc();
        Changing::Fields { old }
    }
}

fn changed<Old: Record, New>(bytes: &[u8], change: &impl Fn(Old) -> New) -> Result<New, String> {
    let old = Old::decode(bytes).map_err(|error| error.to_string())?;
    guard(|| change(old)).map_err(|failure| failure.to_string())
}

impl fmt::Debug for MigrationDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.name(), self.to.name());
        write!(f, "MigrationDef({}: {from} to {to})", self.id)
    }
}

#[cfg(test)]
mod tests;
