//! Entries that change their keys, against a `BTreeMap` that is changed as a whole.
//!
//! Keys are made of single bytes: a struct, one of its fields, an element, an element of that. One
//! migration after the other spreads values into elements, gathers elements into values, takes fields
//! away and adds some, and spreads elements once more; between any two, and while all of them are under
//! way, the store is written, flushed, merged, written again and opened anew. What is prepared before one
//! of them may be committed behind it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rama_io::sim::{Faults, ProcessId, Sim, SimConfig, SimEnv};
use rama_wire::key::successor;
use rama_wire::{Index, SpaceId};

use super::Rng;
use super::model::IDENTITY;
use crate::lsm::mutant::{Mutant, plant};
use crate::lsm::{
    Effect, Error, Form, Migration, Migrations, Order, Reach, Read, Reshape, Store, StoreOptions,
    WriteBatch,
};

const SPACE: SpaceId = SpaceId(4);
const FIELDS: u8 = 4;
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The value of a field, or of an element of it, becomes one entry for each of its bytes.
#[derive(Clone, Copy, Debug)]
struct Spread {
    tag: u8,
    len: usize,
    header: bool,
}

/// Which field each old one is.
#[derive(Clone, Debug)]
struct Fields {
    new: Vec<Option<u8>>,
    count: u8,
}

/// All entries at and below a key become a value: how many they are, and a sum over all of them.
#[derive(Clone, Copy, Debug)]
struct Gather {
    tag: u8,
    len: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Spread(Spread),
    Gather(Gather),
    Fields(Fields),
    /// Adds a byte to all values of a field.
    Longer(u8),
}

impl Spread {
    fn place(&self, key: &[u8]) -> bool {
        key.len() >= self.len && key[1] == self.tag
    }

    fn parts(&self, value: &[u8]) -> (Option<Vec<u8>>, Vec<(Vec<u8>, Vec<u8>)>) {
        let elements = value
            .iter()
            .zip(0..)
            .map(|(byte, at)| (vec![at], vec![*byte]));
        (
            self.header.then(|| vec![value.len() as u8]),
            elements.collect(),
        )
    }
}

impl Reshape for Spread {
    fn reshape(&self, key: &[u8], value: Option<&[u8]>) -> Result<Form, String> {
        if key.len() != self.len || !self.place(key) {
            return Ok(Form::Same);
        }
        let (header, elements) = value.map_or_else(Default::default, |value| self.parts(value));
        Ok(Form::Spread { header, elements })
    }

    fn present_bound(&self, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }

    fn old_lo(&self, key: &[u8]) -> Vec<u8> {
        let len = if self.place(key) { self.len } else { key.len() };
        key[..len].to_vec()
    }

    fn old_hi(&self, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }
}

impl crate::lsm::Gather for Gather {
    fn owner_len(&self, key: &[u8]) -> Option<usize> {
        (key.len() >= self.len && key[1] == self.tag).then_some(self.len)
    }

    fn gather(&self, parts: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<u8>, String> {
        assert!(parts.is_sorted());
        let mut sum = 7u16;
        for (rest, value) in &parts {
            for byte in rest.iter().chain(&[255]).chain(value) {
                sum = sum.wrapping_mul(31).wrapping_add(u16::from(*byte));
            }
        }
        let [a, b] = sum.to_le_bytes();
        Ok(vec![parts.len() as u8, a, b])
    }
}

impl Fields {
    fn with(key: &[u8], tag: u8, rest: bool) -> Vec<u8> {
        let rest = if rest { &key[2..] } else { &[] };
        [&[key[0], tag], rest].concat()
    }
}

impl Reshape for Fields {
    fn reshape(&self, key: &[u8], _: Option<&[u8]>) -> Result<Form, String> {
        let Some(tag) = key.get(1) else {
            return Ok(Form::Same);
        };
        Ok(match self.new[usize::from(*tag)] {
            Some(new) if new == *tag => Form::Same,
            Some(new) => Form::Moved(Fields::with(key, new, true)),
            None => Form::Gone,
        })
    }

    fn present_bound(&self, key: &[u8]) -> Vec<u8> {
        let Some(tag) = key.get(1) else {
            return key.to_vec();
        };
        match self.new.get(usize::from(*tag)) {
            Some(Some(new)) => Fields::with(key, *new, true),
            _ => {
                let behind = self.new.iter().skip(usize::from(*tag)).flatten();
                Fields::with(key, behind.copied().next().unwrap_or(self.count), false)
            }
        }
    }

