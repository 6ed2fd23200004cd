//! The decider of one microbatch topology, on task 0: which data, which attempt, commit or not.
//!
//! Relies on the engine to carry messages in order per task and to make ledgers durable in token
//! order. One microbatch, step by step:
//!
//! 1. *plan*: fix the offset ranges and make them durable (`Fixing`).
//! 2. *start* an attempt on all tasks when all are ready (`Waiting` → `Processing`).
//! 3. *process*: every piece of source work and every hop has a random id. Each event reports the
//!    XOR of what it consumed and emitted; when the XOR of everything started and reported is
//!    zero, nothing is left anywhere, in whatever order the reports came.
//! 4. *prepare*: every task makes its overlay durable (`Preparing`).
//! 5. *decide*: one ledger write says the id is done; it carries the next plan if there is more
//!    data already (`Deciding`). From here on only forward.
//! 6. *commit*: every task shows its writes (`Committing`); then the next id begins.
//!
//! Until 5 any failure, timeout or lost task ends the attempt: same id, same ranges, next attempt
//! after a back-off. After a crash the ledger tells: decided → step 6 again, else a new attempt.
//! What must stay true: the invariants of `microbatch`, and those in [`Coordinator::check`].

mod recovery;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{Attempt, MicrobatchId, Origin, Position, SourceId, TaskId, mix};
use crate::microbatch::intake::Intake;
use crate::microbatch::{
    CoordinatorEffect as Effect, CoordinatorInput as Input, CoordinatorOptions, DeadLetter,
    Excluded, Failure, Ledger, SourceWork, ToCoordinator, ToParticipant,
};
use crate::mutants::{self, Mutant};
use crate::policy::{Exhausted, Failures, Verdict};
use crate::time::Now;

/// Attempt numbers made durable at a time: one ledger write per so many retries.
const ATTEMPTS_RESERVED: u32 = 1000;

/// The machine that runs a microbatch topology. See the module documentation.
#[derive(Clone, Debug)]
pub struct Coordinator {
    options: CoordinatorOptions,
    seed: u64,
    intake: Intake,
    /// The incarnation of every task that is ready.
    ready: BTreeMap<TaskId, u64>,
    /// As last handed to `Persist`.
    ledger: Ledger,
    token_issued: u64,
    token_durable: u64,
    dead_letters: Vec<DeadLetter>,
    /// The last attempt number used for the plan's id.
    attempt: Attempt,
    state: State,
    /// When the last microbatch ended.
    ended: Now,
    failures: Failures<Origin>,
    unblamed: Failures<()>,
    pause_announced: bool,
    failed_attempts: u64,
    last_failure: Option<String>,
    effects: VecDeque<Effect>,
}

#[derive(Clone, Debug)]
enum State {
    /// Before `Boot`.
    Down,
    /// No plan.
    Idle,
    /// The plan, a change of it or start positions are on their way to the disk.
    Fixing {
        token: u64,
        until: Now,
    },
    /// The plan is durable; the next attempt begins at `until`, when all tasks are ready.
    Waiting {
        until: Now,
    },
    Processing {
        at: Position,
        remaining: u64,
        since: Now,
    },
    Preparing {
        at: Position,
        missing: BTreeSet<TaskId>,
        since: Now,
    },
    Deciding {
        at: Position,
        token: u64,
    },
    Committing {
        at: Position,
        missing: BTreeSet<TaskId>,
        since: Now,
    },
    Halted,
}

/// Where a coordinator is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not booted.
    Down,
    /// No data.
    Idle,
    /// Making ranges durable.
    Fixing,
    /// Between attempts: back-off, paused or tasks missing.
    Waiting,
    /// Running author code.
    Processing,
    /// Making overlays durable.
    Preparing,
    /// Making the decision durable.
    Deciding,
    /// Making writes visible.
    Committing,
    /// Storage contradicted itself.
    Halted,
}

