//! Where in a schema a migration is, and which stored keys that is.
//!
//! Relies on the key space described in `schema`. What must stay true: the hops of a location are
//! those of the schema that the migration gives, whatever later ones make of it.

use std::sync::Arc;

use rama_storage::lsm::Convert;

use super::{Change, Fields};
use crate::path::Cursor;
use crate::schema_desc::{KeyCodec, SchemaDesc};

/// Leads from the top of a schema to any part of it.
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

impl Location {
    /// Where a path leads in which each element is any element; `None` when one of them is not, or
    /// when later migrations, the last one first, added a field on the way.
    pub(crate) fn of<'f>(
        schema: &SchemaDesc,
        path: &Cursor,
        later: impl Iterator<Item = &'f Fields>,
    ) -> Option<Location> {
        let (mut steps, mut elements) = (path.key().to_vec(), path.any_count());
        for fields in later {
            fields.go_back(&mut steps)?;
        }
        let (mut hops, mut at) = (Vec::new(), schema);
        for step in steps {
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
        (elements == 0).then_some(Location { hops })
    }

    /// Whether it is the whole schema.
    pub(crate) fn is_top(&self) -> bool {
        self.hops.is_empty()
    }

    /// How many hops lead there.
    pub(super) fn depth(&self) -> usize {
        self.hops.len()
    }

    /// The part of the schema there.
    pub(crate) fn part_mut<'a>(&self, schema: &'a mut SchemaDesc) -> Option<&'a mut SchemaDesc> {
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
        Some(at)
    }

    /// Whether something on the way counts, so that what is here has to say that it is there.
    pub(crate) fn is_counted(&self, schema: &SchemaDesc) -> bool {
        let (mut counted, mut at) = (false, schema);
        for (depth, hop) in self.hops.iter().enumerate() {
            at = match (hop, at) {
                (Hop::Element(_), SchemaDesc::Map { value, tracked, .. }) => {
                    counted |= *tracked && depth > 0;
                    value
                }
                (Hop::Index, SchemaDesc::List { value }) => {
                    counted = true;
                    value
                }
                (Hop::Field(tag), SchemaDesc::Struct { fields, .. }) => {
                    let Some((_, field)) = fields.get(usize::from(*tag)) else {
                        return counted;
                    };
                    field
                }
                _ => return counted,
            };
        }
        counted
    }

    /// Whether the steps of a path lead here, and maybe further.
    pub(super) fn is_on_the_way(&self, steps: &[u8]) -> bool {
        let mut hops = self.hops.iter().zip(steps);
        self.hops.len() <= steps.len()
            && hops.all(|(hop, step)| match hop {
                Hop::Field(tag) => tag == step,
                Hop::Element(_) | Hop::Index => true,
            })
    }

    /// How much of a stored key, or of a bound of such keys, leads here; `None` when it leads to
    /// something else, or to the header of a structure on the way.
    pub(super) fn prefix_len(&self, key: &[u8]) -> Option<usize> {
        let mut rest = key;
        for hop in &self.hops {
            let there = match hop {
                Hop::Element(codec) => (codec.skip)(&mut rest).is_ok(),
                Hop::Index => rest.split_off(..size_of::<u64>()).is_some(),
                Hop::Field(tag) => rest.split_off_first() == Some(tag),
            };
            if !there {
                return None;
            }
        }
        Some(key.len() - rest.len())
    }

    /// Whether a stored key is that of a value here.
    pub(super) fn leads_to(&self, key: &[u8]) -> bool {
        self.prefix_len(key) == Some(key.len())
    }

    /// A change of the values here, as the store calls it.
    pub(crate) fn convert(self, change: Change) -> Convert {
        Arc::new(move |key, value| match self.leads_to(key) {
            true => change(value).map(Some),
            false => Ok(None),
        })
    }
}
