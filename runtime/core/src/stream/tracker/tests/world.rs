//! A little world for the tracker: event trees that run in any order, fail, get lost or finish
//! late, appends that wait, restarts from whatever checkpoint became durable, and an oracle.
//!
//! Relies on one seed for everything. The oracle counts events itself: it never believes a XOR.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use crate::policy::{Exhausted, FailurePolicy};
use crate::stream::{
    Effect, Input, Outcome, RetryMode, StartFrom, Tracker, TrackerLimits, TrackerOptions, TreeId,
};
use crate::tests::Random;
use crate::time::Now;

const MS: u64 = 1_000_000;

/// Why an innocent record's attempt ended.
const NEIGHBOR: &str = "a neighbor's bad luck";

/// Something on its way; the order of arrival is random.
enum Flying {
    /// An event that will run.
    Event {
        tree: TreeId,
        offset: u64,
        edge: u64,
        depth: u32,
    },
    Ack {
        tree: TreeId,
        xor: u64,
    },
    Failed {
        tree: TreeId,
        blamed: bool,
    },
    DeadLettered {
        offset: u64,
    },
    /// A checkpoint that is being written.
    Checkpoint {
        progress: u64,
    },
}

/// What is known about one attempt.
#[derive(Default)]
struct Tree {
    /// Events emitted and not yet acked.
    open: i64,
    failed: bool,
    in_peace: bool,
}

pub(super) struct World {
    random: Random,
    now: u64,
    options: TrackerOptions,
    /// What an operator set last; not known to the next life before it boots.
    limits: TrackerLimits,
    /// Records that executed when that was.
    executed: usize,
    tracker: Tracker,
    end: u64,
    flying: Vec<Flying>,
    durable: Option<u64>,
    trees: BTreeMap<TreeId, Tree>,
    /// Attempts delivered per record, over all lives.
    delivered: BTreeMap<u64, u32>,
    /// When each record was last delivered, as a running number.
    last_delivery: BTreeMap<u64, u64>,
    deliveries: u64,
    done: BTreeSet<u64>,
    given_up: BTreeSet<u64>,
    /// Records whose appenders were told that they are left out.
    left_out: BTreeSet<u64>,
    watched: BTreeSet<u64>,
    silent: bool,
    /// An operator's wish, which outlives restarts.
    paused: bool,
    faults: bool,
    lossy: bool,
    /// One in so many records always fails.
    poison: Option<u64>,
    pub(super) failures: u64,
    pub(super) restarts: u64,
    pub(super) throttled: u64,
    pub(super) skipped: u64,
    pub(super) letters: u64,
}

