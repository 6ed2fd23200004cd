//! The storm: real machines of conductors, supervisors and workers on up to 64 simulated nodes and
//! a simulated metastore, through crashes, stand-stills, cuts, reboots, outages, lost leases, lost
//! answers, late writes and bad watches; and every rule shown to be needed by a mutant that breaks
//! it.
//!
//! `RAMA_SEEDS=a..b` runs other seeds, `RAMA_STORM_LOG=1` prints everything that happens.

mod actors;
mod faults;
mod metastore;
mod rules;
mod supervisors;
mod workers;
mod world;

use crate::mutants::Mutant;
use crate::tests::{explore, hunt};
use world::{Happening, World};

/// How long after the last fault everything must have come to rest: the longest deadlines of a
/// launch and its undoing, a back-off, and room.
const REST_MS: u64 = 900_000;

fn weather_out(seed: u64) -> Result<World, String> {
    let mut world = World::new(seed);
    world.after(1, Happening::StartConductor);
    for node in 0..world.nodes.len() {
        world.after(1 + node as u64, Happening::StartSupervisor(node));
    }
    world.after(1_000, Happening::Operate);
    world.after(2_000, Happening::Fault);
    let end = world.weather.until + REST_MS;
    let mut look = world.weather.until + 30_000;
    loop {
        while world.step(look)? {}
        let settled = world.settled();
        if settled.is_ok() {
            return Ok(world);
        }
        if look >= end {
            let seed = world.seed;
            return settled
                .map(|()| world)
                .map_err(|what| format!("{what} (seed {seed})"));
        }
        look += 5_000;
    }
}

fn run(seed: u64) -> Result<(), String> {
    weather_out(seed).map(|_| ())
}

/// Spec §3.2, §4.0, §1.4, appendix B, reliability §2.2: one process per worker, one leader per
/// group and epoch, nothing serves past its lease, no operation sticks, dedicated nodes run one
/// module, destroyed data is gone, all else runs.
#[test]
fn after_the_storm_everything_runs_or_is_gone() {
    explore(0..64, run);
}

/// Same seed, same trace.
#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 7] {
        let first = weather_out(seed).expect("the run is green").trace;
        let second = weather_out(seed).expect("the run is green").trace;
        assert_eq!(first, second, "seed {seed}");
    }
}

/// The storm is worth its time only if it reaches the rare situations.
#[test]
fn the_storm_reaches_what_it_should() {
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..32 {
        let world = weather_out(seed).expect("the run is green");
        for (what, count) in &world.rules.counts {
            *counts.entry(*what).or_insert(0) += count;
        }
    }
    println!("{counts:?}");
    let rare = [
        "adopted",
        "backoff",
        "resumed",
        "launches",
        "destroys",
        "cancelled",
        "deleted",
        "lease over",
        "replaced",
        "leases early",
        "outages",
        "reboots",
        "in progress",
        "conductors stalled",
        "lost",
        "taken over",
        "not cancelled",
        "leases over",
    ];
    for what in rare {
        let count: u64 = counts.get(what).copied().unwrap_or(0);
        assert!(count > 0, "{what} was never reached: {counts:?}");
    }
}

fn assert_red(mutant: Mutant) {
    hunt(mutant, 0..200, run);
}

#[test]
fn mutant_operation_without_compare_is_red() {
    assert_red(Mutant::OperationWithoutCompare);
}

#[test]
fn mutant_taken_over_unseen_is_red() {
    assert_red(Mutant::TakenOverUnseen);
}

#[test]
fn mutant_term_ignored_is_red() {
    assert_red(Mutant::TermIgnored);
}

#[test]
fn mutant_placed_unseen_is_red() {
    assert_red(Mutant::PlacedUnseen);
}

#[test]
fn mutant_resume_forgotten_is_red() {
    assert_red(Mutant::ResumeForgotten);
}

#[test]
fn mutant_claim_without_compare_is_red() {
    assert_red(Mutant::ClaimWithoutCompare);
}

#[test]
fn mutant_epoch_kept_is_red() {
    assert_red(Mutant::EpochKept);
}

#[test]
fn mutant_adopt_without_start_time_is_red() {
    assert_red(Mutant::AdoptWithoutStartTime);
}

#[test]
fn mutant_not_adopted_is_red() {
    assert_red(Mutant::NotAdopted);
}

#[test]
fn mutant_confirm_before_delete_is_red() {
    assert_red(Mutant::ConfirmBeforeDelete);
}

#[test]
fn mutant_no_local_stop_is_red() {
    assert_red(Mutant::NoLocalStop);
}
