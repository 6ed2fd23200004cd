//! Walks a run whose tables may be old, and gives what became of their entries.
//!
//! Relies on steps keeping the order of keys, so that what becomes of the tables of a run lies in the
//! order of the tables. What must stay true: a walk between bounds reads the old entries of which
//! something between them can become, also one that lies before them; what an old entry hides from
//! older layers is known before the first entry that became of it is given, and until another such
//! entry was read and given.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use rama_wire::key::successor;

use crate::lsm::error::Error;
use crate::lsm::levels::{Levels, Span};
use crate::lsm::migration::{Expanded, Steps};
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::read::Order;
use crate::lsm::reshaped::{Hidden, Owned};
use crate::lsm::run::Part;
use crate::lsm::table;

/// Of the entry that is given now, and of the one before it, which others may still stand in.
const HIDDEN_COUNT: usize = 2;

/// A walk in progress. Its bounds are those of present keys.
pub(super) struct RunWalk<'a> {
    parts: &'a [Part],
    open: Option<(table::Cursor<'a>, u64)>,
    steps: &'a Steps,
    beneath: Option<&'a Levels>,
    space: rama_wire::SpaceId,
    lo: Vec<u8>,
    hi: Option<Vec<u8>>,
    /// In the direction of the walk.
    queue: VecDeque<Owned>,
    hidden: VecDeque<Hidden>,
    changed: u64,
}

impl<'a> RunWalk<'a> {
    pub fn new(
        parts: &'a [Part],
        span: Span<'_>,
        steps: &'a Steps,
        beneath: Option<&'a Levels>,
    ) -> RunWalk<'a> {
        let space = span.space;
        let bounds = |part: &Part| steps.old_bounds((space, part.table.id), span.lo, span.hi);
        let first = parts.partition_point(|part| part.meta().last_key[..] < bounds(part).0[..]);
        let behind = parts.partition_point(|part| {
            let (_, hi) = bounds(part);
            hi.is_none_or(|hi| part.meta().first_key[..] < hi[..])
        });
        RunWalk {
            parts: parts.get(first..behind).unwrap_or_default(),
            open: None,
            steps,
            beneath,
            space,
            lo: span.lo.to_vec(),
            hi: span.hi.map(<[u8]>::to_vec),
            queue: VecDeque::new(),
            hidden: VecDeque::new(),
            changed: 0,
        }
    }

    pub fn step(&mut self, order: Order) -> Result<Option<Owned>, Error> {
        loop {
            if let Some(entry) = self.queue.pop_front() {
                return Ok(Some(entry));
            }
            if let Some((cursor, table)) = &mut self.open
                && let Some(entry) = cursor.step(order)?
            {
                let expanded = self.steps.expand((self.space, *table), entry)?;
                self.take_in(expanded, order)?;
                continue;
            }
            let next = match order {
                Order::Ascending => self.parts.split_first(),
                Order::Descending => self.parts.split_last(),
            };
            let Some((part, rest)) = next else {
                self.open = None;
                return Ok(None);
            };
            self.parts = rest;
            let (lo, hi) = self.old_bounds(part.table.id, &self.lo, self.hi.as_deref());
            let cursor = table::Cursor::new(&part.table, part.meta(), &lo, hi.as_deref())?;
            self.open = Some((cursor, part.table.id));
        }
    }

    /// What of the entries that were read lately hides a key of older layers.
    pub fn hiding(&self, key: &[u8]) -> Option<&Hidden> {
        let covers = |(lo, hi): &&Hidden| &lo[..] <= key && hi.as_deref().is_none_or(|hi| key < hi);
        let hidden = self.hidden.iter().find(covers);
        hidden.filter(|_| !planted(Mutant::SpreadHidesNothing))
    }

    /// How many entries a step has changed so far.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// Skips what lies below `key`.
    pub fn skip_below(&mut self, key: &[u8]) -> Result<(), Error> {
        if key > &self.lo[..] {
            self.lo = key.to_vec();
        }
        self.queue.retain(|(found, _)| &found[..] >= key);
        let (space, steps) = (self.space, self.steps);
        self.open.as_mut().map_or(Ok(()), |(cursor, table)| {
            cursor.skip_below(&steps.old_bounds((space, *table), key, None).0)
        })
    }

    /// Skips `key` and what lies above it.
    pub fn skip_from(&mut self, key: &[u8]) -> Result<(), Error> {
        if self.hi.as_deref().is_none_or(|hi| key < hi) {
            self.hi = Some(key.to_vec());
        }
        self.queue.retain(|(found, _)| &found[..] < key);
        let (space, steps) = (self.space, self.steps);
        self.open.as_mut().map_or(Ok(()), |(cursor, table)| {
            let (_, hi) = steps.old_bounds((space, *table), &[], Some(key));
            hi.map_or(Ok(()), |hi| cursor.skip_from(&hi))
        })
    }

    fn old_bounds(&self, table: u64, lo: &[u8], hi: Option<&[u8]>) -> Hidden {
        self.steps.old_bounds((self.space, table), lo, hi)
    }

    /// Queues what became of an entry.
    fn take_in(&mut self, mut expanded: Expanded, order: Order) -> Result<(), Error> {
        self.changed += u64::from(expanded.changed);
        if let Some(key) = expanded.hides() {
            let hidden = (key.to_vec(), successor(key));
            self.hide_beneath(&hidden, &mut expanded.entries)?;
            self.hidden.push_front(hidden);
            self.hidden.truncate(HIDDEN_COUNT);
        }
        let (lo, hi) = (&self.lo, self.hi.as_deref());
        let within = |(key, _): &Owned| key >= lo && hi.is_none_or(|hi| &key[..] < hi);
        let entries = expanded.entries.into_iter().filter(within);
        match order {
            Order::Ascending => self.queue.extend(entries),
            Order::Descending => self.queue.extend(entries.rev()),
        }
        Ok(())
    }

    /// Adds deletes of what is alive beneath and hidden now.
    fn hide_beneath(&self, hidden: &Hidden, entries: &mut Vec<Owned>) -> Result<(), Error> {
        let Some(beneath) = self.beneath.filter(|_| !planted(Mutant::BeneathNotHidden)) else {
            return Ok(());
        };
        let span = Span {
            space: self.space,
            lo: &hidden.0,
            hi: hidden.1.as_deref(),
        };
        let mut gone = Vec::new();
        beneath.scan(None, span, Order::Ascending, &mut |key, _| {
            let known = entries.binary_search_by(|(found, _)| found[..].cmp(key));
            if known.is_err() {
                gone.push((key.to_vec(), None));
            }
            ControlFlow::Continue(())
        })?;
        if !gone.is_empty() {
            entries.append(&mut gone);
            entries.sort();
        }
        Ok(())
    }
}
