//! The source work of one task in one attempt, slice by slice.
//!
//! Relies on the plan: ranges are durable and never change for an id (M-3). Records go to the stage
//! straight from the log's memory, without a copy. What must stay true: records of a partition come
//! in offset order (M-10), excluded ones never come.

use rama_core::ids::{Position, SourceId};
use rama_core::microbatch::SourceWork;
use rama_io::Env;
use rama_wire::Record;

use crate::failure::{EventFailure, guard};
use crate::limits;
use crate::origin;
use crate::reader::LogRecords;
use crate::stage::{Outbox, SourceRecord};
use crate::task::Task;
use crate::task_thread::Thread;

/// What is left to emit.
pub(super) struct Work {
    pub(super) at: Position,
    ranges: Vec<SourceWork>,
    ticks: Vec<SourceId>,
}

impl Work {
    pub(super) fn new(at: Position, mut sources: Vec<SourceWork>, ticks: Vec<SourceId>) -> Work {
        sources.reverse();
        Work {
            at,
            ranges: sources,
            ticks,
        }
    }

    /// Brings the records of the next slice into memory. Where trimming does not wait for this
    /// topology, it goes on at the first that is still there (D-39).
    pub(super) async fn warm<E: Env>(
        &mut self,
        thread: &Thread<E>,
        topology: u16,
        task: u32,
    ) -> Result<(), EventFailure> {
        let topology = &thread.layout.topologies[usize::from(topology)];
        while let Some(range) = self.ranges.last_mut() {
            let mut sources = topology.sources.iter();
            let Some(source) = sources.find(|source| source.id == range.source.0) else {
                return Ok(());
            };
            let log = thread.layout.depots[usize::from(source.depot)].log;
            let start = thread.local(task).partition.log_range(log).start;
            range.from = range.from.max(start);
            if range.from < range.to {
                return thread.warm(task, log, range.from).await;
            }
            self.ranges.pop();
        }
        Ok(())
    }

    /// Runs one slice, of one record when it is to be thorough; `true` when nothing is left.
    pub(super) fn run<E: Env>(
        &mut self,
        (thread, thorough): (&Thread<E>, bool),
        topology: u16,
        here: u32,
        task: &Task,
        out: &mut Outbox,
    ) -> Result<bool, EventFailure> {
        if let Some(tick) = self.ticks.pop() {
            run_tick(thread, topology, tick, task, out)?;
        } else if let Some(range) = self.ranges.last_mut() {
            debug_assert_eq!(range.partition, here);
            run_range((thread, thorough), topology, range, task, out)?;
        }
        Ok(self.is_done())
    }

    /// Leaves the record out whose event failed, as the only one of its slice; `true` when nothing
    /// is left.
    pub(super) fn pass(&mut self) -> bool {
        if let Some(range) = self.ranges.last_mut() {
            range.from += 1;
        }
        self.is_done()
    }

    fn is_done(&mut self) -> bool {
        while self.ranges.pop_if(|range| range.from >= range.to).is_some() {}
        self.ticks.is_empty() && self.ranges.is_empty()
    }
}

fn run_tick<E: Env>(
    thread: &Thread<E>,
    topology: u16,
    tick: SourceId,
    task: &Task,
    out: &mut Outbox,
) -> Result<(), EventFailure> {
    let topology = &thread.layout.topologies[usize::from(topology)];
    let Some(source) = topology.sources.iter().find(|source| source.id == tick.0) else {
        return Ok(());
    };
    run_tick_record(&*source.first, task, out)
}

/// Runs a source stage on one tick (D-8).
pub(crate) fn run_tick_record(
    stage: &dyn crate::stage::SourceStage,
    task: &Task,
    out: &mut Outbox,
) -> Result<(), EventFailure> {
    let bytes = ().to_bytes();
    let record = SourceRecord {
        origin: origin::TICK,
        edge: 0,
        offset: 0,
        bytes: &bytes,
    };
    guard(|| stage.run_records(task, &mut &[record][..], out))
}

fn run_range<E: Env>(
    (thread, thorough): (&Thread<E>, bool),
    topology: u16,
    work: &mut SourceWork,
    task: &Task,
    out: &mut Outbox,
) -> Result<(), EventFailure> {
    let topology = &thread.layout.topologies[usize::from(topology)];
    let index = topology
        .sources
        .iter()
        .position(|source| source.id == work.source.0);
    let Some(index) = index else {
        return Err(EventFailure::Unsupported {
            message: format!(
                "source {} of microbatch {} is in progress but not in the code: declare it again, \
                 or pause the topology before removing it",
                work.source.0, topology.name
            ),
        });
    };
    let source = &topology.sources[index];
    let depot = &thread.layout.depots[usize::from(source.depot)];
    let home = origin::home(index, work.partition);
    let (mut next, excluded) = (work.from, &work.excluded);
    let records_max = match thorough {
        true => 1,
        false => thread.tuning().fetch_max[usize::from(source.depot)],
    };
    let mut records = LogRecords {
        partition: &thread.local(work.partition).partition,
        log: depot.log,
        from: work.from,
        to: work.to.min(work.from + records_max),
        bytes_max: limits::SOURCE_SLICE_BYTES,
        over: &thread.overtime(),
        next: &mut next,
        name: &mut |offset| {
            let wanted = excluded.binary_search(&offset).is_err();
            wanted.then_some((
                crate::stage::Origin {
                    record: offset,
                    home,
                },
                0,
            ))
        },
        vanished: &mut |_| {},
    };
    guard(|| source.first.run_records(task, &mut records, out))?;
    work.from = next;
    Ok(())
}
