//! A module in a simulated world: the whole engine, virtual time, faults, one seed.
//!
//! Relies on `rama_io::sim`. Everything above the `Env` seam is the production code. A supervisor
//! beside the test cuts the power of the cluster's machines at random moments, starts a process
//! again when a log of it has failed, and lets it recover from what the disk kept; client handles
//! survive. What must stay true: the same seed, module and test give the same execution, told by
//! the same trace hash; faults end, so that every run does.

mod failing;
mod faults;
mod links;
mod migrations;
mod options;
mod replay;
mod shrinking;
mod timer;
mod trace;
mod world;

use std::cell::RefCell;
use std::future::Future;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use rama_io::Env;
use rama_io::sim;
use rama_storage::GroupOptions;

use crate::cluster::Cluster;
use crate::definition::Definition;
use crate::error::Result;
use crate::in_process_cluster::define;
use crate::module::Module;
use crate::options::Settings;

pub use faults::Faults;

use failing::Refused;
use shrinking::Numbers;
use world::World;

/// A test of a module in a simulated world.
///
/// ```
/// use rama_runtime::{Depot, Faults, Map, Module, PState, Partition, Setup, Simulation};
///
/// const PAID: Depot<(u64, u64)> = Depot::named("*paid");
/// const FUNDS: PState<Map<u64, u64>> = PState::named("$$funds");
///
/// struct Bank;
///
/// impl Module for Bank {
///     fn define(&self, setup: &mut Setup) {
///         setup.depot(PAID, Partition::hash_by(|paid: &(u64, u64)| paid.0));
///         let mut bank = setup.microbatch("bank");
///         let funds = bank.pstate(FUNDS);
///         bank.source(PAID).each(move |task, (user, amount)| {
///             funds.key(&user).update(task, |sum| sum.unwrap_or(0) + amount);
///         });
///     }
/// }
///
/// for seed in 0..3 {
///     Simulation::seed(seed).faults(Faults::all()).run(Bank, |cluster| async move {
///         cluster.calm().await;
///         let (paid, funds) = (cluster.depot(PAID), cluster.pstate(FUNDS));
///         paid.append(&(7, 100)).await.unwrap();
///         while funds.select(FUNDS.key(&7)).await.unwrap() != Some(100) {
///             cluster.sleep(std::time::Duration::from_millis(5)).await;
///         }
///     });
/// }
/// ```
///
/// # When it fails
/// The faults of a seed have numbers from 1, in the order in which they are due. A run that fails is
/// run again with fewer of them, at most [`shrink_runs`](Simulation::shrink_runs) times, for as long
/// as it fails at the same place. Then it prints how many are needed, the events of the smallest run,
/// and how to have that run again:
///
/// ```text
/// simulation: seed 7 fails; 2 of 17 faults are needed (23 runs):
///   money was made or lost
///   at tests/bank.rs:31:5
///     12.345678 ms  fault 3: power cut of machine 0
///     13.002001 ms  microbatch committed topology=bank (5 times since 2.100000 ms)
///     31.000408 ms  fault 9: broken link to thread 2
///   the same again: `RAMA_SEED=7 RAMA_FAULTS=3,9` in the environment, or `.only_faults([3, 9])`
/// ```
///
/// So the test may run more than once, and what it shares with other runs, such as a counter outside
/// of it, makes its runs differ; that is then told.
#[derive(Clone, Debug)]
#[must_use = "a simulation does nothing until `run`"]
pub struct Simulation {
    seed: u64,
    tasks: u32,
    threads: u32,
    machines: u32,
    faults: Faults,
    time_budget: Duration,
    /// `None` for all of them.
    only_faults: Option<Numbers>,
    shrink_runs: u32,
    pub(crate) options: Settings,
    /// Launched before the one that is run.
    others: Vec<(Definition, u32)>,
    #[cfg(any(test, feature = "mutants"))]
    mutant: Option<crate::mutants::Mutant>,
}

/// What came of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simulated<T> {
    /// What the test returned.
    pub value: T,
    /// A number that sums up every decision, I/O and message: equal for equal runs.
    pub trace_hash: u64,
    /// How often the power was cut.
    pub power_cuts: u32,
    /// How often the process was started again because its disk had failed.
    pub restarts: u32,
}

impl Simulation {
    /// The world of a seed, with 4 tasks on 2 threads and no faults.
    pub fn seed(seed: u64) -> Simulation {
        Simulation {
            seed,
            tasks: 4,
            threads: 2,
            machines: 1,
            faults: Faults::none(),
            time_budget: Duration::from_secs(600),
            only_faults: None,
            shrink_runs: 64,
            options: Settings::new(),
            others: Vec::new(),
            #[cfg(any(test, feature = "mutants"))]
            mutant: None,
        }
    }

