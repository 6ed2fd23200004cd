//! One streaming batch on one task (S-4): run, write, wait, release.
//!
//! Relies on the event boundary for failures and on the commit loop for durability. Records whose
//! last events are in the batch are done with its writes: their progress is part of the same entry,
//! so that a crash keeps both or neither. What must stay true: nothing leaves the task before the batch is durable and applied; after a failure nothing
//! of the batch is left and every tree in it is told (S-9, S-10).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use rama_core::stream::Delivery;
use rama_io::{Category, Env};

use super::{Durable, Returned, StreamMessage, Streaming, Work, sources};
use crate::failure::{EventFailure, guard};
use crate::limits;
use crate::message::Message;
use crate::microbatch_driver::run_tick_record;
use crate::origin;
use crate::reader::LogRecords;
use crate::stage::{Ack, Origin, Outgoing};
use crate::task_thread::Thread;
use crate::waits::{self, Wait, Waited};

/// Runs queued work as one batch and releases what it emits.
pub(super) async fn run<E: Env>(thread: &Rc<Thread<E>>, me: &Rc<Streaming<E>>) {
    me.context.begin(None);
    let oldest = thread.tuning().tree_timeout(me.topology);
    me.handle.begin_batch(thread.env.now(), oldest);
    let mut origins = Vec::new();
    let mut items = 0;
    let (batch_max, over) = (thread.tuning().batch_max(me.topology), thread.overtime());
    while items < batch_max && (items == 0 || !over()) {
        let Some(work) = me.work.borrow_mut().pop_front() else {
            break;
        };
        let first = origins.len();
        let slice = Slice {
            records_max: batch_max - items,
            over: &over,
        };
        if let Err(failure) = run_work(thread, me, work, slice, &mut origins).await {
            return fail(thread, me, &origins, &failure);
        }
        items += (origins.len() - first).max(1);
    }
    me.out.borrow_mut().merge_acks();
    let stored = match write(thread, me).await {
        Ok(stored) => stored,
        Err(failure) => return fail(thread, me, &origins, &failure),
    };
    release(thread, me);
    for (source, progress) in stored {
        let what = Durable::Checkpoint { progress };
        me.on_message(thread, StreamMessage::Durable { source, what });
    }
}

/// How much of the batch is left to one piece of work.
struct Slice<'a> {
    records_max: usize,
    over: &'a dyn Fn() -> bool,
}

async fn run_work<E: Env>(
    thread: &Thread<E>,
    me: &Streaming<E>,
    work: Work,
    slice: Slice<'_>,
    origins: &mut Vec<Origin>,
) -> Result<(), EventFailure> {
    let topology = &thread.layout.topologies[usize::from(me.topology)];
    match work {
        Work::Hop { stage, batch } => {
            batch.origins(&mut |origin| origins.push(origin));
            let stage = &topology.stages[usize::from(stage.0)];
            let mut out = me.out.borrow_mut();
            guard(|| stage.run(&me.handle, batch, &mut out))
        }
        Work::Tick { source } => {
            let mut out = me.out.borrow_mut();
            run_tick_record(&*topology.sources[source].first, &me.handle, &mut out)
        }
        Work::Delivery { source, delivery } => {
            let Some(delivery) = still_there(thread, me, source, delivery) else {
                return Ok(());
            };
            let log = thread.layout.depots[usize::from(topology.sources[source].depot)].log;
            thread.warm(me.task, log, delivery.from).await?;
            run_delivery(thread, me, (source, delivery), slice, origins)
        }
    }
}

