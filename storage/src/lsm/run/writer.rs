//! Writes a run: merged layers in, sealed tables out, a piece at a time.
//!
//! Relies on `merge` for the order and on `table::Builder` for the files. What must stay true: the
//! range deletes of a space stand in the first table that holds the space; at the bottom, where
//! nothing older exists, deletes and range deletes have nothing left to hide and are dropped;
//! other work gets a turn every few thousand entries.

use std::borrow::Cow;
use std::rc::Rc;

use rama_io::Env;
use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::merge::Merge;
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::ranges::RangeSet;
use crate::lsm::reshaped::Reshaped;
use crate::lsm::run::Run;
use crate::lsm::store::Inner;
use crate::lsm::table::{Builder, Table};

/// Entries handled between two turns of other work.
const ENTRIES_PER_TURN: usize = 512;

/// A key and its value, `None` when deleted.
type Entry<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

/// The entries of a space, as they are to be written.
pub(crate) enum Entries<'a> {
    /// Under the keys they had; and how many have another value.
    Merged(Merge<'a>, u64),
    Reshaped(Reshaped<'a>),
}

impl<'a> Entries<'a> {
    fn next(&mut self) -> Result<Option<Entry<'a>>, Error> {
        let (merge, changed) = match self {
            Entries::Reshaped(merge) => {
                let entry = merge.next()?;
                return Ok(entry.map(|(key, value)| (Cow::Owned(key), value.map(Cow::Owned))));
            }
            Entries::Merged(merge, changed) => (merge, changed),
        };
        let Some((key, value)) = merge.next()? else {
            return Ok(None);
        };
        let new = match value {
            Some(value) if !planted(Mutant::MergedNotMigrated) => merge.present(key, value)?,
            _ => None,
        };
        *changed += u64::from(new.is_some());
        let value = new.map(Cow::Owned).or(value.map(Cow::Borrowed));
        Ok(Some((Cow::Borrowed(key), value)))
    }

    /// How many entries a migration has changed so far.
    fn changed(&self) -> u64 {
        match self {
            Entries::Merged(_, changed) => *changed,
            Entries::Reshaped(merge) => merge.changed(),
        }
    }
}

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
        mut entries: Entries<'_>,
    ) -> Result<(), Error> {
        let mut entered = false;
        let forgotten = planted(Mutant::RangesDroppedAboveBottom);
        if !self.bottom && !ranges.is_empty() && !forgotten {
            self.builder().await?.open_space(space, Some(ranges));
            entered = true;
        }
        let mut turn = 0;
        let mut rests = self.store.rests(space);
        while let Some((key, value)) = entries.next()? {
            if value.is_none() && (self.bottom || planted(Mutant::DeletesDroppedAboveBottom)) {
                continue;
            }
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
            builder.add(&key, value.as_deref());
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
        self.store.note_migrated(space, entries.changed());
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
