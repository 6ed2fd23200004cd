//! The uncommitted writes of one batch or attempt, read as if they were already in the store.
//!
//! Relies on `layer` for the point and sorted indexes and on a base to read beneath it. What must
//! stay true: reading through the overlay equals reading a store to which its batch was applied;
//! the batch it gives is sorted, so equal overlays give equal bytes whatever the order of writes.

use std::ops::ControlFlow;

use rama_wire::SpaceId;

use crate::lsm::batch::{KEY_BYTES_MAX, VALUE_BYTES_MAX, WriteBatch};
use crate::lsm::error::Error;
use crate::lsm::layer::{Cursor, Found, Layer};
use crate::lsm::ranges::RangeSet;
use crate::lsm::read::{Order, Read, Visit};

/// Writes that are not in the store yet: the internal view of a topology is an overlay over the
/// store, commit turns it into a batch, abort drops it.
///
/// Point reads and writes cost one hash lookup. A space is sorted at its first scan and stays so.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    layer: Layer,
    scratch: Vec<u8>,
}

/// What a read-modify-write decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Leave the key as it is.
    Keep,
    /// Set the key to what was written to the buffer.
    Put,
    /// Remove the key.
    Delete,
}

impl Overlay {
    /// An overlay without writes.
    pub fn new() -> Overlay {
        Overlay::default()
    }

    /// True when nothing was written.
    pub fn is_empty(&self) -> bool {
        self.layer.is_empty()
    }

    /// Memory in use, roughly.
    pub fn bytes(&self) -> usize {
        self.layer.bytes()
    }

    /// Sets `key` to `value`.
    ///
    /// # Panics
    /// When the key is over 64 KiB - 1 or the value over 256 MiB.
    #[inline]
    pub fn put(&mut self, space: SpaceId, key: &[u8], value: &[u8]) {
        assert_lens(key, value);
        self.layer.space_mut(space).put(key, value);
    }

    /// Removes `key`.
    ///
    /// # Panics
    /// When the key is over 64 KiB - 1.
    pub fn delete(&mut self, space: SpaceId, key: &[u8]) {
        assert_lens(key, &[]);
        self.layer.space_mut(space).delete(key);
    }

    /// Removes every key with `lo <= key < hi`, written here or beneath.
    ///
    /// # Panics
    /// When a bound is over 64 KiB - 1.
    pub fn delete_range(&mut self, space: SpaceId, lo: &[u8], hi: &[u8]) {
        assert_lens(lo, &[]);
        assert_lens(hi, &[]);
        self.layer.space_mut(space).delete_range(lo, Some(hi));
    }

    /// Removes every key of `space`, written here or beneath.
    pub fn clear_space(&mut self, space: SpaceId) {
        self.layer.space_mut(space).delete_range(&[], None);
    }

    /// Calls `with` exactly once with the value of `key`, or `None`.
    ///
    /// # Errors
    /// Those of the base; `with` is then not called.
    #[inline]
    pub fn get(
        &self,
        base: &dyn Read,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), Error> {
        match self.layer.get(space, key) {
            Found::Value(value) => with(Some(value)),
            Found::Deleted => with(None),
            Found::Unknown => return base.get(space, key, with),
        }
        Ok(())
    }

    /// Reads and writes a key with one lookup. `change` gets the present value and an empty buffer
    /// for the new one; it is called at most once.
    ///
    /// # Errors
    /// Those of the base; `change` is then not called.
    ///
    /// # Panics
    /// When the key is over 64 KiB - 1 or the new value over 256 MiB.
    #[inline]
    pub fn update(
        &mut self,
        base: &dyn Read,
        space: SpaceId,
        key: &[u8],
        mut change: impl FnMut(Option<&[u8]>, &mut Vec<u8>) -> Change,
    ) -> Result<(), Error> {
        assert_lens(key, &[]);
        let map = self.layer.space_mut(space);
        let scratch = &mut self.scratch;
        scratch.clear();
        let id = map.entry(key);
        let mut found = map.found(id);
        if found == Found::Unknown {
            found = map.beneath(key);
        }
        let mut decided = Change::Keep;
        match found {
            Found::Value(value) => decided = change(Some(value), scratch),
            Found::Deleted => decided = change(None, scratch),
            Found::Unknown => {
                base.get(space, key, &mut |value| decided = change(value, scratch))?;
            }
        }
        match decided {
            Change::Keep => {}
            Change::Put => {
                assert_lens(key, scratch);
                map.put_at(id, scratch);
            }
            Change::Delete => map.delete_at(id),
        }
        Ok(())
    }

