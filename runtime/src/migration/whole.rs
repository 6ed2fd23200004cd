//! Subindexed structures that become one value (spec P-50).
//!
//! Relies on the key space described in `schema`: what belongs to a structure are the keys that start
//! with its own, and what follows is a key, or a place, and what belongs to the element there. What must
//! stay true: nothing but a header stands under the key of a structure itself, and it says nothing that
//! its elements do not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rama_storage::lsm::Gather;
use rama_wire::{Key, Record};

use super::{Location, Part};
use crate::schema::{List, Map, Schema, Set, Tracking};

/// What follows the key of a structure, and what is stored there; ascending.
#[doc(hidden)]
pub type Stored<'a> = (&'a [u8], &'a [u8]);

/// Makes a new value, in bytes, of all that is stored of a structure. Says why when it cannot.
pub(crate) type Merge = Arc<dyn Fn(&[Stored<'_>]) -> Result<Vec<u8>, String> + Send + Sync>;

/// A [`Map`], a [`Set`] or a [`List`], of values or of such structures.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a subindexed structure",
    label = "not a `Map`, `Set` or `List`",
    note = "name the structure as it was, as in `Map<String, u64>`; for a struct with fixed keys, \
            declare a migration for each structure in it; for a value, call `migrate`"
)]
pub trait Subindexed: Whole {}

impl<K: Key + Ord, S: Whole, T: Tracking> Subindexed for Map<K, S, T> {}
impl<K: Key + Ord, T: Tracking> Subindexed for Set<K, T> {}
impl<S: Whole> Subindexed for List<S> {}

/// What can be read as one value: a [`Map`] is a `BTreeMap`, a [`Set`] a `BTreeSet`, a [`List`] a `Vec`,
/// and so are such structures in them; a value is itself.
pub trait Whole: Schema {
    /// All of it.
    type Value;

    /// Reads all that is stored of it.
    #[doc(hidden)]
    fn gather(stored: &[Stored<'_>]) -> Result<Self::Value, String>;
}

#[diagnostic::do_not_recommend]
impl<V: Record> Whole for V {
    type Value = V;

    fn gather(stored: &[Stored<'_>]) -> Result<V, String> {
        let [([], value)] = stored else {
            return Err(format!("it has {} parts in the place of one", stored.len()));
        };
        V::decode(value).map_err(|error| error.to_string())
    }
}

impl<K: Key + Ord, S: Whole, T: Tracking> Whole for Map<K, S, T> {
    type Value = BTreeMap<K, S::Value>;

    fn gather(stored: &[Stored<'_>]) -> Result<Self::Value, String> {
        elements::<K, S, _>(stored)
    }
}

impl<K: Key + Ord, T: Tracking> Whole for Set<K, T> {
    type Value = BTreeSet<K>;

    fn gather(stored: &[Stored<'_>]) -> Result<Self::Value, String> {
        let keys = without_header(stored).iter().map(|&(mut key, _)| {
            let decoded = K::decode_key(&mut key);
            decoded.map_err(|error| error.to_string())
        });
        keys.collect()
    }
}

impl<S: Whole> Whole for List<S> {
    type Value = Vec<S::Value>;

    fn gather(stored: &[Stored<'_>]) -> Result<Self::Value, String> {
        let places: Vec<(u64, S::Value)> = elements::<u64, S, _>(stored)?;
        Ok(places.into_iter().map(|(_, value)| value).collect())
    }
}

fn without_header<'s, 'a>(stored: &'s [Stored<'a>]) -> &'s [Stored<'a>] {
    match stored {
        [([], _), elements @ ..] => elements,
        elements => elements,
    }
}

/// The elements of a structure, each made of all that is stored of it.
fn elements<K: Key, S: Whole, C: FromIterator<(K, S::Value)>>(
    stored: &[Stored<'_>],
) -> Result<C, String> {
    let mut rest = without_header(stored);
    let next = || {
        let (first, _) = rest.first()?;
        let mut behind = *first;
        let key = match K::decode_key(&mut behind) {
            Ok(key) => key,
            Err(error) => return Some(Err(error.to_string())),
        };
        let len = first.len() - behind.len();
        let is_own = |(key, _): &&Stored<'_>| key.starts_with(&first[..len]);
        let (own, others) = rest.split_at(rest.iter().take_while(is_own).count());
        rest = others;
        let own: Vec<Stored<'_>> = own
            .iter()
            .map(|(key, value)| (&key[len..], *value))
            .collect();
        Some(S::gather(&own).map(|value| (key, value)))
    };
    std::iter::from_fn(next).collect()
}

/// A subindexed structure becomes a value.
pub(crate) struct Merged {
    location: Location,
    merge: Merge,
}

impl Merged {
    pub(crate) fn new(location: Location, merge: Merge) -> Merged {
        Merged { location, merge }
    }
}

impl Gather for Merged {
    fn owner_len(&self, key: &[u8]) -> Option<usize> {
        self.location.prefix_len(key)
    }

    fn gather(&self, parts: Vec<Part>) -> Result<Vec<u8>, String> {
        let parts = parts.iter().map(|(key, value)| (&key[..], &value[..]));
        (self.merge)(&parts.collect::<Vec<_>>())
    }
}
