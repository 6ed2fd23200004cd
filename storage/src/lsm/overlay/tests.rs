//! The overlay against a model: what a topology sees of its own writes over a store.
//! Relies on the simulator for the store below.

use std::path::Path;

use rama_io::sim::{Sim, SimConfig, SimEnv};
use rama_wire::Index;

use super::*;
use crate::lsm::tests::{Model, Rng, Write};
use crate::lsm::{Identity, Store, StoreOptions};

/// An overlay and its base, read as one.
struct Both<'a>(&'a Overlay, &'a dyn Read);

impl Read for Both<'_> {
    fn get(
        &self,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), Error> {
        self.0.get(self.1, space, key, with)
    }

    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.0.scan(self.1, space, lo, hi, order, visit)
    }
}

fn store(sim: &Sim) -> Store<SimEnv> {
    let env = sim.env(sim.process(), "store");
    let identity = Identity {
        cluster: 1,
        partition: 1,
    };
    let opened = Store::open(&env, Path::new("/s"), identity, StoreOptions::default());
    sim.block_on(opened).unwrap()
}

fn write(overlay: &mut Overlay, base: &dyn Read, rng: &mut Rng, write: &Write) {
    match write {
        Write::Put(space, key, value) if rng.below(2) == 0 => {
            let put = |_: Option<&[u8]>, new: &mut Vec<u8>| {
                new.extend_from_slice(value);
                Change::Put
            };
            overlay.update(base, *space, key, put).unwrap();
        }
        Write::Put(space, key, value) => overlay.put(*space, key, value),
        Write::Delete(space, key) if rng.below(2) == 0 => {
            overlay
                .update(base, *space, key, |_, _| Change::Delete)
                .unwrap();
        }
        Write::Delete(space, key) => overlay.delete(*space, key),
        Write::DeleteRange(space, lo, hi) => overlay.delete_range(*space, lo, hi),
        Write::Clear(space) => overlay.clear_space(*space),
    }
}

/// The internal view: what a topology reads back is what it wrote, over what was committed.
#[test]
fn an_overlay_answers_like_a_store_with_its_batch_applied() {
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let sim = Sim::new(seed, SimConfig::default());
        let store = store(&sim);
        let mut model = Model::default();
        let mut overlay = Overlay::new();
        for index in 1..=8 {
            for round in 0..rng.below(60) {
                let op = Write::random(&mut rng);
                model.apply(&op);
                write(&mut overlay, &store, &mut rng, &op);
                if round % 8 == 0 {
                    let what = format!("seed {seed} index {index}");
                    model.check(&mut rng, &what, &Both(&overlay, &store), 2);
                }
            }
            model.check_all(&format!("seed {seed}"), &Both(&overlay, &store));
            if rng.below(4) > 0 {
                store.apply(&overlay.to_batch(), Index(index));
                overlay.reset();
                model.check_all(&format!("seed {seed} applied"), &store);
            }
        }
    }
}

#[test]
fn an_update_sees_the_present_value_and_may_keep_it() {
    let sim = Sim::new(1, SimConfig::default());
    let store = store(&sim);
    let mut batch = WriteBatch::new();
    batch.put(SpaceId(1), b"k", b"below");
    store.apply(&batch, Index(1));
    let mut overlay = Overlay::new();
    let mut seen = Vec::new();
    for change in [Change::Keep, Change::Delete, Change::Put, Change::Keep] {
        let update = |old: Option<&[u8]>, new: &mut Vec<u8>| {
            seen.push(old.map(<[u8]>::to_vec));
            new.extend_from_slice(b"new");
            change
        };
        overlay.update(&store, SpaceId(1), b"k", update).unwrap();
    }
    assert_eq!(
        seen,
        [
            Some(b"below".to_vec()),
            Some(b"below".to_vec()),
            None,
            Some(b"new".to_vec())
        ]
    );
}

/// Equal writes in another order give equal bytes: the entry a microbatch prepares is reproducible.
#[test]
fn the_batch_of_an_overlay_does_not_depend_on_the_order_of_writes() {
    let mut keys: Vec<u32> = (0..500).collect();
    let mut first = None;
    for seed in 0..20 {
        let mut rng = Rng(seed);
        for at in (1..keys.len()).rev() {
            keys.swap(at, rng.below(at as u64 + 1) as usize);
        }
        let mut overlay = Overlay::new();
        for key in &keys {
            overlay.put(SpaceId(*key as u16 % 3), &key.to_be_bytes(), &[1]);
        }
        let batch = overlay.into_batch();
        assert_eq!(*first.get_or_insert(batch.clone()), batch);
    }
}