    fn old_lo(&self, key: &[u8]) -> Vec<u8> {
        let Some(tag) = key.get(1) else {
            return key.to_vec();
        };
        let at = self
            .new
            .iter()
            .position(|new| new.is_some_and(|new| new >= *tag));
        match at {
            Some(at) => Fields::with(key, at as u8, self.new[at] == Some(*tag)),
            None => Fields::with(key, self.new.len() as u8, false),
        }
    }

    fn old_hi(&self, key: &[u8]) -> Vec<u8> {
        self.old_lo(key)
    }
}

impl Change {
    fn migration(&self, number: usize) -> Migration {
        let effect = match self.clone() {
            Change::Spread(spread) => Effect::Entries(Arc::new(spread)),
            Change::Gather(gather) => Effect::Gathered(Arc::new(gather)),
            Change::Fields(fields) => Effect::Entries(Arc::new(fields)),
            Change::Longer(tag) => Effect::Values(Arc::new(move |key, value| {
                let longer = key.get(1) == Some(&tag);
                Ok(longer.then(|| [value, b"+"].concat()))
            })),
        };
        Migration {
            space: SPACE,
            id: format!("step {number}"),
            effect,
            reach: Reach::Everywhere,
        }
    }

    fn apply(&self, map: &mut Map) {
        if let Change::Gather(gather) = self {
            use crate::lsm::Gather;
            let mut values = BTreeMap::<_, Vec<_>>::new();
            map.retain(|key, value| {
                let Some(len) = gather.owner_len(key) else {
                    return true;
                };
                let (owner, rest) = key.split_at(len);
                let parts = values.entry(owner.to_vec()).or_default();
                parts.push((rest.to_vec(), value.clone()));
                false
            });
            let values = values.into_iter();
            map.extend(values.map(|(owner, parts)| (owner, gather.gather(parts).unwrap())));
            return;
        }
        for (key, mut value) in std::mem::take(map) {
            match self {
                Change::Spread(spread) if spread.place(&key) && key.len() == spread.len => {
                    let (header, elements) = spread.parts(&value);
                    map.extend(header.map(|header| (key.clone(), header)));
                    let below = elements.into_iter();
                    map.extend(below.map(|(rest, value)| ([&key[..], &rest].concat(), value)));
                    continue;
                }
                Change::Fields(fields) => {
                    if let Some(new) = fields.new[usize::from(key[1])] {
                        map.insert(Fields::with(&key, new, true), value);
                    }
                    continue;
                }
                Change::Longer(tag) if key[1] == *tag => value.push(b'+'),
                Change::Longer(_) | Change::Spread(_) | Change::Gather(_) => {}
            }
            map.insert(key, value);
        }
    }
}

/// What the fields are: for each how deep its elements lie.
#[derive(Clone, Debug)]
struct Shape {
    depths: Vec<usize>,
}

impl Shape {
    /// A change that makes sense, and the shape behind it.
    fn change(&mut self, rng: &mut Rng) -> Change {
        let tag = rng.below(self.depths.len() as u64) as u8;
        match rng.below(7) {
            5 | 6 if self.depths[usize::from(tag)] > 0 => {
                let depth = &mut self.depths[usize::from(tag)];
                *depth -= 1;
                let len = *depth + 2;
                Change::Gather(Gather { tag, len })
            }
            0 | 1 | 5 | 6 => {
                let depth = &mut self.depths[usize::from(tag)];
                *depth += 1;
                let header = rng.below(2) == 0;
                let len = *depth + 1;
                Change::Spread(Spread { tag, len, header })
            }
            2 | 3 => {
                let (mut new, mut depths) = (Vec::new(), Vec::new());
                for depth in &self.depths {
                    if rng.below(5) == 0 && depths.len() < usize::from(FIELDS) {
                        depths.push(0);
                    }
                    let stays = rng.below(4) > 0 && depths.len() <= usize::from(FIELDS);
                    new.push(stays.then_some(depths.len() as u8));
                    depths.extend(stays.then_some(*depth));
                }
                if depths.is_empty() {
                    depths.push(0);
                }
                let count = depths.len() as u8;
                self.depths = depths;
                Change::Fields(Fields { new, count })
            }
            _ => Change::Longer(tag),
        }
    }

    /// A key of an entry.
    fn key(&self, rng: &mut Rng) -> Vec<u8> {
        let tag = rng.below(self.depths.len() as u64) as u8;
        let mut key = vec![rng.below(5) as u8, tag];
        let depth = self.depths[usize::from(tag)];
        let below = depth - usize::from(depth > 0 && rng.below(8) == 0);
        key.extend((0..below).map(|_| rng.below(5) as u8));
        key
    }

