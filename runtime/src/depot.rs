//! Depot partitions on their task: appends, their acknowledgment, reads.
//!
//! Relies on the log for offsets and order, on the commit loop for durability. An append goes
//! `append` (offset assigned) → log → `answer` (durable and applied) → either the reply, or with
//! `Ack` an [`AckJoin`] that the stream topologies of the depot settle (D-15). What must stay
//! true: nothing is acknowledged before it is durable on its partition; an accepted append that is
//! not known to be durable is answered "unknown", never "failed" (D-16).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rama_core::stream::Outcome;
use rama_io::Env;
use rama_storage::lsm::WriteBatch;
use rama_storage::{Entry, Op};
use rama_wire::Index;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::message::{AckLevel, AppendRequest, Appended, Message, Records, Reply};
use crate::producers::Verdict;
use crate::stream_driver::progress::Saved;
use crate::task_thread::Thread;
use crate::topology_def::TopologyKind;

/// An append in the log that nobody was told about yet.
pub(crate) struct PendingAppend {
    task: u32,
    depot: u16,
    offset: u64,
    count: u64,
    /// The client, unless a topology appended.
    client: Option<(AckLevel, Reply<Appended>)>,
}

/// What the commit loop answers when its entry is applied.
pub(crate) enum Pending {
    Append(PendingAppend),
    /// Progress of a stream source, for its tracker.
    Progress(Saved),
}

/// Takes the records of a client into the log (D-14).
pub(crate) fn append<E: Env>(thread: &Thread<E>, request: AppendRequest) {
    if !request.departs() {
        return;
    }
    let AppendRequest {
        departure: _,
        task,
        depot,
        records,
        ack,
        reply,
        numbered,
    } = request;
    let state = thread.local(task);
    if state.pending_appends.get() >= limits::PENDING_APPENDS_PER_TASK_MAX {
        let text = format!("task {task} has too many appends in flight, nothing was done; retry");
        let _ = reply.send(Err(Error::unavailable(text)));
        return;
    }
    let layout = &thread.layout.depots[usize::from(depot)];
    let count = records.len() as u64;
    let verdict = numbered.map(|numbered| state.producers.borrow().judge(layout.log, numbered));
    match verdict {
        None | Some(Verdict::New) => {}
        Some(Verdict::Taken { offset, index }) => {
            let client = Some((ack, reply));
            let pending = PendingAppend {
                task,
                depot,
                offset,
                count,
                client,
            };
            return answer_again(thread, pending, index);
        }
        Some(Verdict::Forgotten) => {
            let text = "an append was sent again so late that nobody knows whether it was taken";
            let _ = reply.send(Err(Error::unknown(text)));
            return;
        }
    }
    let slices = records.slices();
    let op = Op::Append {
        partition: task,
        log: layout.log,
        time_ms: thread.env.wall_ms(),
        records: &slices,
    };
    let mut entry = Entry::new().with(op);
    if let Some(numbered) = numbered {
        let offset = state.partition.log_appended_end(layout.log);
        let producers = state.producers.borrow();
        entry.push(Op::Write {
            partition: task,
            batch: producers.writes(layout.log, numbered, offset),
        });
    }
    let appended = match thread.try_append(entry) {
        Ok(appended) => appended,
        Err(error) => {
            let text = format!(
                "could not append to {} of {}",
                layout.name, thread.layout.module
            );
            let _ = reply.send(Err(Error::new(error.kind(), text).caused_by(error)));
            return;
        }
    };
    state.pending_appends.set(state.pending_appends.get() + 1);
    state.note_record_bytes(depot, &records);
    thread.metrics.on_append(
        thread.index,
        records.len() as u64,
        records.bytes_len() as u64,
    );
    let pending = PendingAppend {
        task,
        depot,
        offset: appended.first_offsets[0],
        count,
        client: Some((ack, reply)),
    };
    if let Some(numbered) = numbered {
        let mut producers = state.producers.borrow_mut();
        producers.take(layout.log, numbered, pending.offset, appended.index);
    }
    let pending = Pending::Append(pending);
    thread.commit.answer_at(appended.index, pending);
}

