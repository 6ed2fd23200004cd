//! The store against a `BTreeMap`.

use std::path::Path;
use std::time::Duration;

use rama_io::sim::{Faults, ProcessId, Sim, SimConfig, SimEnv};
use rama_io::{Category, Env};
use rama_wire::Index;

use super::{Model, Rng, Write};
use crate::lsm::mutant::{Mutant, plant};
use crate::lsm::{Error, Identity, Store, StoreOptions, WriteBatch};

pub(super) const IDENTITY: Identity = Identity {
    cluster: 7,
    partition: 3,
};

#[test]
fn memtables_and_snapshots_answer_like_a_map() {
    for seed in 0..200 {
        let mut rng = Rng(seed);
        let sim = Sim::new(seed, SimConfig::default());
        let env = sim.env(sim.process(), "store");
        let options = StoreOptions {
            memtable_bytes: 40 << 10,
            table_bytes: 8 << 10,
        };
        let opened = Store::open(&env, Path::new("/s"), IDENTITY, options);
        let store = sim.block_on(opened).unwrap();
        let mut model = Model::default();
        let mut snapshots = Vec::new();
        for index in 1..=60 {
            let mut batch = WriteBatch::new();
            for _ in 0..rng.below(12) + 1 {
                let write = Write::random(&mut rng);
                model.apply(&write);
                write.add_to(&mut batch);
            }
            store.apply(&batch, Index(index));
            if rng.below(4) == 0 {
                snapshots.push((store.snapshot(), model.clone()));
            }
            if rng.below(4) == 0 && !snapshots.is_empty() {
                snapshots.swap_remove(rng.below(snapshots.len() as u64) as usize);
            }
            model.check(&mut rng, &format!("seed {seed} index {index}"), &store, 4);
        }
        for (snapshot, model) in &snapshots {
            model.check_all(&format!("seed {seed} snapshot"), snapshot);
        }
        model.check_all(&format!("seed {seed} end"), &store);
    }
}

/// Flush and compaction move data between layers and change no answer, also not of snapshots.
#[test]
fn flushing_and_compacting_change_no_answer() {
    flush_and_compact(0..300);
}

fn flush_and_compact(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut rng = Rng(seed);
        let sim = Sim::new(seed, SimConfig::with_faults(Faults::none()));
        let process = sim.process();
        let mut store = open(&sim, process).unwrap();
        let mut model = Model::default();
        let mut snapshots = Vec::new();
        for index in 1..=40 {
            store.apply(&batch(&mut rng, &mut model), Index(index));
            match rng.below(8) {
                0..3 => sim.block_on(store.flush()).unwrap(),
                3 => while sim.block_on(store.compact()).unwrap() {},
                4 if rng.below(3) == 0 => drop(sim.block_on(store.compact_all()).unwrap()),
                5 => snapshots.push((store.snapshot(), model.clone())),
                6 if rng.below(3) == 0 => {
                    sim.block_on(store.flush()).unwrap();
                    sim.kill(process);
                    store = open(&sim, process).unwrap();
                    assert_eq!(store.unflushed(), None, "seed {seed}");
                }
                _ => {}
            }
            model.check(&mut rng, &format!("seed {seed} index {index}"), &store, 3);
            for (snapshot, model) in &snapshots {
                model.check(
                    &mut rng,
                    &format!("seed {seed} index {index} snapshot"),
                    snapshot,
                    1,
                );
            }
        }
        sim.block_on(store.flush()).unwrap();
        sim.block_on(store.compact_all()).unwrap();
        sim.block_on(store.scrub()).unwrap();
        for (snapshot, model) in &snapshots {
            model.check_all(&format!("seed {seed} snapshot"), snapshot);
        }
        model.check_all(&format!("seed {seed} end"), &store);
    }
}

fn open(sim: &Sim, process: ProcessId) -> Result<Store<SimEnv>, Error> {
    let env = sim.env(process, "store");
    let options = StoreOptions {
        memtable_bytes: 20 << 10,
        table_bytes: 8 << 10,
    };
    sim.block_on(Store::open(&env, Path::new("/s"), IDENTITY, options))
}

fn batch(rng: &mut Rng, model: &mut Model) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for _ in 0..rng.below(12) + 1 {
        let write = Write::random(rng);
        model.apply(&write);
        write.add_to(&mut batch);
    }
    batch
}

/// A store, its replog as a list, and the model after each entry.
struct Life {
    sim: Sim,
    process: ProcessId,
    rng: Rng,
    log: Vec<WriteBatch>,
    models: Vec<Model>,
    persisted: Index,
}

