//! Writes a run: merged layers in, sealed tables out, a piece at a time.
//!
//! Relies on `merge` for the order and on `table::Builder` for the files. What must stay true: the
//! range deletes of a space stand in the first table that holds the space; at the bottom, where
//! nothing older exists, deletes and range deletes have nothing left to hide and are dropped;
//! other work gets a turn every few thousand entries.

use std::rc::Rc;

use rama_io::Env;
use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::merge::Merge;
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::ranges::RangeSet;
use crate::lsm::run::Run;
use crate::lsm::store::Inner;
use crate::lsm::table::{Builder, Table};

/// Entries handled between two turns of other work.
const ENTRIES_PER_TURN: usize = 512;

/// A run in the making.
pub(crate) struct Writer<'s, E: Env> {
    store: &'s Inner<E>,
    /// Nothing older exists.
    bottom: bool,
    /// Rests now and then, as the pace of a space says.
    paced: bool,
    open: Option<Builder<E>>,
    tables: Vec<Rc<Table>>,
}

impl<'s, E: Env> Writer<'s, E> {
    pub fn new(store: &'s Inner<E>, bottom: bool) -> Writer<'s, E> {
        Writer {
            store,
            bottom,
            paced: false,
            open: None,
            tables: Vec::new(),
        }
    }

    /// For what is written again and has time.
    pub fn paced(self) -> Writer<'s, E> {
        let paced = true;
        Writer { paced, ..self }
    }

    /// Adds one space: the range deletes of its layers and their merged entries.
    pub async fn add_space(
        &mut self,
        space: SpaceId,
        ranges: &RangeSet,
        mut merge: Merge<'_>,
    ) -> Result<(), Error> {
        let mut entered = false;
        let forgotten = planted(Mutant::RangesDroppedAboveBottom);
        if !self.bottom && !ranges.is_empty() && !forgotten {
            self.builder().await?.open_space(space, Some(ranges));
            entered = true;
        }
        let mut turn = 0;
        let mut rests = self.store.rests(space);
        while let Some((key, value)) = merge.next()? {
            if value.is_none() && (self.bottom || planted(Mutant::DeletesDroppedAboveBottom)) {
                continue;
            }
            let new = match value {
                Some(value) if !planted(Mutant::MergedNotMigrated) => merge.present(key, value)?,
                _ => None,
            };
            rests.migrated += u64::from(new.is_some());
            if self
                .open
                .as_ref()
                .is_some_and(|open| open.is_full(self.store.options.table_bytes))
            {
                self.seal().await?;
                entered = false;
            }
            let builder = self.builder().await?;
            if !entered {
                builder.open_space(space, None);
                entered = true;
            }
            builder.add(key, new.as_deref().or(value));
            if builder.is_heavy() {
                builder.write().await?;
            }
            turn += 1;
            if self.paced {
                rests.after_entry(self.store).await?;
            }
            if turn % ENTRIES_PER_TURN == 0 {
                self.store.env.yield_now().await;
            }
        }
        self.store.note_migrated(space, rests.migrated);
        Ok(())
    }

    async fn builder(&mut self) -> Result<&mut Builder<E>, Error> {
        if self.open.is_none() {
            let id = self.store.next_table();
            let store = self.store;
            let builder = Builder::create(&store.env, &store.dir, id, store.identity).await?;
            self.open = Some(builder);
        }
        Ok(self.open.as_mut().expect("made above when missing"))
    }

    async fn seal(&mut self) -> Result<(), Error> {
        if let Some(open) = self.open.take() {
            self.tables.push(Rc::new(open.finish().await?));
        }
        Ok(())
    }

    /// The run, or `None` when there was nothing to keep.
    pub async fn finish(mut self) -> Result<Option<Rc<Run>>, Error> {
        self.seal().await?;
        let tables = self.tables;
        Ok((!tables.is_empty()).then(|| Rc::new(Run::new(tables))))
    }
}