/// Answers an append that was taken before, by the entry `index`: not before that is durable.
fn answer_again<E: Env>(thread: &Thread<E>, append: PendingAppend, index: Index) {
    let pending = &thread.local(append.task).pending_appends;
    pending.set(pending.get() + 1);
    if thread.commit.applied_to() >= index {
        answer(thread, append);
    } else if let Some(poison) = thread.commit.poison() {
        answer_lost(append, poison);
    } else {
        thread.commit.answer_after(index, Pending::Append(append));
    }
}

/// One atomic log entry: writes to the store and what topology code appends to depots of this
/// task (D-30, D-33).
pub(crate) fn write_with_appends<E: Env>(
    thread: &Thread<E>,
    task: u32,
    writes: WriteBatch,
    appends: &[(u16, Records)],
) -> Result<Index> {
    let mut all = Vec::with_capacity(appends.len());
    for (depot, records) in appends {
        all.push(DepotAppend {
            task,
            depot: *depot,
            records,
        });
    }
    let write = (!writes.is_empty()).then_some(Op::Write {
        partition: task,
        batch: writes,
    });
    append_entry(thread, &all, write)
}

/// Records that the engine or a topology appends to a depot partition of this thread.
pub(crate) struct DepotAppend<'a> {
    pub(crate) task: u32,
    pub(crate) depot: u16,
    pub(crate) records: &'a Records,
}

/// One atomic log entry of appends to depots, and of what else is to be written with them, on any
/// tasks of this thread.
pub(crate) fn append_entry<E: Env>(
    thread: &Thread<E>,
    appends: &[DepotAppend<'_>],
    with: impl IntoIterator<Item = Op<'static>>,
) -> Result<Index> {
    let slices: Vec<_> = appends
        .iter()
        .map(|append| append.records.slices())
        .collect();
    let mut entry = Entry::new();
    for (append, records) in appends.iter().zip(&slices) {
        entry.push(Op::Append {
            partition: append.task,
            log: thread.layout.depots[usize::from(append.depot)].log,
            time_ms: thread.env.wall_ms(),
            records,
        });
    }
    for op in with {
        entry.push(op);
    }
    let appended = thread.try_append(entry)?;
    for (append, offset) in appends.iter().zip(&appended.first_offsets) {
        let pending = PendingAppend {
            task: append.task,
            depot: append.depot,
            offset: *offset,
            count: append.records.len() as u64,
            client: None,
        };
        let pending = Pending::Append(pending);
        thread.commit.answer_at(appended.index, pending);
    }
    Ok(appended.index)
}

/// Answers an append whose entry is durable and applied; with `Ack`, once the streams are done too.
pub(crate) fn answer<E: Env>(thread: &Thread<E>, append: PendingAppend) {
    let PendingAppend {
        task,
        depot,
        offset,
        count,
        client,
    } = append;
    thread.mark_grown(task, depot);
    let Some((ack, reply)) = client else { return };
    let state = thread.local(task);
    state.pending_appends.set(state.pending_appends.get() - 1);
    let appended = Appended {
        partition: task,
        offset: Some(offset),
        returns: BTreeMap::new(),
    };
    let streams = &thread.layout.depots[usize::from(depot)].streams;
    if ack != AckLevel::Ack || streams.is_empty() {
        let _ = reply.send(Ok(appended));
        return;
    }
    let join = Rc::new(AckJoin {
        remaining: Cell::new(count as usize * streams.len()),
        appended: RefCell::new(appended),
        reply: RefCell::new(Some(reply)),
    });
    for &(topology, source) in streams {
        if let Some(stream) = &state.streams[usize::from(topology)] {
            for offset in offset..offset + count {
                stream.watch(thread, source, offset, &join);
            }
        }
    }
}

/// Answers an append whose log died before it was known to be durable (D-16).
pub(crate) fn answer_lost(append: PendingAppend, why: Error) {
    if let Some((_, reply)) = append.client {
        let text = "an append was accepted and is not known to be durable";
        let _ = reply.send(Err(Error::unknown(text).caused_by(why)));
    }
}

/// Tells everybody who reads them that depot partitions of this thread have grown.
pub(crate) fn announce_growth<E: Env>(thread: &Thread<E>) {
    for (task, depot) in thread.grown.take() {
        let layout = &thread.layout.depots[usize::from(depot)];
        if layout.tick.is_some() || task >= layout.partitions {
            continue;
        }
        let state = thread.local(task);
        let range = state.partition.log_range(layout.log);
        let (start, end) = (range.start, range.end);
        thread.metrics.set_depot(depot, task, start, end);
        thread.pulls.on_growth(task, depot);
        for &(topology, source) in &layout.consumers {
            let found = &thread.layout.topologies[usize::from(topology)];
            match found.kind {
                TopologyKind::Stream => {
                    if let Some(stream) = &state.streams[usize::from(topology)] {
                        stream.on_depot_end(thread, source, end);
                    }
                }
                TopologyKind::Microbatch => {
                    let bytes = state.record_bytes(depot);
                    let participant = &state.participants[usize::from(topology)];
                    let begin = participant.as_ref().map_or(0, |found| found.begin(source));
                    let source = found.sources[source].id;
                    let partition = task;
                    let message = Message::DepotEnd {
                        topology,
                        source,
                        partition,
                        start,
                        end,
                        begin,
                        bytes,
                    };
                    thread.send(0, message);
                }
            }
        }
    }
}

/// An ACK append whose record is durable and whose stream topologies are not done.
pub(crate) struct AckJoin {
    remaining: Cell<usize>,
    appended: RefCell<Appended>,
    reply: RefCell<Option<Reply<Appended>>>,
}

impl AckJoin {
    /// One topology is done with one record. The first failure answers (D-20).
    pub(crate) fn settle(&self, topology: &str, outcome: &Outcome, returned: Option<Value>) {
        let failure = match outcome {
            Outcome::Done { .. } => {
                if let Some(value) = returned {
                    self.appended
                        .borrow_mut()
                        .returns
                        .insert(topology.to_owned(), value);
                }
                self.remaining.set(self.remaining.get() - 1);
                if self.remaining.get() == 0 {
                    self.answer(Ok(self.appended.take()));
                }
                return;
            }
            Outcome::Failed { text } => {
                format!("the record was appended, and stream {topology} failed on it: {text}")
            }
            Outcome::Throttled => format!(
                "the record was appended, and stream {topology} has too many records in work to \
                 take it now; it will be processed"
            ),
            Outcome::LeftOut => format!(
                "the record was appended, and stream {topology} has too many records in work to \
                 take it: it is left out, because its source retries nothing"
            ),
            Outcome::Paused => format!(
                "the record was appended, and stream {topology} is paused; it will be processed \
                 after a resume"
            ),
        };
        self.answer(Err(Error::new(ErrorKind::Failed, failure)));
    }

    fn answer(&self, result: Result<Appended>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(result);
        }
    }
}

