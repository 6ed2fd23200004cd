//! Opening: from files to the state that was durable, and not a byte more or less.
//!
//! Relies on `load` for reading files. Sealed segments trust their footers, so the time to open
//! does not depend on the length of the log; segments without a footer – the last one, and at most
//! the few before it that were not sealed yet – are scanned. What must stay true: only the last
//! device write may be cut; any other bad byte that is met is corruption and refuses to open; what
//! was read from the last write, whose flush may have failed, is written again before it is
//! believed; nothing of an earlier incarnation is ever appended to: a new segment begins.
//!
//! Steps: 1 claim the directory · 2 open the stores · 3 load the segments and check that they chain,
//! and note in the stores where migrations begin · 4 decide which prepared writes are still wanted · 5 replay sealed segments that stores lack ·
//! 6 apply the scanned ones, and begin the migrations that wait for it · 7 seal them, remove empty ones, start the writer.

mod load;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_util::lock::Mutex;
use rama_io::{Category, Env};
use rama_wire::entry::BadEntry;
use rama_wire::{Index, LogId};

use super::batch::Effect;
use super::records::RecordSteps;
use super::signal::{Loop, Signal};
use super::state::{Log, Place, State, Waiting};
use super::writer::Writer;
use super::{Recovered, Shared, Stats, background, seal, spare};
use crate::error::{Error, Result};
use crate::lsm;
use crate::options::{GroupOptions, Identity, Mutant};
use crate::replog::footer::LogBounds;
use crate::replog::scan::Scan;
use crate::replog::segment::{Chain, LogKey, Segment, TxnKey, TxnRecord, TxnStep};
use crate::superblock;
use load::{Loaded, Scanned, effects_of};

/// Prepared writes, named by transaction and entry.
type Wanted = BTreeSet<(TxnKey, Index)>;

/// Opens the group and starts its loops.
pub(super) async fn open<E: Env>(
    env: &E,
    dir: &Path,
    identity: Identity,
    partitions: &[u32],
    options: GroupOptions,
) -> Result<(Rc<Shared<E>>, Recovered)> {
    let log_dir = claim(env, dir, identity).await?;
    let stores = open_stores(env, dir, identity, partitions, &options).await?;
    let loaded = load::load(env, &log_dir, identity, options.mutant).await?;
    let cut_bytes = loaded.cut_bytes;
    let spare = loaded.empty.clone();
    load::rewrite_doubtful(env, &log_dir, &loaded).await?;
    let last = last_index(&loaded);
    let mut gathering = Vec::new();
    for (partition, store) in &stores {
        let waits = store.migrate(&options.migrations, last).await?;
        gathering.extend(waits.then_some(*partition));
    }
    let state = new_state(log_dir, stores, options.mutant);
    let shared = Rc::new(Shared {
        env: env.clone(),
        dir: dir.to_owned(),
        identity,
        options,
        state: RefCell::new(state),
        write_loop: Loop::default(),
        rewrite_loop: Loop::default(),
        tidy_loop: Loop::default(),
        compact_loop: Loop::default(),
        room: Signal::default(),
        spare_loop: Loop::default(),
        spare: Mutex::new(None),
        tidying: Mutex::new(()),
    });
    let replayed = rebuild(&shared, loaded).await?;
    begin_gathering(&shared, &gathering, last).await?;
    migrate_records(&shared).await?;
    finish(&shared, spare).await?;
    let state = shared.state.borrow();
    let recovered = Recovered {
        last_index: state.applied,
        prepared: state.undecided(),
        replayed,
        cut_bytes,
    };
    drop(state);
    Ok((shared, recovered))
}

/// Step 1. A directory with segments and no superblock is not made fresh.
async fn claim<E: Env>(env: &E, dir: &Path, identity: Identity) -> Result<PathBuf> {
    let log_dir = dir.join("log");
    let made = env.make_dir(dir).await;
    made.map_err(|error| Error::io("create", dir, error))?;
    let names = env.list(dir).await;
    let names = names.map_err(|error| Error::io("list", dir, error))?;
    let known = superblock::among(&names);
    if !known && names.iter().any(|name| name == "log") {
        return Err(Error::Mismatch {
            path: dir.to_owned(),
            what: "its superblock",
            expected: identity.to_string(),
            found: "missing beside a log".to_owned(),
        });
    }
    superblock::claim(env, dir, identity, !known).await?;
    // A name that is visible may still be lost: the process that made it may have died before.
    let synced = env.sync_dir(dir).await;
    synced.map_err(|error| Error::io("sync", dir, error))?;
    let made = env.make_dir(&log_dir).await;
    made.map_err(|error| Error::io("create", &log_dir, error))?;
    let synced = env.sync_dir(&log_dir).await;
    synced.map_err(|error| Error::io("sync", &log_dir, error))?;
    Ok(log_dir)
}