    /// Of a key, or of what lies above.
    fn bound(&self, rng: &mut Rng) -> Vec<u8> {
        let mut key = self.key(rng);
        let len = 1 + rng.below(key.len() as u64) as usize;
        key.truncate(len);
        match rng.below(2) {
            0 => key,
            _ => successor(&key).unwrap(),
        }
    }

    fn write(&self, rng: &mut Rng, map: &mut Map, batch: &mut WriteBatch) {
        match rng.below(20) {
            0..13 => {
                let value = vec![rng.below(256) as u8; rng.below(4) as usize];
                let key = self.key(rng);
                batch.put(SPACE, &key, &value);
                map.insert(key, value);
            }
            13..16 => {
                let key = self.key(rng);
                batch.delete(SPACE, &key);
                map.remove(&key);
            }
            16..19 => {
                let (lo, hi) = (self.bound(rng), self.bound(rng));
                batch.delete_range(SPACE, &lo, &hi);
                map.retain(|key, _| *key < lo || *key >= hi);
            }
            _ if rng.below(8) == 0 => {
                batch.clear(SPACE);
                map.clear();
            }
            _ => {}
        }
    }
}

fn check(rng: &mut Rng, map: &Map, what: &str, read: &dyn Read, rounds: u64) {
    let random = |rng: &mut Rng| -> Vec<u8> {
        let len = rng.below(5);
        (0..len).map(|_| rng.below(6) as u8).collect()
    };
    for round in 0..rounds {
        let mut key = random(rng);
        if let Some(known) = map.keys().nth(rng.below(40) as usize) {
            key.clone_from(known);
        }
        let mut got = None;
        read.get(SPACE, &key, &mut |value| {
            got = Some(value.map(<[u8]>::to_vec))
        })
        .unwrap();
        assert_eq!(got, Some(map.get(&key).cloned()), "{what}: get {key:?}");
        let order = [Order::Ascending, Order::Descending][rng.below(2) as usize];
        let (mut lo, mut hi) = (random(rng), (rng.below(4) > 0).then(|| random(rng)));
        if round == 0 {
            (lo, hi) = (Vec::new(), None);
        }
        let mut got = Vec::new();
        read.scan(SPACE, &lo, hi.as_deref(), order, &mut |key, value| {
            got.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        let inside = |key: &Vec<u8>| *key >= lo && hi.as_ref().is_none_or(|hi| key < hi);
        let within = map.iter().filter(|(key, _)| inside(key));
        let mut want: Vec<_> = within
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if order == Order::Descending {
            want.reverse();
        }
        assert_eq!(got, want, "{what}: scan {lo:?} {hi:?} {order:?}");
    }
}

struct Life {
    seed: u64,
    sim: Sim,
    process: ProcessId,
    rng: Rng,
    /// What was written, and at which index.
    log: Vec<(WriteBatch, Index)>,
    map: Map,
    shape: Shape,
    changes: Vec<Change>,
    migrations: Migrations,
}

impl Life {
    fn new(seed: u64) -> Life {
        let sim = Sim::new(seed, SimConfig::with_faults(Faults::none()));
        Life {
            seed,
            process: sim.process(),
            sim,
            rng: Rng(seed),
            log: Vec::new(),
            map: Map::new(),
            shape: Shape {
                depths: vec![0; usize::from(FIELDS)],
            },
            changes: Vec::new(),
            migrations: Migrations::default(),
        }
    }

    /// Opens with all migrations there are so far, and reads the log again.
    fn open(&mut self) -> Result<Store<SimEnv>, Error> {
        let env = self.sim.env(self.process, "store");
        let options = StoreOptions {
            memtable_bytes: 20 << 10,
            table_bytes: 128,
        };
        let opened = Store::open(&env, Path::new("/s"), IDENTITY, options);
        let store = self.sim.block_on(opened)?;
        let last = Index(self.log.len() as u64);
        let migrating = store.migrate(&self.migrations, last);
        let waits = self.sim.block_on(migrating)?;
        for ((batch, made), at) in self.log.iter().zip(1..).map(|(b, at)| (b, Index(at))) {
            if at > store.persisted() {
                let batch = store.present(batch.clone(), *made)?;
                let old = *made < at && store.await_old(*made);
                store.apply(&batch, at);
                if old {
                    store.settle_old(Some(at));
                }
            }
        }
        if waits {
            let beginning = store.begin_gathering(&self.migrations, last);
            self.sim.block_on(beginning)?;
        }
        Ok(store)
    }

    /// Opens behind one more migration, with writes that were prepared before it and are committed now.
    fn open_late(&mut self, change: Change, number: usize) -> Result<Store<SimEnv>, Error> {
        let mut batch = WriteBatch::new();
        for _ in 0..self.rng.below(4) {
            self.shape.write(&mut self.rng, &mut self.map, &mut batch);
        }
        change.apply(&mut self.map);
        self.migrations.steps.push(change.migration(number));
        self.changes.push(change);
        // The entry in which it was prepared.
        self.log
            .push((WriteBatch::new(), Index(self.log.len() as u64 + 1)));
        let made = Index(self.log.len() as u64);
        let store = self.open()?;
        let old = store.await_old(made);
        let at = Index(made.0 + 1);
        store.apply(&store.present(batch.clone(), made)?, at);
        self.log.push((batch, made));
        if old {
            store.settle_old(Some(at));
        }
        Ok(store)
    }

    fn what(&self) -> String {
        let (seed, changes) = (self.seed, &self.changes);
        format!(
            "seed {seed} after {} writes and {changes:?}",
            self.log.len()
        )
    }

    fn live(&mut self, mut store: Store<SimEnv>) -> Store<SimEnv> {
        let mut snapshots = Vec::new();
        // Some stores have many runs.
        let flushes = self.seed.is_multiple_of(3);
        for _ in 0..self.rng.below(if flushes { 60 } else { 30 }) {
            match self.rng.below(12) {
                0..6 => {
                    let mut batch = WriteBatch::new();
                    for _ in 0..=self.rng.below(6) {
                        self.shape.write(&mut self.rng, &mut self.map, &mut batch);
                    }
                    let index = Index(self.log.len() as u64 + 1);
                    self.log.push((batch.clone(), index));
                    store.apply(&batch, index);
                    if flushes && self.rng.below(3) > 0 {
                        self.sim.block_on(store.flush()).unwrap();
                    }
                }
                6..8 => self.sim.block_on(store.flush()).unwrap(),
                8 => _ = self.sim.block_on(store.compact()).unwrap(),
                9 if flushes && self.rng.below(8) > 0 => {
                    _ = self.sim.block_on(store.compact()).unwrap();
                }
                9 => _ = self.sim.block_on(store.rewrite()).unwrap(),
                10 if self.rng.below(4) == 0 => {
                    self.sim.block_on(store.compact_all()).unwrap();
                }
                10 => snapshots.push((store.snapshot(), self.map.clone())),
                _ => {
                    drop(store);
                    self.sim.kill(self.process);
                    store = self.open().unwrap();
                }
            }
            let what = self.what();
            check(&mut self.rng, &self.map, &what, &store, 4);
            for (snapshot, map) in &snapshots {
                check(&mut self.rng, map, &what, snapshot, 1);
            }
        }
        store
    }
}

/// P-50, P-51: whatever is spread, moved or dropped, wherever it lies.
fn reshape(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut life = Life::new(seed);
        let mut store = life.open().unwrap();
        for number in 0..4 {
            store = life.live(store);
            drop(store);
            life.sim.kill(life.process);
            store = match number {
                0..3 => {
                    let before = life.shape.clone();
                    let change = life.shape.change(&mut life.rng);
                    let after = std::mem::replace(&mut life.shape, before);
                    let store = life.open_late(change, number).unwrap();
                    life.shape = after;
                    store
                }
                _ => life.open().unwrap(),
            };
            let what = life.what();
            check(&mut life.rng, &life.map, &what, &store, 4);
        }
        while life.sim.block_on(store.rewrite()).unwrap() {}
        assert!(store.migrations().iter().all(|found| found.bytes_left == 0));
        drop(store);
        life.sim.kill(life.process);
        let steps = std::mem::take(&mut life.migrations.steps);
        let over = steps.into_iter().map(|step| (step.space, step.id));
        life.migrations.retired = over.collect();
        let store = life
            .open()
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        check(
            &mut life.rng,
            &life.map,
            &format!("seed {seed} at the end"),
            &store,
            20,
        );
    }
}

#[test]
fn entries_under_changing_keys_answer_like_a_map_that_is_changed_at_once() {
    reshape(0..600);
}

/// A test that cannot fail proves nothing.
#[test]
fn every_planted_mistake_with_changing_keys_is_seen() {
    for mutant in [
        Mutant::SpreadHidesNothing,
        Mutant::BeneathNotHidden,
        Mutant::BoundsNotMigrated,
        Mutant::LogNotMigrated,
        Mutant::MigrationForgotten,
        Mutant::StructuresCut,
        Mutant::PartsMergedApart,
        Mutant::PartsInMemory,
        Mutant::LateWritesForgotten,
    ] {
        plant(Some(mutant));
        let red = std::panic::catch_unwind(|| reshape(0..300)).is_err();
        plant(None);
        assert!(red, "nobody saw {mutant:?}");
    }
}
