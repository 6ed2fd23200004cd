//! The decider of one stream source on one task: when to push, retry, checkpoint and release.
//!
//! Relies on `DepotEnd` covering durable records only and on acks coming after their writes are
//! durable. One record, step by step:
//!
//! 1. It becomes durable; while fewer than `max_executing` records are unfinished it is pushed, in
//!    offset order (S-2, S-15), as the root of a new tree. Otherwise it waits in the depot and the
//!    append that waits for it is told so (D-21); in mode `None` it is skipped (S-16).
//! 2. Every event of the tree acks the XOR of the edges it consumed and emitted. Zero: done.
//! 3. Or the tree fails, or takes too long (S-8): the record is retried by mode and policy, under
//!    a new tree, so that late acks of the old one count for nothing; or it is given up.
//! 4. When all records before are done too, the progress passes it. It is stored with the writes
//!    that finish the record where that is possible ([`Tracker::progress_with`]), along with other
//!    writes, and by a checkpoint of its own when none comes in time or nothing is left to do.
//!
//! In mode `None` nothing may run twice: deliveries keep within `reach` of the durable checkpoint,
//! and a restart begins after that reach. What must stay true: the list in `stream`, and `check`.

mod failure;
mod limits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::mutants::{self, Mutant};
use crate::policy::Failures;
use crate::stream::window::{Slot, Window};
use crate::stream::{
    Delivery, Effect, Input, Outcome, RetryMode, StartFrom, TrackerOptions, TreeId, root_edge,
};
use crate::time::Now;

pub use limits::TrackerLimits;
use limits::{Inherited, reach};

/// The machine of one stream source on one task. See the module documentation.
#[derive(Clone, Debug)]
pub struct Tracker {
    options: TrackerOptions,
    inherited: Inherited,
    /// In mode `None`: how far past the durable checkpoint a record may have been pushed.
    reach: u64,
    salt: u64,
    generation: u32,
    booted: bool,
    window: Window,
    /// Offset after the last durable record.
    end: u64,
    /// Records before this were there at boot: they wait for room in every mode.
    backlog_end: u64,
    watched: BTreeSet<u64>,
    failures: Failures<u64>,
    /// Failures in a row that records are not to blame for.
    unblamed: Failures<u64>,
    /// Mode all-after: records from the window's base on that were given up. A rewind does not
    /// bring them back.
    left_out: BTreeMap<u64, Slot>,
    retries: BTreeSet<(Now, u64)>,
    /// Nothing new is pushed before (mode all-after).
    hold_until: Now,
    /// When which delivery began; ascending.
    timeouts: VecDeque<(Now, Delivery)>,
    checkpointed: u64,
    checkpoint_durable: Option<u64>,
    checkpoint_at: Now,
    /// When the last record was done and none was left.
    idle_since: Now,
    paused: bool,
    pause_announced: bool,
    failure_count: u64,
    last_failure: Option<String>,
    effects: VecDeque<Effect>,
}

/// A snapshot for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Every record before this is done or given up.
    pub progress: u64,
    /// The next record to push.
    pub next: u64,
    /// Offset after the last record of the partition.
    pub end: u64,
    /// Unfinished records, those waiting for a retry included.
    pub executing: usize,
    /// ACK appends that wait.
    pub waiting: usize,
    /// Whether it is paused.
    pub paused: bool,
    /// Failed attempts since boot.
    pub failures: u64,
    /// Why the last one failed.
    pub last_failure: Option<String>,
}

impl Tracker {
    /// A tracker that expects `Boot`.
    #[must_use]
    pub fn new(options: TrackerOptions) -> Tracker {
        let limits = &options.limits;
        assert!(
            limits.max_executing > 0,
            "a source must be allowed to execute records"
        );
        Tracker {
            reach: reach(&options),
            inherited: Inherited::default(),
            options,
            salt: 0,
            generation: 0,
            booted: false,
            window: Window::new(0),
            end: 0,
            backlog_end: 0,
            watched: BTreeSet::new(),
            failures: Failures::default(),
            unblamed: Failures::default(),
            left_out: BTreeMap::new(),
            retries: BTreeSet::new(),
            hold_until: Now(0),
            timeouts: VecDeque::new(),
            checkpointed: 0,
            checkpoint_durable: None,
            checkpoint_at: Now(0),
            idle_since: Now(0),
            paused: false,
            pause_announced: false,
            failure_count: 0,
            last_failure: None,
            effects: VecDeque::new(),
        }
    }

