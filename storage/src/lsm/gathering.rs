//! Structures stored in parts that become whole values: the parts are gathered from all layers that
//! are older than the change.
//!
//! Relies on `migration`: such a change begins when nothing old is in memory, so that every run is
//! wholly before it or wholly behind it, and those before it are the oldest ones. What must stay true:
//! the runs before it are only ever merged all together, because the parts of one value lie in any of
//! them; a walk never begins or ends within a structure; nothing lies beneath such a walk.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use rama_wire::key::successor;
use rama_wire::{Index, SpaceId};

use crate::lsm::batch::{Op, WriteBatch};
use crate::lsm::error::Error;
use crate::lsm::levels::Span;
use crate::lsm::memtable::Memtable;
use crate::lsm::migration::{Step, Steps};
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::read::Order;
use crate::lsm::reshaped::{Owned, Reshaped};
use crate::lsm::run::Run;

/// Makes one value of all that is stored at and below a key.
pub trait Gather: Send + Sync {
    /// How much of a key, or of a bound of keys, is the key of such a structure; `None` when it does
    /// not lead into one.
    fn owner_len(&self, key: &[u8]) -> Option<usize>;

    /// The value: of what follows the structure's key, ascending, and the values there. The key itself
    /// is there with nothing behind it, if it has a value. Says why when it cannot.
    fn gather(&self, parts: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<u8>, String>;
}

/// Where in the steps of a space parts become a value: the last such place.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// What comes before it; such places among them.
    before: Steps,
    step: Step,
    after: Steps,
}

impl Gathering {
    /// In the steps of one space; `None` when no parts become a value there.
    pub fn last_of(mut steps: Vec<Step>) -> Option<Gathering> {
        let place = steps.iter().rposition(|step| step.gather().is_some())?;
        let after = Steps::of(steps.split_off(place + 1));
        let step = steps.pop()?;
        let before = Steps::of(steps);
        Some(Gathering {
            before,
            step,
            after,
        })
    }

    pub fn space(&self) -> SpaceId {
        self.step.migration.space
    }

    /// How many runs, the oldest ones, are before it.
    pub fn run_count(&self, runs: &[Rc<Run>]) -> usize {
        let is_before = |run: &Rc<Run>| {
            let own = run.space(self.space());
            own.is_some_and(|own| own.oldest() < self.step.first_table)
        };
        runs.iter()
            .rposition(is_before)
            .map_or(0, |place| place + 1)
    }

    /// This place, or one before it.
    pub fn of_step(&self, step: &Step) -> Option<&Gathering> {
        match self.step.migration.id == step.migration.id {
            true => Some(self),
            false => self.before.gathering(self.space())?.of_step(step),
        }
    }

    fn owner<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let len = self.step.gather()?.owner_len(key)?;
        key.get(..len)
    }

    /// The structure that a bound lies within.
    fn cut<'k>(&self, bound: &'k [u8]) -> Option<&'k [u8]> {
        let owner = self.owner(bound);
        owner.filter(|owner| owner.len() < bound.len())
    }

    /// The bounds of whole structures of which something between bounds can become; `None`: nothing can.
    fn whole(&self, lo: &[u8], hi: Option<&[u8]>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        if planted(Mutant::StructuresCut) {
            return Some((lo.to_vec(), hi.map(<[u8]>::to_vec)));
        }
        let hi = hi.and_then(|hi| match self.cut(hi) {
            Some(owner) => successor(owner),
            None => Some(hi.to_vec()),
        });
        Some((self.behind_cut(lo)?, hi))
    }

    /// The value stands under the key of its structure: before all bounds that lie within.
    fn behind_cut(&self, lo: &[u8]) -> Option<Vec<u8>> {
        match self.cut(lo) {
            Some(owner) => successor(owner),
            None => Some(lo.to_vec()),
        }
    }

    /// What writes of before it are behind it, on top of all runs of before it: nobody else has written
    /// to the structures that they concern.
    pub fn late(&self, ops: &WriteBatch, runs: &[Rc<Run>]) -> Result<WriteBatch, Error> {
        let space = self.space();
        let (mut present, mut owners) = (WriteBatch::new(), BTreeSet::new());
        let mut memtable = Memtable::default();
        memtable.apply(ops.ops(), Index::ZERO);
        for op in memtable.layer.to_batch().ops() {
            match op {
                Op::Clear { .. } => present.clear(space),
                Op::DeleteRange { lo, hi, .. } => {
                    for bound in [lo, hi] {
                        owners.extend(self.cut(bound).map(<[u8]>::to_vec));
                    }
                    let hi = self.cut(hi).unwrap_or(hi);
                    let lo = self.behind_cut(lo).filter(|lo| lo[..] < *hi);
                    lo.into_iter()
                        .for_each(|lo| present.delete_range(space, &lo, hi));
                }
                Op::Put { key, value, .. } => match self.owner(key) {
                    Some(owner) => drop(owners.insert(owner.to_vec())),
                    None => present.put(space, key, value),
                },
                Op::Delete { key, .. } => match self.owner(key) {
                    Some(owner) => drop(owners.insert(owner.to_vec())),
                    None => present.delete(space, key),
                },
            }
        }
        for owner in owners {
            let hi = successor(&owner);
            let (lo, hi) = (&owner[..], hi.as_deref());
            let span = Span { space, lo, hi };
            let mut inner = Reshaped::new(Order::Ascending);
            if let Some(own) = memtable.layer.space(space) {
                inner.push_memory(own, span)?;
            }
            inner.push_runs(&runs[..self.run_count(runs)], (span, &self.before), None)?;
            let mut live = Live::of(inner);
            match live.next()? {
                Some(first) => {
                    let value = live.structure(self, &owner, first)?;
                    present.put(space, &owner, &value);
                }
                None => present.delete(space, &owner),
            }
        }
        Ok(present)
    }
}

