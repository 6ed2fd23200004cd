//! What there is to read: the ends of the source partitions, the ticks, and plans made of them.
//!
//! Relies on ends being durable records. Knows no phases and no attempts. What must stay true: a
//! plan begins where the progress ends (or where trimming left the first record) and never reaches
//! past a known end.

use std::collections::BTreeMap;

use crate::ids::{Attempt, MicrobatchId, SourceId};
use crate::microbatch::{Plan, Portion, Source, SourceKind, SourceRange};
use crate::time::Now;

/// Offsets after the last decided record, per source and partition.
pub(super) type Progress = BTreeMap<SourceId, Vec<u64>>;

#[derive(Clone, Copy, Debug)]
struct End {
    start: u64,
    end: u64,
    begin: u64,
    record_bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Intake {
    sources: Vec<Source>,
    ends: BTreeMap<(SourceId, u32), End>,
    tick_due: BTreeMap<SourceId, Now>,
}

impl Intake {
    pub(super) fn new(sources: Vec<Source>) -> Intake {
        Intake {
            sources,
            ends: BTreeMap::new(),
            tick_due: BTreeMap::new(),
        }
    }

    /// The first tick of every tick source comes one interval after boot.
    pub(super) fn on_boot(&mut self, now: Now) {
        for source in &self.sources {
            if let SourceKind::Tick { interval } = source.kind {
                self.tick_due.insert(source.id, now.after(interval));
            }
        }
    }

    pub(super) fn on_depot_end(
        &mut self,
        at: (SourceId, u32),
        range: std::ops::Range<u64>,
        begin: u64,
        record_bytes: u64,
    ) {
        assert!(range.start <= range.end, "a partition ends after it starts");
        let known = self.ends.get(&at).map_or(0, |known| known.end);
        let end = End {
            start: range.start,
            end: range.end.max(known),
            begin,
            record_bytes,
        };
        self.ends.insert(at, end);
    }

    /// The next plan takes so much of each partition.
    pub(super) fn set_portion(&mut self, id: SourceId, new: Portion) {
        let found = self.sources.iter_mut().find(|source| source.id == id);
        if let Some(SourceKind::Depot { portion, .. }) = found.map(|source| &mut source.kind) {
            *portion = new;
        }
    }

    pub(super) fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.iter().find(|source| source.id == id)
    }

    /// Whether every depot source has a position.
    pub(super) fn settled(&self, progress: &Progress) -> bool {
        self.depots().all(|(id, _)| progress.contains_key(&id))
    }

    /// Gives new sources their start positions as soon as all partitions have told theirs; says
    /// whether any was given.
    pub(super) fn settle(&self, progress: &mut Progress) -> bool {
        let mut changed = false;
        for (id, partitions) in self.depots() {
            if progress.contains_key(&id) {
                continue;
            }
            let ends: Option<Vec<End>> = (0..partitions)
                .map(|partition| self.ends.get(&(id, partition)).copied())
                .collect();
            let Some(ends) = ends else {
                continue;
            };
            let at = |end: &End| end.begin.clamp(end.start, end.end);
            progress.insert(id, ends.iter().map(at).collect());
            changed = true;
        }
        changed
    }

    /// The ranges after `progress`, and the ticks that are due.
    pub(super) fn plan(&self, now: Now, id: MicrobatchId, progress: &Progress) -> Plan {
        let mut ranges = Vec::new();
        for source in &self.sources {
            let SourceKind::Depot { portion, .. } = source.kind else {
                continue;
            };
            let positions = progress.get(&source.id).map_or(&[][..], Vec::as_slice);
            for (partition, position) in (0u32..).zip(positions) {
                let Some(end) = self.end(source, partition) else {
                    continue;
                };
                let by_bytes = portion.max_bytes.checked_div(end.record_bytes);
                let by_bytes = by_bytes.unwrap_or(u64::MAX);
                let count_max = portion.max_records.min(by_bytes).max(1);
                let from = (*position).max(end.start);
                let to = end.end.min(from.saturating_add(count_max));
                if from < to {
                    ranges.push(SourceRange {
                        source: source.id,
                        partition,
                        from,
                        to,
                    });
                }
            }
        }
        ranges.sort_by_key(|range| (range.source, range.partition));
        let due = self.tick_due.iter().filter(|(_, due)| **due <= now);
        let ticks = due.map(|(source, _)| *source).collect();
        Plan {
            id,
            reserved: Attempt(0),
            ranges,
            excluded: Vec::new(),
            ticks,
        }
    }

    /// Where a partition ends for a source and all its twins: each is told by itself.
    fn end(&self, source: &Source, partition: u32) -> Option<End> {
        let mut joint = *self.ends.get(&(source.id, partition))?;
        for twin in &source.twins {
            let end = self.ends.get(&(*twin, partition))?;
            joint.start = joint.start.max(end.start);
            joint.record_bytes = joint.record_bytes.max(end.record_bytes);
            joint.end = joint.end.min(end.end);
        }
        Some(joint)
    }

    /// Starts the intervals of the plan's ticks; missed periods are not made up (D-11).
    pub(super) fn on_planned(&mut self, now: Now, plan: &Plan) {
        for tick in &plan.ticks {
            if let Some(SourceKind::Tick { interval }) = self.source(*tick).map(|s| &s.kind) {
                let due = now.after(*interval);
                self.tick_due.insert(*tick, due);
            }
        }
    }

    /// When the next tick is due.
    pub(super) fn tick_deadline(&self) -> Option<Now> {
        self.tick_due.values().min().copied()
    }

    /// Records appended and not yet in `progress`.
    pub(super) fn lag(&self, progress: &Progress) -> u64 {
        let behind = |((source, partition), end): (&(SourceId, u32), &End)| {
            let position = progress
                .get(source)
                .and_then(|at| at.get(*partition as usize));
            position.map_or(0, |at| end.end.saturating_sub((*at).max(end.start)))
        };
        self.ends.iter().map(behind).sum()
    }

    fn depots(&self) -> impl Iterator<Item = (SourceId, u32)> {
        self.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Depot { partitions, .. } => Some((source.id, *partitions)),
            SourceKind::Tick { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests;
