//! What clients select besides the value or the range of one path: through registered functions, and
//! several paths at once.
//!
//! Relies on the plans of paths. What must stay true: all paths of one select lead to one partition
//! of one PState, and are read as of one moment (spec P-35).

use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Key, Record};

use super::encoding::PLANS_MAX;
use super::{Call, Callable, Plan, Role, Scan, SelectError, Selectable, Selection, Take, rows};
use crate::path::Cursor;

/// The elements of a range, through functions on the task: what [`MapRange::filter`] and
/// [`MapRange::view`] make.
///
/// By itself, to a client's `select`, it is its entries.
///
/// [`MapRange::filter`]: crate::MapRange::filter
/// [`MapRange::view`]: crate::MapRange::view
pub struct Viewed<K, V> {
    cursor: Cursor,
    scan: Scan,
    calls: Vec<Call>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Record> Viewed<K, V> {
    pub(crate) fn new(cursor: &Cursor, scan: Scan) -> Viewed<K, V> {
        Viewed {
            cursor: cursor.clone(),
            scan,
            calls: Vec::new(),
            types: PhantomData,
        }
    }

    /// Of these, those whose value satisfies `wanted`.
    pub fn filter(mut self, wanted: impl Callable<V, bool>) -> Viewed<K, V> {
        self.calls.push(wanted.applied().call(Role::Filter));
        self
    }

    /// What `view` makes of each value, in its place.
    pub fn view<U: Record>(mut self, view: impl Callable<V, U>) -> Viewed<K, U> {
        self.calls.push(view.applied().call(Role::View));
        let types = PhantomData;
        Viewed {
            cursor: self.cursor,
            scan: self.scan,
            calls: self.calls,
            types,
        }
    }

    fn plan(&self, take: Take) -> Plan {
        let (scan, calls) = (self.scan.clone(), self.calls.clone());
        Plan::Through {
            plan: Box::new(Plan::Scan(Scan { take, ..scan })),
            calls,
        }
    }

    /// The keys.
    pub fn select_keys(&self) -> Selection<Vec<K>> {
        Selection::new(&self.cursor, self.plan(Take::Keys), |bytes| {
            let rows = rows(bytes)?.into_iter();
            rows.map(|(key, _)| Ok(K::from_key_bytes(key)?)).collect()
        })
    }

    /// The values.
    pub fn select_values(&self) -> Selection<Vec<V>> {
        Selection::new(&self.cursor, self.plan(Take::Values), |bytes| {
            let rows = rows(bytes)?.into_iter();
            rows.map(|(_, value)| Ok(V::decode(value)?)).collect()
        })
    }
}

#[diagnostic::do_not_recommend]
impl<K: Key, V: Record> Selectable for Viewed<K, V> {
    type Output = Vec<(K, V)>;

    fn selection(&self) -> Selection<Vec<(K, V)>> {
        Selection::new(&self.cursor, self.plan(Take::Entries), |bytes| {
            let entry = |(key, value)| Ok((K::from_key_bytes(key)?, V::decode(value)?));
            rows(bytes)?.into_iter().map(entry).collect()
        })
    }
}

/// A value through functions on the task: what [`ValuePath::filter`] and [`ValuePath::view`] make.
///
/// [`ValuePath::filter`]: crate::ValuePath::filter
/// [`ValuePath::view`]: crate::ValuePath::view
pub struct ViewedValue<V> {
    cursor: Cursor,
    calls: Vec<Call>,
    value: PhantomData<fn() -> V>,
}

impl<V: Record> ViewedValue<V> {
    pub(crate) fn new(cursor: &Cursor) -> ViewedValue<V> {
        ViewedValue {
            cursor: cursor.clone(),
            calls: Vec::new(),
            value: PhantomData,
        }
    }

    /// The value, if there is one and it satisfies `wanted`.
    pub fn filter(mut self, wanted: impl Callable<V, bool>) -> ViewedValue<V> {
        self.calls.push(wanted.applied().call(Role::Filter));
        self
    }

    /// What `view` makes of the value, if there is one.
    pub fn view<U: Record>(mut self, view: impl Callable<V, U>) -> ViewedValue<U> {
        self.calls.push(view.applied().call(Role::View));
        let value = PhantomData;
        ViewedValue {
            cursor: self.cursor,
            calls: self.calls,
            value,
        }
    }
}

#[diagnostic::do_not_recommend]
impl<V: Record> Selectable for ViewedValue<V> {
    type Output = Option<V>;

