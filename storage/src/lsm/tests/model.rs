//! The store against a `BTreeMap`.

use std::path::Path;

use rama_io::sim::{Sim, SimConfig};
use rama_wire::Index;

use super::{Model, Rng, Write};
use crate::lsm::{Identity, Store, StoreOptions, WriteBatch};

pub(super) const IDENTITY: Identity = Identity { cluster: 7, partition: 3 };

#[test]
fn memtables_and_snapshots_answer_like_a_map() {
    for seed in 0..200 {
        let mut rng = Rng(seed);
        let sim = Sim::new(seed, SimConfig::default());
        let env = sim.env(sim.process(), "store");
        let options = StoreOptions { memtable_bytes: 40 << 10, ..StoreOptions::default() };
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
