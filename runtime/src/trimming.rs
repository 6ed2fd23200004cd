//! Giving up old records of depots, as the options of each depot say (spec §1.6).
//!
//! Relies on the log for durability: the new start of a partition is an entry like any other, so
//! that a crash comes before or after it. Segments are removed whole, when nothing in them is
//! needed any more. What must stay true: a record that a topology of the module or a mirror in
//! another one still needs stays, unless the depot's options say that nobody is waited for (D-39);
//! the newest records that the options want kept are there (D-37).

mod bytes;

use std::rc::Rc;
use std::time::Duration;

use rama_core::options::{
    DEPOT_EXCESS, DEPOT_MAX_AGE, DEPOT_MAX_BYTES, DEPOT_MAX_ENTRIES, DEPOT_TRIM_COORDINATE,
    DEPOT_TRIM_COORDINATE_REMOTE, Level, Settings,
};
use rama_io::Env;
use rama_storage::lsm::WriteBatch;
use rama_storage::{Entry, Op, Partition};
use rama_wire::LogId;

use crate::definition::DepotKind;
use crate::depot;
use crate::error::Result;
use crate::layout::Layout;
use crate::mirror;
use crate::processed;
use crate::task_thread::Thread;

/// How much of each partition of a depot is kept. Zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    entries: u64,
    bytes: u64,
    age_ms: u64,
    /// Nothing is trimmed before so many percent more are there.
    excess_percent: u64,
    /// Whether the topologies of the module are waited for.
    coordinated: bool,
    /// Whether mirrors in other modules are.
    coordinated_remotely: bool,
}

impl Retention {
    /// What options come to for a depot.
    pub(crate) fn of(settings: &Settings, depot: &Level) -> Retention {
        Retention {
            entries: settings.whole(&DEPOT_MAX_ENTRIES, depot),
            bytes: settings.whole(&DEPOT_MAX_BYTES, depot),
            age_ms: settings.whole(&DEPOT_MAX_AGE, depot),
            excess_percent: settings.whole(&DEPOT_EXCESS, depot),
            coordinated: settings.switch(&DEPOT_TRIM_COORDINATE, depot),
            coordinated_remotely: settings.switch(&DEPOT_TRIM_COORDINATE_REMOTE, depot),
        }
    }

    /// For a copy of records that are elsewhere, too: what is processed goes at once.
    pub(crate) fn of_copy() -> Retention {
        Retention {
            entries: 1,
            coordinated: true,
            ..Retention::default()
        }
    }

    fn is_unlimited(&self) -> bool {
        (self.entries, self.bytes, self.age_ms) == (0, 0, 0)
    }

    /// How much there may be before a limit takes effect.
    fn with_excess(&self, limit: u64) -> u64 {
        let excess = u128::from(limit) * u128::from(self.excess_percent) / 100;
        u64::try_from(u128::from(limit) + excess).unwrap_or(u64::MAX)
    }

    /// Where a source that starts at the beginning starts: at the records that are kept for sure,
    /// so that trimming does not overtake it at once (D-38, 20.13).
    pub(crate) async fn beginning<E: Env>(
        &self,
        env: &E,
        partition: &Partition<E>,
        log: LogId,
    ) -> Result<u64> {
        let range = partition.log_range(log);
        let mut start = range.start;
        if self.entries > 0 {
            start = start.max(range.end.saturating_sub(self.entries));
        }
        if self.age_ms > 0 {
            let oldest = env.wall_ms().saturating_sub(self.age_ms);
            start = start.max(partition.offset_at_time(log, oldest).await?);
        }
        Ok(start)
    }
}

