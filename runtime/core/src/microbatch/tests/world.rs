//! A little world for the microbatch machines: tasks with disks and overlays, channels that keep
//! their order, crashes at every effect, and an oracle that counts every record's writes.
//!
//! Relies on one seed for everything. Every record writes once on the task of its partition and
//! once on each task it hops to; at the end each of those writes must be there exactly once, or
//! none of them when policy took the record out.

mod links;

use std::collections::{BTreeMap, VecDeque};

use core::time::Duration;

use crate::ids::{MicrobatchId, Origin, Position, SourceId, TaskId, mix};
use crate::microbatch::{
    Admission, Coordinator, CoordinatorEffect, CoordinatorInput, CoordinatorLimits,
    CoordinatorOptions, DeadLetter, Failure, Ledger, Participant, ParticipantEffect,
    ParticipantInput, Phase, Portion, Source, SourceKind, SourceWork, ToCoordinator, ToParticipant,
};
use crate::policy::{Exhausted, FailurePolicy};
use crate::tests::Random;
use crate::time::Now;

const MS: u64 = 1_000_000;
const DEPOT: SourceId = SourceId(3);
const TICK: SourceId = SourceId(4);

/// A write of a record: which record, at which hop of it.
type Write = (Origin, u8);

#[derive(Clone, Debug)]
struct Hop {
    at: Position,
    id: u64,
    record: Origin,
    stage: u8,
}

#[derive(Clone, Debug)]
enum Work {
    /// Records and how far each has come: source work begins at 0.
    Source {
        at: Position,
        records: VecDeque<(Origin, u8)>,
    },
    Hop(Hop),
}

#[derive(Clone, Debug)]
enum LogOp {
    Prepare(Position, Vec<Write>),
    Drop(Position),
    Commit(Position),
}

/// One task: what survives a crash, and what does not.
#[derive(Default)]
struct Task {
    log: Vec<LogOp>,
    durable: usize,
    // Volatile from here.
    participant: Option<Participant>,
    overlay: Option<Vec<Write>>,
    work: VecDeque<Work>,
    /// Whether the attempt that runs is thorough.
    thorough: bool,
    /// What waits for its level to be let go.
    gathered: Vec<(u16, Origin, u8)>,
    held: Vec<Hop>,
    /// Log entries already made known to the participant.
    told: usize,
}

/// What the log of a task says.
#[derive(Default)]
struct Replayed {
    committed: MicrobatchId,
    prepared: Option<(Position, Vec<Write>)>,
    store: BTreeMap<Write, u32>,
}

#[derive(Default)]
struct CoordinatorDisk {
    log: Vec<(u64, Ledger, Vec<DeadLetter>)>,
    durable: usize,
    told: usize,
}

enum FromTask {
    Message(ToCoordinator),
    Lost(TaskId),
}

/// What the run is like, drawn from the seed.
struct Weather {
    crash_one_in: usize,
    fail_one_in: usize,
    /// Records whose hash is divisible by this always fail.
    poison: u64,
    pauses: bool,
    /// How often what was gathered is let go.
    levels: u16,
    /// Hops between tasks take so many tries to arrive.
    hop_lag: usize,
    link_one_in: usize,
}