    /// Applies one input.
    pub fn on_input(&mut self, now: Now, input: Input) {
        if let Input::Limits(limits) = input {
            self.handle_limits(now, limits);
            if !self.booted {
                return;
            }
        } else {
            assert!(
                self.booted != matches!(input, Input::Boot { .. }),
                "a tracker boots first, once"
            );
        }
        match input {
            Input::Limits(_) => {}
            Input::Boot {
                checkpoint,
                start,
                end,
                paused,
                seed,
            } => {
                self.paused = paused;
                self.handle_boot(now, checkpoint, start..end, seed);
            }
            Input::DepotEnd { end } => self.end = self.end.max(end),
            Input::Watch { offset } => self.handle_watch(offset),
            Input::Ack { tree, xor } => self.handle_ack(now, tree, xor),
            Input::PartLost { text } => {
                for offset in self.window.running_offsets() {
                    // The failure of one may have taken those after it back (mode all-after).
                    if matches!(self.window.get(offset), Some(Slot::Running { .. })) {
                        self.handle_failed(now, offset, false, &text);
                    }
                }
            }
            Input::Failed { tree, blamed, text } => {
                if let Some(offset) = self.window.find(tree) {
                    self.handle_failed(now, offset, blamed, &text);
                }
            }
            Input::DeadLettered { offset } => {
                if let Some(slot) = self.left_out.get_mut(&offset) {
                    *slot = Slot::Done;
                }
                if self.window.get(offset) == Some(Slot::GivenUp) {
                    self.finish(now, offset);
                }
            }
            Input::Checkpointed { progress } => {
                self.checkpoint_durable = self.checkpoint_durable.max(Some(progress));
                // A record that was done with the write, and timed out before it was durable, is
                // retried: the write knows more than the window.
                let known = progress.min(self.window.base());
                self.checkpointed = self.checkpointed.max(known);
            }
            Input::Pause => self.pause(),
            Input::Resume => self.paused = false,
        }
        self.pump(now);
        self.check();
    }

    /// Does what is due at `now`; call it at [`Tracker::deadline`].
    pub fn on_deadline(&mut self, now: Now) {
        let timeout = self.options.limits.timeout;
        while let Some((began, delivery)) = self.timeouts.front().copied()
            && began.after(timeout) <= now
        {
            self.timeouts.pop_front();
            let text = format!("not done after {timeout:?}");
            for offset in delivery.from..delivery.to {
                // A rewind may have taken the record away and pushed it anew: then it is not found.
                if self.window.find(delivery.tree(offset)) == Some(offset) {
                    self.handle_failed(now, offset, true, &text);
                }
            }
        }
        if self.checkpoint_due() <= now {
            self.checkpoint(now);
        }
        self.pump(now);
        self.check();
    }

