//! Values that change type: with power cuts at any moment each passes each function exactly once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rama_io::sim::{Faults, Sim, SimConfig};
use rama_wire::Index;

use super::model::SPACE;
use super::world::{IDENTITY, PARTITIONS, World, dir, small_options};
use crate::lsm::mutant::{Mutant, plant};
use crate::lsm::{self, Migration, Migrations, Pace, Read, WriteBatch};
use crate::{Entry, Error, Group};

/// Several incarnations, most with code that changes every value, and the records of a log, again. Returns how often code could
/// be let go because it had nothing left to do.
fn life(seed: u64, faults: Faults) -> Result<u64, String> {
    let mut world = World::new(seed, faults, small_options(None));
    let mut finished = 0;
    world.migrating = true;
    for _ in 0..5 {
        let group = world.reopen(faults)?;
        for id in PARTITIONS {
            // So slow that most incarnations end in the middle of it.
            let (per_batch, per_second) = (3, 300 + 3_000 * (seed as u32 % 2));
            let pace = Pace {
                per_batch,
                per_second,
            };
            let partition = group.partition(id).map_err(|error| error.chain())?;
            partition.store().set_pace(SPACE, pace);
        }
        world.work(&group)?;
        finished += u64::from(world.retire(&group));
        world.end(group)?;
    }
    world.reopen(faults)?;
    Ok(finished)
}

/// P-51, P-53.
#[test]
fn every_value_passes_every_migration_once_whatever_power_cuts_come() {
    let mut finished = 0;
    for seed in 0..400 {
        finished += life(seed, Faults::crash_only()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    assert!(
        finished > 60,
        "only {finished} migrations came to their end"
    );
}

#[test]
fn a_failing_disk_does_not_make_a_value_pass_twice_or_never() {
    let many = Faults {
        read_error: 2_000,
        write_error: 5_000,
        flush_error: 10_000,
        name_error: 5_000,
        ..Faults::all()
    };
    for seed in 0..150 {
        life(seed, many).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

fn is_red(mutant: Mutant) {
    plant(Some(mutant));
    let broken = |seed: &u64| {
        let life = catch_unwind(AssertUnwindSafe(|| life(*seed, Faults::crash_only())));
        !matches!(life, Ok(Ok(_)))
    };
    let red = (0..600).find(broken);
    plant(None);
    assert!(red.is_some(), "{mutant:?} survives 600 seeds");
}

#[test]
fn taking_logged_values_for_new_ones_is_noticed() {
    is_red(Mutant::LogNotMigrated);
}

#[test]
fn beginning_a_migration_again_at_every_opening_is_noticed() {
    is_red(Mutant::MigrationForgotten);
}

#[test]
fn merging_old_values_into_a_new_table_is_noticed() {
    is_red(Mutant::MergedNotMigrated);
}

fn with(convert: lsm::Convert) -> Migrations {
    let id = "v2".to_owned();
    Migrations {
        steps: vec![Migration {
            space: SPACE,
            id,
            effect: lsm::Effect::Values(convert),
            reach: lsm::Reach::Everywhere,
        }],
        ..Migrations::default()
    }
}

/// A world with one value under each key in `0..count`, all in one table.
fn filled(count: u8) -> (Sim, rama_io::sim::ProcessId) {
    let sim = Sim::new(1, SimConfig::with_faults(Faults::none()));
    let process = sim.process();
    let group = open(&sim, process, Migrations::default()).unwrap();
    let mut batch = WriteBatch::new();
    for key in 0..count {
        batch.put(SPACE, &[key], &[key]);
    }
    let index = group
        .append(Entry::new().write(PARTITIONS[0], batch))
        .unwrap();
    sim.block_on(group.wait_durable(index.index)).unwrap();
    group.apply(Index(1)).unwrap();
    sim.block_on(group.checkpoint()).unwrap();
    sim.block_on(group.close()).unwrap();
    (sim, process)
}

fn open(
    sim: &Sim,
    process: rama_io::sim::ProcessId,
    migrations: Migrations,
) -> Result<Group<rama_io::sim::SimEnv>, Error> {
    let env = sim.env(process, "group");
    let mut options = small_options(None);
    options.migrations = migrations;
    let opened = sim.block_on(Group::open(&env, dir(), IDENTITY, &PARTITIONS, options));
    opened.map(|(group, _)| group)
}

/// P-53: the code may only go when nothing is left for it to do.
#[test]
fn a_migration_that_is_not_complete_cannot_be_left_out() {
    let (sim, process) = filled(200);
    let migrations = with(Arc::new(|_, value| Ok(Some([value, b"!"].concat()))));
    let retired = Migrations {
        retired: vec![(SPACE, "v2".to_owned())],
        ..Migrations::default()
    };
    let group = open(&sim, process, migrations.clone()).unwrap();
    let store = group.partition(PARTITIONS[0]).unwrap().store().clone();
    let slow = Pace {
        per_batch: 1,
        per_second: 1,
    };
    store.set_pace(SPACE, slow);
    sim.block_on(sim.sleep(Duration::from_secs(3)));
    let progress = &store.migrations()[0];
    assert!(progress.bytes_left > 0, "{progress:?}");
    drop(store);
    sim.block_on(group.close()).unwrap();

    let refused = open(&sim, process, retired.clone()).err().unwrap();
    insta::assert_snapshot!(refused.chain());
    sim.kill(process);
    let group = open(&sim, process, migrations).unwrap();
    let store = group.partition(PARTITIONS[0]).unwrap().store().clone();
    while store.migrations()[0].bytes_left > 0 {
        sim.run_for(Duration::from_millis(1));
    }
    assert_eq!(store.migrations()[0].values, 200);
    drop(store);
    sim.block_on(group.close()).unwrap();
    let group = open(&sim, process, retired).unwrap();
    let store = group.partition(PARTITIONS[0]).unwrap().store().clone();
    let mut found = Vec::new();
    store
        .get(SPACE, &[7], &mut |value| {
            found.extend(value.map(<[u8]>::to_vec))
        })
        .unwrap();
    assert_eq!(found, [[7, b'!']]);
}

/// A value that the function does not take is an error of whoever reads it, and of nobody else; the
/// table stays as it is.
#[test]
fn a_value_that_its_function_does_not_take_is_named() {
    let (sim, process) = filled(3);
    let picky = with(Arc::new(|_, value| match value {
        [1] => Err("one is not for me".to_owned()),
        value => Ok(Some([value, b"!"].concat())),
    }));
    let group = open(&sim, process, picky).unwrap();
    let store = group.partition(PARTITIONS[0]).unwrap().store().clone();
    while store.migrations()[0].failure.is_none() {
        sim.run_for(Duration::from_millis(1));
    }
    let mut found = Vec::new();
    let error = store.get(SPACE, &[1], &mut |value| {
        found.push(value.map(<[u8]>::to_vec))
    });
    insta::assert_snapshot!(error.err().unwrap());
    store
        .get(SPACE, &[2], &mut |value| {
            found.push(value.map(<[u8]>::to_vec))
        })
        .unwrap();
    assert_eq!(found, [Some(vec![2, b'!'])]);
}
