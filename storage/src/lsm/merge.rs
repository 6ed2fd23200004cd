//! Several sorted layers read as one.
//!
//! Relies on the cursors of memtables and runs. What must stay true: sources are given from new to
//! old; of equal keys the newest counts; a range delete of a source hides the entries of older
//! sources and none of its own. Deletes are answered as `None`: scans drop them, compaction may
//! need them.

use std::cmp::Ordering;

use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::layer;
use crate::lsm::migration::Steps;
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::ranges::RangeSet;
use crate::lsm::read::Order;
use crate::lsm::run;

/// A key and its value, `None` when deleted.
pub(crate) type Item<'a> = (&'a [u8], Option<&'a [u8]>);

/// One layer of a merge.
pub(crate) enum Walk<'a> {
    Memory(layer::Cursor<'a>),
    Run(run::Cursor<'a>),
}

impl<'a> Walk<'a> {
    /// The table of the entry it gave last.
    fn table(&self) -> Option<u64> {
        match self {
            Walk::Memory(_) => None,
            Walk::Run(cursor) => cursor.table(),
        }
    }

    #[inline]
    fn step(&mut self, order: Order) -> Result<Option<Item<'a>>, Error> {
        match self {
            Walk::Memory(cursor) => Ok(cursor.step(order)),
            Walk::Run(cursor) => cursor.step(order),
        }
    }

    fn skip_below(&mut self, key: &[u8]) -> Result<(), Error> {
        match self {
            Walk::Memory(cursor) => {
                cursor.skip_below(key);
                Ok(())
            }
            Walk::Run(cursor) => cursor.skip_below(key),
        }
    }

    fn skip_from(&mut self, key: &[u8]) -> Result<(), Error> {
        match self {
            Walk::Memory(cursor) => {
                cursor.skip_from(key);
                Ok(())
            }
            Walk::Run(cursor) => cursor.skip_from(key),
        }
    }
}

struct Source<'a> {
    walk: Walk<'a>,
    head: Option<Item<'a>>,
    ranges: Option<&'a RangeSet>,
}

/// Walks the union of its sources in one direction.
pub(crate) struct Merge<'a> {
    sources: Vec<Source<'a>>,
    order: Order,
    ranged: bool,
    lead: usize,
    /// Up to here, exclusive, the lead is alone; `None`: to its end.
    runner_up: Option<&'a [u8]>,
    elected: bool,
    /// What values in older tables have to pass.
    steps: Option<(SpaceId, &'a Steps)>,
    /// The table that the last entry came from; `None`: memory.
    table: Option<u64>,
}

impl<'a> Merge<'a> {
    pub fn new(order: Order) -> Merge<'a> {
        let (sources, ranged, lead, elected) = (Vec::new(), false, 0, false);
        Merge {
            sources,
            order,
            ranged,
            lead,
            runner_up: None,
            elected,
            steps: None,
            table: None,
        }
    }

    /// Values of this space are to be brought into their present form.
    pub fn pass(&mut self, space: SpaceId, steps: &'a Steps) {
        self.steps = Some((space, steps));
    }

    /// The present form of the value of the entry that [`Merge::next`] gave last; `None`: as it is.
    #[inline]
    pub fn present(&self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match (self.steps, self.table) {
            (Some((space, steps)), Some(table)) => steps.convert((space, table), key, value),
            _ => Ok(None),
        }
    }

    /// Adds a source older than all present ones.
    pub fn push(&mut self, mut walk: Walk<'a>, ranges: Option<&'a RangeSet>) -> Result<(), Error> {
        let head = walk.step(self.order)?;
        let ranges = ranges.filter(|ranges| !ranges.is_empty());
        self.ranged |= ranges.is_some() && !planted(Mutant::RangesHideNothing);
        if head.is_some() || ranges.is_some() {
            self.sources.push(Source { walk, head, ranges });
        }
        Ok(())
    }

    /// The next entry that is not hidden by a newer source.
    pub fn next(&mut self) -> Result<Option<Item<'a>>, Error> {
        loop {
            if !self.lead_is_alone() && !self.elect()? {
                return Ok(None);
            }
            let source = &mut self.sources[self.lead];
            let Some(item) = source.head else {
                self.elected = false;
                continue;
            };
            if self.ranged && self.skip_hidden(item.0)? {
                continue;
            }
            let source = &mut self.sources[self.lead];
            if self.steps.is_some() {
                self.table = source.walk.table();
            }
            source.head = source.walk.step(self.order)?;
            return Ok(Some(item));
        }
    }

    fn before(&self, a: &[u8], b: &[u8]) -> bool {
        match self.order {
            Order::Ascending => a < b,
            Order::Descending => a > b,
        }
    }

    #[inline]
    fn lead_is_alone(&self) -> bool {
        if !self.elected {
            return false;
        }
        match (self.sources[self.lead].head, self.runner_up) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((key, _)), Some(limit)) => self.before(key, limit),
        }
    }

    /// Finds the source whose head comes first, newest first among equals, moves the shadowed
    /// ones on, and notes how far the lead is alone. False when all are exhausted.
    fn elect(&mut self) -> Result<bool, Error> {
        let mut lead: Option<(usize, &'a [u8])> = None;
        self.elected = false;
        self.runner_up = None;
        for index in 0..self.sources.len() {
            let Some((mut key, _)) = self.sources[index].head else {
                continue;
            };
            let Some((at, first)) = lead else {
                lead = Some((index, key));
                continue;
            };
            match key.cmp(first) {
                Ordering::Equal => {
                    let source = &mut self.sources[index];
                    source.head = source.walk.step(self.order)?;
                    let Some((next, _)) = source.head else {
                        continue;
                    };
                    key = next;
                }
                _ if self.before(key, first) => {
                    lead = Some((index, key));
                    key = self.sources[at].head.map_or(first, |(key, _)| key);
                }
                _ => {}
            }
            if self.runner_up.is_none_or(|limit| self.before(key, limit)) {
                self.runner_up = Some(key);
            }
        }
        self.elected = lead.is_some();
        self.lead = lead.map_or(0, |(index, _)| index);
        Ok(self.elected)
    }

    /// Moves the lead past a range delete of a newer source that covers `key`.
    fn skip_hidden(&mut self, key: &[u8]) -> Result<bool, Error> {
        let newer = self.sources[..self.lead]
            .iter()
            .filter_map(|source| source.ranges);
        let Some(range) = newer.into_iter().find_map(|ranges| ranges.covering(key)) else {
            return Ok(false);
        };
        let source = &mut self.sources[self.lead];
        match (self.order, range.hi) {
            (Order::Ascending, Some(hi)) => source.walk.skip_below(hi)?,
            (Order::Ascending, None) => {
                source.head = None;
                return Ok(true);
            }
            (Order::Descending, _) => source.walk.skip_from(range.lo)?,
        }
        source.head = source.walk.step(self.order)?;
        Ok(true)
    }
}