/// The records of a delivery that trimming has left there: where it does not wait for this
/// topology, the others count as done (D-39).
fn still_there<E: Env>(
    thread: &Thread<E>,
    me: &Streaming<E>,
    source: usize,
    mut delivery: Delivery,
) -> Option<Delivery> {
    let topology = &thread.layout.topologies[usize::from(me.topology)];
    let depot = &thread.layout.depots[usize::from(topology.sources[source].depot)];
    let start = thread.local(me.task).partition.log_range(depot.log).start;
    let gone = delivery.from..start.min(delivery.to);
    if !gone.is_empty() {
        let (name, task, count) = (&topology.name, me.task, gone.end - gone.start);
        tracing::warn!(topology = %name, task, depot = %depot.name, count, "records are trimmed");
        thread.metrics.on_skipped(me.topology, count);
        settle(thread, me, (source, &delivery), gone.clone());
        delivery.from = gone.end;
    }
    (delivery.from < delivery.to).then_some(delivery)
}

/// Records of a delivery are done as they are: there is nothing to run for them.
fn settle<E: Env>(
    thread: &Thread<E>,
    me: &Streaming<E>,
    (source, delivery): (usize, &Delivery),
    offsets: impl Iterator<Item = u64>,
) {
    let home = origin::home(source, me.task);
    let ack = |offset| Ack {
        origin: Origin {
            record: delivery.tree(offset).0,
            home,
        },
        edges: delivery.root_edge(offset),
    };
    let (returns, acks) = (Vec::new(), offsets.map(ack).collect());
    me.on_message(thread, StreamMessage::Settled { returns, acks });
}

fn run_delivery<E: Env>(
    thread: &Thread<E>,
    me: &Streaming<E>,
    (source, delivery): (usize, Delivery),
    slice: Slice<'_>,
    origins: &mut Vec<Origin>,
) -> Result<(), EventFailure> {
    let topology = &thread.layout.topologies[usize::from(me.topology)];
    let home = origin::home(source, me.task);
    let layout = &topology.sources[source];
    let mut next = delivery.from;
    let fetch_max = thread.tuning().fetch_max[usize::from(layout.depot)];
    let records_max = fetch_max.min(slice.records_max as u64);
    let to = delivery.to.min(delivery.from + records_max);
    let mut vanished = Vec::new();
    let mut records = LogRecords {
        partition: &thread.local(me.task).partition,
        log: thread.layout.depots[usize::from(layout.depot)].log,
        from: delivery.from,
        to,
        bytes_max: limits::SOURCE_SLICE_BYTES,
        over: slice.over,
        next: &mut next,
        name: &mut |offset| {
            let origin = Origin {
                record: delivery.tree(offset).0,
                home,
            };
            origins.push(origin);
            Some((origin, delivery.root_edge(offset)))
        },
        vanished: &mut |offset| vanished.push(offset),
    };
    let mut out = me.out.borrow_mut();
    let ran = guard(|| layout.first.run_records(&me.handle, &mut records, &mut out));
    drop(out);
    if !vanished.is_empty() {
        settle(thread, me, (source, &delivery), vanished.into_iter());
    }
    if next < delivery.to {
        // The rest is still to come, whatever became of this slice: its trees are others.
        let mut rest = delivery;
        rest.from = next.max(delivery.from + u64::from(ran.is_err() && next == delivery.from));
        if rest.from < rest.to {
            me.work.borrow_mut().push_front(Work::Delivery {
                source,
                delivery: rest,
            });
        }
    }
    ran
}

/// Writes the batch, with the progress it makes, as one log entry and waits until it is durable
/// and applied; answers the progress of each source. A batch without writes needs no entry: its
/// progress finds another.
async fn write<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Streaming<E>,
) -> Result<Vec<(usize, u64)>, EventFailure> {
    let (mut writes, appends) = (me.context.take_writes(), me.context.take_appends());
    if writes.is_empty() && appends.is_empty() {
        return Ok(Vec::new());
    }
    let storage = |error: crate::error::Error| EventFailure::Storage {
        attempted: "write a streaming batch".to_owned(),
        cause: error.to_string(),
    };
    let mut ahead = sources::progress_ahead(me);
    ahead.retain(|&(_, place, progress)| thread.progress.put_into(place, progress, &mut writes));
    let index = crate::depot::write_with_appends(thread, me.task, writes, &appends);
    let index = index.map_err(storage)?;
    for &(_, place, progress) in &ahead {
        thread.progress.on_saved(place, progress);
    }
    thread.commit.applied(index).await.map_err(storage)?;
    let stored = ahead
        .iter()
        .map(|&(source, _, progress)| (source, progress));
    Ok(stored.collect())
}

