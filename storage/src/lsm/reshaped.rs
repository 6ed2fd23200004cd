//! Several sorted layers read as one while a migration of their space changes keys.
//!
//! Relies on `walk` for runs with old tables, and on memtables holding present entries only. The same
//! rules as `merge` has, and one more: an old value whose structure is now stored in parts hides
//! everything older below its key, as the value itself hid older values. What must stay true: sources
//! are given from new to old; what one of them hides it hides from older ones alone. Entries are
//! copied: this is for as long as such a migration takes, and `merge` stays as fast as it is.

mod walk;

use std::rc::Rc;

use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::gathering::{Gathered, Gathering};
use crate::lsm::layer::{self, Found};
use crate::lsm::levels::{Levels, Span};
use crate::lsm::migration::Steps;
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::ranges::RangeSet;
use crate::lsm::read::Order;
use crate::lsm::run::Run;

use walk::RunWalk;

/// A key and its value, `None` when deleted.
pub(crate) type Owned = (Vec<u8>, Option<Vec<u8>>);

/// A lower and an upper bound.
type Hidden = (Vec<u8>, Option<Vec<u8>>);

enum Walk<'a> {
    Memory(layer::Cursor<'a>),
    Run(Box<RunWalk<'a>>),
    Gathered(Box<Gathered<'a>>),
}

enum Ranges<'a> {
    Stored(&'a RangeSet),
    Present(RangeSet),
}

struct Source<'a> {
    walk: Walk<'a>,
    head: Option<Owned>,
    ranges: Ranges<'a>,
}

/// Walks the union of its layers in one direction, every entry in its present form.
pub(crate) struct Reshaped<'a> {
    sources: Vec<Source<'a>>,
    order: Order,
}

impl Ranges<'_> {
    fn set(&self) -> &RangeSet {
        match self {
            Ranges::Stored(set) => set,
            Ranges::Present(set) => set,
        }
    }
}

/// The range deletes of a space in a run, with present bounds.
pub(crate) fn present_ranges(run: &Run, space: SpaceId, steps: &Steps) -> RangeSet {
    let mut present = RangeSet::default();
    for table in run.tables() {
        for meta in table.spaces().iter().filter(|meta| meta.space == space.0) {
            for range in &meta.ranges {
                if planted(Mutant::BoundsNotMigrated) {
                    present.add(&range.lo, range.hi.as_deref());
                    continue;
                }
                let bound = |key: &[u8]| steps.present_bound((space, table.id), key);
                present.add(&bound(&range.lo), range.hi.as_deref().map(bound).as_deref());
            }
        }
    }
    present
}