    /// Visits the entries with `lo <= key < hi` of overlay and base in `order` until `visit`
    /// breaks.
    ///
    /// # Errors
    /// Those of the base; entries visited before stay valid.
    pub fn scan(
        &self,
        base: &dyn Read,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let Some(map) = self.layer.space(space) else {
            return base.scan(space, lo, hi, order, visit);
        };
        let mut cursor = map.cursor(lo, hi);
        let head = cursor.step(order);
        Above {
            cursor,
            head,
            ranges: map.ranges(),
            order,
            visit,
        }
        .over(base, space, lo, hi)
    }

    /// The writes, sorted.
    pub fn into_batch(self) -> WriteBatch {
        self.layer.to_batch()
    }

    /// The writes, sorted; the overlay stays.
    pub fn to_batch(&self) -> WriteBatch {
        self.layer.to_batch()
    }

    /// Drops all writes and keeps the memory for the next batch.
    pub fn reset(&mut self) {
        self.layer.clear();
    }
}

#[inline]
fn assert_lens(key: &[u8], value: &[u8]) {
    assert!(
        key.len() <= KEY_BYTES_MAX,
        "a key has at most {KEY_BYTES_MAX} bytes"
    );
    assert!(
        value.len() <= VALUE_BYTES_MAX,
        "a value has at most {VALUE_BYTES_MAX} bytes"
    );
}

/// A scan in progress: the overlay's entries, pulled, between those of the base, pushed.
struct Above<'a, 'v> {
    cursor: Cursor<'a>,
    head: Option<(&'a [u8], Option<&'a [u8]>)>,
    ranges: &'a RangeSet,
    order: Order,
    visit: Visit<'v>,
}

impl<'a> Above<'a, '_> {
    fn over(
        mut self,
        base: &dyn Read,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
    ) -> Result<(), Error> {
        let (mut lo, mut hi) = (lo.to_vec(), hi.map(<[u8]>::to_vec));
        loop {
            let mut resume = None;
            let mut stopped = false;
            base.scan(space, &lo, hi.as_deref(), self.order, &mut |key, value| {
                if let Some(range) = self.ranges.covering(key) {
                    resume = Some((range.lo, range.hi));
                    return ControlFlow::Break(());
                }
                let flow = self.emit_base(key, value);
                stopped = flow.is_break();
                flow
            })?;
            match (resume, self.order) {
                _ if stopped => return Ok(()),
                // The base is deleted up to the end of this range: go on behind it.
                (Some((_, Some(end))), Order::Ascending) => lo = end.to_vec(),
                (Some((begin, _)), Order::Descending) => hi = Some(begin.to_vec()),
                (Some((_, None)), Order::Ascending) | (None, _) => break,
            }
        }
        while let Some((key, value)) = self.head {
            self.head = self.cursor.step(self.order);
            if let Some(value) = value
                && (self.visit)(key, value).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// Visits the overlay's entries that come before `key`, then the base's entry unless hidden.
    fn emit_base(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        while let Some((own, own_value)) = self.head {
            let earlier = match self.order {
                Order::Ascending => own <= key,
                Order::Descending => own >= key,
            };
            if !earlier {
                break;
            }
            self.head = self.cursor.step(self.order);
            if let Some(own_value) = own_value {
                (self.visit)(own, own_value)?;
            }
            if own == key {
                return ControlFlow::Continue(());
            }
        }
        (self.visit)(key, value)
    }
}

#[cfg(test)]
mod tests;
