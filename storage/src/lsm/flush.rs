//! Moves frozen memtables into a table.
//!
//! Relies on `run::writer` and `manifest`. What must stay true, in this order: the tables are
//! sealed; the manifest that names them and the new `persisted` is durable; only then the
//! memtables go, and only then may the replog forget the entries.

use std::collections::BTreeSet;
use std::rc::Rc;

use rama_io::Env;
use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::levels::{Levels, Span};
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::ranges::RangeSet;
use crate::lsm::read::Order;
use crate::lsm::run::{Entries, Run, Writer};
use crate::lsm::store::{Inner, Store};

impl<E: Env> Store<E> {
    /// True when enough is in memory that a flush pays.
    pub fn needs_flush(&self) -> bool {
        self.memory_bytes() >= self.inner.options.memtable_bytes
    }

    /// Moves everything applied so far into tables. Reads and `apply` go on meanwhile.
    ///
    /// # Errors
    /// `Io` when the disk failed, and `Poisoned` from then on: nothing applied is lost, reads go
    /// on, the replog still has the entries.
    pub async fn flush(&self) -> Result<(), Error> {
        let inner = &*self.inner;
        let _one_at_a_time = inner.flushing.lock().await;
        inner.check_poison()?;
        let frozen = {
            let mut state = inner.state.borrow_mut();
            state.freeze();
            Levels {
                frozen: state.levels.frozen.clone(),
                runs: Vec::new(),
                steps: None,
            }
        };
        let Some((_, last)) = frozen.frozen.last().and_then(|memtable| memtable.span) else {
            return Ok(());
        };
        // Runs are only merged by compaction, never created beneath, so this stays true.
        let bottom = inner.state.borrow().levels.runs.is_empty();
        let run = inner.poison_on_io(inner.write_memtables(&frozen, bottom).await)?;
        let count = frozen.frozen.len();
        let last = if planted(Mutant::PersistedTooHigh) {
            inner
                .state
                .borrow()
                .active
                .span
                .map_or(last, |(_, last)| last)
        } else {
            last
        };
        let edit = move |levels: &mut Levels| {
            levels.runs.extend(run);
            levels.frozen.drain(..count);
        };
        inner.switch(Some(last), edit).await
    }
}

impl<E: Env> Inner<E> {
    async fn write_memtables(
        &self,
        frozen: &Levels,
        bottom: bool,
    ) -> Result<Option<Rc<Run>>, Error> {
        let layers = || frozen.frozen.iter().map(|memtable| &memtable.layer);
        let ids: BTreeSet<SpaceId> = layers()
            .flat_map(|layer| layer.spaces().map(|(id, _)| id))
            .collect();
        let mut writer = Writer::new(self, bottom);
        for id in ids {
            let mut ranges = RangeSet::default();
            layers()
                .filter_map(|layer| layer.space(id))
                .for_each(|s| ranges.extend(s.ranges()));
            let merge = frozen.merge(
                None,
                Span {
                    space: id,
                    lo: &[],
                    hi: None,
                },
                Order::Ascending,
            )?;
            writer
                .add_space(id, &ranges, Entries::Merged(merge, 0))
                .await?;
        }
        writer.finish().await
    }
}
