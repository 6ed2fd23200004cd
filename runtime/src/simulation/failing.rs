//! A simulation that fails is run again with fewer faults, and tells what is needed to see it fail.
//!
//! Relies on the same faults giving the same execution. A failure is the same when it is raised at the
//! same place. What must stay true: runs but the first are silent; what is told is of a run that has
//! failed; nothing here is of a test's type.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use rama_io::sim::{Note, Sim, SimConfig};

use super::shrinking::{Found, Numbers, minimize};
use super::timer::SimTimer;
use super::world::World;
use super::{Simulated, SimulatedCluster, Simulation, replay, trace};
use crate::definition::Definition;
use crate::error::{Error, Result};
use crate::failure::{EventFailure, guard, message_of};

/// A test, of no type of its own.
pub(super) type Test<'t> = dyn Fn(SimulatedCluster) -> LocalBoxFuture<'t, ()> + 't;

/// What to do when the module cannot be started over its data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The caller gets the error.
    IsAnswered,
    /// The simulation fails.
    Fails,
}

impl Simulation {
    /// Runs the test; if it fails, runs it again with fewer faults, then panics with what was found.
    pub(super) fn run_or_tell(
        &self,
        definition: &Definition,
        test: &Test<'_>,
        refused: Refused,
    ) -> Result<Simulated<()>> {
        let only = self.only_faults.clone();
        let only = only.or_else(|| replay::asked_for(self.seed));
        let sim = self.world(only.clone());
        let run = || self.run_in(&sim, definition, test);
        let failure = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Err(error)) if refused == Refused::Fails => Failure::of_error(&error),
            Ok(ended) => return ended,
            Err(payload) => Failure::of_panic(&*payload),
        };
        let mut told = Told::new(self.seed, failure, &sim);
        drop(sim);
        if only.is_none() {
            self.shrink(&mut told, definition, test);
        }
        let told = told.to_string();
        eprintln!("{told}");
        resume_unwind(Box::new(told));
    }

    /// Finds the fewest faults with which the run fails as it did.
    fn shrink(&self, told: &mut Told, definition: &Definition, test: &Test<'_>) {
        if self.shrink_runs == 0 {
            return;
        }
        let again = |some: &Numbers| {
            let sim = self.world(Some(some.clone()));
            let failure = match guard(|| self.run_in(&sim, definition, test)) {
                Ok(Ok(_)) => return None,
                Ok(Err(error)) => Failure::of_error(&error),
                Err(failure) => Failure::of_guard(failure),
            };
            Some((failure, sim))
        };
        // A panic tells its place to a guard alone.
        let all = told.faults.clone();
        let Some((first, _)) = again(&all).filter(|(first, _)| first.text == told.failure.text)
        else {
            told.search = Search::Strays;
            return;
        };
        let found = minimize(all, self.shrink_runs, |some| {
            let (failure, sim) = again(some).filter(|(found, _)| found.place == first.place)?;
            let fewer = Told::new(self.seed, failure, &sim);
            (told.failure, told.notes, told.faults) = (fewer.failure, fewer.notes, fewer.faults);
            Some(sim.faults())
        });
        if told.failure.place.is_none() {
            told.failure = first;
        }
        told.search = Search::Ended(found);
    }

    /// The world before a run. Of the faults only these happen, or all.
    fn world(&self, only_faults: Option<Numbers>) -> Sim {
        let config = SimConfig {
            time_budget: self.time_budget,
            only_faults,
            tells: false,
            ..SimConfig::with_faults(self.faults.disk)
        };
        Sim::new(self.seed, config)
    }

    fn run_in(&self, sim: &Sim, definition: &Definition, test: &Test<'_>) -> Result<Simulated<()>> {
        #[cfg(any(test, feature = "mutants"))]
        let _mutant = self.activate_mutant();
        let (timer, timers) = SimTimer::new();
        let world = Rc::new(World::new(sim, self.clone(), definition.clone(), timer));
        let test = test(SimulatedCluster {
            world: world.clone(),
        });
        let teller = trace::Teller(sim.notes());
        tracing::subscriber::with_default(teller, || world.run(timers, test))?;
        Ok(Simulated {
            value: (),
            trace_hash: sim.trace_hash(),
            power_cuts: world.cuts.get(),
            restarts: world.restarts.get(),
        })
    }
}

/// How a run has failed.
struct Failure {
    text: String,
    /// Where, or of which kind; `None` when nobody could ask.
    place: Option<String>,
}

impl Failure {
    fn of_error(error: &Error) -> Failure {
        Failure {
            text: format!("{error:#}"),
            place: Some(format!("an error of kind {}", error.kind().as_str())),
        }
    }