/// A snapshot for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is.
    pub phase: Phase,
    /// The current or next attempt's number.
    pub attempt: Attempt,
    /// The last decided id.
    pub decided: MicrobatchId,
    /// Records in decided ranges since the first launch.
    pub processed: u64,
    /// Offset after the last decided record, per source and partition (M-16).
    pub progress: BTreeMap<SourceId, Vec<u64>>,
    /// Records appended and not decided.
    pub lag: u64,
    /// Whether it is paused or about to.
    pub paused: bool,
    /// Attempts that failed since boot.
    pub failed_attempts: u64,
    /// Why the last one failed.
    pub last_failure: Option<String>,
    /// Tasks that are not ready.
    pub missing: Vec<TaskId>,
}

impl Coordinator {
    /// A coordinator that expects `Boot`.
    #[must_use]
    pub fn new(options: CoordinatorOptions) -> Coordinator {
        assert!(options.tasks > 0, "a module has at least one task");
        Coordinator {
            intake: Intake::new(options.sources.clone()),
            options,
            seed: 0,
            ready: BTreeMap::new(),
            ledger: Ledger::default(),
            token_issued: 0,
            token_durable: 0,
            dead_letters: Vec::new(),
            attempt: Attempt(0),
            state: State::Down,
            ended: Now(0),
            failures: Failures::default(),
            unblamed: Failures::default(),
            pause_announced: false,
            failed_attempts: 0,
            last_failure: None,
            effects: VecDeque::new(),
        }
    }

    /// Applies one input.
    pub fn on_input(&mut self, now: Now, input: Input) {
        if matches!(self.state, State::Halted) {
            return;
        }
        match input {
            Input::Boot { ledger, seed } => self.handle_boot(now, ledger, seed),
            Input::DepotEnd {
                source,
                partition,
                start,
                end,
                record_bytes,
            } => {
                self.intake
                    .on_depot_end(source, partition, start..end, record_bytes);
            }
            Input::Persisted { token } => self.handle_persisted(now, token),
            Input::Message(message) => self.handle_message(now, message),
            Input::ParticipantLost { task } => self.handle_lost(now, task),
            Input::Pause => self.handle_pause(),
            Input::Resume => self.handle_resume(now),
        }
        self.advance(now);
        self.check();
    }

    /// Does what is due at `now`; call it at [`Coordinator::deadline`].
    pub fn on_deadline(&mut self, now: Now) {
        let timeout = self.options.phase_timeout;
        match &mut self.state {
            State::Processing { since, .. } | State::Preparing { since, .. }
                if since.after(timeout) <= now =>
            {
                let text = format!("the {:?} phase took longer than {timeout:?}", self.phase());
                self.give_up(now, text);
            }
            State::Committing { at, missing, since } if since.after(timeout) <= now => {
                *since = now;
                let (at, missing) = (*at, missing.clone());
                if !mutants::active(Mutant::CommitNotRepeated) {
                    self.send_each(missing, &ToParticipant::Commit { at });
                }
            }
            _ => {}
        }
        self.advance(now);
        self.check();
    }

