//! Merges runs, so that reads pass few of them and deleted data goes.
//!
//! Relies on `run::writer` and `manifest`. Runs are kept in the order of their age; only
//! neighbors are merged, because layers have no sequence numbers: age is place. What must stay
//! true: a merged run takes the place of its sources; deletes go only when the oldest run takes
//! part; old files are removed only after the manifest without them is durable.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use rama_io::Env;
use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::levels::{Levels, Span};
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::ranges::RangeSet;
use crate::lsm::read::Order;
use crate::lsm::reshaped::present_ranges;
use crate::lsm::run::{Entries, Run, Writer};
use crate::lsm::store::{Inner, Store};
use crate::lsm::table::table_path;

/// So many neighbors of similar size are merged.
const WIDTH: usize = 4;
/// A hard limit for the number of runs a read passes.
const RUN_COUNT_MAX: usize = 12;

/// Which runs to merge next, given their sizes from old to new; `None` when all is well.
///
/// Two rules, both looking from the newest run on: when the younger runs together are as large as
/// the oldest, merge everything (bounds wasted space at about a half); when four or more
/// neighbors are each at most twice as large as the younger ones of the group together, merge it
/// (bounds how often a byte is rewritten by the logarithm of the size).
pub(crate) fn pick(sizes: &[u64]) -> Option<Range<usize>> {
    let count = sizes.len();
    if count < 2 {
        return None;
    }
    let younger: u64 = sizes[1..].iter().sum();
    if younger >= sizes[0] && count >= 3 {
        return Some(0..count);
    }
    for end in (WIDTH..=count).rev() {
        let mut begin = end - 1;
        let mut total = sizes[begin];
        while begin > 0 && sizes[begin - 1] <= 2 * total {
            begin -= 1;
            total += sizes[begin];
        }
        if end - begin >= WIDTH {
            return Some(begin..end);
        }
    }
    (count > RUN_COUNT_MAX).then(|| count - WIDTH..count)
}

impl<E: Env> Store<E> {
    /// True when [`Store::compact`] has something to do.
    pub fn needs_compaction(&self) -> bool {
        due(&self.inner.state.borrow().levels).is_some()
    }

    /// Does one merge if one is due; true when it did. Reads, `apply` and `flush` go on meanwhile.
    ///
    /// # Errors
    /// `Io` when the disk failed, and `Poisoned` from then on; `Corrupt` when a source is damaged:
    /// the sources then stay as they are.
    pub async fn compact(&self) -> Result<bool, Error> {
        self.inner.merge_runs(due).await
    }

    /// Merges all runs into one, but for those that only [`Store::rewrite`] may merge.
    ///
    /// # Errors
    /// As [`Store::compact`].
    pub async fn compact_all(&self) -> Result<bool, Error> {
        let all = |levels: &Levels| {
            let all = apart(levels)..levels.runs.len();
            (all.len() > 1).then_some(all)
        };
        self.inner.merge_runs(all).await
    }

    /// Verifies every page of every table, with turns for other work.
    ///
    /// # Errors
    /// `Corrupt` names the first damaged page.
    pub async fn scrub(&self) -> Result<(), Error> {
        let runs = self.inner.state.borrow().levels.runs.clone();
        for table in runs.iter().flat_map(|run| run.tables()) {
            for page in 0.. {
                if !table.verify_page(page)? {
                    break;
                }
                self.inner.env.yield_now().await;
            }
        }
        Ok(())
    }
}

fn due(levels: &Levels) -> Option<Range<usize>> {
    let apart = apart(levels);
    let sizes = levels.runs[apart..].iter().map(|run| run.file_bytes());
    let picked = pick(&sizes.collect::<Vec<u64>>())?;
    Some(picked.start + apart..picked.end + apart)
}

/// How many runs, the oldest ones, hold parts of values and are not merged with others here.
fn apart(levels: &Levels) -> usize {
    let steps = levels.steps.as_deref();
    steps.map_or(0, |steps| steps.gathered_runs(&levels.runs))
}

