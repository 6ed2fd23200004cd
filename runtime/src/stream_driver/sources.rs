//! The sources of one stream topology on one task: a tracker each, and who waits for its records.
//!
//! Relies on the tracker's effects. What must stay true: ack returns are gathered only for trees
//! that somebody waits for, and dropped with the tree; progress is written only as the tracker
//! says, or less (S-13).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rama_core::stream::{Effect, Input, Outcome, Tracker, TreeId};
use rama_core::time::Now;
use rama_io::{Env, Tick};
use serde_json::Value;

use super::progress::{self, Owner};
use super::{Durable, Streaming, Text, Work, writes};
use crate::depot::AckJoin;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Layout, SourceLayout, TopologyLayout};
use crate::origin;
use crate::start;
use crate::task_thread::{Thread, pause_by_policy};
use crate::topology_def::AckAggregate;
use crate::tuning::Tuning;

/// One source as far as it is on this task.
pub(super) enum Source {
    Depot(Box<DepotSource>),
    Tick(TickSource),
}

pub(super) struct DepotSource {
    index: usize,
    /// Where the thread keeps its progress.
    place: usize,
    tracker: Tracker,
    aggregate: Option<AckAggregate>,
    waiting: BTreeMap<u64, Vec<Rc<AckJoin>>>,
    returns: BTreeMap<TreeId, Value>,
    /// Where the source began, for the processed count.
    first: u64,
    /// Offset after the last record there is.
    end: u64,
}

/// A tick depot as a source: on task 0 only (D-9).
pub(super) struct TickSource {
    interval: Duration,
    due: Tick,
    paused: bool,
}

/// The sources of a topology as far as they are on `task`, by their index.
pub(super) fn of(layout: &Layout, topology: u16, task: u32) -> Vec<Option<Source>> {
    let topology = &layout.topologies[usize::from(topology)];
    let source = |(index, source): (usize, &SourceLayout)| {
        let depot = &layout.depots[usize::from(source.depot)];
        if task >= depot.partitions {
            return None;
        }
        Some(match depot.tick {
            Some(interval) => Source::Tick(TickSource {
                interval,
                due: Tick(0),
                paused: false,
            }),
            None => Source::Depot(Box::new(DepotSource {
                index,
                place: 0,
                tracker: Tracker::new(topology.tracker_options(source)),
                aggregate: source.ack_aggregate.clone(),
                waiting: BTreeMap::new(),
                returns: BTreeMap::new(),
                first: 0,
                end: 0,
            })),
        })
    };
    topology.sources.iter().enumerate().map(source).collect()
}

impl Source {
    fn depot(&mut self) -> Option<&mut DepotSource> {
        match self {
            Source::Depot(depot) => Some(depot),
            Source::Tick(_) => None,
        }
    }

    fn input(&mut self, now: Now, input: Input) {
        if let Some(depot) = self.depot() {
            depot.tracker.on_input(now, input);
        }
    }

    pub(super) fn on_depot_end(&mut self, now: Now, end: u64) {
        if let Some(depot) = self.depot() {
            depot.end = end;
            depot.tracker.on_input(now, Input::DepotEnd { end });
        }
    }

    pub(super) fn on_ack(&mut self, now: Now, tree: TreeId, xor: u64) {
        self.input(now, Input::Ack { tree, xor });
    }

    pub(super) fn on_failed(&mut self, now: Now, tree: TreeId, blamed: bool, text: &Text) {
        self.input(
            now,
            Input::Failed {
                tree,
                blamed,
                text: text.to_string(),
            },
        );
    }

    pub(super) fn on_part_lost(&mut self, now: Now, text: &str) {
        let text = text.to_owned();
        self.input(now, Input::PartLost { text });
    }

    pub(super) fn on_durable(&mut self, now: Now, what: Durable) {
        let input = match what {
            Durable::Checkpoint { progress } => Input::Checkpointed { progress },
            Durable::DeadLetter { offset } => Input::DeadLettered { offset },
        };
        self.input(now, input);
    }

    /// Options have changed.
    pub(super) fn tune(&mut self, now: Now, tuning: &Tuning, topology: u16) {
        if let Some(depot) = self.depot() {
            let limits = tuning.tracker(topology, depot.index);
            depot.tracker.on_input(now, Input::Limits(limits));
        }
    }