    /// When `on_deadline` wants to be called; may lie in the past.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        let timeout = self.options.phase_timeout;
        match &self.state {
            State::Processing { since, .. }
            | State::Preparing { since, .. }
            | State::Committing { since, .. } => Some(since.after(timeout)),
            State::Waiting { until } if self.startable() => Some(*until),
            State::Idle if self.plannable() => {
                let rested = self.ended.after(self.options.force_delay);
                let tick = self.intake.tick_deadline();
                let empty = self
                    .options
                    .empty_interval
                    .map(|wait| self.ended.after(wait));
                let behind = self.intake.lag(&self.ledger.progress) > 0;
                let data = behind.then_some(rested);
                [tick, empty, data]
                    .into_iter()
                    .flatten()
                    .min()
                    .map(|due| due.max(rested))
            }
            _ => None,
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Where the coordinator is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Down => Phase::Down,
            State::Idle => Phase::Idle,
            State::Fixing { .. } => Phase::Fixing,
            State::Waiting { .. } => Phase::Waiting,
            State::Processing { .. } => Phase::Processing,
            State::Preparing { .. } => Phase::Preparing,
            State::Deciding { .. } => Phase::Deciding,
            State::Committing { .. } => Phase::Committing,
            State::Halted => Phase::Halted,
        }
    }

    /// A snapshot for operators.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            phase: self.phase(),
            attempt: self.attempt,
            decided: self.ledger.decided,
            processed: self.ledger.processed,
            progress: self.ledger.progress.clone(),
            lag: self.intake.lag(&self.ledger.progress),
            paused: self.ledger.paused,
            failed_attempts: self.failed_attempts,
            last_failure: self.last_failure.clone(),
            missing: self
                .tasks()
                .filter(|task| !self.ready.contains_key(task))
                .collect(),
        }
    }

    /// Asserts what must always hold.
    pub fn check(&self) {
        assert!(
            self.token_durable <= self.token_issued,
            "a write is durable that was not asked"
        );
        if let Some(plan) = &self.ledger.plan {
            assert!(
                plan.id == self.ledger.decided.next(),
                "the plan follows the decision"
            );
            let reused = mutants::active(Mutant::RangesNotDurable);
            assert!(
                self.attempt <= plan.reserved || reused,
                "an attempt was not reserved"
            );
        }
        match &self.state {
            State::Processing { at, .. } | State::Preparing { at, .. } => {
                let plan = self.ledger.plan.as_ref().map(|plan| plan.id);
                assert!(plan == Some(at.id), "attempt {at} runs without its plan");
                assert!(self.attempt == at.attempt, "attempt {at} is not the newest");
            }
            State::Deciding { at, .. } | State::Committing { at, .. } => {
                assert!(
                    at.id == self.ledger.decided,
                    "{at} is committed but not decided"
                );
            }
            State::Waiting { .. } => assert!(self.ledger.plan.is_some(), "waiting without a plan"),
            _ => {}
        }
    }

    fn handle_message(&mut self, now: Now, message: ToCoordinator) {
        match message {
            ToCoordinator::Ready {
                task,
                incarnation,
                committed,
                prepared,
            } => {
                self.handle_ready(now, task, incarnation, (committed, prepared));
            }
            ToCoordinator::Processed { at, xor, .. } => self.handle_processed(now, at, xor),
            ToCoordinator::Failed { at, failure, .. } => self.handle_failed(now, at, failure),
            ToCoordinator::Prepared { task, at } => self.handle_prepared(now, task, at),
            ToCoordinator::Committed { task, id } => self.handle_committed(now, task, id),
        }
    }

    /// Does whatever can be done without waiting for anything.
    fn advance(&mut self, now: Now) {
        if matches!(self.state, State::Idle) {
            self.try_plan(now);
        }
        if let State::Waiting { until } = self.state
            && until <= now
            && self.startable()
        {
            self.start_attempt(now);
        }
        self.announce_pause();
    }

    // Step 1: plan.

    fn plannable(&self) -> bool {
        !self.ledger.paused && self.intake.settled(&self.ledger.progress)
    }

    fn try_plan(&mut self, now: Now) {
        if self.intake.settle(&mut self.ledger.progress) {
            // A start position must survive: records appended from now on belong to the topology.
            let token = self.persist();
            self.state = State::Fixing { token, until: now };
            return;
        }
        if !self.plannable() || now < self.ended.after(self.options.force_delay) {
            return;
        }
        let empty_due = self
            .options
            .empty_interval
            .is_some_and(|wait| self.ended.after(wait) <= now);
        if self.adopt_plan(now, empty_due) {
            self.fix_plan(now);
        }
    }

    /// Puts a plan for the id after the decided one into the ledger, if there is anything to do.
    fn adopt_plan(&mut self, now: Now, even_empty: bool) -> bool {
        let id = self.ledger.decided.next();
        let mut plan = self.intake.plan(now, id, &self.ledger.progress);
        if plan.ranges.is_empty() && plan.ticks.is_empty() && !even_empty {
            return false;
        }
        self.intake.on_planned(now, &plan);
        plan.reserved = Attempt(ATTEMPTS_RESERVED);
        self.ledger.plan = Some(plan);
        self.attempt = Attempt(0);
        true
    }

    fn fix_plan(&mut self, until: Now) {
        let token = self.persist();
        self.state = State::Fixing { token, until };
        if mutants::active(Mutant::RangesNotDurable) {
            self.state = State::Waiting { until };
        }
    }

    fn persist(&mut self) -> u64 {
        self.token_issued += 1;
        let token = self.token_issued;
        let dead_letters = std::mem::take(&mut self.dead_letters);
        let ledger = self.ledger.clone();
        self.effects.push_back(Effect::Persist {
            token,
            ledger,
            dead_letters,
        });
        token
    }

    fn handle_persisted(&mut self, now: Now, token: u64) {
        assert!(
            token <= self.token_issued,
            "persist {token} was not asked for"
        );
        self.token_durable = self.token_durable.max(token);
        match &self.state {
            State::Fixing { token, until } if *token <= self.token_durable => {
                self.state = match self.ledger.plan {
                    Some(_) => State::Waiting { until: *until },
                    None => State::Idle,
                };
            }
            State::Deciding { at, token } if *token <= self.token_durable => {
                let at = *at;
                self.commit(now, at);
            }
            _ => {}
        }
    }

    // Step 2: start.

    fn startable(&self) -> bool {
        !self.ledger.paused && self.ready.len() == self.options.tasks as usize
    }

    fn start_attempt(&mut self, now: Now) {
        if mutants::active(Mutant::RangesRechosen) && self.attempt > Attempt(0) {
            let id = self.ledger.decided.next();
            let fresh = self.intake.plan(now, id, &self.ledger.progress).ranges;
            self.ledger.plan.as_mut().expect("a plan is waiting").ranges = fresh;
        }
        let plan = self
            .ledger
            .plan
            .as_mut()
            .expect("an attempt starts with a plan");
        let next = Attempt(self.attempt.0 + 1);
        if next > plan.reserved {
            plan.reserved = Attempt(next.0 + ATTEMPTS_RESERVED);
            self.fix_plan(now);
            return;
        }
        self.attempt = next;
        let at = Position {
            id: plan.id,
            attempt: next,
        };
        let plan = plan.clone();
        let mut remaining = 0;
        for task in self.tasks() {
            let work = mix(self.seed ^ mix(at.id.0) ^ mix(u64::from(next.0) << 32 | task.0 as u64));
            remaining ^= work;
            let mine = plan.ranges.iter().filter(|range| range.partition == task.0);
            let sources = mine
                .map(|range| source_work(range, &plan.excluded))
                .collect();
            let ticks = if task == TaskId(0) {
                plan.ticks.clone()
            } else {
                Vec::new()
            };
            self.send(
                task,
                ToParticipant::Start {
                    at,
                    work,
                    sources,
                    ticks,
                },
            );
        }
        self.state = State::Processing {
            at,
            remaining,
            since: now,
        };
    }

    // Step 3: process.

    fn handle_processed(&mut self, now: Now, reported: Position, xor: u64) {
        let State::Processing { at, remaining, .. } = &mut self.state else {
            return;
        };
        if *at != reported {
            return;
        }
        *remaining ^= xor;
        if *remaining == 0 {
            let at = *at;
            let missing = self.tasks().collect();
            self.state = State::Preparing {
                at,
                missing,
                since: now,
            };
            self.send_each(self.tasks(), &ToParticipant::Prepare { at });
        }
    }

    fn handle_failed(&mut self, now: Now, reported: Position, failure: Failure) {
        if self.running() != Some(reported) {
            return;
        }
        let known = failure.origin.filter(|origin| self.planned(*origin));
        let Some(origin) = known else {
            let verdict = self.unblamed.on_failure((), &self.options.unblamed);
            let policy = self.options.unblamed;
            let longest = policy.backoff(u32::MAX);
            self.end_attempt(failure.text);
            match verdict {
                Verdict::Retry { after } => {
                    self.state = State::Waiting {
                        until: now.after(after),
                    }
                }
                Verdict::GiveUp {
                    then: Exhausted::Pause,
                    ..
                } => self.pause_by_policy(now),
                // Without a record there is nothing to leave out: try on, slowly.
                Verdict::GiveUp { .. } => {
                    self.state = State::Waiting {
                        until: now.after(longest),
                    };
                }
            }
            return;
        };
        let source = self
            .intake
            .source(origin.source)
            .expect("a planned source is configured");
        let verdict = self.failures.on_failure(origin, &source.policy);
        self.end_attempt(failure.text.clone());
        match verdict {
            Verdict::Retry { after } => {
                self.state = State::Waiting {
                    until: now.after(after),
                }
            }
            Verdict::GiveUp {
                then: Exhausted::Pause,
                ..
            } => self.pause_by_policy(now),
            Verdict::GiveUp { then, failures } => {
                let dead_letter = then == Exhausted::DeadLetter;
                self.exclude(origin, dead_letter, failures, failure.text);
                self.fix_plan(now);
            }
        }
    }

    /// Whether `origin` is in the plan and not yet taken out of it.
    fn planned(&self, origin: Origin) -> bool {
        self.ledger.plan.as_ref().is_some_and(|plan| {
            let inside = plan.ranges.iter().any(|range| {
                range.source == origin.source
                    && range.partition == origin.partition
                    && (range.from..range.to).contains(&origin.offset)
            });
            inside
                && !plan
                    .excluded
                    .iter()
                    .any(|excluded| excluded.origin == origin)
        })
    }

    fn exclude(&mut self, origin: Origin, dead_letter: bool, failures: u32, text: String) {
        self.failures.forgive(origin);
        let plan = self
            .ledger
            .plan
            .as_mut()
            .expect("a failing attempt has a plan");
        plan.excluded.push(Excluded {
            origin,
            dead_letter,
        });
        plan.excluded.sort_by_key(|excluded| excluded.origin);
        if dead_letter {
            self.dead_letters.push(DeadLetter {
                origin,
                id: plan.id,
                failures,
                text,
            });
        }
    }

    /// Ends an attempt for which no record is to blame.
    fn give_up(&mut self, now: Now, text: String) {
        let after = match self.unblamed.on_failure((), &self.options.unblamed) {
            Verdict::Retry { after } => after,
            Verdict::GiveUp { .. } => self.options.unblamed.backoff(u32::MAX),
        };
        self.end_attempt(text);
        self.state = State::Waiting {
            until: now.after(after),
        };
    }

    fn end_attempt(&mut self, text: String) {
        let at = self.running().expect("only a running attempt can fail");
        self.failed_attempts += 1;
        self.last_failure = Some(text);
        self.send_each(self.tasks(), &ToParticipant::Abort { at });
        self.state = State::Idle;
    }

    /// The attempt that can still be given up.
    fn running(&self) -> Option<Position> {
        match &self.state {
            State::Processing { at, .. } | State::Preparing { at, .. } => Some(*at),
            _ => None,
        }
    }

    // Steps 4 and 5: prepare and decide.

    fn handle_prepared(&mut self, now: Now, task: TaskId, prepared: Position) {
        let State::Preparing { at, missing, .. } = &mut self.state else {
            return;
        };
        if *at != prepared {
            return;
        }
        missing.remove(&task);
        if missing.is_empty() || mutants::active(Mutant::DecideEarly) {
            let at = *at;
            self.decide(now, at);
        }
    }

    fn decide(&mut self, now: Now, at: Position) {
        let plan = self
            .ledger
            .plan
            .take()
            .expect("an attempt runs with a plan");
        self.ledger.decided = at.id;
        self.ledger.decided_attempt = at.attempt;
        self.ledger.processed += plan.record_count();
        for range in &plan.ranges {
            let positions = self.ledger.progress.get_mut(&range.source);
            let positions = positions.expect("a planned source has positions");
            positions[range.partition as usize] = range.to;
        }
        self.failures.forgive_all();
        self.unblamed.forgive_all();
        if self.plannable() && self.options.force_delay.is_zero() {
            self.adopt_plan(now, false);
        }
        let token = self.persist();
        self.state = State::Deciding { at, token };
        if mutants::active(Mutant::CommitBeforeDecision) {
            self.commit(now, at);
        }
    }

    // Step 6: commit.

    fn commit(&mut self, now: Now, at: Position) {
        let missing = self.tasks().collect();
        self.state = State::Committing {
            at,
            missing,
            since: now,
        };
        self.send_each(self.tasks(), &ToParticipant::Commit { at });
    }

    fn handle_committed(&mut self, now: Now, task: TaskId, id: MicrobatchId) {
        let State::Committing { at, missing, .. } = &mut self.state else {
            return;
        };
        if at.id != id {
            return;
        }
        missing.remove(&task);
        if !missing.is_empty() && !mutants::active(Mutant::NextEarly) {
            return;
        }
        let processed = self.ledger.processed;
        self.effects.push_back(Effect::Committed { id, processed });
        self.ended = now;
        self.state = match self.ledger.plan {
            Some(_) => State::Waiting { until: now },
            None => State::Idle,
        };
    }

    // Pause and resume.

    fn handle_pause(&mut self) {
        self.pause_announced = false;
        if !self.ledger.paused {
            self.ledger.paused = true;
            self.persist();
        }
    }

    fn handle_resume(&mut self, now: Now) {
        if self.ledger.paused {
            self.ledger.paused = false;
            self.persist();
        }
        if let State::Waiting { until } = &mut self.state {
            *until = now;
        }
    }

    fn pause_by_policy(&mut self, now: Now) {
        self.failures.forgive_all();
        self.unblamed.forgive_all();
        self.ledger.paused = true;
        self.pause_announced = false;
        self.fix_plan(now);
    }

    fn announce_pause(&mut self) {
        let settled = matches!(self.state, State::Idle | State::Waiting { .. });
        let durable = self.token_durable == self.token_issued;
        if self.ledger.paused && settled && durable && !self.pause_announced {
            self.pause_announced = true;
            self.effects.push_back(Effect::Paused);
        }
    }

    // Sending.

    fn tasks(&self) -> impl Iterator<Item = TaskId> + use<> {
        (0..self.options.tasks).map(TaskId)
    }

    fn send(&mut self, task: TaskId, message: ToParticipant) {
        self.effects.push_back(Effect::Send { task, message });
    }

    fn send_each(&mut self, tasks: impl IntoIterator<Item = TaskId>, message: &ToParticipant) {
        for task in tasks {
            self.send(task, message.clone());
        }
    }
}

fn source_work(range: &crate::microbatch::SourceRange, excluded: &[Excluded]) -> SourceWork {
    let forgotten = mutants::active(Mutant::ExclusionsForgotten);
    let inside = |origin: &Origin| {
        origin.source == range.source
            && origin.partition == range.partition
            && (range.from..range.to).contains(&origin.offset)
    };
    let origins = excluded
        .iter()
        .map(|excluded| excluded.origin)
        .filter(inside);
    SourceWork {
        source: range.source,
        partition: range.partition,
        from: range.from,
        to: range.to,
        excluded: origins
            .map(|origin| origin.offset)
            .filter(|_| !forgotten)
            .collect(),
    }
}