/// Reads records `[from, to)` of a partition on this task (D-25), without those that a migration made
/// nothing of (D-26).
pub(crate) async fn read<E: Env>(
    thread: &Thread<E>,
    task: u32,
    depot: u16,
    from: u64,
    to: u64,
) -> Result<Vec<Vec<u8>>> {
    let layout = &thread.layout.depots[usize::from(depot)];
    let partition = &thread.local(task).partition;
    let range = partition.log_range(layout.log);
    if from > to || from < range.start || to > range.end {
        return Err(Error::invalid(format!(
            "could not read records {from}..{to} of partition {task} of {}: it holds {}..{}",
            layout.name, range.start, range.end
        )));
    }
    if to - from > limits::DEPOT_READ_RECORDS_MAX {
        return Err(Error::invalid(format!(
            "could not read {} records of {} at once: ask for at most {}",
            to - from,
            layout.name,
            limits::DEPOT_READ_RECORDS_MAX
        )));
    }
    let mut records = Vec::with_capacity((to - from) as usize);
    let mut next = from;
    while next < to {
        partition.warm_log(layout.log, next).await?;
        let count = (to - next) as usize;
        let bytes_max = limits::DEPOT_READ_BYTES_MAX;
        partition.read_log(layout.log, next, count, bytes_max, &mut |record| {
            next = record.offset + 1;
            if !record.vanished {
                records.push(record.bytes.to_vec());
            }
        })?;
    }
    Ok(records)
}