/// Step 2.
async fn open_stores<E: Env>(
    env: &E,
    dir: &Path,
    identity: Identity,
    partitions: &[u32],
    options: &GroupOptions,
) -> Result<BTreeMap<u32, lsm::Store<E>>> {
    let mut stores = BTreeMap::new();
    for &partition in partitions {
        let dir = dir.join(format!("store-{partition}"));
        let cluster = identity.cluster;
        let identity = lsm::Identity { cluster, partition };
        let store = lsm::Store::open(env, &dir, identity, options.store).await?;
        // What the store believes of its manifest must stay true after the next power cut: the
        // process that renamed it may have died before the rename was durable.
        let synced = env.sync_dir(&dir).await;
        synced.map_err(|error| Error::io("sync", &dir, error))?;
        stores.insert(partition, store);
    }
    Ok(stores)
}

/// The last entry that is there: everything up to it was written by the code of an earlier opening.
fn last_index(loaded: &Loaded) -> Index {
    let sealed = loaded
        .sealed
        .last()
        .map(|(segment, _)| segment.chain.last_index);
    let mut scanned = loaded
        .scanned
        .iter()
        .filter_map(|scanned| scanned.entries.last());
    scanned
        .next_back()
        .map(|entry| entry.index)
        .or(sealed)
        .unwrap_or_default()
}

fn new_state<E: Env>(
    log_dir: PathBuf,
    stores: BTreeMap<u32, lsm::Store<E>>,
    mutant: Option<Mutant>,
) -> State<E> {
    State {
        log_dir,
        epoch: 0,
        appended: Index::ZERO,
        durable: Index::ZERO,
        applied: Index::ZERO,
        gathering: VecDeque::new(),
        ready: VecDeque::new(),
        segments: BTreeMap::new(),
        logs: BTreeMap::new(),
        record_steps: BTreeMap::new(),
        stores,
        prepared: BTreeMap::new(),
        announced: BTreeMap::new(),
        waiters: BTreeMap::new(),
        poison: None,
        closing: false,
        full: false,
        mutant,
        stats: Stats::default(),
    }
}

/// Steps 4 to 6. Returns how many entries of sealed segments were read again.
async fn rebuild<E: Env>(shared: &Rc<Shared<E>>, loaded: Loaded) -> Result<u64> {
    let Loaded {
        sealed, scanned, ..
    } = loaded;
    let steps: Vec<(u64, TxnRecord)> = steps_of(&sealed, &scanned);
    {
        let mut state = shared.state.borrow_mut();
        for (segment, bounds) in sealed {
            adopt(&mut state, segment, &bounds)?;
        }
    }
    let wanted = decide(&mut shared.state.borrow_mut(), &steps);
    let replayed = replay(shared, &wanted).await?;
    let mut state = shared.state.borrow_mut();
    for scanned in scanned {
        let Scanned {
            segment, entries, ..
        } = scanned;
        let (id, chain) = (segment.id, segment.chain);
        state.segments.insert(id, segment);
        for entry in entries {
            state.on_durable(entry, chain.epoch);
            state.apply_next(&mut |_, _| {})?;
        }
        state.epoch = chain.epoch;
    }
    for log in state.logs.values_mut() {
        log.appended_end = log.applied_end;
        log.last_time_ms = log
            .places
            .back()
            .map_or(log.floor_time_ms, |p| p.last_time_ms);
    }
    state.appended = state.applied;
    state.announced = state
        .prepared
        .iter()
        .map(|(key, w)| (*key, w.attempt))
        .collect();
    Ok(replayed)
}

/// Every step of every transaction that a segment still tells of, in order.
fn steps_of(
    sealed: &[(Segment, BTreeMap<LogKey, LogBounds>)],
    scanned: &[Scanned],
) -> Vec<(u64, TxnRecord)> {
    let mut steps = Vec::new();
    for (segment, _) in sealed {
        steps.extend(segment.txns.iter().map(|record| (segment.id, *record)));
    }
    for scanned in scanned {
        for entry in &scanned.entries {
            let records = entry.effects.iter().filter_map(|effect| {
                let (step, key, attempt) = match *effect {
                    Effect::Prepare { key, attempt, .. } => (TxnStep::Prepared, key, attempt),
                    Effect::Commit { key } => (TxnStep::Committed, key, 0),
                    Effect::Abort { key, attempt } => (TxnStep::Aborted, key, attempt),
                    _ => return None,
                };
                let index = entry.index;
                Some(TxnRecord {
                    step,
                    key,
                    attempt,
                    index,
                })
            });
            steps.extend(records.map(|record| (scanned.segment.id, record)));
        }
    }
    steps
}