    pub(super) fn set_paused(&mut self, now: Now, paused: bool) {
        match self {
            Source::Tick(tick) => tick.paused = paused,
            Source::Depot(depot) => {
                let input = if paused { Input::Pause } else { Input::Resume };
                depot.tracker.on_input(now, input);
            }
        }
    }

    pub(super) fn watch(&mut self, now: Now, offset: u64, join: Rc<AckJoin>) {
        if let Some(depot) = self.depot() {
            depot.waiting.entry(offset).or_default().push(join);
            depot.tracker.on_input(now, Input::Watch { offset });
        }
    }

    /// Adds an ack return of a tree that somebody waits for (S-18).
    pub(super) fn on_return(&mut self, tree: TreeId, value: Value) {
        let Some(depot) = self.depot() else { return };
        if !depot.tracker.watched(tree) {
            return;
        }
        let combined = match (depot.returns.remove(&tree), &depot.aggregate) {
            (Some(so_far), Some(aggregate)) => aggregate(so_far, value),
            (_, _) => Ok(value),
        };
        match combined {
            Ok(value) => {
                depot.returns.insert(tree, value);
            }
            Err(error) => tracing::warn!(%error, "could not combine ack returns"),
        }
    }

    /// Whether it goes on, or nothing of it runs.
    fn is_settled(&self) -> bool {
        match self {
            Source::Depot(depot) => depot.tracker.is_settled(),
            Source::Tick(_) => true,
        }
    }

    /// When this source wants to be looked at again.
    fn deadline(&self) -> Option<Tick> {
        match self {
            Source::Depot(depot) => depot.tracker.deadline().map(|due| Tick(due.0)),
            Source::Tick(tick) => (!tick.paused).then_some(tick.due),
        }
    }
}

impl DepotSource {
    /// Answers who waits for `offset`.
    fn release(&mut self, offset: u64, outcome: &Outcome, topology: &str) {
        let returned = match outcome {
            Outcome::Done { tree: Some(tree) } => self.returns.remove(tree),
            _ => None,
        };
        for join in self.waiting.remove(&offset).unwrap_or_default() {
            join.settle(topology, outcome, returned.clone());
        }
    }
}

/// Gives every tracker what storage knows. Before any loop runs.
pub(super) fn boot<E: Env>(thread: &Thread<E>, me: &Streaming<E>) -> Result<()> {
    let now = thread.env.now();
    for source in me.sources.borrow_mut().iter_mut().flatten() {
        match source {
            Source::Tick(tick) => {
                tick.due = now.after(tick.interval);
                tick.paused = thread.is_paused(me.topology);
            }
            Source::Depot(source) => boot_depot(thread, me, source, Now(now.0))?,
        }
    }
    note_progress(thread, me);
    Ok(())
}

fn boot_depot<E: Env>(
    thread: &Thread<E>,
    me: &Streaming<E>,
    source: &mut DepotSource,
    now: Now,
) -> Result<()> {
    let topology: &TopologyLayout = &thread.layout.topologies[usize::from(me.topology)];
    let layout = &topology.sources[source.index];
    let log = thread.layout.depots[usize::from(layout.depot)].log;
    let range = thread.local(me.task).partition.log_range(log);
    let key = start::key(topology, layout);
    let stored = thread.system_value(me.task, &key, progress::decode)?;
    let lost = |what: String| {
        let name = &thread.layout.depots[usize::from(layout.depot)].name;
        let text = format!(
            "stream {} {what} of {name}, whose partition {} ends at {}: storage lost writes; \
             restore a backup",
            topology.name, me.task, range.end
        );
        Error::new(ErrorKind::Corrupt, text)
    };
    let (stored, first) = stored.ok_or_else(|| lost("does not know its place".to_owned()))?;
    if stored > range.end {
        return Err(lost(format!("has processed record {stored}")));
    }
    let (task, index) = (me.task, source.index);
    let owner = Owner {
        topology: me.topology,
        task,
        source: index,
    };
    source.place = thread.progress.add(owner, key, first, stored);
    source.first = first;
    source.end = range.end;
    let limits = thread.tuning().tracker(me.topology, source.index);
    source.tracker.on_input(now, Input::Limits(limits));
    source.tracker.on_input(
        now,
        Input::Boot {
            checkpoint: Some(stored),
            start: range.start,
            end: range.end,
            paused: thread.is_paused(me.topology),
            seed: thread.env.random_u64(),
        },
    );
    Ok(())
}

