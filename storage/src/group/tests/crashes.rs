//! Random entries, random moments of death: what is there afterwards is a prefix of what was
//! appended, and everything that was called durable is in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rama_io::sim::Faults;

use super::world::{World, small_options};
use crate::Mutant;

/// One life: several incarnations of one group.
fn life(seed: u64, faults: Faults, mutant: Option<Mutant>) -> Result<u64, String> {
    let mut world = World::new(seed, faults, small_options(mutant));
    for _ in 0..4 {
        let group = world.reopen(faults)?;
        world.work(&group)?;
        world.end(group)?;
    }
    world.reopen(faults)?;
    Ok(world.sim.trace_hash())
}

/// `RAMA_STORAGE_SEEDS` is another number of seeds, or a range `from..to`.
fn all_seeds_hold(faults: Faults, count: u64) {
    let asked = std::env::var("RAMA_STORAGE_SEEDS").unwrap_or_default();
    let (from, to) = asked.split_once("..").unwrap_or(("0", &asked));
    let (from, to) = (from.parse().unwrap_or(0), to.parse().unwrap_or(count));
    for seed in from..to {
        if let Err(text) = life(seed, faults, None) {
            panic!("seed {seed}: {text}");
        }
    }
}

#[test]
fn a_power_cut_leaves_a_prefix_with_everything_durable() {
    all_seeds_hold(Faults::crash_only(), 1_000);
}

#[test]
fn a_failing_disk_leaves_a_prefix_with_everything_durable() {
    let many = Faults {
        read_error: 2_000,
        write_error: 5_000,
        flush_error: 10_000,
        name_error: 5_000,
        ..Faults::all()
    };
    all_seeds_hold(many, 1_000);
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in 0..20 {
        let faults = Faults::all();
        assert_eq!(
            life(seed, faults, None),
            life(seed, faults, None),
            "seed {seed}"
        );
    }
}

/// Finds a seed under which a deliberate mistake breaks a promise. A panic breaks one too.
fn is_red(mutant: Mutant, faults: Faults) {
    let broken = |seed: &u64| {
        let life = catch_unwind(AssertUnwindSafe(|| life(*seed, faults, Some(mutant))));
        !matches!(life, Ok(Ok(_)))
    };
    let red = (0..3_000).find(broken);
    assert!(red.is_some(), "{mutant:?} survives 3,000 seeds");
}

#[test]
fn acknowledging_before_the_flush_is_noticed() {
    is_red(Mutant::AckBeforeFlush, Faults::crash_only());
}

#[test]
fn believing_payloads_without_their_checksum_is_noticed() {
    is_red(Mutant::SkipPayloadCrc, Faults::crash_only());
}

#[test]
fn going_on_after_a_failed_write_is_noticed() {
    let faults = Faults {
        write_error: 20_000,
        flush_error: 20_000,
        ..Faults::crash_only()
    };
    is_red(Mutant::IgnorePoison, faults);
}

#[test]
fn removing_segments_before_their_writes_are_in_tables_is_noticed() {
    is_red(Mutant::RemoveUnflushed, Faults::crash_only());
}

#[test]
fn removing_segments_with_undecided_transactions_is_noticed() {
    is_red(Mutant::RemovePrepared, Faults::crash_only());
}

#[test]
fn not_replaying_what_no_table_has_is_noticed() {
    is_red(Mutant::SkipReplay, Faults::crash_only());
}
