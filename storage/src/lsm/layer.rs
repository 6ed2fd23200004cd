//! One layer in memory: for each space a hash-indexed set of entries, its range deletes, and a
//! sorted view: whatever was put, a scan sorts at most the last few entries.
//!
//! Relies on a single owner. What must stay true: an entry says more than a range delete of the
//! same layer (a range delete forgets the entries it covers, later writes are entries again);
//! the sorted view lists exactly the entries that say something; iteration order never depends on
//! the hash.

mod entry;
mod ordered;
mod space;

pub(crate) use entry::Found;
pub(crate) use space::{Cursor, Space};

use rama_wire::SpaceId;

use crate::lsm::batch::{Batch, Op, WriteBatch};

/// Ordered maps for several spaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    ids: Vec<SpaceId>,
    spaces: Vec<Space>,
}

impl Layer {
    /// An empty layer that keeps the same spaces sorted as `other` does, so that a scan of a busy
    /// space never has to sort it again after a switch of memtables.
    pub fn like(other: &Layer) -> Layer {
        let mut layer = Layer::default();
        for (id, space) in other.spaces() {
            if space.is_scanned() {
                layer.space_mut(id).expect_scans();
            }
        }
        layer
    }

    /// True when it says nothing about any key.
    pub fn is_empty(&self) -> bool {
        self.spaces.iter().all(Space::is_empty)
    }

    /// Memory in use, roughly.
    pub fn bytes(&self) -> usize {
        self.spaces.iter().map(Space::bytes).sum()
    }

    /// The spaces in order.
    pub fn spaces(&self) -> impl Iterator<Item = (SpaceId, &Space)> {
        self.ids.iter().copied().zip(&self.spaces)
    }

    #[inline]
    pub fn space(&self, id: SpaceId) -> Option<&Space> {
        let place = self.ids.partition_point(|other| *other < id);
        if self.ids.get(place) == Some(&id) {
            self.spaces.get(place)
        } else {
            None
        }
    }

    #[inline]
    pub fn space_mut(&mut self, id: SpaceId) -> &mut Space {
        let place = self.ids.partition_point(|other| *other < id);
        if self.ids.get(place) != Some(&id) {
            self.ids.insert(place, id);
            self.spaces.insert(place, Space::default());
        }
        &mut self.spaces[place]
    }

    #[inline]
    pub fn get(&self, space: SpaceId, key: &[u8]) -> Found<'_> {
        self.space(space)
            .map_or(Found::Unknown, |space| space.get(key))
    }

    /// Takes over every write of a batch, in order.
    pub fn apply(&mut self, batch: Batch<'_>) {
        for op in batch {
            match op {
                Op::Put { space, key, value } => self.space_mut(space).put(key, value),
                Op::Delete { space, key } => self.space_mut(space).delete(key),
                Op::DeleteRange { space, lo, hi } => {
                    self.space_mut(space).delete_range(lo, Some(hi));
                }
                Op::Clear { space } => self.space_mut(space).delete_range(&[], None),
            }
        }
    }

    /// Everything the layer says, as writes: spaces ascending, range deletes first, keys ascending.
    pub fn to_batch(&self) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for (id, space) in self.spaces() {
            for range in space.ranges().iter() {
                match range.hi {
                    Some(hi) => batch.delete_range(id, range.lo, hi),
                    None if range.lo.is_empty() => batch.clear(id),
                    None => unreachable!("only clear deletes to the end, and it merges with all"),
                }
            }
            let mut cursor = space.cursor_once(&[], None);
            while let Some((key, value)) = cursor.next() {
                match value {
                    Some(value) => batch.put(id, key, value),
                    None => batch.delete(id, key),
                }
            }
        }
        batch
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.spaces.iter_mut().for_each(Space::reset);
    }
}

#[cfg(test)]
mod tests;