pub(super) struct World {
    random: Random,
    now: u64,
    tasks: Vec<Task>,
    coordinator: Option<Coordinator>,
    disk: CoordinatorDisk,
    down: VecDeque<usize>,
    to_tasks: Vec<VecDeque<ToParticipant>>,
    from_tasks: Vec<VecDeque<FromTask>>,
    hops: Vec<Vec<VecDeque<Hop>>>,
    depot: Vec<u64>,
    weather: Weather,
    faults: bool,
    /// Whether phases may take an hour.
    patient: bool,
    /// The first ranges each id was started with, per task.
    first_ranges: BTreeMap<(MicrobatchId, TaskId), Vec<SourceWork>>,
    paused_seen: bool,
    pub(super) steps: u64,
    pub(super) crashes: u64,
    pub(super) aborted: u64,
    pub(super) rolled_forward: u64,
    pub(super) failures_survived: u64,
    pub(super) decided: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let count = 1 + random.below(4);
        let weather = Weather {
            crash_one_in: [40, 120, 400, usize::MAX][random.below(4)],
            fail_one_in: [15, 60, usize::MAX][random.below(3)],
            poison: [7, 25, u64::MAX][random.below(3)],
            pauses: random.one_in(3),
            hop_lag: [1, 4, 20][random.below(3)],
            link_one_in: [200, usize::MAX, usize::MAX][random.below(3)],
            levels: random.below(3) as u16,
        };
        let mut world = World {
            random,
            now: 0,
            tasks: (0..count).map(|_| Task::default()).collect(),
            coordinator: None,
            disk: CoordinatorDisk::default(),
            down: VecDeque::new(),
            to_tasks: (0..count).map(|_| VecDeque::new()).collect(),
            from_tasks: (0..count).map(|_| VecDeque::new()).collect(),
            hops: (0..count)
                .map(|_| (0..count).map(|_| VecDeque::new()).collect())
                .collect(),
            depot: vec![0; count],
            weather,
            faults: true,
            patient: false,
            first_ranges: BTreeMap::new(),
            paused_seen: false,
            steps: 0,
            crashes: 0,
            aborted: 0,
            rolled_forward: 0,
            failures_survived: 0,
            decided: 0,
        };
        world.boot_coordinator();
        for task in 0..count {
            world.boot_task(task);
        }
        world
    }

    /// Faults for a while, then peace until everything is done, then the oracle.
    pub(super) fn run(mut self) -> Result<World, String> {
        let storm = 100 + self.random.below(500);
        for _ in 0..storm {
            self.step()?;
        }
        self.heal()?;
        self.judge()?;
        let ledgers = self.disk.log.last();
        self.decided = ledgers.map_or(0, |(_, ledger, _)| ledger.decided.0);
        Ok(self)
    }

    fn options(&self) -> CoordinatorOptions {
        let policy = FailurePolicy {
            retries: 1,
            backoff_base_ms: 1,
            backoff_factor: 2,
            backoff_max_ms: 20,
            then: if self.weather.pauses {
                Exhausted::Skip
            } else {
                Exhausted::DeadLetter
            },
        };
        let depot = SourceKind::Depot {
            partitions: self.tasks.len() as u32,
            portion: Portion {
                max_records: 4,
                max_bytes: u64::MAX,
            },
        };
        let tick = SourceKind::Tick {
            interval: Duration::from_millis(80),
        };
        let sources = vec![
            Source {
                id: DEPOT,
                kind: depot,
                policy,
                twins: Vec::new(),
            },
            Source {
                id: TICK,
                kind: tick,
                policy,
                twins: Vec::new(),
            },
        ];
        let mut options = CoordinatorOptions::new(self.tasks.len() as u32, sources);
        options.limits.phase_timeout = self.phase_timeout(200);
        options.unblamed = policy;
        options.levels = self.weather.levels;
        options
    }

    fn phase_timeout(&self, ms: u64) -> Duration {
        match self.patient {
            true => Duration::from_secs(3600),
            false => Duration::from_millis(ms),
        }
    }

    // One step of the storm.

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        self.now += self.random.below(MS as usize) as u64;
        match self.random.below(20) {
            0 => self.append(),
            1..=3 => {
                let task = self.random.below(self.tasks.len());
                self.flush_task(task)?;
            }
            4 | 5 => {
                self.flush_coordinator()?;
            }
            6..=10 => {
                let task = self.random.below(self.tasks.len());
                self.work(task)?;
            }
            11 if !self.stuck() || self.random.one_in(10) => self.time_passes()?,
            12 if self.weather.pauses => self.pause_or_resume()?,
            13 if self.random.one_in(4) => self.set_limits()?,
            _ => self.deliver_any()?,
        }
        if self.random.one_in(self.weather.crash_one_in) {
            self.crash_someone();
        }
        if self.random.one_in(self.weather.link_one_in) {
            self.break_link()?;
        }
        if self.random.one_in(8) {
            self.restart_someone()?;
        }
        Ok(())
    }

    fn append(&mut self) {
        let partition = self.random.below(self.depot.len());
        self.depot[partition] += 1 + self.random.below(3) as u64;
        self.tell_ends(partition);
    }

    fn tell_ends(&mut self, partition: usize) {
        let input = CoordinatorInput::DepotEnd {
            source: DEPOT,
            partition: partition as u32,
            start: 0,
            end: self.depot[partition],
            begin: 0,
            record_bytes: 0,
        };
        // Errors surface at the next effect.
        let _ = self.coordinate(input);
    }

    fn pause_or_resume(&mut self) -> Result<(), String> {
        if self.random.one_in(3) {
            self.paused_seen = false;
            self.coordinate(CoordinatorInput::Pause)
        } else {
            self.paused_seen = false;
            self.coordinate(CoordinatorInput::Resume)
        }
    }

    /// An operator changes options in the middle of it.
    fn set_limits(&mut self) -> Result<(), String> {
        let millis = |ms| Duration::from_millis(ms);
        let phase_ms = [150, 200][self.random.below(2)];
        let limits = CoordinatorLimits {
            phase_timeout: self.phase_timeout(phase_ms),
            force_delay: millis([0, 0, 3][self.random.below(3)]),
            empty_interval: [None, Some(millis(50))][self.random.below(2)],
        };
        let portion = Portion {
            max_records: [1, 4, 9][self.random.below(3)],
            max_bytes: u64::MAX,
        };
        let portions = vec![(DEPOT, portion)];
        self.coordinate(CoordinatorInput::Limits { limits, portions })
    }

    fn time_passes(&mut self) -> Result<(), String> {
        let Some(coordinator) = &mut self.coordinator else {
            return Ok(());
        };
        if let Some(due) = coordinator.deadline() {
            self.now = self.now.max(due.0);
            coordinator.on_deadline(Now(self.now));
        }
        self.drain_coordinator()
    }

    // Channels.

    fn deliver_any(&mut self) -> Result<(), String> {
        let count = self.tasks.len();
        let first = self.random.below(count);
        let kinds = self.random.below(3);
        for turn in 0..count * 3 {
            let task = (first + turn) % count;
            let delivered = match (kinds + turn / count) % 3 {
                0 => self.deliver_to_task(task)?,
                1 => self.deliver_from_task(task)?,
                _ => self.deliver_hop(task)?,
            };
            if delivered {
                return Ok(());
            }
        }
        Ok(())
    }

    fn deliver_to_task(&mut self, task: usize) -> Result<bool, String> {
        if self.tasks[task].participant.is_none() {
            return Ok(false);
        }
        let Some(message) = self.to_tasks[task].pop_front() else {
            return Ok(false);
        };
        self.participate(task, ParticipantInput::Message(message))?;
        Ok(true)
    }

    fn deliver_from_task(&mut self, task: usize) -> Result<bool, String> {
        if self.coordinator.is_none() {
            return Ok(false);
        }
        let input = match self.from_tasks[task].pop_front() {
            Some(FromTask::Message(message)) => CoordinatorInput::Message(message),
            Some(FromTask::Lost(task)) => CoordinatorInput::ParticipantLost { task },
            None => return Ok(false),
        };
        self.coordinate(input)?;
        Ok(true)
    }

    fn deliver_hop(&mut self, to: usize) -> Result<bool, String> {
        let lags = self.faults && !self.random.one_in(self.weather.hop_lag);
        if lags || self.tasks[to].participant.is_none() {
            return Ok(false);
        }
        let count = self.tasks.len();
        let first = self.random.below(count);
        for turn in 0..count {
            let from = (first + turn) % count;
            if let Some(hop) = self.hops[from][to].pop_front() {
                self.offer(to, hop);
                self.drain_task(to)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn offer(&mut self, to: usize, hop: Hop) {
        let task = &mut self.tasks[to];
        let Some(participant) = &mut task.participant else {
            return;
        };
        match participant.admit(hop.at, hop.id) {
            Admission::Run => task.work.push_back(Work::Hop(hop)),
            Admission::Hold => task.held.push(hop),
            Admission::Drop => {}
        }
    }

    // Running author code.

    fn work(&mut self, index: usize) -> Result<bool, String> {
        if self.tasks[index].participant.is_none() {
            return Ok(false);
        }
        let Some(work) = self.tasks[index].work.pop_front() else {
            return Ok(false);
        };
        match work {
            Work::Source { at, records } => self.run_source(index, at, records)?,
            Work::Hop(hop) => {
                let at = hop.at;
                match self.run_record(index, at, hop.record, hop.stage) {
                    Ok(emitted) => {
                        let input = ParticipantInput::HopRan {
                            at,
                            hop: hop.id,
                            emitted,
                        };
                        self.participate(index, input)?;
                    }
                    Err(failure) => {
                        let input = ParticipantInput::WorkFailed { at, failure };
                        self.participate(index, input)?;
                        if self.goes_on(index, at) {
                            let (hop, emitted) = (hop.id, 0);
                            let input = ParticipantInput::HopRan { at, hop, emitted };
                            self.participate(index, input)?;
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    fn run_source(
        &mut self,
        index: usize,
        at: Position,
        mut records: VecDeque<(Origin, u8)>,
    ) -> Result<(), String> {
        let mut emitted = 0;
        let at_once = 1 + self.random.below(3);
        let at_once = if self.tasks[index].thorough {
            1
        } else {
            at_once
        };
        for _ in 0..at_once {
            let Some((record, stage)) = records.pop_front() else {
                break;
            };
            match self.run_record(index, at, record, stage) {
                Ok(hops) => emitted ^= hops,
                Err(failure) => {
                    let input = ParticipantInput::WorkFailed { at, failure };
                    self.participate(index, input)?;
                    if !self.goes_on(index, at) {
                        return Ok(());
                    }
                    self.failures_survived += 1;
                }
            }
        }
        let done = records.is_empty();
        if !done {
            self.tasks[index]
                .work
                .push_front(Work::Source { at, records });
        }
        self.participate(index, ParticipantInput::SourceRan { at, emitted, done })
    }

    /// Whether a task still runs an attempt that has failed.
    fn goes_on(&self, index: usize, at: Position) -> bool {
        let participant = self.tasks[index].participant.as_ref();
        participant.is_some_and(|participant| participant.runs(at))
    }

    /// Nothing below `level` may be left anywhere when it is let go (F-21).
    fn let_go(&mut self, index: usize, at: Position, level: u16) -> Result<(), String> {
        let mut running = Vec::new();
        for task in &self.tasks {
            for work in &task.work {
                match work {
                    Work::Source { at, records } => {
                        running.extend(records.iter().map(|of| (*at, of.0, of.1)));
                    }
                    Work::Hop(hop) => running.push((hop.at, hop.record, hop.stage)),
                }
            }
        }
        let hops = self.hops.iter().flatten().flatten();
        running.extend(hops.map(|hop| (hop.at, hop.record, hop.stage)));
        let early = |of: &&(Position, Origin, u8)| of.0 == at && level_of(of.1, of.2) < level;
        if let Some(early) = running.iter().find(early) {
            return Err(format!(
                "level {level} of {at} is let go before {early:?} ran"
            ));
        }
        let task = &mut self.tasks[index];
        let (gone, left) = task.gathered.drain(..).partition(|of| of.0 <= level);
        task.gathered = left;
        let gone: Vec<(u16, Origin, u8)> = gone;
        let records = gone.into_iter().map(|(_, record, stage)| (record, stage));
        let records = records.collect();
        task.work.push_back(Work::Source { at, records });
        Ok(())
    }

    /// One event: writes here, perhaps a hop. Answers the XOR of the hops it emitted.
    fn run_record(
        &mut self,
        index: usize,
        at: Position,
        record: Origin,
        stage: u8,
    ) -> Result<u64, Failure> {
        let hash = mix(u64::from(record.partition) << 32 | record.offset);
        let poisoned =
            hash.is_multiple_of(self.weather.poison) && u64::from(stage) == hash >> 8 & 1;
        if poisoned {
            return Err(Failure {
                origin: Some(record),
                text: "poison".to_owned(),
            });
        }
        if self.faults && self.random.one_in(self.weather.fail_one_in) {
            let origin = self.random.one_in(2).then_some(record);
            return Err(Failure {
                origin,
                text: "bad luck".to_owned(),
            });
        }
        let overlay = self.tasks[index]
            .overlay
            .as_mut()
            .expect("work runs in an overlay");
        overlay.push((record, stage));
        let level = level_of(record, stage);
        if is_gathered(record, stage) {
            if level < self.weather.levels {
                let task = &mut self.tasks[index];
                task.gathered.push((level + 1, record, stage + 1));
            }
            return Ok(0);
        }
        let to = (mix(hash ^ u64::from(stage)) % self.tasks.len() as u64) as usize;
        let id = self.random.next();
        self.hops[index][to].push_back(Hop {
            at,
            id,
            record,
            stage: stage + 1,
        });
        Ok(id)
    }

    // The machines.

    fn coordinate(&mut self, input: CoordinatorInput) -> Result<(), String> {
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.on_input(Now(self.now), input);
        }
        self.drain_coordinator()
    }

    fn drain_coordinator(&mut self) -> Result<(), String> {
        loop {
            let Some(effect) = self.coordinator.as_mut().and_then(Coordinator::poll_effect) else {
                return Ok(());
            };
            if self.faults
                && self
                    .random
                    .one_in(self.weather.crash_one_in.saturating_mul(3))
            {
                self.crash_coordinator();
                return Ok(());
            }
            self.run_coordinator_effect(effect)?;
        }
    }

    fn run_coordinator_effect(&mut self, effect: CoordinatorEffect) -> Result<(), String> {
        match effect {
            CoordinatorEffect::Persist {
                token,
                ledger,
                dead_letters,
            } => {
                let decoded = Ledger::decode(&ledger.encode()).map_err(|e| e.to_string())?;
                if decoded != ledger {
                    return Err("the ledger changed in its encoding".to_owned());
                }
                self.disk.log.push((token, ledger, dead_letters));
            }
            CoordinatorEffect::Send { task, message } => {
                self.judge_message(task, &message)?;
                self.to_tasks[task.0 as usize].push_back(message);
            }
            CoordinatorEffect::Committed { id, .. } => {
                for (index, task) in self.tasks.iter().enumerate() {
                    if task.replay(task.durable).committed < id {
                        return Err(format!("{id:?} is announced, task {index} lacks it"));
                    }
                }
            }
            CoordinatorEffect::Paused => self.paused_seen = true,
            CoordinatorEffect::Halt { task, text } => return Err(format!("halt {task:?}: {text}")),
        }
        Ok(())
    }

    /// M-3: an id has the same data in every attempt. M-1: ids do not overlap. M-15: nothing
    /// starts while paused.
    fn judge_message(&mut self, task: TaskId, message: &ToParticipant) -> Result<(), String> {
        let ToParticipant::Start { at, sources, .. } = message else {
            if let ToParticipant::Abort { .. } = message {
                self.aborted += 1;
            }
            return Ok(());
        };
        if self.paused_seen {
            return Err(format!("{at} starts while paused"));
        }
        let bare = sources.iter().map(|work| SourceWork {
            excluded: Vec::new(),
            ..work.clone()
        });
        let bare: Vec<SourceWork> = bare.collect();
        let first = self
            .first_ranges
            .entry((at.id, task))
            .or_insert_with(|| bare.clone());
        if *first != bare {
            return Err(format!(
                "{at} has other data than the first attempt: {first:?} {bare:?}"
            ));
        }
        for (index, other) in self.tasks.iter().enumerate() {
            if other.replay(other.durable).committed.next() < at.id {
                return Err(format!(
                    "{at} starts before task {index} committed the id before"
                ));
            }
        }
        Ok(())
    }

    fn participate(&mut self, index: usize, input: ParticipantInput) -> Result<(), String> {
        if let Some(participant) = &mut self.tasks[index].participant {
            participant.on_input(input);
        }
        self.drain_task(index)
    }

    fn drain_task(&mut self, index: usize) -> Result<(), String> {
        loop {
            let participant = self.tasks[index].participant.as_mut();
            let Some(effect) = participant.and_then(Participant::poll_effect) else {
                return Ok(());
            };
            if self.faults
                && self
                    .random
                    .one_in(self.weather.crash_one_in.saturating_mul(3))
            {
                self.crash_task(index);
                return Ok(());
            }
            self.run_task_effect(index, effect)?;
        }
    }

    fn run_task_effect(&mut self, index: usize, effect: ParticipantEffect) -> Result<(), String> {
        let task = &mut self.tasks[index];
        match effect {
            ParticipantEffect::Tell(message) => {
                self.from_tasks[index].push_back(FromTask::Message(message));
            }
            ParticipantEffect::RunSources {
                at,
                sources,
                thorough,
                ..
            } => {
                task.thorough = thorough;
                task.overlay.get_or_insert_default();
                task.gathered.clear();
                let records = sources.iter().flat_map(records_of);
                let records = records.map(|record| (record, 0)).collect();
                task.work.push_back(Work::Source { at, records });
            }
            ParticipantEffect::RunGathered { at, level } => {
                self.let_go(index, at, level)?;
            }
            ParticipantEffect::OfferHeld => {
                for hop in std::mem::take(&mut task.held) {
                    self.offer(index, hop);
                }
            }
            ParticipantEffect::DropOverlay { .. } => {
                task.overlay = None;
                task.work.clear();
                task.gathered.clear();
            }
            ParticipantEffect::PersistPrepare { at } => {
                let writes = task.overlay.take().unwrap_or_default();
                task.work.clear();
                task.log.push(LogOp::Prepare(at, writes));
            }
            ParticipantEffect::DropPrepared { at } => task.log.push(LogOp::Drop(at)),
            ParticipantEffect::PersistCommit { at } => task.log.push(LogOp::Commit(at)),
        }
        Ok(())
    }

    // Disks.

    fn flush_task(&mut self, index: usize) -> Result<bool, String> {
        let task = &mut self.tasks[index];
        let waiting = task.log.len() - task.durable;
        if task.participant.is_none() || waiting == 0 {
            return Ok(false);
        }
        task.durable += 1 + self.random.below(waiting);
        while self.tasks[index].told < self.tasks[index].durable {
            let task = &mut self.tasks[index];
            let op = task.log[task.told].clone();
            task.told += 1;
            match op {
                LogOp::Prepare(at, _) => {
                    self.participate(index, ParticipantInput::PrepareDurable { at })?;
                }
                LogOp::Commit(at) => {
                    self.judge_commit(at)?;
                    self.participate(index, ParticipantInput::CommitApplied { at })?;
                }
                LogOp::Drop(_) => {}
            }
        }
        Ok(true)
    }

    /// A commit needs its decision to be durable.
    fn judge_commit(&self, at: Position) -> Result<(), String> {
        let decided = |(_, ledger, _): &(u64, Ledger, Vec<DeadLetter>)| {
            ledger.decided == at.id && ledger.decided_attempt == at.attempt
        };
        if self.disk.log[..self.disk.durable].iter().any(decided) {
            return Ok(());
        }
        Err(format!("{at} is committed without a durable decision"))
    }

    fn flush_coordinator(&mut self) -> Result<bool, String> {
        let waiting = self.disk.log.len() - self.disk.durable;
        if self.coordinator.is_none() || waiting == 0 {
            return Ok(false);
        }
        self.disk.durable += 1 + self.random.below(waiting);
        if self.disk.told < self.disk.durable {
            self.disk.told = self.disk.durable;
            let token = self.disk.log[self.disk.durable - 1].0;
            self.coordinate(CoordinatorInput::Persisted { token })?;
        }
        Ok(true)
    }

    // Crashes.

    fn crash_someone(&mut self) {
        self.crashes += 1;
        match self.random.below(8) {
            0 => {
                self.crash_coordinator();
                for task in 0..self.tasks.len() {
                    self.crash_task(task);
                }
            }
            1..=3 => self.crash_coordinator(),
            _ => {
                let task = self.random.below(self.tasks.len());
                self.crash_task(task);
            }
        }
    }

    fn crash_coordinator(&mut self) {
        if self.coordinator.take().is_none() {
            return;
        }
        let unflushed = self.disk.log.len() - self.disk.durable;
        self.disk.durable += self.random.below(unflushed + 1);
        self.disk.log.truncate(self.disk.durable);
        if self.random.one_in(2) {
            self.from_tasks.iter_mut().for_each(VecDeque::clear);
        }
    }

    fn crash_task(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        if task.participant.take().is_none() {
            return;
        }
        let unflushed = task.log.len() - task.durable;
        task.durable += self.random.below(unflushed + 1);
        task.log.truncate(task.durable);
        task.overlay = None;
        task.work.clear();
        task.gathered.clear();
        task.held.clear();
        self.down.push_back(index);
        if self.random.one_in(2) {
            self.to_tasks[index].clear();
            self.hops.iter_mut().for_each(|from| from[index].clear());
        }
        if self.random.one_in(2) {
            self.from_tasks[index].push_back(FromTask::Lost(TaskId(index as u32)));
        }
    }

    fn restart_someone(&mut self) -> Result<(), String> {
        if let Some(index) = self.down.pop_front() {
            self.boot_task(index);
            self.drain_task(index)?;
        }
        if self.coordinator.is_none() {
            self.boot_coordinator();
            self.drain_coordinator()?;
        }
        Ok(())
    }

    fn boot_task(&mut self, index: usize) {
        let incarnation = self.random.next();
        let task = &mut self.tasks[index];
        task.told = task.durable;
        let found = task.replay(task.durable);
        let mut participant = Participant::new(TaskId(index as u32));
        participant.on_input(ParticipantInput::Boot {
            incarnation,
            committed: found.committed,
            prepared: found.prepared.map(|(at, _)| at),
        });
        task.participant = Some(participant);
    }

    fn boot_coordinator(&mut self) {
        self.disk.told = self.disk.durable;
        let ledger = self.disk.log.last().map(|(_, ledger, _)| ledger.clone());
        let decided = ledger
            .as_ref()
            .map_or(MicrobatchId(0), |ledger| ledger.decided);
        let behind = |task: &Task| task.replay(task.durable).committed < decided;
        self.rolled_forward += u64::from(self.tasks.iter().any(behind));
        self.paused_seen = false;
        let mut coordinator = Coordinator::new(self.options());
        let seed = self.random.next();
        coordinator.on_input(Now(self.now), CoordinatorInput::Boot { ledger, seed });
        self.coordinator = Some(coordinator);
        for partition in 0..self.depot.len() {
            self.tell_ends(partition);
        }
    }

    // Peace.

    /// Everything comes up and every queue runs empty; progress must be made without new faults.
    fn heal(&mut self) -> Result<(), String> {
        self.faults = false;
        while self.coordinator.is_none() || !self.down.is_empty() {
            self.restart_someone()?;
        }
        self.paused_seen = false;
        self.coordinate(CoordinatorInput::Resume)?;
        // The attempt that runs now may have lost something; no later one may.
        let mut timeouts = 0;
        for _ in 0..20_000 {
            if self.settled() {
                return Ok(());
            }
            self.steps += 1;
            if self.peaceful_step()? {
                continue;
            }
            timeouts += u32::from(self.stuck());
            if timeouts > u32::from(!self.patient) {
                break;
            }
            self.time_passes()?;
        }
        let status = self.coordinator.as_ref().map(Coordinator::status);
        Err(format!(
            "no progress in peace after {timeouts} timeouts: {status:?}"
        ))
    }

    fn peaceful_step(&mut self) -> Result<bool, String> {
        let count = self.tasks.len();
        let first = self.random.below(count);
        for turn in 0..count {
            let task = (first + turn) % count;
            let did = self.deliver_to_task(task)?
                || self.deliver_from_task(task)?
                || self.deliver_hop(task)?
                || self.work(task)?
                || self.flush_task(task)?;
            if did {
                return Ok(true);
            }
        }
        self.flush_coordinator()
    }

    /// Whether something is under way that only a timeout can end.
    fn stuck(&self) -> bool {
        let phase = self.coordinator.as_ref().map(Coordinator::phase);
        matches!(
            phase,
            Some(Phase::Processing | Phase::Preparing | Phase::Committing)
        )
    }

    fn settled(&self) -> bool {
        let Some(coordinator) = &self.coordinator else {
            return false;
        };
        let status = coordinator.status();
        let written = self.disk.durable == self.disk.log.len();
        status.phase == Phase::Idle && status.lag == 0 && written
    }

    /// Exactly once: every write of every record is there once, or the record was taken out.
    fn judge(&self) -> Result<(), String> {
        let ledger = &self.disk.log.last().ok_or("nothing was ever written")?.1;
        let mut counts: BTreeMap<Write, u32> = BTreeMap::new();
        for (index, task) in self.tasks.iter().enumerate() {
            let found = task.replay(task.durable);
            if found.committed != ledger.decided {
                return Err(format!("task {index} stands at {:?}", found.committed));
            }
            for (write, count) in found.store {
                *counts.entry(write).or_insert(0) += count;
            }
        }
        let excluded = self.excluded();
        let letters = self.disk.log.iter().flat_map(|(_, _, letters)| letters);
        let mut letters: Vec<Origin> = letters.map(|letter| letter.origin).collect();
        letters.sort();
        let wanted: Vec<Origin> = excluded
            .iter()
            .filter(|(_, letter)| **letter)
            .map(|(origin, _)| *origin)
            .collect();
        if letters != wanted {
            return Err(format!("dead letters {letters:?} for {wanted:?}"));
        }
        for (partition, end) in (0u32..).zip(&self.depot) {
            for offset in 0..*end {
                let record = Origin {
                    source: DEPOT,
                    partition,
                    offset,
                };
                let want = u32::from(!excluded.contains_key(&record));
                for stage in 0..=hops_of(record) + 2 * self.weather.levels as u8 {
                    let count = counts.get(&(record, stage)).copied().unwrap_or(0);
                    if count != want {
                        return Err(format!(
                            "{record:?} stage {stage}: {count} times, not {want}"
                        ));
                    }
                }
            }
        }
        let appended: u64 = self.depot.iter().sum();
        if ledger.processed != appended {
            return Err(format!("{} processed of {appended}", ledger.processed));
        }
        Ok(())
    }

    /// Records taken out of the last plan of their id, and whether they are dead letters.
    fn excluded(&self) -> BTreeMap<Origin, bool> {
        let plans = self
            .disk
            .log
            .iter()
            .filter_map(|(_, ledger, _)| ledger.plan.as_ref());
        let all = plans.flat_map(|plan| &plan.excluded);
        all.map(|excluded| (excluded.origin, excluded.dead_letter))
            .collect()
    }
}

impl Task {
    /// What the first `len` entries of the log say.
    fn replay(&self, len: usize) -> Replayed {
        let mut found = Replayed::default();
        for op in &self.log[..len] {
            match op {
                LogOp::Prepare(at, writes) => found.prepared = Some((*at, writes.clone())),
                LogOp::Drop(at) => {
                    if found
                        .prepared
                        .as_ref()
                        .is_some_and(|(prepared, _)| prepared == at)
                    {
                        found.prepared = None;
                    }
                }
                LogOp::Commit(at) => {
                    let (_, writes) = found.prepared.take().expect("a commit has its prepare");
                    found.committed = at.id;
                    for write in writes {
                        *found.store.entry(write).or_insert(0) += 1;
                    }
                }
            }
        }
        found
    }
}

fn hops_of(record: Origin) -> u8 {
    (mix(record.offset ^ 77) % 3) as u8
}

/// After its hops a record is gathered, let go, hops once more and is gathered again, to the last
/// level.
fn level_of(record: Origin, stage: u8) -> u16 {
    u16::from(stage.saturating_sub(hops_of(record)).div_ceil(2))
}

fn is_gathered(record: Origin, stage: u8) -> bool {
    stage >= hops_of(record) && (stage - hops_of(record)).is_multiple_of(2)
}

fn records_of(work: &SourceWork) -> Vec<Origin> {
    let inside = (work.from..work.to).filter(|offset| !work.excluded.contains(offset));
    let origin = |offset| Origin {
        source: work.source,
        partition: work.partition,
        offset,
    };
    inside.map(origin).collect()
}