impl Life {
    fn new(seed: u64, faults: Faults) -> Life {
        let sim = Sim::new(seed, SimConfig::with_faults(faults));
        let process = sim.process();
        let (log, models, persisted) = (Vec::new(), vec![Model::default()], Index::ZERO);
        Life {
            sim,
            process,
            rng: Rng(seed),
            log,
            models,
            persisted,
        }
    }

    /// Opens, compares with the prefix that must be there, replays the rest.
    fn recover(&mut self, seed: u64) -> Store<SimEnv> {
        let store = open(&self.sim, self.process).unwrap_or_else(|e| panic!("seed {seed}: {e:?}"));
        let persisted = store.persisted();
        assert!(persisted >= self.persisted, "seed {seed}: a flush was lost");
        self.persisted = persisted;
        let what = format!("seed {seed} after a cut");
        self.models[persisted.0 as usize].check_all(&what, &store);
        let from = self.rng.below(persisted.0 + 1) as usize;
        for (place, batch) in self.log.iter().enumerate().skip(from) {
            store.apply(batch, Index(place as u64 + 1));
        }
        self.models[self.log.len()].check_all(&what, &store);
        store
    }

    /// Writes while a background loop flushes and compacts, then cuts the power.
    fn live(&mut self, seed: u64, store: Store<SimEnv>) {
        let env = self.sim.env(self.process, "background");
        for worker in 0..2 {
            let (store, env) = (store.clone(), env.clone());
            env.clone().spawn(Category::Background, async move {
                loop {
                    env.sleep(Duration::from_micros(env.random_u64() % 2000))
                        .await;
                    let done = match worker {
                        0 => store.flush().await,
                        _ => store.compact().await.map(drop),
                    };
                    if done.is_err() {
                        return;
                    }
                }
            });
        }
        for _ in 0..self.rng.below(25) {
            let mut model = self.models[self.log.len()].clone();
            let batch = batch(&mut self.rng, &mut model);
            store.apply(&batch, Index(self.log.len() as u64 + 1));
            self.log.push(batch);
            self.models.push(model);
            let pause = self.rng.below(4000);
            self.sim.run_for(Duration::from_micros(pause));
            let model = &self.models[self.log.len()];
            model.check(&mut self.rng, &format!("seed {seed}"), &store, 1);
        }
        self.persisted = store.persisted();
        drop(store);
        self.sim.power_cut(self.process);
    }
}

fn cut_power(seeds: std::ops::Range<u64>, faults: Faults) {
    for seed in seeds {
        let mut life = Life::new(seed, faults);
        for _ in 0..4 {
            let store = life.recover(seed);
            life.live(seed, store);
        }
        life.recover(seed);
    }
}

/// What a store says is persisted is there after any power cut, as a whole, and nothing half.
#[test]
fn a_power_cut_at_any_moment_leaves_a_prefix_at_least_as_long_as_persisted() {
    cut_power(0..1500, Faults::crash_only());
}

/// A failing disk stops flush and compaction; it never makes a store serve wrong answers.
#[test]
fn failing_writes_poison_maintenance_and_lose_nothing() {
    let faults = Faults {
        write_error: 20_000,
        flush_error: 20_000,
        name_error: 5_000,
        ..Faults::crash_only()
    };
    for seed in 0..500 {
        let mut life = Life::new(seed, Faults::crash_only());
        for _ in 0..4 {
            let store = life.recover(seed);
            life.sim.set_faults(faults);
            life.live(seed, store);
            life.sim.set_faults(Faults::crash_only());
        }
        life.recover(seed);
    }
}

/// A test that cannot fail proves nothing: each planted mistake turns one of them red.
#[test]
fn every_planted_mistake_is_seen() {
    let crashes: fn() = || cut_power(0..300, Faults::crash_only());
    let answers: fn() = || flush_and_compact(0..300);
    let damage: fn() = super::files::flip_every_bit;
    for (mutant, test) in [
        (Mutant::ManifestBeforeFlush, crashes),
        (Mutant::SourcesRemovedFirst, crashes),
        (Mutant::PersistedTooHigh, crashes),
        (Mutant::RangesDroppedAboveBottom, answers),
        (Mutant::DeletesDroppedAboveBottom, answers),
        (Mutant::FilterOtherHash, answers),
        (Mutant::RangesHideNothing, answers),
        (Mutant::PagesNotVerified, damage),
    ] {
        plant(Some(mutant));
        let red = std::panic::catch_unwind(test).is_err();
        plant(None);
        assert!(red, "nobody saw {mutant:?}");
    }
}
