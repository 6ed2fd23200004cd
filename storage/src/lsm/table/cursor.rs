//! Walks the entries of one space of a table in one direction.
//!
//! Relies on `Table::entry` and `Table::seek`. What must stay true: entries lie one behind the
//! other, so a walk down reads one group up and gives it back from a stack.

use crate::lsm::error::Error;
use crate::lsm::merge::Item;
use crate::lsm::read::Order;
use crate::lsm::table::Table;
use crate::lsm::table::format::SpaceMeta;

/// A walk in progress.
pub(crate) struct Cursor<'a> {
    table: &'a Table,
    space: &'a SpaceMeta,
    front: usize,
    back: usize,
    /// Places in the last group, when walking down; the walk's end is the first of them.
    stack: Vec<usize>,
}

impl<'a> Cursor<'a> {
    /// The entries with `lo <= key < hi`.
    pub fn new(
        table: &'a Table,
        space: &'a SpaceMeta,
        lo: &[u8],
        hi: Option<&[u8]>,
    ) -> Result<Cursor<'a>, Error> {
        let front = table.seek(space, lo)?;
        let back = hi.map_or(Ok(space.end as usize), |hi| table.seek(space, hi))?;
        Ok(Cursor {
            table,
            space,
            front,
            back,
            stack: Vec::new(),
        })
    }

    #[inline]
    pub fn step(&mut self, order: Order) -> Result<Option<Item<'a>>, Error> {
        if self.front >= self.back {
            return Ok(None);
        }
        let at = match order {
            Order::Ascending => self.front,
            Order::Descending => self.step_back()?,
        };
        let table: &'a Table = self.table;
        let entry = table.entry(self.space, at)?;
        if order == Order::Ascending {
            self.front = entry.next;
        }
        Ok(Some((entry.key, entry.value)))
    }

    /// The table that is walked.
    pub fn table(&self) -> u64 {
        self.table.id
    }

    /// The place of the last entry before `back`, which becomes the new `back`.
    fn step_back(&mut self) -> Result<usize, Error> {
        if self.stack.is_empty() {
            let groups = &self.space.groups;
            let group = groups.partition_point(|group| (group.at as usize) < self.back);
            let mut at = (groups[group.saturating_sub(1)].at as usize).max(self.front);
            while at < self.back {
                self.stack.push(at);
                at = self.table.entry(self.space, at)?.next;
            }
        }
        let at = self.stack.pop().unwrap_or(self.front);
        self.back = at;
        Ok(at)
    }

    /// Skips what lies below `key`.
    pub fn skip_below(&mut self, key: &[u8]) -> Result<(), Error> {
        self.front = self.front.max(self.table.seek(self.space, key)?);
        Ok(())
    }

    /// Skips `key` and what lies above it.
    pub fn skip_from(&mut self, key: &[u8]) -> Result<(), Error> {
        self.back = self.back.min(self.table.seek(self.space, key)?);
        self.stack.clear();
        Ok(())
    }
}
