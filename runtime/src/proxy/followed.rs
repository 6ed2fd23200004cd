//! One path on its task: who follows it, and what a commit means to them.
//!
//! Relies on the state of the store before a commit and on the commit's own writes, which are those
//! that every replica applies: following a path changes nothing of how it is written (P-46). What
//! must stay true: the checksum is kept from what the store held and holds, one row at a time, never
//! from what was told; all readers of a path share one evaluation and one update.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rama_storage::lsm;

use super::footprint::{Footprint, Form};
use super::slot::{Pushed, Subscription};
use super::update::{Change, Update, Whole, answer_hash, row_hash};
use crate::limits;
use crate::plan::{self, Plan};

/// A followed path.
pub(super) struct Followed {
    pub(super) plan: Plan,
    pub(super) footprint: Footprint,
    readers: BTreeMap<u64, Reader>,
    /// Of the value as of the last commit; `None` while it is not known.
    checksum: Option<u64>,
    /// Rows of the value and their bytes, where it consists of rows.
    rows: u64,
    bytes: u64,
    /// What the commit at hand does to its rows: before and after.
    pending: BTreeMap<Vec<u8>, (Before, Option<Vec<u8>>)>,
    /// It has to be evaluated again.
    pub(super) dirty: bool,
    /// Updates that some readers were not told yet, and the last reader who was told the first of
    /// them.
    outbox: VecDeque<Arc<Update>>,
    told: u64,
}

struct Reader {
    subscription: Subscription,
    /// A whole value is to be told.
    behind: bool,
}

/// What the store held of a row.
#[derive(Clone, Copy)]
struct Before {
    /// Its part of the checksum, and its length.
    value: Option<(u64, usize)>,
}

/// What there is to do after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All readers know.
    Nothing,
    /// There are readers to be told, or it has to be evaluated: for some of them, or for all.
    Work,
}

impl Followed {
    pub(super) fn new(plan: Plan, footprint: Footprint) -> Followed {
        Followed {
            plan,
            footprint,
            readers: BTreeMap::new(),
            checksum: None,
            rows: 0,
            bytes: 0,
            pending: BTreeMap::new(),
            dirty: false,
            outbox: VecDeque::new(),
            told: 0,
        }
    }