    fn of_panic(payload: &(dyn Any + Send)) -> Failure {
        Failure {
            text: message_of(payload),
            place: None,
        }
    }

    fn of_guard(failure: EventFailure) -> Failure {
        match failure {
            EventFailure::Panic { message, location } => Failure {
                text: message,
                place: Some(location),
            },
            other => Failure {
                text: other.to_string(),
                place: Some(other.kind().to_owned()),
            },
        }
    }
}

/// How many of the faults are known to be needed.
enum Search {
    /// None was made.
    None,
    /// The run did not fail again as it did before.
    Strays,
    Ended(Found),
}

/// What is printed of a simulation that has failed: of the smallest of its runs.
struct Told {
    seed: u64,
    failure: Failure,
    /// Faults of the first run.
    fault_count: usize,
    /// Faults that have happened.
    faults: Numbers,
    notes: Vec<Note>,
    search: Search,
}

impl Told {
    fn new(seed: u64, failure: Failure, sim: &Sim) -> Told {
        let faults = sim.faults();
        Told {
            seed,
            failure,
            fault_count: faults.len(),
            faults,
            notes: sim.notes().all(),
            search: Search::None,
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, seed) = (self.fault_count, self.seed);
        write!(f, "simulation: seed {seed} fails")?;
        match &self.search {
            Search::None => writeln!(f, " with {all} faults:")?,
            Search::Strays => writeln!(
                f,
                ", and not again in the same way: the test or the module depends on something beside \
                 its seed, such as a value that outlives a run. What happened before, with {all} \
                 faults:"
            )?,
            Search::Ended(found) => {
                let most = if found.minimal { "" } else { "at most " };
                let (needed, runs) = (found.needed.len(), found.runs);
                writeln!(
                    f,
                    "; {most}{needed} of {all} faults are needed ({runs} runs):"
                )?;
            }
        }
        writeln!(f, "  {}", self.failure.text.replace('\n', "\n  "))?;
        if let Some(place) = &self.failure.place {
            writeln!(f, "  at {place}")?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        let numbers: Vec<_> = self.faults.iter().map(u32::to_string).collect();
        let variable = format!("RAMA_SEED={seed} RAMA_FAULTS={}", numbers.join(","));
        let method = format!("only_faults([{}])", numbers.join(", "));
        write!(
            f,
            "  the same again: `{variable}` in the environment, or `.{method}`"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(search: Search) -> String {
        let note = |ns, count, text: &str, faults: &[u32]| Note {
            first: Duration::from_nanos(2_100_000),
            last: Duration::from_nanos(ns),
            count,
            text: text.to_owned(),
            faults: faults.to_vec(),
        };
        let told = Told {
            seed: 7,
            failure: Failure {
                text: "money was made or lost\n  left: 5".to_owned(),
                place: Some("tests/bank.rs:31:5".to_owned()),
            },
            fault_count: 17,
            faults: Numbers::from([3, 8, 9]),
            notes: vec![
                note(2_100_000, 1, "power cut of machine 0", &[3]),
                note(13_002_001, 5, "microbatch committed topology=bank", &[]),
                note(31_000_408, 2, "broken link to thread 2", &[8, 9]),
            ],
            search,
        };
        told.to_string()
    }

    #[test]
    fn what_is_told_of_a_failed_run() {
        let needed = Numbers::from([3, 8, 9]);
        let (minimal, runs) = (true, 23);
        let found = Found {
            needed,
            minimal,
            runs,
        };
        let recorded = "\
simulation: seed 7 fails; 3 of 17 faults are needed (23 runs):
  money was made or lost
    left: 5
  at tests/bank.rs:31:5
     2.100000 ms  fault 3: power cut of machine 0
    13.002001 ms  microbatch committed topology=bank (5 times since 2.100000 ms)
    31.000408 ms  faults 8, 9: broken link to thread 2 (2 times since 2.100000 ms)
  the same again: `RAMA_SEED=7 RAMA_FAULTS=3,8,9` in the environment, or `.only_faults([3, 8, 9])`";
        assert_eq!(told(Search::Ended(found)), recorded);
        let first = |search| told(search).lines().next().unwrap().to_owned();
        assert_eq!(
            first(Search::None),
            "simulation: seed 7 fails with 17 faults:"
        );
        assert!(first(Search::Strays).contains("not again in the same way"));
        let found = Found {
            needed: Numbers::from([3, 8, 9]),
            minimal: false,
            runs: 64,
        };
        assert_eq!(
            first(Search::Ended(found)),
            "simulation: seed 7 fails; at most 3 of 17 faults are needed (64 runs):"
        );
    }
}