impl<E: Env> Inner<E> {
    async fn merge_runs(
        &self,
        due: impl Fn(&Levels) -> Option<Range<usize>>,
    ) -> Result<bool, Error> {
        let _one_at_a_time = self.compacting.lock().await;
        self.check_poison()?;
        let (sources, beneath, range) = {
            let state = self.state.borrow();
            let Some(range) = due(&state.levels) else {
                return Ok(false);
            };
            let (older, others) = state.levels.runs.split_at(range.start);
            (others[..range.len()].to_vec(), older.to_vec(), range)
        };
        let bottom = range.start == 0;
        let writer = Writer::new(self, bottom);
        let merged = self.poison_on_io(self.write_runs(&sources, &beneath, writer).await)?;
        // A flush meanwhile only added younger runs, so the places of the sources are the same.
        let edit = move |levels: &mut Levels| {
            levels.runs.splice(range, merged);
        };
        if planted(Mutant::SourcesRemovedFirst) {
            self.remove_files(&sources).await?;
            self.env
                .sync_dir(&self.dir)
                .await
                .map_err(Error::io("sync", &self.dir))?;
            self.switch(None, edit).await?;
            return Ok(true);
        }
        self.switch(None, edit).await?;
        self.remove_files(&sources).await?;
        Ok(true)
    }

    pub async fn remove_files(&self, runs: &[Rc<Run>]) -> Result<(), Error> {
        for table in runs.iter().flat_map(|run| run.tables()) {
            let path = table_path(&self.dir, table.id);
            let removed = self
                .env
                .remove(&path)
                .await
                .map_err(Error::io("remove", &path));
            self.poison_on_io(removed)?;
        }
        Ok(())
    }

    /// Writes what runs hold together, every entry in its present form, to stand above others.
    pub async fn write_runs(
        &self,
        sources: &[Rc<Run>],
        beneath: &[Rc<Run>],
        mut writer: Writer<'_, E>,
    ) -> Result<Option<Rc<Run>>, Error> {
        let levels = |runs: &[Rc<Run>]| Levels {
            frozen: Vec::new(),
            runs: runs.to_vec(),
            steps: self.state.borrow().levels.steps.clone(),
        };
        let (levels, beneath) = (levels(sources), levels(beneath));
        let spaces = || sources.iter().flat_map(|run| run.spaces());
        let ids: BTreeSet<SpaceId> = spaces().map(|space| space.id).collect();
        for id in ids {
            let span = Span {
                space: id,
                lo: &[],
                hi: None,
            };
            let mut ranges = RangeSet::default();
            let entries = match levels.reshaping(id) {
                Some(steps) => {
                    let present = |run: &Rc<Run>| present_ranges(run, id, steps);
                    sources.iter().for_each(|run| ranges.extend(&present(run)));
                    let order = Order::Ascending;
                    let above = Some(&beneath);
                    Entries::Reshaped(levels.reshaped(None, (span, steps), order, above)?)
                }
                None => {
                    let own = spaces().filter(|space| space.id == id);
                    own.for_each(|space| ranges.extend(space.ranges()));
                    Entries::Merged(levels.merge(None, span, Order::Ascending)?, 0)
                }
            };
            writer.add_space(id, &ranges, entries).await?;
        }
        writer.finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_or_well_graded_runs_are_left_alone() {
        for sizes in [&[][..], &[5], &[5, 5], &[100, 10, 5], &[1000, 100, 10, 1]] {
            assert_eq!(pick(sizes), None, "{sizes:?}");
        }
    }

    #[test]
    fn neighbors_of_similar_size_are_merged_youngest_first() {
        assert_eq!(pick(&[1000, 10, 10, 10, 10]), Some(1..5));
        assert_eq!(pick(&[1000, 90, 80, 70, 60, 1]), Some(1..5));
        assert_eq!(pick(&[100, 60, 45]), Some(0..3));
    }

    #[test]
    fn the_number_of_runs_stays_small_and_bytes_are_rewritten_seldom() {
        let (mut runs, mut written, mut most) = (Vec::new(), 0, 0);
        for _ in 0..1000 {
            runs.push(32);
            while let Some(range) = pick(&runs) {
                let merged: u64 = runs[range.clone()].iter().sum();
                written += merged;
                runs.splice(range, [merged]);
            }
            most = most.max(runs.len());
        }
        assert!(most <= 10, "{most} runs");
        assert!(
            written < 32 * 1000 * 10,
            "each byte rewritten {} times",
            written / 32_000
        );
    }
}