    /// One more reader, who is told the whole value by the next evaluation.
    pub(super) fn add(&mut self, id: u64, subscription: Subscription) {
        let behind = true;
        self.readers.insert(
            id,
            Reader {
                subscription,
                behind,
            },
        );
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Subscription> {
        Some(self.readers.remove(&id)?.subscription)
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.readers.is_empty()
    }

    /// Ends with an error for everybody.
    pub(super) fn refuse_all(&mut self, error: impl Fn() -> crate::Error) -> Vec<u64> {
        let readers = std::mem::take(&mut self.readers);
        for reader in readers.values() {
            reader.subscription.refuse(error());
        }
        readers.into_keys().collect()
    }

    /// The commit at hand sets or removes an entry in the footprint.
    pub(super) fn on_entry(
        &mut self,
        before: &dyn lsm::Read,
        space: rama_wire::SpaceId,
        (key, value): (&[u8], Option<&[u8]>),
    ) -> Result<(), lsm::Error> {
        let Form::Rows {
            prefix_len,
            exact: true,
            valued,
            ..
        } = self.footprint.value
        else {
            self.dirty = true;
            return Ok(());
        };
        let row = key.get(prefix_len..).unwrap_or_default();
        let own = |value: &[u8]| if valued { value.to_vec() } else { Vec::new() };
        let value = value.map(own);
        match self.pending.entry(row.to_vec()) {
            Entry::Occupied(known) => known.into_mut().1 = value,
            Entry::Vacant(new) => {
                let mut held = None;
                before.get(space, key, &mut |old| {
                    let old = old.map(|old| if valued { old } else { &[] });
                    held = old.map(|old| (row_hash(row, old), old.len()));
                })?;
                let before = Before { value: held };
                new.insert((before, value));
            }
        }
        Ok(())
    }

    /// The commit at hand removes all entries of a range that meets the footprint.
    pub(super) fn on_range(
        &mut self,
        before: &dyn lsm::Read,
        space: rama_wire::SpaceId,
        (lo, hi): (&[u8], Option<&[u8]>),
    ) -> Result<(), lsm::Error> {
        if !self.footprint.is_exact() {
            self.dirty = true;
            return Ok(());
        }
        let own = self.footprint.clone();
        let lo = own.lo.as_slice().max(lo);
        let hi = match (own.hi.as_deref(), hi) {
            (Some(own), Some(hi)) => Some(own.min(hi)),
            (end, None) | (None, end) => end,
        };
        let mut keys = Vec::new();
        before.scan(space, lo, hi, lsm::Order::Ascending, &mut |key, _| {
            keys.push(key.to_vec());
            std::ops::ControlFlow::Continue(())
        })?;
        for key in keys {
            self.on_entry(before, space, (&key, None))?;
        }
        // What the same commit wrote there earlier goes as well.
        let Form::Rows { prefix_len, .. } = own.value else {
            return Ok(());
        };
        let prefix = &own.lo[..prefix_len.min(own.lo.len())];
        for (row, (_, new)) in &mut self.pending {
            let key = [prefix, row.as_slice()].concat();
            if lo <= key.as_slice() && hi.is_none_or(|hi| key.as_slice() < hi) {
                *new = None;
            }
        }
        Ok(())
    }

    /// The commit is over: tells what it changed.
    pub(super) fn on_commit(&mut self, waiting_max: usize) -> Left {
        let pending = std::mem::take(&mut self.pending);
        if self.dirty || !self.footprint.is_exact() {
            self.dirty = true;
            return Left::Work;
        }
        let Some(mut checksum) = self.checksum else {
            return Left::Work;
        };
        let mut changes: Vec<Change> = Vec::with_capacity(pending.len());
        for (row, (before, new)) in pending {
            let after = new.as_ref().map(|new| (row_hash(&row, new), new.len()));
            if before.value == after {
                continue;
            }
            if let Some((hash, len)) = before.value {
                checksum = checksum.wrapping_sub(hash);
                self.rows -= 1;
                self.bytes -= (row.len() + len) as u64;
            }
            if let Some((hash, len)) = after {
                checksum = checksum.wrapping_add(hash);
                self.rows += 1;
                self.bytes += (row.len() + len) as u64;
            }
            changes.push((row, new));
        }
        if changes.is_empty() {
            return Left::Nothing;
        }
        self.checksum = Some(checksum);
        #[cfg(any(test, feature = "mutants"))]
        if crate::mutants::active(crate::mutants::Mutant::DroppedDiff) {
            changes.pop();
        }
        self.tell(Update::Changes { checksum, changes }, waiting_max)
    }

    /// Tells those readers who know all that came before: a few at once, many later, so that a
    /// commit does not wait for them.
    fn tell(&mut self, update: Update, waiting_max: usize) -> Left {
        if self.outbox.len() >= waiting_max {
            self.outbox.clear();
            self.told = 0;
            self.readers.values_mut().for_each(|it| it.behind = true);
            return Left::Work;
        }
        let few = self.outbox.is_empty() && self.readers.len() <= limits::PROXIES_TOLD_AT_ONCE;
        self.outbox.push_back(Arc::new(update));
        if !few {
            return Left::Work;
        }
        self.tell_some(usize::MAX, waiting_max);
        match self.needs_answer() {
            true => Left::Work,
            false => Left::Nothing,
        }
    }

    /// Tells up to about so many readers what waits for them; answers whether all were told.
    pub(super) fn tell_some(&mut self, mut count_max: usize, waiting_max: usize) -> bool {
        while let Some(update) = self.outbox.front() {
            for (id, reader) in self.readers.range_mut(self.told + 1..) {
                if count_max == 0 {
                    return false;
                }
                count_max -= 1;
                self.told = *id;
                if !reader.behind {
                    reader.behind = reader.subscription.push(update, waiting_max) == Pushed::Behind;
                }
            }
            self.outbox.pop_front();
            self.told = 0;
        }
        true
    }

    /// Whether there is somebody to be told the whole value.
    pub(super) fn needs_answer(&self) -> bool {
        self.dirty || self.readers.values().any(|reader| reader.behind)
    }

    /// The plan answers this now: tells those who have to know.
    pub(super) fn on_answer(&mut self, answer: Vec<u8>, waiting_max: usize) {
        let checksum = self.measure(&answer);
        let known = self.checksum.replace(checksum);
        debug_assert!(
            self.dirty || !self.footprint.is_exact() || known.is_none_or(|it| it == checksum),
            "what was told of {:?} is not what the store has",
            self.plan
        );
        let changed = self.dirty && known != Some(checksum);
        self.dirty = false;
        let whole = |why| {
            let answer = answer.clone();
            Arc::new(Update::Whole {
                why,
                checksum,
                answer,
            })
        };
        let (mut resync, mut evaluated) = (None, None);
        for reader in self.readers.values_mut() {
            let update = match (reader.behind, changed) {
                (true, _) => resync.get_or_insert_with(|| whole(Whole::Resync)),
                (false, true) => evaluated.get_or_insert_with(|| whole(Whole::Evaluated)),
                (false, false) => continue,
            };
            let pushed = reader.subscription.push(update, waiting_max);
            reader.behind = pushed == Pushed::Behind;
        }
    }

    /// Counts what an answer holds, and gives its checksum.
    fn measure(&mut self, answer: &[u8]) -> u64 {
        if self.footprint.value == Form::Answer {
            return answer_hash(answer);
        }
        let rows = plan::rows(answer).expect("the engine reads its own answers");
        let size = |(key, value): &plan::Row<'_>| (key.len() + value.len()) as u64;
        self.rows = rows.len() as u64;
        self.bytes = rows.iter().map(size).sum();
        let hash = |(key, value): &plan::Row<'_>| row_hash(key, value);
        rows.iter().map(hash).fold(0, u64::wrapping_add)
    }

    /// Whether it has outgrown what may be followed as one value (P-39).
    pub(super) fn is_too_large(&self) -> bool {
        self.rows > limits::PROXY_ROWS_MAX || self.bytes > limits::PROXY_BYTES_MAX
    }
}
