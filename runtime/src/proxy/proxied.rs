//! What can be followed, and how its bytes become values and diffs.
//!
//! Relies on `Selectable` for the read. What must stay true: the value of a proxy is what a select
//! of the same path answers; a structure without bounds is refused by the compiler (P-39).

use std::sync::Arc;

use rama_wire::{Key, Record};

use super::Diff;
use super::replica::{Applied, Replica, RowChange};
use crate::path::{ListRange, MapRange, SetRange, ValuePath};
use crate::plan::{Plan, SelectError, Selectable, Selection, Take, rows};
use crate::pstate::PState;
use crate::schema::Tracking;

/// A path that a client can follow with a proxy: it leads to exactly one value (P-38).
///
/// | path | value | diffs of a commit |
/// |---|---|---|
/// | to a value, `P.key(&k)` | `Option<V>`, `None` while it is absent (P-39a) | `NewValue` |
/// | range of a map, `.range(a..b)`, `.all()` | `Vec<(K, V)>` | `Key` with `NewValue`, `KeyRemove`; several: `Keys`, `KeysRemove` |
/// | range of a set | `Vec<K>` | `SetAdd`, `SetRemove` |
/// | range of a list | `Vec<V>` | `IndexChange`, `SequenceInsert` at the end, `IndexRemove` of the end; several: `IndexChanges`, `SequenceInserts` |
/// | range of a list, last first; or `first_n`, `last_n` | `Vec<V>` | `SequenceChange` |
/// | `first_n`, `last_n` of a map or set | as the range | as the range, by comparing |
/// | any `select_…()`: sizes, whether, keys alone | its answer | `NewValue` |
///
/// Several kinds in one commit come as one `Multi`, in order: what is gone first, except for lists,
/// whose changed elements are first (P-48). The other kinds of [`Diff`] are never made by the
/// engine, because the entries that a commit writes do not show them: a value that was moved is
/// gone from one key and new under another.
///
/// What lies inside one record is one value: a `BTreeMap` that is stored whole changes with
/// `NewValue`; a `Map` changes by element.
///
/// A whole subindexed structure is refused by the compiler: name a range, `.all()` if all of it is
/// wanted. A range may hold 100,000 elements and 32 MiB; a proxy of more is refused, and one that
/// grows beyond is terminated.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be followed by a proxy",
    label = "not one value",
    note = "a subindexed structure is never followed whole: add `.range(a..b)` or `.key(&k)`",
    note = "for its size there is `.select_len()`; for all of a small one, `.all()`"
)]
pub trait Proxied: Selectable {
    /// What diffs call keys: those of a map, the elements of a set, the indices of a list.
    type Key;

    /// What diffs call values: those of a map or a list; else the whole.
    type Value;

    /// How to follow it.
    #[doc(hidden)]
    fn proxied(&self) -> Following<Self::Output, Self::Key, Self::Value>;
}

/// How elements relate to the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    Map,
    Set,
    List,
}

type Reader<T> = Arc<dyn Fn(&[u8]) -> Result<T, SelectError> + Send + Sync>;

/// A path to be followed: what to ask where, and how to understand what is told.
#[doc(hidden)]
pub struct Following<T, K, V> {
    pub(crate) pstate: String,
    /// Why it cannot be sent, if so.
    pub(crate) fault: Option<SelectError>,
    pub(crate) route: Option<Vec<u8>>,
    pub(crate) plan: Plan,
    pub(crate) shape: Shape,
    /// The value, of an answer.
    pub(crate) value: Reader<T>,
    /// A key, of a row's key.
    pub(crate) key: Reader<K>,
    /// A value of diffs: of a row's value, or of an answer when the shape is one value.
    pub(crate) part: Reader<V>,
}

impl<T, K, V> Clone for Following<T, K, V> {
    fn clone(&self) -> Self {
        Following {
            pstate: self.pstate.clone(),
            fault: self.fault.clone(),
            route: self.route.clone(),
            plan: self.plan.clone(),
            shape: self.shape,
            value: self.value.clone(),
            key: self.key.clone(),
            part: self.part.clone(),
        }
    }
}

