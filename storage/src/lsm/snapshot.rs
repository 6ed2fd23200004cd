//! The state of a store at one moment.
//!
//! Relies on `levels` being immutable. What must stay true: nothing written, flushed or compacted
//! later shows; files that compaction removed stay readable while a snapshot maps them.

use std::rc::Rc;

use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::levels::{Levels, Span};
use crate::lsm::read::{Order, Read, Visit};

/// A read view that stays as it is. Taking one costs the same whatever the size of the store.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) levels: Rc<Levels>,
}

impl Read for Snapshot {
    fn get(
        &self,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), Error> {
        self.levels.get(None, space, key, with)
    }

    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        self.levels.scan(None, Span { space, lo, hi }, order, visit)
    }
}
