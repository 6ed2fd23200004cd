//! A simulated machine with one group, random work for it, and the checks against the model.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rama_io::sim::{Faults, ProcessId, Sim, SimConfig, SimEnv};
use rama_wire::{Index, LogId};

use super::model::{
    Log, MIGRATED, Outcome, SPACE, Step, Writes, entry_of, parts, slices, spread_len,
};
use crate::lsm::{Effect, Form, Migration, Migrations, Order, Reach, Read, Reshape, StoreOptions};
use crate::{
    Error, Group, GroupOptions, Identity, LogRecord, Mutant, Partition, RecordMigration, Recovered,
};

pub const IDENTITY: Identity = Identity {
    cluster: 0x0123_4567_89ab_cdef,
    group: 3,
};
pub const PARTITIONS: [u32; 3] = [1, 4, 5];
const LOGS: [LogId; 2] = [MIGRATED, LogId(9)];

pub fn dir() -> &'static Path {
    Path::new("/data/group")
}

/// Everything small, so that a short run rolls, seals, flushes and removes.
pub fn small_options(mutant: Option<Mutant>) -> GroupOptions {
    GroupOptions {
        segment_bytes: 8 << 10,
        batch_bytes: 2 << 10,
        fill_bytes: 2 << 10,
        replay_bytes_max: 16 << 10,
        memory_bytes_max: 16 << 10,
        store: StoreOptions {
            memtable_bytes: 2 << 10,
            ..StoreOptions::default()
        },
        migrations: Migrations::default(),
        mutant,
    }
}

/// Spreads values under keys of one length.
struct Spread(usize);

impl Reshape for Spread {
    fn reshape(&self, key: &[u8], value: Option<&[u8]>) -> Result<Form, String> {
        if key.len() != self.0 {
            return Ok(Form::Same);
        }
        Ok(Form::Spread {
            header: value.map(|value| vec![value.len() as u8]),
            elements: value.map(parts).unwrap_or_default(),
        })
    }

    fn present_bound(&self, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }

    fn old_lo(&self, key: &[u8]) -> Vec<u8> {
        key[..key.len().min(self.0)].to_vec()
    }

    fn old_hi(&self, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }
}

/// Adds its number to a value, so that one that passes twice, or never, is seen; or spreads values.
fn migration(number: u8) -> Migration {
    let longer = move |_: &[u8], value: &[u8]| Ok(Some([value, &[number]].concat()));
    Migration {
        space: SPACE,
        id: format!("step {number}"),
        effect: match spread_len(number) {
            Some(len) => Effect::Entries(Arc::new(Spread(len))),
            None => Effect::Values(Arc::new(longer)),
        },
        reach: Reach::Everywhere,
    }
}

/// The same for records.
fn record_migration(number: u8) -> RecordMigration {
    RecordMigration {
        log: MIGRATED,
        id: format!("step {number}"),
        convert: Arc::new(move |record| Ok(Some([record, &[number]].concat()))),
    }
}

/// One world and what should be in it.
pub struct World {
    pub sim: Sim,
    pub process: ProcessId,
    pub options: GroupOptions,
    random: u64,
    /// Every entry that may be there.
    pub entries: Vec<Vec<Step>>,
    /// How many of them must be there.
    pub durable: u64,
    attempt: u32,
    /// Whether code with other types comes now and then.
    pub migrating: bool,
    /// What became of values, and the last entry before it.
    migrations: Vec<(u64, u8)>,
}

impl World {
    pub fn new(seed: u64, faults: Faults, options: GroupOptions) -> World {
        let sim = Sim::new(seed, SimConfig::with_faults(faults));
        let process = sim.process();
        World {
            sim,
            process,
            options,
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            entries: Vec::new(),
            durable: 0,
            attempt: 0,
            migrating: false,
            migrations: Vec::new(),
        }
    }

    /// splitmix64
    pub fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    pub fn open(&mut self) -> Result<(Group<SimEnv>, Recovered), Error> {
        let env = self.sim.env(self.process, "group");
        let options = self.options.clone();
        let opening = Group::open(&env, dir(), IDENTITY, &PARTITIONS, options);
        self.sim.block_on(opening)
    }