fn no_key<K>(_: &[u8]) -> Result<K, SelectError> {
    let what = "one value has no keys";
    Err(SelectError::BadAnswer { what })
}

/// One value, whatever the plan.
fn one<O: 'static>(selection: &Selection<O>) -> Following<O, (), O> {
    Following {
        pstate: selection.pstate().to_owned(),
        fault: selection.check().err(),
        route: selection.route().map(<[u8]>::to_vec),
        plan: selection.plan().clone(),
        shape: Shape::One,
        value: selection.decoder(),
        key: Arc::new(no_key),
        part: selection.decoder(),
    }
}

impl<O: 'static> Proxied for Selection<O> {
    type Key = ();
    type Value = O;

    fn proxied(&self) -> Following<O, (), O> {
        one(self)
    }
}

impl<V: Record> Proxied for ValuePath<V> {
    type Key = ();
    type Value = Option<V>;

    fn proxied(&self) -> Following<Option<V>, (), Option<V>> {
        one(&self.selection())
    }
}

impl<V: Record> Proxied for PState<V> {
    type Key = ();
    type Value = Option<V>;

    fn proxied(&self) -> Following<Option<V>, (), Option<V>> {
        one(&self.selection())
    }
}

fn part_of<V: Record>(bytes: &[u8]) -> Result<V, SelectError> {
    Ok(V::decode(bytes)?)
}

fn key_of<K: Key>(bytes: &[u8]) -> Result<K, SelectError> {
    Ok(K::from_key_bytes(bytes)?)
}

impl<K: Key, V: Record, T: Tracking> Proxied for MapRange<K, V, T> {
    type Key = K;
    type Value = V;

    fn proxied(&self) -> Following<Vec<(K, V)>, K, V> {
        let selection = self.selection();
        Following {
            shape: Shape::Map,
            key: Arc::new(key_of::<K>),
            part: Arc::new(part_of::<V>),
            pstate: selection.pstate().to_owned(),
            fault: None,
            route: selection.route().map(<[u8]>::to_vec),
            plan: selection.plan().clone(),
            value: selection.decoder(),
        }
    }
}

impl<K: Key, T: Tracking> Proxied for SetRange<K, T> {
    type Key = K;
    type Value = ();

    fn proxied(&self) -> Following<Vec<K>, K, ()> {
        let selection = self.selection();
        Following {
            shape: Shape::Set,
            key: Arc::new(key_of::<K>),
            part: Arc::new(|_| Ok(())),
            pstate: selection.pstate().to_owned(),
            fault: None,
            route: selection.route().map(<[u8]>::to_vec),
            plan: selection.plan().clone(),
            value: selection.decoder(),
        }
    }
}

impl<V: Record> Proxied for ListRange<V> {
    type Key = u64;
    type Value = V;

    fn proxied(&self) -> Following<Vec<V>, u64, V> {
        let selection = self.selection();
        let values = |answer: &[u8]| {
            let value = |(_, value)| Ok(V::decode(value)?);
            rows(answer)?.into_iter().map(value).collect()
        };
        Following {
            shape: Shape::List,
            key: Arc::new(key_of::<u64>),
            part: Arc::new(part_of::<V>),
            pstate: selection.pstate().to_owned(),
            fault: None,
            route: selection.route().map(<[u8]>::to_vec),
            plan: with_keys(selection.plan()),
            value: Arc::new(values),
        }
    }
}

/// The same plan with keys in its rows, by which changes are told.
pub(crate) fn with_keys(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    if let Plan::Scan(scan) = &mut plan
        && scan.take == Take::Values
    {
        scan.take = Take::Entries;
    }
    plan
}