/// Sends hops on and acks home, after their writes are durable (S-5).
fn release<E: Env>(thread: &Rc<Thread<E>>, me: &Streaming<E>) {
    let topology = me.topology;
    let mut out = me.out.borrow_mut();
    for wait in out.take_waits() {
        start_wait(thread, me, wait);
    }
    let acks: Vec<Ack> = out.drain_acks().collect();
    let outgoing: Vec<Outgoing> = out.drain_outgoing().collect();
    drop(out);
    for Outgoing { stage, task, batch } in outgoing {
        let message = StreamMessage::Hop { stage, batch };
        thread.send(
            task,
            Message::Stream {
                topology,
                task,
                message,
            },
        );
    }
    let mut home: BTreeMap<u32, (Vec<Returned>, Vec<Ack>)> = BTreeMap::new();
    for (tree, value) in me.context.take_returns() {
        let origin = acks
            .iter()
            .map(|ack| ack.origin)
            .find(|origin| origin.record == tree);
        if let Some((origin, (_, task))) = origin.and_then(|o| Some((o, origin::split(o.home)?))) {
            home.entry(task).or_default().0.push((origin, value));
        }
    }
    for ack in acks {
        let Some((_, task)) = origin::split(ack.origin.home) else {
            continue;
        };
        home.entry(task).or_default().1.push(ack);
    }
    for (task, (returns, acks)) in home {
        let message = StreamMessage::Settled { returns, acks };
        thread.send(
            task,
            Message::Stream {
                topology,
                task,
                message,
            },
        );
    }
}

/// A value goes on when its future is done, as if it came from another task.
fn start_wait<E: Env>(thread: &Rc<Thread<E>>, me: &Streaming<E>, wait: Wait) {
    let (topology, task) = (me.topology, me.task);
    let then = move |thread: &Rc<Thread<E>>, origin, stage, waited: Waited| match waited {
        Ok(batch) => {
            let message = StreamMessage::Hop { stage, batch };
            thread.send(
                task,
                Message::Stream {
                    topology,
                    task,
                    message,
                },
            );
        }
        Err(failure) => {
            let text: Arc<str> = failure.to_string().into();
            thread.on_event_failure(topology, task, &text);
            fail_trees(thread, topology, &[origin], Some(origin), &text);
        }
    };
    waits::start(
        thread,
        (task, Some(topology)),
        Category::LowLatency,
        wait,
        then,
    );
}

/// Drops the batch and fails every tree in it.
fn fail<E: Env>(thread: &Thread<E>, me: &Streaming<E>, origins: &[Origin], failure: &EventFailure) {
    let mut out = me.out.borrow_mut();
    let blamed = out.current();
    out.clear();
    drop(out);
    me.handle.undo_batch();
    me.context.discard();
    let text: Arc<str> = failure.to_string().into();
    thread.on_event_failure(me.topology, me.task, &text);
    fail_trees(thread, me.topology, origins, Some(blamed), &text);
}

/// Tells the homes of trees that they failed, and which of them is to blame.
pub(crate) fn fail_trees<E: Env>(
    thread: &Thread<E>,
    topology: u16,
    origins: &[Origin],
    blamed: Option<Origin>,
    text: &Arc<str>,
) {
    let mut home: BTreeMap<u32, BTreeMap<Origin, bool>> = BTreeMap::new();
    for origin in origins {
        if let Some((_, task)) = origin::split(origin.home) {
            let to_blame = Some(*origin) == blamed;
            home.entry(task).or_default().insert(*origin, to_blame);
        }
    }
    for (task, trees) in home {
        let trees = trees.into_iter().collect();
        let text = text.clone();
        let message = StreamMessage::Failed { trees, text };
        thread.send(
            task,
            Message::Stream {
                topology,
                task,
                message,
            },
        );
    }
}