/// Trims the partitions of a task thread, again and again.
pub(crate) async fn run<E: Env>(thread: Rc<Thread<E>>) {
    loop {
        let every: Duration = thread.tuning().trim_every;
        thread.env.sleep(every).await;
        for place in 0..thread.tasks.len() {
            for depot in 0..thread.layout.depots.len() as u16 {
                let task = thread.tasks[place].id;
                if let Err(error) = trim(&thread, task, depot).await {
                    let depot = &thread.layout.depots[usize::from(depot)].name;
                    tracing::error!(%error, task, depot, "could not trim a depot partition");
                }
                if thread.commit.poison().is_some() {
                    return;
                }
            }
        }
    }
}

/// Whether anything of a depot is trimmed on a task: engines' own depots look after themselves.
fn is_trimmed(layout: &Layout, task: u32, depot: u16) -> bool {
    let kind = layout.definition.depots[usize::from(depot)].kind;
    let kept = matches!(kind, DepotKind::DeadLetters | DepotKind::Tick { .. });
    !kept && task < layout.depots[usize::from(depot)].partitions
}

/// Trims one partition, if there is too much of it; completes when that is durable.
async fn trim<E: Env>(thread: &Rc<Thread<E>>, task: u32, depot: u16) -> Result<()> {
    let retention = thread.tuning().retention[usize::from(depot)];
    if retention.is_unlimited() || !is_trimmed(&thread.layout, task, depot) {
        return Ok(());
    }
    let log = thread.layout.depots[usize::from(depot)].log;
    let Some(wanted) = excess(thread, task, log, retention).await? else {
        return Ok(());
    };
    let mut before = wanted;
    if retention.coordinated {
        before = before.min(consumed(thread, task, depot)?);
    }
    if retention.coordinated_remotely {
        before = before.min(mirror::held(thread, task, depot)?.unwrap_or(u64::MAX));
    }
    if before <= thread.local(task).partition.log_range(log).start {
        return Ok(());
    }
    let mut batch = WriteBatch::new();
    bytes::forget(log, before, &mut batch);
    let mut entry = Entry::new().with(Op::Trim {
        partition: task,
        log,
        before,
    });
    entry.push(Op::Write {
        partition: task,
        batch,
    });
    let index = thread.try_append(entry)?.index;
    thread.commit.applied(index).await?;
    // The coordinators of microbatches are told where the partition starts now.
    thread.mark_grown(task, depot);
    depot::announce_growth(thread);
    Ok(())
}

/// The first offset that the options want kept; `None` while there is not too much.
async fn excess<E: Env>(
    thread: &Thread<E>,
    task: u32,
    log: LogId,
    retention: Retention,
) -> Result<Option<u64>> {
    let partition = thread.local(task).partition.clone();
    let mut keep = None;
    if retention.bytes > 0 {
        let most = retention.with_excess(retention.bytes);
        keep = keep.max(bytes::excess(thread, task, log, (retention.bytes, most)).await?);
    }
    if retention.age_ms > 0 {
        let now = thread.env.wall_ms();
        let start = partition.log_range(log).start;
        let latest = now.saturating_sub(retention.with_excess(retention.age_ms));
        if partition.offset_at_time(log, latest).await? > start {
            let oldest = now.saturating_sub(retention.age_ms);
            keep = keep.max(Some(partition.offset_at_time(log, oldest).await?));
        }
    }
    let range = partition.log_range(log);
    if retention.entries > 0 {
        let most = retention.with_excess(retention.entries);
        let over = range.end - range.start > most;
        keep = keep.max(over.then(|| range.end - retention.entries));
    }
    Ok(keep)
}

/// The first offset that a topology of the module still needs, by what is durable.
fn consumed<E: Env>(thread: &Thread<E>, task: u32, depot: u16) -> Result<u64> {
    let mut first = u64::MAX;
    #[cfg(any(test, feature = "mutants"))]
    if crate::mutants::active(crate::mutants::Mutant::TrimUnconsumed) {
        return Ok(first);
    }
    for &(topology, source) in &thread.layout.depots[usize::from(depot)].consumers {
        first = first.min(processed::range(thread, task, topology, source)?.end);
    }
    Ok(first)
}

#[cfg(test)]
mod tests;