/// What a run with old tables says about a key.
pub(crate) fn look_up(
    run: &Run,
    (space, key): (SpaceId, &[u8]),
    steps: &Steps,
    with: impl FnOnce(Found<'_>),
) -> Result<(), Error> {
    let Some(own) = run.space(space) else {
        with(Found::Unknown);
        return Ok(());
    };
    let behind = [key, &[0]].concat();
    let span = Span {
        space,
        lo: key,
        hi: Some(&behind),
    };
    let mut walk = RunWalk::new(own.parts(), span, steps, None);
    match walk.step(Order::Ascending)? {
        Some((_, Some(value))) => with(Found::Value(&value)),
        Some((_, None)) => with(Found::Deleted),
        None if walk.hiding(key).is_some() => with(Found::Deleted),
        None => match present_ranges(run, space, steps).covering(key) {
            Some(_) => with(Found::Deleted),
            None => with(Found::Unknown),
        },
    }
    Ok(())
}

/// What the runs of before a gathering say about a key, all of them.
pub(crate) fn look_up_gathered(
    gathering: &Gathering,
    runs: &[Rc<Run>],
    key: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let behind = [key, &[0]].concat();
    let span = Span {
        space: gathering.space(),
        lo: key,
        hi: Some(&behind),
    };
    let found = Gathered::new(gathering, runs, span, Order::Ascending)?.step()?;
    Ok(found.and_then(|(_, value)| value))
}

impl<'a> Reshaped<'a> {
    pub fn new(order: Order) -> Reshaped<'a> {
        let sources = Vec::new();
        Reshaped { sources, order }
    }

    /// Adds a memtable older than all present layers.
    pub fn push_memory(&mut self, space: &'a layer::Space, span: Span<'_>) -> Result<(), Error> {
        let walk = Walk::Memory(space.cursor(span.lo, span.hi));
        self.push(walk, Ranges::Stored(space.ranges()))
    }

    /// Adds runs, from old to new, older than all present layers. For `beneath` see below.
    pub fn push_runs(
        &mut self,
        runs: &'a [Rc<Run>],
        (span, steps): (Span<'_>, &'a Steps),
        beneath: Option<&'a Levels>,
    ) -> Result<(), Error> {
        let gathering = steps.gathering(span.space);
        let count = gathering.map_or(0, |gathering| gathering.run_count(runs));
        let (gathered, others) = runs.split_at(count);
        for run in others.iter().rev() {
            self.push_run(run, span, steps, beneath)?;
        }
        if let Some(gathering) = gathering.filter(|_| count > 0) {
            let walk = Gathered::new(gathering, gathered, span, self.order)?;
            let nothing = Ranges::Present(RangeSet::default());
            self.push(Walk::Gathered(Box::new(walk)), nothing)?;
        }
        Ok(())
    }

    /// Adds a run older than all present layers. Given what lies beneath all of them, deletes are
    /// added that hide what only the place of an old value hid.
    fn push_run(
        &mut self,
        run: &'a Run,
        span: Span<'_>,
        steps: &'a Steps,
        beneath: Option<&'a Levels>,
    ) -> Result<(), Error> {
        let Some(own) = run.space(span.space) else {
            return Ok(());
        };
        let ranges = match own.ranges().is_empty() {
            true => Ranges::Stored(own.ranges()),
            false => Ranges::Present(present_ranges(run, span.space, steps)),
        };
        let walk = RunWalk::new(own.parts(), span, steps, beneath);
        self.push(Walk::Run(Box::new(walk)), ranges)
    }

    fn push(&mut self, walk: Walk<'a>, ranges: Ranges<'a>) -> Result<(), Error> {
        let mut source = Source {
            walk,
            head: None,
            ranges,
        };
        source.advance(self.order)?;
        self.sources.push(source);
        Ok(())
    }

    pub fn order(&self) -> Order {
        self.order
    }

    /// The next entry that is not hidden by a newer layer.
    pub fn next(&mut self) -> Result<Option<Owned>, Error> {
        while let Some(lead) = self.elect()? {
            let Some((key, _)) = &self.sources[lead].head else {
                break;
            };
            let newer = &self.sources[..lead];
            let Some(hidden) = newer.iter().find_map(|source| source.hiding(key)) else {
                let source = &mut self.sources[lead];
                let head = source.head.take();
                source.advance(self.order)?;
                return Ok(head);
            };
            self.sources[lead].skip(hidden, self.order)?;
        }
        Ok(None)
    }

    /// How many entries a step has changed so far.
    pub fn changed(&self) -> u64 {
        let runs = self.sources.iter().map(|source| match &source.walk {
            Walk::Memory(_) => 0,
            Walk::Run(walk) => walk.changed(),
            Walk::Gathered(walk) => walk.changed(),
        });
        runs.sum()
    }

    /// The source whose head comes first, the newest among equals; moves the shadowed ones on.
    fn elect(&mut self) -> Result<Option<usize>, Error> {
        let mut lead: Option<usize> = None;
        for index in 0..self.sources.len() {
            let Some((key, _)) = &self.sources[index].head else {
                continue;
            };
            let first = lead.and_then(|lead| self.sources[lead].head.as_ref());
            let first = first.map(|(key, _)| key);
            if first == Some(key) {
                self.sources[index].advance(self.order)?;
                continue;
            }
            let earlier = first.is_none_or(|first| match self.order {
                Order::Ascending => key < first,
                Order::Descending => key > first,
            });
            if earlier {
                lead = Some(index);
            }
        }
        Ok(lead)
    }
}

impl Source<'_> {
    fn advance(&mut self, order: Order) -> Result<(), Error> {
        self.head = match &mut self.walk {
            Walk::Memory(cursor) => cursor
                .step(order)
                .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))),
            Walk::Run(walk) => walk.step(order)?,
            Walk::Gathered(walk) => walk.step()?,
        };
        Ok(())
    }

    /// What of this layer hides a key of older ones.
    fn hiding(&self, key: &[u8]) -> Option<Hidden> {
        if let Some(range) = self.ranges.set().covering(key)
            && !planted(Mutant::RangesHideNothing)
        {
            return Some((range.lo.to_vec(), range.hi.map(<[u8]>::to_vec)));
        }
        match &self.walk {
            // Nothing lies beneath what was gathered.
            Walk::Memory(_) | Walk::Gathered(_) => None,
            Walk::Run(walk) => walk.hiding(key).cloned(),
        }
    }

    /// Moves on past what is hidden.
    fn skip(&mut self, (lo, hi): Hidden, order: Order) -> Result<(), Error> {
        match (order, hi, &mut self.walk) {
            (Order::Ascending, None, _) => {
                self.head = None;
                return Ok(());
            }
            (Order::Ascending, Some(hi), Walk::Memory(cursor)) => cursor.skip_below(&hi),
            (Order::Ascending, Some(hi), Walk::Run(walk)) => walk.skip_below(&hi)?,
            (Order::Ascending, Some(hi), Walk::Gathered(walk)) => walk.skip_below(&hi)?,
            (Order::Descending, _, Walk::Memory(cursor)) => cursor.skip_from(&lo),
            (Order::Descending, _, Walk::Run(walk)) => walk.skip_from(&lo)?,
            (Order::Descending, _, Walk::Gathered(walk)) => walk.skip_from(&lo)?,
        }
        self.advance(order)
    }
}
