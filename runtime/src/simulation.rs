//! A module in a simulated world: the whole engine, virtual time, faults, one seed.
//!
//! Relies on `rama_io::sim`. Everything above the `Env` seam is the production code. A supervisor
//! beside the test cuts the power of the cluster's machines at random moments, starts a process
//! again when a log of it has failed, and lets it recover from what the disk kept; client handles
//! survive. What must stay true: the same seed, module and test give the same execution, told by
//! the same trace hash; faults end, so that every run does.

mod faults;
mod links;
mod options;
mod timer;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select, try_join_all};
use rama_io::sim::{self, ProcessId, Sim, SimConfig, SimEnv};
use rama_io::{Category, Env};
use rama_storage::GroupOptions;

use crate::catalog::Catalog;
use crate::cluster::{Cluster, Running};
use crate::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{self, Hosts};
use crate::in_process_cluster::define;
use crate::launcher::{Launcher, Part, client_post, open_catalog};
use crate::layout::{self, Layout};
use crate::metrics::ModuleMetrics;
use crate::module::Module;
use crate::options::Settings;

pub use faults::Faults;

use links::SimLinks;
use timer::{SimTimer, serve_timers};

/// How often a supervisor looks at its process.
const SUPERVISION: Duration = Duration::from_millis(2);

/// A test of a module in a simulated world.
///
/// ```ignore
/// for seed in 0..100 {
///     Simulation::seed(seed).faults(Faults::all()).run(Bank, |cluster| async move {
///         // append, then compare
///     });
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a simulation does nothing until `run`"]
pub struct Simulation {
    seed: u64,
    tasks: u32,
    threads: u32,
    machines: u32,
    faults: Faults,
    time_budget: Duration,
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

    /// Runs with a deliberate mistake in the stack below.
    #[cfg(any(test, feature = "mutants"))]
    pub fn mutant(mut self, mutant: Option<crate::mutants::Mutant>) -> Simulation {
        self.mutant = mutant;
        self
    }