/// Takes over what the footer of a sealed segment says.
fn adopt<E: Env>(
    state: &mut State<E>,
    segment: Segment,
    bounds: &BTreeMap<LogKey, LogBounds>,
) -> Result<()> {
    for (key, bounds) in bounds {
        state.store(key.0)?;
        let span = segment.spans.get(key);
        let first = span.map_or(bounds.end, |span| span.first);
        let log = state.logs.entry(*key).or_insert_with(|| {
            let time_ms = if span.is_some() {
                0
            } else {
                bounds.last_time_ms
            };
            Log::at(first, time_ms)
        });
        log.start = log.start.max(bounds.start).max(log.floor);
        if let Some(span) = span {
            BadEntry::check("first offset of a log", log.applied_end, span.first)
                .map_err(|bad| Error::corrupt(&state.log_dir, segment.id, &bad))?;
            log.places.push_back(Place {
                segment: segment.id,
                first: span.first,
                end: span.end,
                last_time_ms: span.last_time_ms,
            });
        }
        log.applied_end = bounds.end;
    }
    state.epoch = segment.chain.epoch;
    let last = segment.chain.last_index;
    (state.durable, state.applied) = (last, last);
    state.segments.insert(segment.id, segment);
    Ok(())
}

/// Step 4. Prepared writes are wanted while nothing is decided, and while their commit is newer
/// than what the store has in tables.
fn decide<E: Env>(state: &mut State<E>, steps: &[(u64, TxnRecord)]) -> Wanted {
    let mut open: BTreeMap<TxnKey, (u64, TxnRecord)> = BTreeMap::new();
    let mut wanted = Wanted::new();
    for (segment, record) in steps {
        match record.step {
            TxnStep::Prepared => {
                open.insert(record.key, (*segment, *record));
            }
            TxnStep::Aborted => {
                if open
                    .get(&record.key)
                    .is_some_and(|(_, p)| p.attempt == record.attempt)
                {
                    open.remove(&record.key);
                }
            }
            TxnStep::Committed => {
                let Some((prepared_in, prepared)) = open.remove(&record.key) else {
                    continue;
                };
                let persisted = state.stores.get(&record.key.0).map(lsm::Store::persisted);
                if let Some(segment) = state.segments.get_mut(&prepared_in) {
                    segment.on_write(record.key.0, record.index);
                }
                if persisted.is_some_and(|persisted| persisted < record.index) {
                    wanted.insert((record.key, prepared.index));
                }
            }
        }
    }
    for (key, (segment, record)) in open {
        wanted.insert((key, record.index));
        if let Some(segment) = state.segments.get_mut(&segment) {
            segment.open.insert(key);
        }
    }
    wanted
}

/// Step 5.
async fn replay<E: Env>(shared: &Rc<Shared<E>>, wanted: &Wanted) -> Result<u64> {
    if shared.options.mutant == Some(Mutant::SkipReplay) {
        return Ok(0);
    }
    let needed: Vec<u64> = {
        let state = shared.state.borrow();
        let lacking = |segment: &Segment| {
            let unflushed = segment.stores.iter().any(|(partition, index)| {
                let store = state.stores.get(partition);
                store.is_some_and(|store| store.persisted() < *index)
            });
            let mut txns = segment.txns.iter();
            unflushed || txns.any(|record| wanted.contains(&(record.key, record.index)))
        };
        let sealed = state.segments.values().filter(|segment| lacking(segment));
        sealed.map(|segment| segment.id).collect()
    };
    let mut replayed = 0;
    for id in needed {
        replayed += replay_segment(shared, id, wanted).await?;
        background::make_room(shared).await?;
    }
    Ok(replayed)
}

async fn replay_segment<E: Env>(shared: &Rc<Shared<E>>, id: u64, wanted: &Wanted) -> Result<u64> {
    let mapping = seal::warm(shared, id).await?;
    let mut state = shared.state.borrow_mut();
    let chain: Chain = state.segments[&id].chain;
    let path = state.path_of(id);
    let mutant = shared.options.mutant;
    let first = Some(chain.first_index);
    let mut scan = Scan::new(&mapping, id, first, chain.previous_crc, mutant);
    let mut replayed = 0;
    while scan.chain.last_index < chain.last_index {
        let found = scan.next();
        let found = found.map_err(|s| Error::corrupt(&path, u64::from(s.position), &s.bad))?;
        let index = found.header.index;
        for effect in effects_of(&path, &found)? {
            replay_effect(&mut state, index, id, effect, wanted)?;
        }
        replayed += 1;
    }
    Ok(replayed)
}