impl<T, K, V> Following<T, K, V> {
    /// What an update that was taken over says of the value.
    pub(crate) fn diff(
        &self,
        applied: Applied,
        old_len: u64,
        now: &Replica,
    ) -> Result<Option<Diff<K, V>>, SelectError> {
        let (rows, told) = match (applied, self.shape) {
            (Applied::Nothing, _) => return Ok(None),
            (Applied::Resync, _) => return Ok(Some(Diff::Resync)),
            (Applied::Answer, Shape::One) | (Applied::Rows { .. }, Shape::One) => {
                let value = (self.part)(&now.answer())?;
                return Ok(Some(Diff::NewValue { value }));
            }
            // No structure is followed as one answer.
            (Applied::Answer, _) => return Ok(Some(Diff::Unknown)),
            (Applied::Rows { rows, told }, _) => (rows, told),
        };
        let parts = match self.shape {
            Shape::Set => self.set_parts(rows)?,
            Shape::List => self.list_parts(rows, told, (old_len, now))?,
            Shape::Map | Shape::One => self.map_parts(rows)?,
        };
        Ok(Some(together(parts)))
    }

    fn map_parts(&self, rows: Vec<RowChange>) -> Result<Vec<Diff<K, V>>, SelectError> {
        let (mut gone, mut changed) = (Vec::new(), Vec::new());
        for RowChange { key, new, .. } in rows {
            let key = (self.key)(&key)?;
            match new {
                None => gone.push(key),
                Some(new) => {
                    let value = (self.part)(&new)?;
                    changed.push((key, Diff::NewValue { value }));
                }
            }
        }
        let mut parts = Vec::new();
        match gone.len() {
            0 => {}
            1 => parts.extend(gone.pop().map(|key| Diff::KeyRemove { key })),
            _ => parts.push(Diff::KeysRemove { keys: gone }),
        }
        match changed.len() {
            0 => {}
            1 => parts.extend(changed.pop().map(|(key, diff)| Diff::Key {
                key,
                diff: Box::new(diff),
            })),
            _ => parts.push(Diff::Keys { diffs: changed }),
        }
        Ok(parts)
    }

    fn set_parts(&self, rows: Vec<RowChange>) -> Result<Vec<Diff<K, V>>, SelectError> {
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for row in rows {
            let element = (self.key)(&row.key)?;
            match (row.old, row.new) {
                (_, None) => gone.push(Diff::SetRemove { element }),
                (None, Some(_)) => new.push(Diff::SetAdd { element }),
                // Elements have no values that could change.
                (Some(_), Some(_)) => {}
            }
        }
        gone.extend(new);
        Ok(gone)
    }

    /// The parts of a list's diff. Its rows are dense: what is removed or added is at the end.
    fn list_parts(
        &self,
        rows: Vec<RowChange>,
        told: bool,
        (old_size, now): (u64, &Replica),
    ) -> Result<Vec<Diff<K, V>>, SelectError> {
        let new_size = now.len();
        let (true, Some(start)) = (told && !now.is_descending(), now.first_index(&rows)) else {
            return Ok(vec![Diff::SequenceChange {
                from_index: 0,
                new_size,
                old_size,
            }]);
        };
        let (mut changed, mut added) = (Vec::new(), Vec::new());
        for row in rows {
            let index = super::replica::index(&row.key).map_or(0, |at| at.saturating_sub(start));
            match (row.old, row.new) {
                (Some(_), Some(new)) => {
                    let value = (self.part)(&new)?;
                    changed.push((index, Diff::NewValue { value }));
                }
                (None, Some(new)) => added.push((self.part)(&new)?),
                (_, None) => {}
            }
        }
        let mut parts = Vec::new();
        match changed.len() {
            0 => {}
            1 => parts.extend(changed.pop().map(|(index, diff)| Diff::IndexChange {
                index,
                diff: Box::new(diff),
            })),
            _ => parts.push(Diff::IndexChanges { diffs: changed }),
        }
        if new_size < old_size {
            parts.push(Diff::IndexRemove {
                index: new_size,
                amount: old_size - new_size,
                old_size,
            });
        }
        let before_index = old_size;
        match added.len() {
            0 => {}
            1 => parts.extend(added.pop().map(|element| Diff::SequenceInsert {
                before_index,
                element,
                old_size,
            })),
            _ => parts.push(Diff::SequenceInserts {
                before_index,
                elements: added,
                old_size,
            }),
        }
        Ok(parts)
    }
}

fn together<K, V>(mut parts: Vec<Diff<K, V>>) -> Diff<K, V> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Diff::Multi { diffs: parts },
    }
}