    /// Runs `test` against the module.
    ///
    /// # Panics
    /// When the definition has mistakes, when the module cannot be started over its data, when the
    /// test panics or is stuck. The seed is printed, and the last faults with their times.
    pub fn run<T, F>(
        self,
        module: impl Module,
        test: impl FnOnce(SimulatedCluster) -> F,
    ) -> Simulated<T>
    where
        F: Future<Output = T>,
    {
        let seed = self.seed;
        self.try_run(module, test)
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
        mut self,
        module: impl Module,
        test: impl FnOnce(SimulatedCluster) -> F,
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
        let mut config = SimConfig::with_faults(self.faults.disk);
        config.time_budget = self.time_budget;
        #[cfg(any(test, feature = "mutants"))]
        let _mutant = self.activate_mutant();
        let sim = Sim::new(self.seed, config);
        let (timer, timers) = SimTimer::new();
        let world = Rc::new(World::new(&sim, self, definition, timer));
        let cluster = SimulatedCluster {
            world: world.clone(),
        };
        let ended = sim.block_on(async {
            let supervisor = pin!(world.supervise());
            let timers = pin!(serve_timers(sim.clone(), timers));
            let test = pin!(async {
                world.launched().await;
                test(cluster).await
            });
            let beside = pin!(select(supervisor, timers));
            match select(test, beside).await {
                Either::Left((value, _)) => Ok(value),
                Either::Right((Either::Left((Err(error), _)), _)) => Err(error),
            }
        });
        Ok(Simulated {
            value: ended?,
            trace_hash: sim.trace_hash(),
            power_cuts: world.cuts.get(),
            restarts: world.restarts.get(),
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
        let world = &self.world;
        for machine in &world.machines {
            world.end_process(machine, Sim::power_cut);
            world.cuts.set(world.cuts.get() + 1);
        }
        let booted = join_all(world.machines.iter().map(|machine| world.boot(machine))).await;
        for booted in booted {
            booted.unwrap_or_else(|error| panic!("{:#}", world.refused(error)));
        }
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
        let world = &self.world;
        let definition = define(&module).unwrap_or_else(|error| panic!("{error}"));
        let [machine] = &world.machines[..] else {
            panic!("an update of a simulation wants one machine");
        };
        let launcher = machine.launcher.take().expect("a calm machine is up");
        let updated = launcher.update(definition.clone()).await;
        machine.launcher.replace(Some(launcher));
        updated?;
        let mut all = world.definitions.borrow_mut();
        let mut all = all.iter_mut().map(|(old, _)| old);
        let old = all.find(|old| old.module == definition.module);
        *old.expect("it was launched") = definition;
        Ok(())
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

/// The machines of the cluster and whoever starts them.
struct World {
    sim: Sim,
    machines: Vec<Machine>,
    settings: Simulation,
    /// In the order in which they are launched.
    definitions: RefCell<Vec<(Definition, u32)>>,
    options: RefCell<Settings>,
    /// What the test holds.
    cluster: Cluster,
    timer: Arc<SimTimer>,
    links: Arc<SimLinks>,
    /// Of all machines together; there once a machine was up, when there are several.
    metrics: RefCell<Option<Arc<ModuleMetrics>>>,
    cuts: Cell<u32>,
    restarts: Cell<u32>,
    calm: Cell<bool>,
}

/// A machine with one process of the module.
struct Machine {
    process: ProcessId,
    /// The task threads it runs.
    threads: Vec<u32>,
    /// The launcher of the living incarnation.
    launcher: RefCell<Option<Launcher<SimEnv>>>,
}

impl World {
    fn new(sim: &Sim, settings: Simulation, definition: Definition, timer: SimTimer) -> World {
        let mut definitions = settings.others.clone();
        definitions.push((definition, settings.tasks));
        let timer = Arc::new(timer);
        let cluster = Cluster::new(cluster_id(&settings), settings.seed, timer.clone());
        let machine = |index: u32| Machine {
            process: sim.process(),
            threads: (index..settings.threads)
                .step_by(settings.machines as usize)
                .collect(),
            launcher: RefCell::new(None),
        };
        World {
            machines: (0..settings.machines).map(machine).collect(),
            sim: sim.clone(),
            links: Arc::new(SimLinks::new(sim, settings.faults.link_breaks_one_in)),
            options: RefCell::new(settings.options.clone()),
            settings,
            definitions: RefCell::new(definitions),
            cluster,
            timer,
            metrics: RefCell::new(None),
            cuts: Cell::new(0),
            restarts: Cell::new(0),
            calm: Cell::new(false),
        }
    }

    /// The module that is run.
    fn module(&self) -> String {
        let definitions = self.definitions.borrow();
        let (definition, _) = definitions.last().expect("one is run");
        definition.module.clone()
    }

    /// Completes when all modules were up once: names are known from then on.
    async fn launched(&self) {
        while self.cluster.modules().len() < self.definitions.borrow().len() {
            self.sim.sleep(Duration::from_millis(1)).await;
        }
    }

    /// Starts the machines, cuts their power, and so on; then leaves them running. Ends only with
    /// the reason why the module cannot be started.
    async fn supervise(&self) -> Result<Infallible> {
        if self.machines.len() > 1 {
            self.connect_client();
        }
        let machines = self.machines.iter().map(|machine| self.keep_up(machine));
        try_join_all(machines).await?;
        self.links.calm();
        for module in self.cluster.modules() {
            // A thread answers when the client's link to it is up again.
            while self.cluster.dead_letters(&module).await.is_err() {
                self.sim.sleep(Duration::from_millis(10)).await;
            }
        }
        self.calm.set(true);
        std::future::pending().await
    }

    /// The troubled lives of a machine, and the start of its last one.
    async fn keep_up(&self, machine: &Machine) -> Result<()> {
        let faults = self.settings.faults;
        for _ in 0..faults.power_cuts {
            self.live_for_a_while(machine).await?;
            self.end_process(machine, Sim::power_cut);
            self.cuts.set(self.cuts.get() + 1);
        }
        if faults.fails() {
            self.live_for_a_while(machine).await?;
            self.end_process(machine, Sim::kill);
            self.sim.set_faults(faults.disk.without_errors());
        }
        let booted = self.boot(machine).await;
        booted.map_err(|error| self.refused(error))
    }

    /// One life of the machine, of random length.
    async fn live_for_a_while(&self, machine: &Machine) -> Result<()> {
        let within = self.settings.faults.power_cut_within.as_nanos() as u64;
        let wait = Duration::from_nanos(1 + self.sim.random_u64() % within.max(1));
        let life = pin!(self.live(machine));
        let alarm = pin!(self.sim.sleep(wait));
        match select(life, alarm).await {
            Either::Left((Err(error), _)) => Err(error),
            Either::Right(((), _)) => Ok(()),
        }
    }

    /// Starts the process, and again whenever its disk has failed it.
    async fn live(&self, machine: &Machine) -> Result<Infallible> {
        loop {
            let error = match self.boot(machine).await {
                Ok(()) => self.failure().await,
                Err(error) => error,
            };
            if !self.settings.faults.fails() || error.kind() != ErrorKind::Storage {
                return Err(self.refused(error));
            }
            self.sim.note(format!("process failed: {error:#}"));
            self.end_process(machine, Sim::kill);
            self.restarts.set(self.restarts.get() + 1);
            let pause = Duration::from_nanos(self.sim.random_u64() % 10_000_000);
            self.sim.sleep(pause).await;
        }
    }

    /// Completes when a log of the running module has failed.
    async fn failure(&self) -> Error {
        if !self.settings.faults.fails() {
            return std::future::pending().await;
        }
        loop {
            self.sim.sleep(SUPERVISION).await;
            let failure = self.cluster.modules().iter().find_map(|name| {
                let running = self.cluster.running(name).ok()?;
                running.metrics.log_failure.lock().ok()?.clone()
            });
            if let Some(failure) = failure {
                return Error::new(ErrorKind::Storage, failure);
            }
        }
    }

    fn end_process(&self, machine: &Machine, end: impl FnOnce(&Sim, ProcessId)) {
        if self.machines.len() == 1 {
            self.cluster.stop(None);
        }
        machine.launcher.replace(None);
        end(&self.sim, machine.process);
    }

    fn refused(&self, error: Error) -> Error {
        let (cuts, restarts) = (self.cuts.get(), self.restarts.get());
        let text =
            format!("the module did not start after {cuts} power cuts and {restarts} restarts");
        Error::new(error.kind(), text).caused_by(error)
    }

    async fn boot(&self, machine: &Machine) -> Result<()> {
        let count = machine.threads.len() as u32;
        let (hosts, receivers) = Hosts::<SimEnv>::new(self.sim.transport(), count);
        for (index, jobs) in machine.threads.iter().zip(receivers) {
            let env = self.sim.env(machine.process, &format!("thread {index}"));
            env.clone()
                .spawn(Category::Replication, host::serve(env, jobs));
        }
        let dir = PathBuf::from("/cluster");
        let id = cluster_id(&self.settings);
        let catalog = open_catalog(&hosts, &dir, id).await?;
        let storage = self.settings.storage_options();
        let cluster = match self.machines.len() {
            1 => self.cluster.clone(),
            _ => Cluster::new(id, self.sim.random_u64(), self.timer.clone()),
        };
        let launcher = Launcher::new(cluster, hosts, dir, catalog, storage)?;
        let mut launcher = launcher.with_settings(self.options.borrow().clone());
        if self.machines.len() > 1 {
            launcher = launcher.with_part(Part {
                threads: self.settings.threads,
                local: machine.threads.clone(),
                links: self.links.clone(),
                metrics: self.metrics.borrow().clone(),
            });
        }
        let definitions = self.definitions.borrow().clone();
        for (definition, tasks) in definitions {
            let module = definition.module.clone();
            launcher.launch(definition, tasks).await?;
            let options = self.options.borrow().clone();
            drop(launcher.change_settings(&module, |settings| *settings = options));
        }
        machine.launcher.replace(Some(launcher));
        Ok(())
    }

    /// Gives the test's handle a way to every thread, from a machine that never fails.
    fn connect_client(&self) {
        let threads = self.settings.threads;
        let (definition, tasks) = self.definitions.borrow()[0].clone();
        let declared = layout::declared(&definition, tasks, threads);
        let entry = Catalog::new(cluster_id(&self.settings))
            .reconcile(&declared)
            .unwrap_or_else(|error| panic!("{error:#}"));
        let layout = Arc::new(Layout::new(definition, &entry));
        let metrics = Arc::new(ModuleMetrics::new(&layout));
        self.metrics.replace(Some(metrics.clone()));
        let env = self.sim.env(self.sim.process(), "client");
        let post = |thread: u32| client_post(&env, &*self.links, thread as usize);
        let posts = (0..threads).map(post).collect();
        self.cluster.install(Running::new(layout, metrics, posts));
    }
}

fn cluster_id(settings: &Simulation) -> u128 {
    u128::from(settings.seed) << 64 | 1
}

#[cfg(test)]
mod tests;
