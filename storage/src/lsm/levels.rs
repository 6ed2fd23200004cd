//! All layers of a store beneath its active memtable, at one moment.
//!
//! Relies on `memtable`, `run` and `merge`. What must stay true: a value of this type never
//! changes; a change of the store makes a new one and shares the layers, so that a snapshot is a
//! counted reference.

use std::rc::Rc;

use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::layer::Found;
use crate::lsm::memtable::Memtable;
use crate::lsm::merge::{Merge, Walk};
use crate::lsm::migration::{SharedSteps, Steps};
use crate::lsm::read::{Order, Visit};
use crate::lsm::reshaped::{self, Reshaped};
use crate::lsm::run::Run;
use crate::lsm::table::hash_key;

/// Immutable layers, each list from old to new.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    pub frozen: Vec<Rc<Memtable>>,
    pub runs: Vec<Rc<Run>>,
    /// What values in older tables have to pass.
    pub steps: SharedSteps,
}

/// The bounds of a scan.
#[derive(Clone, Copy)]
pub(crate) struct Span<'a> {
    pub space: SpaceId,
    pub lo: &'a [u8],
    pub hi: Option<&'a [u8]>,
}

impl Levels {
    /// Looks a key up beneath, and in, `active`.
    #[inline]
    pub fn get(
        &self,
        active: Option<&Memtable>,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), Error> {
        for memtable in active
            .into_iter()
            .chain(self.frozen.iter().rev().map(Rc::as_ref))
        {
            match memtable.layer.get(space, key) {
                Found::Value(value) => {
                    with(Some(value));
                    return Ok(());
                }
                Found::Deleted => {
                    with(None);
                    return Ok(());
                }
                Found::Unknown => {}
            }
        }
        self.get_from_runs(space, key, with)
    }

    fn get_from_runs(
        &self,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), Error> {
        let mut hash = None;
        let gathering = self
            .reshaping(space)
            .and_then(|steps| steps.gathering(space));
        let gathered = gathering.map_or(0, |gathering| gathering.run_count(&self.runs));
        for (age, run) in self.runs.iter().enumerate().rev() {
            if let Some(gathering) = gathering.filter(|_| age < gathered) {
                let value = reshaped::look_up_gathered(gathering, &self.runs[..gathered], key)?;
                with(value.as_deref());
                return Ok(());
            }
            let Some(own) = run.space(space) else {
                continue;
            };
            if let Some(steps) = self.reshaping(space)
                && steps.await_table(space, own.oldest())
            {
                let mut known = true;
                reshaped::look_up(run, (space, key), steps, |found| match found {
                    Found::Value(value) => with(Some(value)),
                    Found::Deleted => with(None),
                    Found::Unknown => known = false,
                })?;
                if known {
                    return Ok(());
                }
                continue;
            }
            let hash = *hash.get_or_insert_with(|| hash_key(space, key));
            match own.get(key, hash, age > 0)? {
                Found::Value(value) => {
                    // A space whose keys change has nothing old here.
                    let steps = self.steps(space).filter(|steps| !steps.reshape(space));
                    match steps {
                        None => with(Some(value)),
                        Some(steps) => {
                            let table = own.table_of(key);
                            let new = steps.convert((space, table), key, value)?;
                            with(Some(new.as_deref().unwrap_or(value)));
                        }
                    }
                    return Ok(());
                }
                Found::Deleted => break,
                Found::Unknown => {}
            }
        }
        with(None);
        Ok(())
    }

    /// All layers, merged over one span of a space whose keys stay.
    pub fn merge<'a>(
        &'a self,
        active: Option<&'a Memtable>,
        span: Span<'_>,
        order: Order,
    ) -> Result<Merge<'a>, Error> {
        let mut merge = Merge::new(order);
        if let Some(steps) = self.steps(span.space) {
            merge.pass(span.space, steps);
        }
        for memtable in active
            .into_iter()
            .chain(self.frozen.iter().rev().map(Rc::as_ref))
        {
            if let Some(space) = memtable.layer.space(span.space) {
                let cursor = space.cursor(span.lo, span.hi);
                merge.push(Walk::Memory(cursor), Some(space.ranges()))?;
            }
        }
        for run in self.runs.iter().rev() {
            if let Some(space) = run.space(span.space) {
                let cursor = space.cursor(span.lo, span.hi);
                merge.push(Walk::Run(cursor), Some(space.ranges()))?;
            }
        }
        Ok(merge)
    }

    /// The same for a space whose keys change. Given what lies beneath the layers, the entries are
    /// those of a table above it.
    pub fn reshaped<'a>(
        &'a self,
        active: Option<&'a Memtable>,
        (span, steps): (Span<'_>, &'a Steps),
        order: Order,
        beneath: Option<&'a Levels>,
    ) -> Result<Reshaped<'a>, Error> {
        let mut merge = Reshaped::new(order);
        for memtable in active
            .into_iter()
            .chain(self.frozen.iter().rev().map(Rc::as_ref))
        {
            if let Some(space) = memtable.layer.space(span.space) {
                merge.push_memory(space, span)?;
            }
        }
        merge.push_runs(&self.runs, (span, steps), beneath)?;
        Ok(merge)
    }

    /// Visits the live entries of one span.
    pub fn scan(
        &self,
        active: Option<&Memtable>,
        span: Span<'_>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        if span.hi.is_some_and(|hi| span.lo >= hi) {
            return Ok(());
        }
        if let Some(steps) = self.reshaping(span.space) {
            let mut merge = self.reshaped(active, (span, steps), order, None)?;
            while let Some((key, value)) = merge.next()? {
                if value.is_some_and(|value| visit(&key, &value).is_break()) {
                    break;
                }
            }
            return Ok(());
        }
        let mut merge = self.merge(active, span, order)?;
        while let Some((key, value)) = merge.next()? {
            let Some(value) = value else { continue };
            let present = merge.present(key, value)?;
            if visit(key, present.as_deref().unwrap_or(value)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What entries of a space may have to pass whose keys change.
    #[inline]
    pub fn reshaping(&self, space: SpaceId) -> Option<&Steps> {
        self.steps(space).filter(|steps| steps.reshape(space))
    }

    /// What values of a space may have to pass.
    #[inline]
    fn steps(&self, space: SpaceId) -> Option<&Steps> {
        self.steps.as_deref().filter(|steps| steps.concern(space))
    }
}
