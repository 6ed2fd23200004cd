//! What the tests of this crate share: a seeded generator, scripts, seeds, the hunt for mutants.
//!
//! Compiled for tests only. Every random run prints its seed when it fails.

pub(crate) mod script;
mod storm;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rama_core::ids::mix;
use uuid::Uuid;

use crate::ids::{ModuleName, NodeId};
use crate::mutants::{self, Mutant};

/// A small seeded generator.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { state: mix(seed) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// True once in `n` calls.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Runs `run` for the seeds and panics with the first that fails. `RAMA_SEEDS=a..b` in the
/// environment replaces them: for a long night, or for one seed again.
pub(crate) fn explore(seeds: std::ops::Range<u64>, run: fn(u64) -> Result<(), String>) {
    let asked = std::env::var("RAMA_SEEDS").ok();
    let asked = asked.as_deref().map(|text| {
        let (from, to) = text.split_once("..").expect("RAMA_SEEDS is a..b");
        from.parse().expect("a is a number")..to.parse().expect("b is a number")
    });
    for seed in asked.unwrap_or(seeds) {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(Ok(())) => {}
            Ok(Err(text)) => panic!("seed {seed}: {text}"),
            Err(_) => panic!("seed {seed}: an assertion failed, see above"),
        }
    }
}

/// The n-th node of a test.
pub(crate) fn node(n: u64) -> NodeId {
    NodeId(Uuid::from_u128(u128::from(n)))
}

/// A module name of a test.
pub(crate) fn module(name: &str) -> ModuleName {
    ModuleName::new(name).expect("a test names its modules well")
}

/// Switches the defect on and asserts that one of the seeds sees it; answers which.
pub(crate) fn hunt(
    mutant: Mutant,
    seeds: std::ops::Range<u64>,
    run: fn(u64) -> Result<(), String>,
) -> u64 {
    mutants::set(Some(mutant));
    let red = |seed: &u64| {
        let result = catch_unwind(AssertUnwindSafe(|| run(*seed)));
        if let Ok(Err(text)) = &result {
            println!("{mutant:?} is red with seed {seed}: {text}");
        }
        !matches!(result, Ok(Ok(())))
    };
    let found = seeds.clone().find(red);
    mutants::set(None);
    found.unwrap_or_else(|| panic!("{mutant:?} survived {seeds:?}: a fault is not generated"))
}