    /// When `on_deadline` wants to be called; may lie in the past.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        let oldest = self.timeouts.front();
        let timeout = oldest.map(|(began, _)| began.after(self.options.limits.timeout));
        let retry = self
            .retries
            .first()
            .map(|(due, _)| *due)
            .filter(|_| !self.paused);
        let ahead = self.window.base() > self.checkpointed;
        let checkpoint = ahead.then_some(self.checkpoint_due());
        let held = self.room() > 0 && self.window.next() < self.end && !self.paused;
        let hold = held.then_some(self.hold_until);
        [timeout, retry, checkpoint, hold]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Every record before this is done or given up: what a write that also carries progress may
    /// store.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.window.base()
    }

    /// What the progress will be once these acks count. A write whose events they acknowledge may
    /// store it: then the record is done if and only if its last write is there.
    #[must_use]
    pub fn progress_with(&self, acks: impl Iterator<Item = (TreeId, u64)>) -> u64 {
        let base = self.window.base();
        let mut settled = vec![0; self.window.len()];
        for (tree, xor) in acks {
            if let Some(offset) = self.window.find(tree) {
                settled[(offset - base) as usize] ^= xor;
            }
        }
        let done = |(slot, xor): &(Slot, u64)| match slot {
            Slot::Running { pending, .. } => pending == xor,
            Slot::Done => true,
            Slot::Waiting | Slot::GivenUp => false,
        };
        base + self.window.slots().zip(settled).take_while(done).count() as u64
    }

    /// Whether it goes on, or is paused and nothing runs any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.paused || self.window.running() == 0
    }

    /// Whether an ACK append waits for the tree: only then are its ack returns worth gathering.
    #[must_use]
    pub fn watched(&self, tree: TreeId) -> bool {
        self.window
            .find(tree)
            .is_some_and(|offset| self.watched.contains(&offset))
    }

    /// The record a tree belongs to, while that attempt is the current one.
    #[must_use]
    pub fn offset_of(&self, tree: TreeId) -> Option<u64> {
        self.window.find(tree)
    }

    /// A snapshot for operators.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            progress: self.window.base(),
            next: self.window.next(),
            end: self.end,
            executing: self.window.unfinished(),
            waiting: self.watched.len(),
            paused: self.paused,
            failures: self.failure_count,
            last_failure: self.last_failure.clone(),
        }
    }

    /// Asserts what must always hold.
    pub fn check(&self) {
        let unbounded = mutants::active(Mutant::WindowIgnored);
        let (limits, inherited) = (&self.options.limits, &self.inherited);
        let unfinished = self.window.unfinished();
        let max = inherited.unfinished.max(limits.max_executing as usize);
        assert!(
            unfinished <= max || unbounded,
            "{unfinished} records execute, {max} may"
        );
        assert!(
            self.window.len() <= self.window_max().max(inherited.window) || unbounded,
            "the window is too long"
        );
        #[cfg(test)]
        self.window.recount();
        assert!(
            self.window.running() <= unfinished,
            "more records run than are unfinished"
        );
        assert!(
            self.watched.len() <= inherited.waiting.max(limits.max_waiting as usize),
            "too many appends wait"
        );
        let passed = self.checkpointed > self.window.base();
        let mutated = mutants::active(Mutant::CheckpointTooFar);
        assert!(!passed || mutated, "the checkpoint passed the progress");
    }

    fn handle_boot(
        &mut self,
        now: Now,
        checkpoint: Option<u64>,
        records: std::ops::Range<u64>,
        seed: u64,
    ) {
        self.booted = true;
        self.salt = seed;
        self.generation = (seed >> 32) as u32;
        let lost = checkpoint.is_some_and(|at| at > records.end);
        assert!(
            !lost,
            "the checkpoint {checkpoint:?} lies after the last record: storage lost some"
        );
        let base = match (checkpoint, self.options.start) {
            // Whatever may have run before the restart must not run again.
            (Some(at), _) if self.options.retry == RetryMode::None => at + self.reach,
            (Some(at), _) | (None, StartFrom::Offset(at)) => at,
            (None, StartFrom::Beginning) => records.start,
            (None, StartFrom::End) => records.end,
        };
        let base = base.min(records.end).max(records.start);
        self.window = Window::new(base);
        self.end = records.end;
        self.backlog_end = records.end;
        self.checkpointed = base;
        self.checkpoint_durable = checkpoint.filter(|at| *at == base);
        if self.checkpoint_durable.is_none() {
            // A start position must survive: records appended from now on belong to the topology.
            self.effects
                .push_back(Effect::Checkpoint { progress: base });
        }
        self.checkpoint_at = now.after(self.options.limits.checkpoint_interval);
    }

    fn handle_watch(&mut self, offset: u64) {
        let over = offset < self.window.base() || self.window.get(offset) == Some(Slot::Done);
        if over {
            self.effects
                .push_back(released(offset, Outcome::Done { tree: None }));
        } else if self.paused {
            self.effects.push_back(released(offset, Outcome::Paused));
        } else if self.watched.len() >= self.options.limits.max_waiting as usize {
            self.effects.push_back(released(offset, Outcome::Throttled));
        } else {
            self.watched.insert(offset);
        }
    }

    // Step 1: push.

    /// Pushes whatever may be pushed now.
    fn pump(&mut self, now: Now) {
        self.announce_pause();
        if self.paused {
            return;
        }
        while let Some((due, offset)) = self.retries.first().copied()
            && due <= now
        {
            self.retries.pop_first();
            self.deliver(now, offset, offset + 1);
        }
        if self.hold_until > now {
            return;
        }
        self.push(now);
        if self.window.next() < self.end {
            self.turn_away();
        }
    }

    /// Pushes what comes next, as far as there is room, without what was left out before a rewind.
    fn push(&mut self, now: Now) {
        loop {
            let from = self.window.next();
            let to = self.end.min(from + self.room());
            if from >= to {
                return;
            }
            match self.left_out.range(from..to).next() {
                Some((offset, slot)) if *offset == from => self.window.push(*slot),
                Some((offset, _)) => self.deliver(now, from, *offset),
                None => self.deliver(now, from, to),
            }
        }
    }

    /// How many more records may be pushed.
    fn room(&self) -> u64 {
        if mutants::active(Mutant::WindowIgnored) {
            return u64::MAX / 2;
        }
        let max = self.options.limits.max_executing as usize;
        let executing = max.saturating_sub(self.window.unfinished());
        let room = executing.min(self.spare()) as u64;
        if self.options.retry != RetryMode::None {
            return room;
        }
        let reach = match mutants::active(Mutant::ReachMoves) {
            false => self.reach,
            true => reach(&self.options),
        };
        let durable = self.checkpoint_durable;
        let limit = durable.map_or(0, |durable| durable + reach);
        room.min(limit.saturating_sub(self.window.next()))
    }

    fn deliver(&mut self, now: Now, from: u64, to: u64) {
        let generation = match self.open_delivery(from) {
            Some(generation) => generation,
            None => self.generation.wrapping_add(1),
        };
        let joins = generation == self.generation;
        self.generation = generation;
        let salt = self.salt;
        let delivery = Delivery {
            from,
            to,
            generation,
            salt,
        };
        for offset in from..to {
            let pending = root_edge(salt, delivery.tree(offset));
            let slot = Slot::Running {
                generation,
                pending,
            };
            if offset < self.window.next() {
                self.window.set(offset, slot);
            } else {
                self.window.push(slot);
            }
        }
        if !mutants::active(Mutant::NoTimeout) {
            self.timeouts.push_back((now, delivery));
        }
        match self.effects.back_mut() {
            Some(Effect::Deliver(open)) if joins => open.to = to,
            _ => self.effects.push_back(Effect::Deliver(delivery)),
        }
    }

    /// The generation of the delivery that ends before `from` and was not taken yet: the records
    /// from there on join it, so that a burst of acks makes one delivery.
    fn open_delivery(&self, from: u64) -> Option<u32> {
        match self.effects.back() {
            Some(Effect::Deliver(open)) if open.to == from && from == self.window.next() => {
                Some(open.generation)
            }
            _ => None,
        }
    }

    /// Records found no room: tell who waits for them; in mode `None` leave them out.
    fn turn_away(&mut self) {
        if self.options.retry == RetryMode::None {
            return self.leave_out();
        }
        for offset in self.watched.split_off(&self.window.next()) {
            if offset < self.end {
                self.effects.push_back(released(offset, Outcome::Throttled));
            } else {
                self.watched.insert(offset);
            }
        }
    }

    /// Mode `None` (S-16). Records that the window has no slot for are not decided about yet: who
    /// waits for one is told when it is.
    fn leave_out(&mut self) {
        let from = self.window.next();
        let to = self.end.min(from + self.spare() as u64);
        if self.checkpoint_durable.is_none() || from < self.backlog_end || from >= to {
            return;
        }
        for _ in from..to {
            self.window.push(Slot::Done);
        }
        let told: Vec<u64> = self.watched.range(from..to).copied().collect();
        for offset in told {
            self.watched.remove(&offset);
            self.effects.push_back(released(offset, Outcome::LeftOut));
        }
        let text = format!("{} records are executing", self.window.unfinished());
        self.effects.push_back(Effect::Skipped { from, to, text });
    }

    // Step 2: ack.

    fn handle_ack(&mut self, now: Now, tree: TreeId, xor: u64) {
        let mut found = self.window.find(tree);
        if found.is_none() && mutants::active(Mutant::StaleAckCounted) {
            let offset = self.window.base()
                + u64::from((tree.0 as u32).wrapping_sub(self.window.base() as u32));
            let running = matches!(self.window.get(offset), Some(Slot::Running { .. }));
            found = running.then_some(offset);
        }
        let Some(offset) = found else {
            return;
        };
        if self.window.xor(offset, xor) != 0 {
            return;
        }
        if !self.watched.is_empty() && self.watched.remove(&offset) {
            let outcome = Outcome::Done { tree: Some(tree) };
            self.effects.push_back(released(offset, outcome));
        }
        self.finish(now, offset);
    }

    /// Nothing more will happen to the record (step 4).
    fn finish(&mut self, now: Now, offset: u64) {
        self.window.set(offset, Slot::Done);
        self.failures.forgive(offset);
        self.unblamed.forgive(offset);
        if !self.left_out.is_empty() {
            self.left_out = self.left_out.split_off(&self.window.base());
        }
        while self
            .timeouts
            .front()
            .is_some_and(|(_, old)| old.to <= self.window.base())
        {
            self.timeouts.pop_front();
        }
        if self.window.unfinished() == 0 {
            self.idle_since = now;
        }
        let ahead = self.window.base().saturating_sub(self.checkpointed);
        if ahead >= self.options.limits.checkpoint_records {
            self.checkpoint(now);
        }
    }

    /// When there will have been enough waiting for a write that progress could ride along with.
    fn checkpoint_due(&self) -> Now {
        match self.window.unfinished() {
            0 => self
                .checkpoint_at
                .min(self.idle_since.after(self.options.checkpoint_idle)),
            _ => self.checkpoint_at,
        }
    }

    fn checkpoint(&mut self, now: Now) {
        self.checkpoint_at = now.after(self.options.limits.checkpoint_interval);
        let mut progress = self.window.base();
        if mutants::active(Mutant::CheckpointTooFar) {
            progress = self.window.next();
        }
        if progress > self.checkpointed {
            self.checkpointed = progress;
            self.effects.push_back(Effect::Checkpoint { progress });
        }
    }
}

fn released(offset: u64, outcome: Outcome) -> Effect {
    Effect::Release { offset, outcome }
}

#[cfg(test)]
mod tests;
