//! Paths to one value: read it, replace it, change it, remove it.
//!
//! `set` and `remove` read nothing when no tracked structure lies above; `update` and `modify` read
//! the value they change.

use std::marker::PhantomData;

use rama_wire::{Record, SpaceId};

use super::{Cursor, Located, unaligned};
use crate::access::Access;
use crate::plan::{Callable, Plan, Selectable, Selection, ViewedValue, rows};
use crate::task::Task;

/// A path to a value of type `V`.
pub struct ValuePath<V> {
    cursor: Cursor,
    value: PhantomData<fn() -> V>,
}

impl<V> Clone for ValuePath<V> {
    fn clone(&self) -> Self {
        ValuePath {
            cursor: self.cursor.clone(),
            value: PhantomData,
        }
    }
}

impl<V: Record> ValuePath<V> {
    pub(crate) fn new(cursor: Cursor) -> ValuePath<V> {
        ValuePath {
            cursor,
            value: PhantomData,
        }
    }

    unaligned!();

    /// The value, if there is one.
    pub fn get(&self, task: &Task) -> Option<V> {
        let (access, space) = self.cursor.enter(task);
        self.read(access, space)
    }

    /// Whether there is a value. Does not decode it.
    pub fn exists(&self, task: &Task) -> bool {
        let (access, space) = self.cursor.enter(task);
        self.cursor.exists(access, space, true)
    }

    /// Stores a value, replacing what was there.
    #[inline]
    pub fn set(&self, task: &Task, value: V) {
        let (access, space) = self.cursor.enter(task);
        task.with_scratch(|bytes| {
            value.encode(bytes);
            self.cursor.put_value(access, space, bytes);
        });
    }

    /// Stores what `change` makes of the value there was, if any.
    #[inline]
    pub fn update(&self, task: &Task, change: impl FnOnce(Option<V>) -> V) {
        let (access, space) = self.cursor.enter(task);
        let old = self.read(access, space);
        let existed = old.is_some();
        let value = change(old);
        self.write_known(task, existed, &value);
    }

    /// Changes the value in place, starting from the default when there is none, and passes on what
    /// `change` answers.
    pub fn modify<R>(&self, task: &Task, change: impl FnOnce(&mut V) -> R) -> R
    where
        V: Default,
    {
        let (access, space) = self.cursor.enter(task);
        let old = self.read(access, space);
        let existed = old.is_some();
        let mut value = old.unwrap_or_default();
        let answer = change(&mut value);
        self.write_known(task, existed, &value);
        answer
    }

    /// Reads the value, and stores or removes what `change` answers, unless it answers that it found
    /// nothing to change.
    pub(crate) fn rewrite(&self, task: &Task, change: impl FnOnce(Option<V>) -> (Option<V>, bool)) {
        let (access, space) = self.cursor.enter(task);
        let old = self.read(access, space);
        let existed = old.is_some();
        match change(old) {
            (_, false) => {}
            (None, true) if !existed => {}
            (Some(value), true) => self.write_known(task, existed, &value),
            (None, true) => self.remove(task),
        }
    }

    /// Removes the value.
    pub fn remove(&self, task: &Task) {
        let (access, space) = self.cursor.enter(task);
        self.cursor.remove(access, space, true);
    }

    /// Removes the value and gives it.
    pub fn take(&self, task: &Task) -> Option<V> {
        let (access, space) = self.cursor.enter(task);
        let old = self.read(access, space)?;
        self.cursor.remove(access, space, true);
        Some(old)
    }

    /// For a client: the value, if it satisfies a function that the module registers. It runs on the
    /// task.
    pub fn filter(&self, wanted: impl Callable<V, bool>) -> ViewedValue<V> {
        ViewedValue::new(&self.cursor).filter(wanted)
    }

    /// For a client: what a function that the module registers makes of the value.
    pub fn view<U: Record>(&self, view: impl Callable<V, U>) -> ViewedValue<U> {
        ViewedValue::new(&self.cursor).view(view)
    }

    fn read(&self, access: &dyn Access, space: SpaceId) -> Option<V> {
        let mut found = None;
        access.get(space, self.cursor.key(), &mut |bytes| {
            found = bytes.map(V::decode)
        });
        match found? {
            Ok(value) => Some(value),
            Err(cause) => self.cursor.undecodable(cause),
        }
    }

    /// The value was read in this event. The space is looked up again because author code ran
    /// since.
    fn write_known(&self, task: &Task, existed: bool, value: &V) {
        let (access, space) = self.cursor.enter(task);
        task.with_scratch(|bytes| {
            value.encode(bytes);
            self.cursor.put_known(access, space, existed, bytes);
        });
    }
}

impl<V> Located for ValuePath<V> {
    fn into_cursor(self) -> Cursor {
        self.cursor
    }
}

impl<V: Record> Selectable for ValuePath<V> {
    type Output = Option<V>;

    fn selection(&self) -> Selection<Option<V>> {
        let plan = Plan::Get {
            key: self.cursor.key().to_vec(),
        };
        Selection::new(&self.cursor, plan, |bytes| {
            let rows = rows(bytes)?;
            rows.first()
                .map(|(_, value)| Ok(V::decode(value)?))
                .transpose()
        })
    }
}