    fn selection(&self) -> Selection<Option<V>> {
        let key = self.cursor.key().to_vec();
        let plan = Plan::Through {
            plan: Box::new(Plan::Get { key }),
            calls: self.calls.clone(),
        };
        Selection::new(&self.cursor, plan, |bytes| {
            let rows = rows(bytes)?;
            let row = rows.first();
            row.map(|(_, value)| Ok(V::decode(value)?)).transpose()
        })
    }
}

/// Where a selection goes and what it asks.
type Part<'a> = (&'static str, Option<&'a [u8]>, &'a Plan);

fn part<O>(selection: &Selection<O>) -> Part<'_> {
    (selection.pstate, selection.route(), &selection.plan)
}

/// Several plans as one, or why they are not.
fn join(parts: &[Part<'_>]) -> Result<Plan, SelectError> {
    let apart = |what: String| Err(SelectError::Apart { what });
    let [(pstate, route, _), ..] = parts else {
        return apart("no path was given".to_owned());
    };
    if parts.len() > PLANS_MAX {
        let count = parts.len();
        return apart(format!(
            "{count} paths were given, the limit is {PLANS_MAX}"
        ));
    }
    for (other, other_route, plan) in parts {
        if other != pstate {
            return apart(format!(
                "one path leads into {pstate}, another into {other}"
            ));
        }
        if other_route != route {
            return apart(format!(
                "two paths into {pstate} begin with different keys, which may be on different tasks"
            ));
        }
        if matches!(plan, Plan::Several(_)) {
            return apart("several paths are given within several".to_owned());
        }
    }
    let plans = parts.iter().map(|(_, _, plan)| (*plan).clone());
    Ok(Plan::Several(plans.collect()))
}

/// One selection of several, which fails when it is made if they do not belong together.
fn joined<O>(
    parts: &[Part<'_>],
    decode: impl Fn(&[&[u8]]) -> Result<O, SelectError> + Send + Sync + 'static,
) -> Selection<O> {
    let (plan, fault) = match join(parts) {
        Ok(plan) => (plan, None),
        Err(fault) => (Plan::Several(Vec::new()), Some(fault)),
    };
    let first = parts.first();
    let pstate = first.map_or("", |(pstate, ..)| pstate);
    let route = first.and_then(|(_, route, _)| route.map(<[u8]>::to_vec));
    let count = parts.len();
    Selection {
        pstate,
        route,
        fault,
        decode: Arc::new(move |answer| {
            let rows = rows(answer)?;
            let answers: Vec<&[u8]> = rows.iter().map(|(_, answer)| *answer).collect();
            if answers.len() == count {
                decode(&answers)
            } else {
                let what = "not one answer for each path";
                Err(SelectError::BadAnswer { what })
            }
        }),
        plan,
    }
}

/// Any number of paths of one type: the answers, in order, as of one moment.
#[diagnostic::do_not_recommend]
impl<S: Selectable> Selectable for Vec<S>
where
    S::Output: 'static,
{
    type Output = Vec<S::Output>;

    fn selection(&self) -> Selection<Vec<S::Output>> {
        let selections: Vec<_> = self.iter().map(Selectable::selection).collect();
        let parts: Vec<Part<'_>> = selections.iter().map(part).collect();
        let decoders: Vec<_> = selections.iter().map(|one| one.decode.clone()).collect();
        joined(&parts, move |answers| {
            let both = decoders.iter().zip(answers);
            both.map(|(decode, answer)| decode(answer)).collect()
        })
    }
}

macro_rules! tuples {
    ($($part:ident $index:tt),*) => {
        /// Several paths into one partition: the answers, in order, as of one moment.
        #[diagnostic::do_not_recommend]
        impl<$($part: Selectable),*> Selectable for ($($part,)*)
        where
            $($part::Output: 'static,)*
        {
            type Output = ($($part::Output,)*);

            fn selection(&self) -> Selection<Self::Output> {
                let selections = ($(self.$index.selection(),)*);
                let decoders = ($(selections.$index.decode.clone(),)*);
                joined(&[$(part(&selections.$index)),*], move |answers| {
                    Ok(($((decoders.$index)(answers[$index])?,)*))
                })
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