/// Appends and bounds are known from the footer; the rest is done again.
fn replay_effect<E: Env>(
    state: &mut State<E>,
    index: Index,
    segment: u64,
    effect: Effect,
    wanted: &Wanted,
) -> Result<()> {
    match effect {
        Effect::Prepare {
            key,
            attempt,
            batch,
        } => {
            if wanted.contains(&(key, index)) {
                state.drop_prepared(key);
                let store = state.store(key.0)?;
                let (batch, old) = (store.present(batch, index)?, store.await_old(index));
                let waiting = Waiting {
                    attempt,
                    old,
                    segment,
                    batch,
                };
                state.prepared.insert(key, waiting);
            }
            Ok(())
        }
        Effect::Write { .. } | Effect::Commit { .. } => state.apply_effect(index, segment, effect),
        Effect::Append { .. } | Effect::Abort { .. } | Effect::Trim { .. } => Ok(()),
    }
}

/// Brings what was read again into tables, where migrations are about to make values of parts; and what is
/// prepared into its present form.
async fn begin_gathering<E: Env>(
    shared: &Rc<Shared<E>>,
    partitions: &[u32],
    last: Index,
) -> Result<()> {
    for &partition in partitions {
        let store = shared.state.borrow().store(partition)?.clone();
        let earlier = store
            .begin_gathering(&shared.options.migrations, last)
            .await?;
        let mut state = shared.state.borrow_mut();
        let prepared = state.prepared.iter_mut();
        for (_, waiting) in prepared.filter(|(key, _)| key.0 == partition) {
            let batch = std::mem::take(&mut waiting.batch);
            waiting.batch = store.present_since(batch, (last, &earlier))?;
            waiting.old = waiting.old || store.await_old(last);
        }
    }
    Ok(())
}

/// Notes where migrations of records begin, before anything is appended behind it.
async fn migrate_records<E: Env>(shared: &Rc<Shared<E>>) -> Result<()> {
    let migrations = &shared.options.migrations;
    let logs: BTreeSet<LogId> = migrations.records.iter().map(|found| found.log).collect();
    let stores = shared.state.borrow().stores.clone();
    for (partition, store) in stores {
        let ranges: BTreeMap<LogId, Range<u64>> = {
            let state = shared.state.borrow();
            let logs = state.logs.keys().filter(|(of, _)| *of == partition);
            logs.map(|key| (key.1, state.log_range(*key))).collect()
        };
        let marks = store.mark_logs(migrations, &ranges).await?;
        let mut state = shared.state.borrow_mut();
        for &log in &logs {
            let steps = RecordSteps::new(log, &migrations.records, &marks);
            state.record_steps.insert((partition, log), Rc::new(steps));
        }
    }
    Ok(())
}

/// Step 7.
async fn finish<E: Env>(shared: &Rc<Shared<E>>, spare: Vec<u64>) -> Result<()> {
    let log_dir = shared.state.borrow().log_dir.clone();
    for id in spare {
        let path = shared.state.borrow().path_of(id);
        let gone = shared.env.remove(&path).await;
        gone.map_err(|error| Error::io("remove", &path, error))?;
        let synced = shared.env.sync_dir(&log_dir).await;
        synced.map_err(|error| Error::io("sync", &log_dir, error))?;
    }
    loop {
        let unsealed = {
            let state = shared.state.borrow();
            let mut segments = state.segments.values();
            segments.find(|segment| !segment.sealed).map(|s| s.id)
        };
        let Some(id) = unsealed else { break };
        seal::seal(shared, id).await?;
    }
    let (segment, chain) = {
        let mut state = shared.state.borrow_mut();
        state.epoch += 1;
        let last = state.segments.last_key_value();
        let (id, mut chain) = last.map_or((0, Chain::default()), |(id, s)| (*id, s.chain));
        chain.epoch = state.epoch;
        (id + 1, chain)
    };
    let writer = Writer::start(shared.clone(), segment, chain).await?;
    shared.env.spawn(Category::Replication, writer.run());
    let spare = spare::run(shared.clone());
    shared.env.spawn(Category::Replication, spare);
    let background = background::run(shared.clone());
    shared.env.spawn(Category::Background, background);
    let compaction = background::run_compaction(shared.clone());
    shared.env.spawn(Category::Background, compaction);
    let rewriting = background::run_rewriting(shared.clone());
    shared.env.spawn(Category::Background, rewriting);
    shared.rewrite_loop.wake.notify();
    shared.compact_loop.wake.notify();
    shared.tidy_loop.wake.notify();
    Ok(())
}
