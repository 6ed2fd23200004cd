//! Exactly-once over thousands of seeded runs with crashes everywhere, and every rule shown to be
//! needed by a mutant that breaks it.

mod rules;
mod world;

use crate::mutants::Mutant;
use crate::tests::{explore, hunt};
use world::World;

fn run(seed: u64) -> Result<(), String> {
    World::new(seed).run().map(|_| ())
}

/// M-1, M-2, M-3, M-4, M-15: each record's writes exactly once on every task, whatever crashes.
#[test]
fn every_record_takes_effect_exactly_once() {
    explore(0..3000, run);
}

/// The generator is worth its time only if it reaches the rare situations.
#[test]
fn the_runs_reach_crashes_aborts_and_roll_forward() {
    let (mut crashes, mut aborted, mut rolled_forward, mut decided) = (0, 0, 0, 0);
    let mut survived = 0;
    for seed in 0..600 {
        let world = World::new(seed).run().expect("the run is green");
        crashes += world.crashes;
        aborted += world.aborted;
        rolled_forward += world.rolled_forward;
        decided += world.decided;
        survived += world.failures_survived;
    }
    let reached = format!("{crashes} {aborted} {rolled_forward} {decided} {survived}");
    assert!(
        survived > 100,
        "few attempts go on after a failure: {reached}"
    );
    assert!(crashes > 500 && aborted > 500, "too peaceful: {reached}");
    assert!(
        rolled_forward > 10 && decided > 1000,
        "too shallow: {reached}"
    );
    println!("{reached}");
}

/// M-4: what is lost with a link is tried again as soon as somebody knows, not when a phase has taken
/// too long.
#[test]
fn broken_links_make_nobody_wait_for_a_timeout() {
    explore(0..3000, |seed| World::of_links(seed).run().map(|_| ()));
}

fn assert_red(mutant: Mutant) {
    hunt(mutant, 0..5000, run);
}

#[test]
fn mutant_no_attempt_check_is_red() {
    assert_red(Mutant::NoAttemptCheck);
}

#[test]
fn mutant_overlay_kept_is_red() {
    assert_red(Mutant::OverlayKept);
}

#[test]
fn mutant_prepare_unasked_is_red() {
    assert_red(Mutant::PrepareUnasked);
}

#[test]
fn mutant_prepared_not_durable_is_red() {
    assert_red(Mutant::PreparedNotDurable);
}

#[test]
fn mutant_xor_before_emission_is_red() {
    assert_red(Mutant::XorBeforeEmission);
}

#[test]
fn mutant_commit_before_decision_is_red() {
    assert_red(Mutant::CommitBeforeDecision);
}

#[test]
fn mutant_decide_early_is_red() {
    assert_red(Mutant::DecideEarly);
}

#[test]
fn mutant_ranges_rechosen_is_red() {
    assert_red(Mutant::RangesRechosen);
}

#[test]
fn mutant_ranges_not_durable_is_red() {
    assert_red(Mutant::RangesNotDurable);
}

#[test]
fn mutant_next_early_is_red() {
    assert_red(Mutant::NextEarly);
}

#[test]
fn mutant_attempts_not_reserved_is_red() {
    assert_red(Mutant::AttemptsNotReserved);
}

#[test]
fn mutant_exclusions_forgotten_is_red() {
    assert_red(Mutant::ExclusionsForgotten);
}

#[test]
fn mutant_level_early_is_red() {
    assert_red(Mutant::LevelEarly);
}

#[test]
fn mutant_commit_not_repeated_is_red() {
    assert_red(Mutant::CommitNotRepeated);
}