fn limits(random: &mut Random) -> TrackerLimits {
    TrackerLimits {
        max_executing: [1, 3, 20][random.below(3)],
        max_waiting: [1, 5][random.below(2)],
        timeout: Duration::from_millis([50, 70][random.below(2)]),
        checkpoint_records: [1, 4, 1000][random.below(3)],
        checkpoint_interval: Duration::from_millis(10),
        first_attempt_decides: random.one_in(2),
    }
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let then = [Exhausted::DeadLetter, Exhausted::Skip, Exhausted::Pause][random.below(3)];
        let options = TrackerOptions {
            retry: [RetryMode::Individual, RetryMode::AllAfter, RetryMode::None][random.below(3)],
            policy: FailurePolicy {
                retries: 2,
                backoff_base_ms: 1,
                backoff_factor: 2,
                backoff_max_ms: 8,
                then,
            },
            start: StartFrom::Beginning,
            checkpoint_idle: Duration::from_millis([1, 10][random.below(2)]),
            limits: limits(&mut random),
        };
        let poison = (then != Exhausted::Pause && random.one_in(2)).then_some(9);
        let mut world = World {
            now: 0,
            tracker: Tracker::new(options),
            limits: options.limits,
            executed: 0,
            options,
            end: random.below(10) as u64,
            flying: Vec::new(),
            durable: None,
            trees: BTreeMap::new(),
            delivered: BTreeMap::new(),
            last_delivery: BTreeMap::new(),
            deliveries: 0,
            done: BTreeSet::new(),
            given_up: BTreeSet::new(),
            left_out: BTreeSet::new(),
            watched: BTreeSet::new(),
            silent: false,
            paused: false,
            faults: true,
            lossy: random.one_in(2),
            poison,
            failures: 0,
            restarts: 0,
            throttled: 0,
            skipped: 0,
            letters: 0,
            random,
        };
        world.boot();
        world
    }

    pub(super) fn run(mut self) -> Result<World, String> {
        self.drain()?;
        for _ in 0..100 + self.random.below(400) {
            self.storm()?;
        }
        self.heal()?;
        self.judge()?;
        Ok(self)
    }

    fn storm(&mut self) -> Result<(), String> {
        self.now += self.random.below(MS as usize) as u64;
        match self.random.below(40) {
            0..=7 => self.append(),
            8 => self.restart(),
            9 => {
                self.paused = true;
                self.tell(Input::Pause);
            }
            10..=12 => self.resume(),
            13..=15 => self.time_passes(),
            16 => self.set_limits(),
            _ => self.land(),
        }
        self.drain()
    }

    /// Everything lands and time passes until the tracker has nothing left to do.
    fn heal(&mut self) -> Result<(), String> {
        self.faults = false;
        for _ in 0..30_000 {
            if self.silent || self.paused {
                self.resume();
            }
            self.drain()?;
            if self.flying.is_empty() && self.tracker.progress() == self.end {
                return Ok(());
            }
            if self.flying.is_empty() {
                self.time_passes();
            } else {
                self.land();
            }
        }
        Err(format!("no progress in peace: {:?}", self.tracker.status()))
    }

    fn append(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            if self.random.one_in(2) {
                self.watched.insert(self.end);
                self.tell(Input::Watch { offset: self.end });
            }
            self.end += 1;
        }
        self.tell(Input::DepotEnd { end: self.end });
    }

    fn time_passes(&mut self) {
        if let Some(due) = self.tracker.deadline() {
            self.now = self.now.max(due.0);
            self.tracker.on_deadline(Now(self.now));
        }
    }

    fn tell(&mut self, input: Input) {
        self.tracker.on_input(Now(self.now), input);
    }

    /// An operator changes options while records run.
    fn set_limits(&mut self) {
        self.limits = limits(&mut self.random);
        self.executed = self.tracker.status().executing;
        self.tell(Input::Limits(self.limits));
    }

    fn resume(&mut self) {
        self.silent = false;
        self.paused = false;
        self.tell(Input::Resume);
    }

    /// The process dies; writes that were under way may or may not have reached the disk.
    fn restart(&mut self) {
        self.restarts += 1;
        for flying in std::mem::take(&mut self.flying) {
            match flying {
                Flying::Checkpoint { progress } if self.random.one_in(2) => {
                    self.durable = self.durable.max(Some(progress));
                }
                // Events of the former life may still run: their acks must count for nothing.
                Flying::Ack { .. } | Flying::Failed { .. } => self.flying.push(flying),
                _ => {}
            }
        }
        self.watched.clear();
        self.tracker = Tracker::new(self.options);
        self.executed = 0;
        self.tell(Input::Limits(self.limits));
        self.boot();
    }

    fn boot(&mut self) {
        self.silent = self.paused;
        let seed = self.random.next();
        let (checkpoint, end) = (self.durable, self.end);
        self.tell(Input::Boot {
            checkpoint,
            start: 0,
            end,
            paused: self.paused,
            seed,
        });
        if self.options.retry == RetryMode::None {
            // Whatever may have been in flight is skipped (S-13).
            self.given_up
                .extend(checkpoint.unwrap_or(0)..self.tracker.progress());
        }
    }

    /// Something arrives or runs, in any order.
    fn land(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let index = self.random.below(self.flying.len());
        match self.flying.swap_remove(index) {
            Flying::Event {
                tree,
                offset,
                edge,
                depth,
            } => self.event(tree, offset, edge, depth),
            Flying::Ack { tree, xor } => self.tell(Input::Ack { tree, xor }),
            Flying::Failed { tree, blamed } => {
                let text = if blamed { "bad luck" } else { NEIGHBOR };
                let text = text.to_owned();
                self.tell(Input::Failed { tree, blamed, text });
            }
            Flying::DeadLettered { offset } => {
                self.given_up.insert(offset);
                self.tell(Input::DeadLettered { offset });
            }
            Flying::Checkpoint { progress } => {
                self.durable = self.durable.max(Some(progress));
                self.tell(Input::Checkpointed { progress });
            }
        }
    }

    /// One event of a tree: emits up to two more, acks, fails or gets lost.
    fn event(&mut self, tree: TreeId, offset: u64, edge: u64, depth: u32) {
        if self.tracker.offset_of(tree).is_none() && !self.random.one_in(4) {
            // Events of attempts that are over may be dropped on the way.
            return;
        }
        let state = self.trees.entry(tree).or_default();
        let poisoned = self.poison.is_some_and(|one_in| offset % one_in == 4) && depth == 1;
        if poisoned || (self.faults && self.random.one_in(12)) {
            state.failed = true;
            let blamed = poisoned || self.random.one_in(2);
            self.flying.push(Flying::Failed { tree, blamed });
            return;
        }
        if self.faults && self.lossy && self.random.one_in(25) {
            state.failed = true;
            return;
        }
        let mut xor = edge;
        let children = if depth == 0 {
            1 + self.random.below(2)
        } else {
            self.random.below(2)
        };
        for _ in 0..children.min(3 - depth as usize) {
            let edge = self.random.next();
            xor ^= edge;
            state.open += 1;
            self.flying.push(Flying::Event {
                tree,
                offset,
                edge,
                depth: depth + 1,
            });
        }
        state.open -= 1;
        if state.open == 0 && !state.failed {
            self.done.insert(offset);
        }
        if self.random.one_in(2) {
            // The write that the ack waits for carries the progress there will be.
            let progress = self.tracker.progress_with([(tree, xor)].into_iter());
            self.flying.push(Flying::Checkpoint { progress });
        }
        self.flying.push(Flying::Ack { tree, xor });
    }

    fn drain(&mut self) -> Result<(), String> {
        while let Some(effect) = self.tracker.poll_effect() {
            self.effect(effect)?;
        }
        let executing = self.tracker.status().executing;
        if executing > self.executed.max(self.limits.max_executing as usize) {
            return Err(format!("{executing} records execute"));
        }
        self.judge_progress(self.tracker.progress())
    }

    fn effect(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Deliver(delivery) => {
                if self.silent {
                    return Err(format!("{delivery:?} while paused"));
                }
                for offset in delivery.from..delivery.to {
                    self.deliver(offset, delivery.tree(offset), delivery.root_edge(offset))?;
                }
            }
            Effect::Release { offset, outcome } => self.release(offset, &outcome)?,
            Effect::Discard { tree } => {
                self.failures += 1;
                let state = self.trees.entry(tree).or_default();
                if state.in_peace && !state.failed && self.options.retry != RetryMode::AllAfter {
                    return Err(format!("{tree:?} timed out in peace"));
                }
            }
            Effect::Checkpoint { progress } => {
                self.judge_progress(progress)?;
                self.flying.push(Flying::Checkpoint { progress });
            }
            Effect::DeadLetter { offset, .. } => {
                self.letters += 1;
                self.flying.push(Flying::DeadLettered { offset });
            }
            Effect::Skipped { from, to, .. } => {
                self.skipped += 1;
                self.given_up.extend(from..to);
            }
            Effect::Paused => self.silent = true,
        }
        Ok(())
    }

    fn deliver(&mut self, offset: u64, tree: TreeId, edge: u64) -> Result<(), String> {
        if offset >= self.end {
            return Err(format!("record {offset} is delivered before it is durable"));
        }
        let count = self.delivered.entry(offset).or_insert(0);
        *count += 1;
        if *count > 1 && self.options.retry == RetryMode::None {
            return Err(format!("record {offset} ran twice in mode none"));
        }
        self.deliveries += 1;
        self.last_delivery.insert(offset, self.deliveries);
        if self.trees.contains_key(&tree) {
            return Err(format!("{tree:?} is used twice"));
        }
        self.trees.insert(
            tree,
            Tree {
                open: 1,
                failed: false,
                in_peace: !self.faults,
            },
        );
        self.flying.push(Flying::Event {
            tree,
            offset,
            edge,
            depth: 0,
        });
        Ok(())
    }

    fn release(&mut self, offset: u64, outcome: &Outcome) -> Result<(), String> {
        if !self.watched.remove(&offset) {
            return Err(format!(
                "record {offset} is released unasked or twice: {outcome:?}"
            ));
        }
        match outcome {
            Outcome::Done { .. } if !self.done.contains(&offset) => {
                Err(format!("record {offset} is released before it is done"))
            }
            Outcome::Failed { text } if text == NEIGHBOR && self.retries() => {
                Err(format!("record {offset} failed for its neighbor"))
            }
            Outcome::Throttled | Outcome::LeftOut => {
                self.throttled += 1;
                if *outcome == Outcome::LeftOut {
                    self.left_out.insert(offset);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn retries(&self) -> bool {
        self.options.retry != RetryMode::None
    }

    /// S-13: everything before the progress is done or given up.
    fn judge_progress(&self, progress: u64) -> Result<(), String> {
        let settled = |offset: &u64| self.done.contains(offset) || self.given_up.contains(offset);
        // In mode none a failed record is given up by the pause policy without a word.
        let silent =
            self.options.retry == RetryMode::None && self.options.policy.then == Exhausted::Pause;
        let from = progress.saturating_sub(50);
        match (from..progress).find(|offset| !settled(offset)) {
            Some(offset) if !silent => Err(format!(
                "progress {progress} passes record {offset}, which is not done"
            )),
            _ => Ok(()),
        }
    }

    fn judge(&self) -> Result<(), String> {
        if !self.watched.is_empty() {
            return Err(format!("appends wait for ever: {:?}", self.watched));
        }
        if let Some(offset) = self.left_out.difference(&self.given_up).next() {
            return Err(format!(
                "record {offset} was said to be left out and is not"
            ));
        }
        // The last deliveries are in offset order: whatever failed, all after it came again.
        let kept = self.last_delivery.iter();
        let kept = kept.filter(|(offset, _)| !self.given_up.contains(offset));
        let ordered = kept.map(|(_, at)| *at).is_sorted();
        if self.options.retry == RetryMode::AllAfter && !ordered {
            return Err(format!(
                "all-after lost the order: {:?}",
                self.last_delivery
            ));
        }
        Ok(())
    }
}
