//! Seeded runs of one tracker against an oracle that knows every event, the mutants they find, and
//! scripts for the rules one by one.

mod rules;
mod world;

use crate::mutants::Mutant;
use crate::tests::{explore, hunt};
use world::World;

fn run(seed: u64) -> Result<(), String> {
    World::new(seed).run().map(|_| ())
}

/// S-3, S-8, S-12, S-13, S-16, D-20: nothing is lost, nothing runs twice in mode none, order holds
/// in mode all-after, checkpoints and answers are true, whatever fails, restarts or gets lost.
#[test]
fn every_record_is_done_or_given_up() {
    explore(0..3000, run);
}

/// The generator is worth its time only if it reaches the rare situations.
#[test]
fn the_runs_reach_retries_restarts_and_throttling() {
    let (mut failures, mut restarts, mut throttled, mut skipped, mut letters) = (0, 0, 0, 0, 0);
    for seed in 0..500 {
        let world = World::new(seed).run().expect("the run is green");
        failures += world.failures;
        restarts += world.restarts;
        throttled += world.throttled;
        skipped += world.skipped;
        letters += world.letters;
    }
    let reached = format!("{failures} {restarts} {throttled} {skipped} {letters}");
    assert!(
        failures > 1000 && restarts > 500 && throttled > 100,
        "too peaceful: {reached}"
    );
    assert!(skipped > 100 && letters > 100, "too peaceful: {reached}");
}

fn assert_red(mutant: Mutant) {
    hunt(mutant, 0..6000, run);
}

#[test]
fn mutant_checkpoint_too_far_is_red() {
    assert_red(Mutant::CheckpointTooFar);
}

#[test]
fn mutant_stale_ack_counted_is_red() {
    assert_red(Mutant::StaleAckCounted);
}

#[test]
fn mutant_window_ignored_is_red() {
    assert_red(Mutant::WindowIgnored);
}

#[test]
fn mutant_all_after_forgotten_is_red() {
    assert_red(Mutant::AllAfterForgotten);
}

#[test]
fn mutant_no_timeout_is_red() {
    assert_red(Mutant::NoTimeout);
}

/// In mode none, limits that grow while records run must not let a restart run one twice.
#[test]
fn mutant_reach_moves_is_red() {
    assert_red(Mutant::ReachMoves);
}