/// Entries that are not deleted, with a look at the next one.
struct Live<'a> {
    inner: Reshaped<'a>,
    ahead: Option<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Live<'a> {
    fn of(inner: Reshaped<'a>) -> Live<'a> {
        Live { inner, ahead: None }
    }

    fn next(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>, Error> {
        if let Some(entry) = self.ahead.take() {
            return Ok(Some(entry));
        }
        while let Some((key, value)) = self.inner.next()? {
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }

    /// What becomes of the structure whose first entry, in the direction of the walk, was given last.
    fn structure(
        &mut self,
        gathering: &Gathering,
        owner: &[u8],
        first: (Vec<u8>, Vec<u8>),
    ) -> Result<Vec<u8>, Error> {
        let part = |(key, value): (Vec<u8>, Vec<u8>)| (key[owner.len()..].to_vec(), value);
        let mut parts = vec![part(first)];
        while let Some(entry) = self.next()? {
            if gathering.owner(&entry.0) != Some(owner) {
                self.ahead = Some(entry);
                break;
            }
            parts.push(part(entry));
        }
        if self.inner.order() == Order::Descending {
            parts.reverse();
        }
        let step = &gathering.step;
        let value = match step.gather() {
            Some(gather) => gather.gather(parts),
            None => Err("no function makes one value of its parts".to_owned()),
        };
        let value = value.map_err(|cause| step.failed(owner, cause))?;
        step.check_len(owner, &value)?;
        Ok(value)
    }
}

/// Walks the runs that are before a gathering, and gives what they are behind it and all later steps.
pub(crate) struct Gathered<'a> {
    gathering: &'a Gathering,
    runs: &'a [Rc<Run>],
    order: Order,
    /// Bounds of present keys.
    lo: Vec<u8>,
    hi: Option<Vec<u8>>,
    /// `None`: nothing is left between the bounds.
    live: Option<Live<'a>>,
    /// In the direction of the walk.
    queue: VecDeque<Owned>,
    changed: u64,
}

impl<'a> Gathered<'a> {
    /// Of runs that are before it, all of them.
    pub fn new(
        gathering: &'a Gathering,
        runs: &'a [Rc<Run>],
        span: Span<'_>,
        order: Order,
    ) -> Result<Gathered<'a>, Error> {
        let mut walk = Gathered {
            gathering,
            runs,
            order,
            lo: span.lo.to_vec(),
            hi: span.hi.map(<[u8]>::to_vec),
            live: None,
            queue: VecDeque::new(),
            changed: 0,
        };
        walk.begin()?;
        Ok(walk)
    }

    pub fn step(&mut self) -> Result<Option<Owned>, Error> {
        loop {
            if let Some(entry) = self.queue.pop_front() {
                return Ok(Some(entry));
            }
            let Some(live) = &mut self.live else {
                return Ok(None);
            };
            let Some((key, value)) = live.next()? else {
                self.live = None;
                continue;
            };
            let gathering = self.gathering;
            let owner = gathering.owner(&key).map(<[u8]>::to_vec);
            let (key, value) = match owner {
                Some(owner) => {
                    let value = live.structure(gathering, &owner, (key, value))?;
                    self.changed += 1;
                    (owner, value)
                }
                None => (key, value),
            };
            self.take_in((&key, &value))?;
        }
    }

    /// Skips what lies below `key`.
    pub fn skip_below(&mut self, key: &[u8]) -> Result<(), Error> {
        if key > &self.lo[..] {
            self.lo = key.to_vec();
        }
        self.begin()
    }

    /// Skips `key` and what lies above it.
    pub fn skip_from(&mut self, key: &[u8]) -> Result<(), Error> {
        if self.hi.as_deref().is_none_or(|hi| key < hi) {
            self.hi = Some(key.to_vec());
        }
        self.begin()
    }

    /// How many values a step has made or changed so far.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// Begins at the bounds.
    fn begin(&mut self) -> Result<(), Error> {
        self.queue.clear();
        self.live = None;
        let Gathering { before, after, .. } = self.gathering;
        let space = self.gathering.space();
        let (lo, hi) = after.old_bounds((space, 0), &self.lo, self.hi.as_deref());
        let Some((lo, hi)) = self.gathering.whole(&lo, hi.as_deref()) else {
            return Ok(());
        };
        let (lo, hi) = (&lo[..], hi.as_deref());
        if hi.is_some_and(|hi| lo >= hi) {
            return Ok(());
        }
        let mut inner = Reshaped::new(self.order);
        inner.push_runs(self.runs, (Span { space, lo, hi }, before), None)?;
        self.live = Some(Live::of(inner));
        Ok(())
    }

    /// Queues what later steps make of an entry.
    fn take_in(&mut self, (key, value): (&[u8], &[u8])) -> Result<(), Error> {
        let Gathering { after, .. } = self.gathering;
        let expanded = after.expand((self.gathering.space(), 0), (key, Some(value)))?;
        self.changed += u64::from(expanded.changed);
        let (lo, hi) = (&self.lo, self.hi.as_deref());
        let within = |(key, _): &Owned| key >= lo && hi.is_none_or(|hi| &key[..] < hi);
        let entries = expanded.entries.into_iter().filter(within);
        match self.order {
            Order::Ascending => self.queue.extend(entries),
            Order::Descending => self.queue.extend(entries.rev()),
        }
        Ok(())
    }
}