    /// Opens, whatever the disk says the first times, and checks what is there.
    pub fn reopen(&mut self, faults: Faults) -> Result<Group<SimEnv>, String> {
        let sound = Faults {
            lost_writes: faults.lost_writes,
            torn_writes: faults.torn_writes,
            lost_names: faults.lost_names,
            ..Faults::none()
        };
        let new_code = self.migrating && self.random(3) > 0;
        if new_code {
            let number = self.migrations.len() as u8;
            self.options.migrations.steps.push(migration(number));
            let records = record_migration(number);
            self.options.migrations.records.push(records);
        }
        for patience in (0..4).rev() {
            if patience == 0 {
                self.sim.set_faults(sound);
            }
            match self.open() {
                Ok((group, recovered)) => {
                    if new_code {
                        let number = self.migrations.len() as u8;
                        self.migrations.push((recovered.last_index.0, number));
                    }
                    self.sim.set_faults(sound);
                    self.check_recovered(&group, &recovered)?;
                    self.sim.set_faults(faults);
                    return Ok(group);
                }
                Err(Error::Io { .. } | Error::Store(_) | Error::Poisoned { .. })
                    if patience > 0 =>
                {
                    self.sim.kill(self.process);
                }
                Err(error) => return Err(format!("could not open: {}", error.chain())),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn check_recovered(
        &mut self,
        group: &Group<SimEnv>,
        recovered: &Recovered,
    ) -> Result<(), String> {
        let (last, durable) = (recovered.last_index.0, self.durable);
        if last < durable {
            return Err(format!("{durable} entries were durable, {last} are there"));
        }
        let appended = self.entries.len() as u64;
        if last > appended {
            return Err(format!(
                "{last} entries are there, {appended} were appended"
            ));
        }
        self.entries.truncate(last as usize);
        self.durable = last;
        self.check_contents(group, last)?;
        let prepared = recovered.prepared.iter();
        let found: BTreeMap<_, _> = prepared
            .map(|p| ((p.partition, p.slot, p.txn), p.attempt))
            .collect();
        let prepared = Outcome::of(&self.entries, &self.migrations).prepared;
        let expected: BTreeMap<_, _> = prepared
            .iter()
            .map(|(txn, (attempt, _))| (*txn, *attempt))
            .collect();
        match found == expected {
            true => Ok(()),
            false => Err(format!("prepared: expected {expected:?}, found {found:?}")),
        }
    }

    /// Compares everything readable with the first `applied` entries.
    pub fn check_contents(&self, group: &Group<SimEnv>, applied: u64) -> Result<(), String> {
        let expected = Outcome::of(&self.entries[..applied as usize], &self.migrations);
        for id in PARTITIONS {
            let partition = group.partition(id).map_err(|error| error.chain())?;
            for log in LOGS {
                let want = expected.logs.get(&(id, log)).cloned().unwrap_or_default();
                self.check_log(&partition, log, &want)?;
            }
            let want = expected.stores.get(&id).cloned().unwrap_or_default();
            let found = contents(&partition)?;
            if found != want {
                let differs = |key: &&Vec<u8>| found.get(*key) != want.get(*key);
                let keys = found.keys().chain(want.keys()).filter(differs);
                let keys: Vec<_> = keys.map(|key| String::from_utf8_lossy(key)).collect();
                return Err(format!("store {id} after entry {applied}: {keys:?} differ"));
            }
        }
        Ok(())
    }

    fn check_log(
        &self,
        partition: &Partition<SimEnv>,
        log: LogId,
        want: &Log,
    ) -> Result<(), String> {
        let range = partition.log_range(log);
        let expected = want.start..want.records.len() as u64;
        let id = partition.id();
        if range != expected {
            return Err(format!(
                "log {log} of {id}: {range:?}, expected {expected:?}"
            ));
        }
        let found = self.sim.block_on(read_all(partition, log, range.start));
        let found = found.map_err(|error| error.chain())?;
        match found == want.records[want.start as usize..] {
            true => Ok(()),
            false => Err(format!("log {log} of {id}: records differ")),
        }
    }

    fn writes(&mut self) -> Writes {
        let count = 1 + self.random(4);
        let mut writes = Writes::new();
        for _ in 0..count {
            let key = format!("key {:02}", self.random(40)).into_bytes();
            let value = vec![self.random(256) as u8; self.random(60) as usize];
            writes.push((key, (self.random(5) > 0).then_some(value)));
        }
        writes
    }

    fn records(&mut self) -> Vec<Vec<u8>> {
        let most = if self.random(30) == 0 { 4_000 } else { 120 };
        let mut records = Vec::new();
        for _ in 0..1 + self.random(4) {
            let (len, seed) = (self.random(most), self.random(256));
            records.push((0..len).map(|at| (at + seed) as u8).collect());
        }
        records
    }

    /// An operation that makes sense after `outcome`.
    fn step(&mut self, outcome: &Outcome) -> Step {
        let partition = PARTITIONS[self.random(3) as usize];
        let log = LOGS[self.random(2) as usize];
        let open: Vec<_> = outcome
            .prepared
            .iter()
            .map(|(t, (a, _))| (*t, *a))
            .collect();
        match self.random(12) {
            0..=4 => Step::Append {
                partition,
                log,
                time_ms: 1_000 + self.entries.len() as u64 * 10 - self.random(9),
                records: self.records(),
            },
            5..=6 => Step::Write {
                partition,
                writes: self.writes(),
            },
            7 => {
                self.attempt += 1;
                Step::Prepare {
                    txn: (partition, self.random(2) as u16, self.random(3)),
                    attempt: self.attempt,
                    writes: self.writes(),
                }
            }
            8..=9 if !open.is_empty() => {
                let (txn, _) = open[self.random(open.len() as u64) as usize];
                Step::Commit { txn }
            }
            10 if !open.is_empty() => {
                let (txn, attempt) = open[self.random(open.len() as u64) as usize];
                let attempt = attempt - u32::from(self.random(4) == 0);
                Step::Abort { txn, attempt }
            }
            _ => {
                let log_of = outcome.logs.get(&(partition, log));
                let end = log_of.map_or(0, |log| log.records.len() as u64);
                Step::Trim {
                    partition,
                    log,
                    before: self.random(end + 2),
                }
            }
        }
    }

    /// Appends an entry of one or two operations.
    pub fn append(&mut self, group: &Group<SimEnv>, outcome: &mut Outcome) -> Result<(), Error> {
        let mut steps = Vec::new();
        for _ in 0..1 + self.random(6) / 5 {
            let step = self.step(outcome);
            outcome.on_step(&step);
            steps.push(step);
        }
        let slices = slices(&steps);
        let appended = group.append(entry_of(&steps, &slices))?;
        self.entries.push(steps.clone());
        assert_eq!(
            appended.index.0,
            self.entries.len() as u64,
            "indices are dense"
        );
        Ok(())
    }

    /// Works for a while. `Err` is a broken promise; a failing disk just ends the round.
    pub fn work(&mut self, group: &Group<SimEnv>) -> Result<(), String> {
        let mut outcome = Outcome::of(&self.entries, &self.migrations);
        for _ in 0..self.random(60) {
            let done = match self.random(10) {
                0..=5 => self.append(group, &mut outcome),
                6..=7 => self.wait(group),
                8 => {
                    let nap = Duration::from_micros(self.random(3_000));
                    self.sim.block_on(self.sim.sleep(nap));
                    Ok(())
                }
                _ if self.random(4) == 0 => self.sim.block_on(group.checkpoint()),
                _ => {
                    let checked = self.check_contents(group, group.applied().0);
                    checked.or_else(|text| allow(group, text))?;
                    Ok(())
                }
            };
            match done {
                Ok(()) => {}
                Err(Error::Poisoned { .. } | Error::Io { .. } | Error::Store(_)) => return Ok(()),
                Err(error) => return Err(format!("while working: {}", error.chain())),
            }
        }
        Ok(())
    }

    fn wait(&mut self, group: &Group<SimEnv>) -> Result<(), Error> {
        let behind = self.random(4).min(group.appended().0);
        let index = Index(group.appended().0 - behind);
        self.sim.block_on(group.wait_durable(index))?;
        self.durable = self.durable.max(index.0);
        group.apply(index)
    }

    /// Lets code go that nothing is left for, in the order in which it came. True when all is done.
    pub fn retire(&mut self, group: &Group<SimEnv>) -> bool {
        let unfinished = PARTITIONS.iter().flat_map(|id| {
            let partition = group.partition(*id).expect("a partition of this world");
            let migrations = partition.store().migrations();
            migrations.into_iter().filter(|found| found.bytes_left > 0)
        });
        let unfinished: Vec<String> = unfinished.map(|found| found.id).collect();
        let migrations = &mut self.options.migrations;
        while let Some(first) = migrations.steps.first()
            && !unfinished.contains(&first.id)
        {
            let Migration { space, id, .. } = migrations.steps.remove(0);
            migrations.retired.push((space, id));
        }
        migrations.steps.is_empty()
    }

    /// What ends a round.
    pub fn end(&mut self, group: Group<SimEnv>) -> Result<(), String> {
        match self.random(4) {
            0 => match self.sim.block_on(group.close()) {
                Ok(()) => self.durable = self.entries.len() as u64,
                Err(Error::Poisoned { .. }) => self.sim.kill(self.process),
                Err(error) => return Err(format!("could not close: {}", error.chain())),
            },
            1 => self.sim.kill(self.process),
            _ => self.sim.power_cut(self.process),
        }
        Ok(())
    }
}

/// A read error of the disk is no broken promise.
fn allow(group: &Group<SimEnv>, text: String) -> Result<(), String> {
    let poisoned = matches!(group.apply(group.applied()), Err(Error::Poisoned { .. }));
    match poisoned || text.starts_with("could not map") {
        true => Ok(()),
        false => Err(text),
    }
}

/// All records from `from` on, read in small pieces.
pub async fn read_all(
    partition: &Partition<SimEnv>,
    log: LogId,
    from: u64,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    let end = partition.log_range(log).end;
    let mut next = from;
    while next < end {
        let before = next;
        let visit = &mut |record: LogRecord<'_>| {
            assert_eq!(record.offset, next, "records come in order");
            found.push((record.append_time_ms, record.bytes.to_vec()));
            next += 1;
        };
        partition.read_log_warm(log, before, 7, 300, visit).await?;
        assert!(next > before, "a read makes progress");
    }
    Ok(found)
}

pub fn contents(partition: &Partition<SimEnv>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        found.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    };
    let store = partition.store();
    let scan = store.scan(SPACE, b"", None, Order::Ascending, visit);
    scan.map_err(|error| error.to_string())?;
    Ok(found)
}