    /// Tasks of the module, a power of two.
    pub fn tasks(mut self, tasks: u32) -> Simulation {
        self.tasks = tasks;
        self
    }

    /// Task threads.
    pub fn threads(mut self, threads: u32) -> Simulation {
        self.threads = threads;
        self
    }

    /// Machines that the task threads are spread over, one worker process each. Default 1. Each
    /// loses its power by itself; the others see their links break.
    pub fn machines(mut self, machines: u32) -> Simulation {
        self.machines = machines;
        self
    }

    /// What fails.
    pub fn faults(mut self, faults: Faults) -> Simulation {
        self.faults = faults;
        self
    }

    /// Virtual time after which a test that has not ended is stuck. Default ten minutes.
    pub fn time_budget(mut self, time_budget: Duration) -> Simulation {
        self.time_budget = time_budget;
        self
    }

    /// Of the faults that the seed plans only those of these numbers happen, as a failed run has
    /// printed them. `RAMA_SEED` and `RAMA_FAULTS` in the environment ask for the same for one seed
    /// when the test does not. Such a run is not run again when it fails.
    pub fn only_faults(mut self, numbers: impl IntoIterator<Item = u32>) -> Simulation {
        self.only_faults = Some(numbers.into_iter().collect());
        self
    }

    /// How many times a run that fails is run again with fewer faults. Default 64; 0 for never.
    pub fn shrink_runs(mut self, runs: u32) -> Simulation {
        self.shrink_runs = runs;
        self
    }

    /// Another module of the cluster, with so many tasks, launched before the one that is run and
    /// before those added later. With several modules there is one machine.
    ///
    /// # Panics
    /// When its definition has mistakes.
    pub fn beside(mut self, module: impl Module, tasks: u32) -> Simulation {
        let definition = define(&module).unwrap_or_else(|error| panic!("{error}"));
        self.others.push((definition, tasks));
        self
    }

    /// Dynamic options of each module from its first moment.
    pub fn options(mut self, options: Settings) -> Simulation {
        self.options = options;
        self
    }

    /// Runs with a deliberate mistake in the stack below. A run that fails is not run again.
    #[cfg(any(test, feature = "mutants"))]
    pub fn mutant(mut self, mutant: Option<crate::mutants::Mutant>) -> Simulation {
        self.mutant = mutant;
        match mutant {
            Some(_) => self.shrink_runs(0),
            None => self,
        }
    }

    /// Runs `test` against the module.
    ///
    /// # Panics
    /// When the definition has mistakes, when the module cannot be started over its data, when the
    /// test panics or is stuck. The seed is printed, and the [events](SimulatedCluster::events) of the
    /// smallest run that [fails](Simulation#when-it-fails).
    pub fn run<T, F>(
        self,
        module: impl Module,
        test: impl Fn(SimulatedCluster) -> F,
    ) -> Simulated<T>
    where
        F: Future<Output = T>,
    {
        let seed = self.seed;
        self.run_typed(module, test, Refused::Fails)
            .unwrap_or_else(|error| panic!("seed {seed}: {error:#}"))
    }

    /// As [`run`](Simulation::run), for faults that the module may not survive.
    ///
    /// # Errors
    /// Why the module cannot be started over what its disk holds; above all
    /// [`ErrorKind::Corrupt`].
    ///
    /// # Panics
    /// When the definition has mistakes, when the test panics or is stuck.
    pub fn try_run<T, F>(
        self,
        module: impl Module,
        test: impl Fn(SimulatedCluster) -> F,
    ) -> Result<Simulated<T>>
    where
        F: Future<Output = T>,
    {
        self.run_typed(module, test, Refused::IsAnswered)
    }