/// What the progress of each source will be once the acks of the running batch count, with the
/// place where the thread keeps it.
pub(super) fn progress_ahead<E: Env>(me: &Streaming<E>) -> Vec<(usize, usize, u64)> {
    let out = me.out.borrow();
    let mut ahead = Vec::new();
    for (index, source) in me.sources.borrow().iter().enumerate() {
        let Some(Source::Depot(depot)) = source else {
            continue;
        };
        let home = origin::home(index, me.task);
        let mine = out.acks().iter().filter(|ack| ack.origin.home == home);
        let acks = mine.map(|ack| (TreeId(ack.origin.record), ack.edges));
        ahead.push((index, depot.place, depot.tracker.progress_with(acks)));
    }
    ahead
}

/// Does what is due; answers when something is due again.
pub(super) fn handle_due<E: Env>(thread: &Rc<Thread<E>>, me: &Rc<Streaming<E>>) -> Option<Tick> {
    let now = thread.env.now();
    for (index, source) in me.sources.borrow_mut().iter_mut().enumerate() {
        match source {
            Some(Source::Tick(tick)) if !tick.paused && tick.due <= now => {
                tick.due = now.after(tick.interval);
                me.work.borrow_mut().push_back(Work::Tick { source: index });
            }
            Some(Source::Depot(depot))
                if depot.tracker.deadline().is_some_and(|due| due.0 <= now.0) =>
            {
                depot.tracker.on_deadline(Now(now.0));
            }
            _ => {}
        }
    }
    handle_effects(thread, me);
    me.sources
        .borrow()
        .iter()
        .flatten()
        .filter_map(Source::deadline)
        .min()
}

fn handle_effects<E: Env>(thread: &Rc<Thread<E>>, me: &Rc<Streaming<E>>) {
    let topology = &thread.layout.topologies[usize::from(me.topology)];
    let (mut save, mut paused) = (false, false);
    for source in me.sources.borrow_mut().iter_mut().flatten() {
        let Some(depot) = source.depot() else {
            continue;
        };
        while let Some(effect) = depot.tracker.poll_effect() {
            match effect {
                Effect::Checkpoint { .. } => save = true,
                Effect::Paused => paused = true,
                effect => handle_effect(thread, me, depot, effect, topology),
            }
        }
    }
    note_progress(thread, me);
    if save {
        thread.save_progress();
    }
    if paused {
        pause_by_policy(thread, me.topology);
    }
    if me.sources.borrow().iter().flatten().all(Source::is_settled) {
        for settled in me.settling.borrow_mut().drain(..) {
            let _ = settled.send(());
        }
    }
}

/// Tells the thread and whoever asks for figures how far the sources are.
pub(super) fn note_progress<E: Env>(thread: &Thread<E>, me: &Streaming<E>) {
    let mut processed = 0;
    for source in me.sources.borrow().iter().flatten() {
        let Source::Depot(depot) = source else {
            continue;
        };
        let progress = depot.tracker.progress();
        thread.progress.reach(depot.place, progress);
        let metrics = &thread.metrics;
        metrics.set_position(me.topology, depot.index, me.task, progress);
        processed += progress.saturating_sub(depot.first);
    }
    thread
        .metrics
        .set_stream_processed(me.topology, me.task, processed);
}

fn handle_effect<E: Env>(
    thread: &Rc<Thread<E>>,
    me: &Rc<Streaming<E>>,
    depot: &mut DepotSource,
    effect: Effect,
    topology: &TopologyLayout,
) {
    match effect {
        Effect::Deliver(delivery) => {
            let source = depot.index;
            me.work
                .borrow_mut()
                .push_back(Work::Delivery { source, delivery });
        }
        Effect::Release { offset, outcome } => depot.release(offset, &outcome, &topology.name),
        Effect::Discard { tree } => {
            depot.returns.remove(&tree);
        }
        Effect::DeadLetter {
            offset,
            failures,
            text,
        } => {
            writes::dead_letter(thread, me, depot.index, offset, failures, text);
        }
        Effect::Skipped { from, to, text } => {
            tracing::warn!(topology = %topology.name, task = me.task, from, to, %text, "skipped");
            thread.metrics.on_skipped(me.topology, to - from);
        }
        Effect::Checkpoint { .. } | Effect::Paused => unreachable!("the caller does these"),
    }
}
