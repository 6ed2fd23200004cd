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
        for (age, run) in self.runs.iter().enumerate().rev() {
            let Some(run) = run.space(space) else {
                continue;
            };
            let hash = *hash.get_or_insert_with(|| hash_key(space, key));
            match run.get(key, hash, age > 0)? {
                Found::Value(value) => {
                    match self.steps(space) {
                        None => with(Some(value)),
                        Some(steps) => {
                            let table = run.table_of(key);
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

    /// All layers, merged over one span.
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

    /// What values of a space may have to pass.
    #[inline]
    fn steps(&self, space: SpaceId) -> Option<&Steps> {
        self.steps.as_deref().filter(|steps| steps.concern(space))
    }
}