    /// Keeps the types of the test out of what runs it.
    fn run_typed<T, F>(
        mut self,
        module: impl Module,
        test: impl Fn(SimulatedCluster) -> F,
        refused: Refused,
    ) -> Result<Simulated<T>>
    where
        F: Future<Output = T>,
    {
        if self.machines > 1 {
            self.faults.disk = self.faults.disk.without_errors();
        }
        assert!(
            self.machines == 1 || self.others.is_empty(),
            "several modules are simulated on one machine"
        );
        let definition = define(&module).unwrap_or_else(|error| panic!("{error}"));
        let value = RefCell::new(None);
        let test = |cluster| -> LocalBoxFuture<'_, ()> {
            let ended = test(cluster);
            Box::pin(async { *value.borrow_mut() = Some(ended.await) })
        };
        let ran = self.run_or_tell(&definition, &test, refused)?;
        Ok(Simulated {
            value: value.take().expect("the test has ended"),
            trace_hash: ran.trace_hash,
            power_cuts: ran.power_cuts,
            restarts: ran.restarts,
        })
    }

    fn storage_options(&self) -> GroupOptions {
        #[cfg(any(test, feature = "mutants"))]
        return GroupOptions {
            mutant: self.mutant.and_then(crate::mutants::Mutant::of_storage),
            ..GroupOptions::default()
        };
        #[cfg(not(any(test, feature = "mutants")))]
        GroupOptions::default()
    }

    #[cfg(any(test, feature = "mutants"))]
    fn activate_mutant(&self) -> impl Drop + use<> {
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                rama_core::mutants::set(None);
                crate::mutants::set(None);
            }
        }
        rama_core::mutants::set(self.mutant.and_then(crate::mutants::Mutant::of_core));
        crate::mutants::set(self.mutant);
        Off
    }
}

/// The cluster inside a simulation. Derefs to [`Cluster`].
#[derive(Clone)]
pub struct SimulatedCluster {
    world: Rc<World>,
}

impl SimulatedCluster {
    /// The handle for clients.
    pub fn cluster(&self) -> Cluster {
        self.world.cluster.clone()
    }

    /// How often the power was cut so far.
    pub fn power_cuts(&self) -> u32 {
        self.world.cuts.get()
    }

    /// How often the process was started again so far, because its disk had failed.
    pub fn restarts(&self) -> u32 {
        self.world.restarts.get()
    }

    /// All faults, and the last of what the engine has logged, with the virtual time when each
    /// happened last: power cuts, events that failed, microbatches that were committed. A run that
    /// fails prints them.
    pub fn events(&self) -> Vec<(Duration, String)> {
        let notes = self.world.sim.notes().all();
        let events = notes.into_iter();
        events.map(|note| (note.last, note.text)).collect()
    }

    /// Completes when the last fault of the machines is over and the module runs for good.
    pub async fn calm(&self) {
        while !self.world.calm.get() {
            self.world.sim.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Cuts the power of all machines once more and starts them again; completes when they are up.
    /// To be called when it is [calm](SimulatedCluster::calm).
    ///
    /// # Panics
    /// When the module does not start over what the disk kept.
    pub async fn power_cut(&self) {
        self.world.cut_all().await;
    }

    /// Stops a module as an operator does and starts other code, or the same, over its data
    /// (T-2). To be called when it is [calm](SimulatedCluster::calm).
    ///
    /// # Errors
    /// As [`crate::InProcessCluster::update`].
    ///
    /// # Panics
    /// When the definition has mistakes, or there are several machines.
    pub async fn update(&self, module: impl Module) -> Result<()> {
        self.update_deleting(module, &[]).await
    }

    /// The same for code that lacks exactly the listed objects, whose data goes (spec X-12).
    ///
    /// # Errors
    /// As [`crate::InProcessCluster::update_deleting`].
    ///
    /// # Panics
    /// As [`update`](SimulatedCluster::update).
    pub async fn update_deleting(&self, module: impl Module, objects: &[&str]) -> Result<()> {
        let definition = define(&module).unwrap_or_else(|error| panic!("{error}"));
        let objects = objects.iter().map(|&name| name.to_owned());
        self.world.update(definition, objects.collect()).await
    }

    /// Stops a module as an operator does; an update starts it again.
    #[cfg(test)]
    pub(crate) async fn stop_module(&self, module: &str) -> Result<()> {
        let machine = &self.world.machines[0];
        let launcher = machine.launcher.take().expect("a calm machine is up");
        let stopped = launcher.stop(module).await;
        machine.launcher.replace(Some(launcher));
        stopped
    }

    /// Changes what disks do from now on, the machine's own power cuts aside.
    pub fn set_disk_faults(&self, faults: sim::Faults) {
        self.world.sim.set_faults(faults);
    }

    /// The wall clock of the cluster's first machine, milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        let world = &self.world;
        let process = world.machines[0].process;
        world.sim.env(process, "clock").wall_ms()
    }

    /// A random number of the seed.
    pub fn random_u64(&self) -> u64 {
        self.world.sim.random_u64()
    }
}

impl Deref for SimulatedCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.world.cluster
    }
}

#[cfg(test)]
mod tests;
