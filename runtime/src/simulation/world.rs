//! The machines of a simulated cluster, and the supervisor that starts them and cuts their power.
//!
//! Relies on the launcher for what one process does and on `rama_io::sim` for everything around it.
//! What must stay true: faults end, so that every run does; nothing here is of a test's type, so that
//! the engine below the simulator is compiled in this crate once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::future::{Either, LocalBoxFuture, join_all, select, try_join_all};
use rama_io::sim::{ProcessId, Sim, SimEnv};
use rama_io::{Category, Env};

use super::Simulation;
use super::links::SimLinks;
use super::timer::{Alarm, SimTimer, serve_timers};
use crate::catalog::Catalog;
use crate::cluster::{Cluster, Running};
use crate::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{self, Hosts};
use crate::launcher::{Launcher, Part, client_post, open_catalog};
use crate::layout::{self, Layout};
use crate::metrics::ModuleMetrics;
use crate::options::Settings;

/// How often a supervisor looks at its process.
const SUPERVISION: Duration = Duration::from_millis(2);

/// What a machine does between two power cuts; ends only if it cannot be started.
type Life<'a> = LocalBoxFuture<'a, Result<Infallible>>;

/// The machines of the cluster and whoever starts them.
pub(super) struct World {
    pub(super) sim: Sim,
    pub(super) machines: Vec<Machine>,
    settings: Simulation,
    /// In the order in which they are launched.
    pub(super) definitions: RefCell<Vec<(Definition, u32)>>,
    pub(super) options: RefCell<Settings>,
    /// What the test holds.
    pub(super) cluster: Cluster,
    timer: Arc<SimTimer>,
    links: Arc<SimLinks>,
    /// Of all machines together; there once a machine was up, when there are several.
    metrics: RefCell<Option<Arc<ModuleMetrics>>>,
    pub(super) cuts: Cell<u32>,
    pub(super) restarts: Cell<u32>,
    pub(super) calm: Cell<bool>,
}

/// A machine with one process of the module.
pub(super) struct Machine {
    pub(super) process: ProcessId,
    /// The task threads it runs.
    threads: Vec<u32>,
    /// The launcher of the living incarnation.
    pub(super) launcher: RefCell<Option<Launcher<SimEnv>>>,
}

impl World {
    pub(super) fn new(
        sim: &Sim,
        settings: Simulation,
        definition: Definition,
        timer: SimTimer,
    ) -> World {
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

    /// Runs the world until the test has ended. Of no type of the test's, so that the engine is compiled
    /// in this crate and not again in every test.
    pub(super) fn run(
        &self,
        timers: UnboundedReceiver<Alarm>,
        test: LocalBoxFuture<'_, ()>,
    ) -> Result<()> {
        self.sim.block_on(async {
            let supervisor = pin!(self.supervise());
            let timers = pin!(serve_timers(self.sim.clone(), timers));
            let test = pin!(async {
                self.launched().await;
                test.await;
            });
            let beside = pin!(select(supervisor, timers));
            match select(test, beside).await {
                Either::Left(_) => Ok(()),
                Either::Right((Either::Left((Err(error), _)), _)) => Err(error),
            }
        })
    }

    /// The module that is run.
    pub(super) fn module(&self) -> String {
        let definitions = self.definitions.borrow();
        let (definition, _) = definitions.last().expect("one is run");
        definition.module.clone()
    }

    /// Completes when all modules were up once: names are known from then on.
    async fn launched(&self) {
        while self.cluster.modules_here().len() < self.definitions.borrow().len() {
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
        for module in self.cluster.modules_here() {
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
        let mut life = None;
        for _ in 0..faults.power_cuts {
            self.live_for_a_while(machine, &mut life).await?;
            // A life goes on when its power cut is left out.
            if let Some(fault) = self.sim.planned_fault() {
                life = None;
                let cut = |sim: &Sim, process| sim.planned_power_cut(process, fault);
                self.end_process(machine, cut);
                self.cuts.set(self.cuts.get() + 1);
            }
        }
        if faults.fails() {
            self.live_for_a_while(machine, &mut life).await?;
            life = None;
            self.end_process(machine, Sim::kill);
            self.sim.set_faults(faults.disk.without_errors());
        }
        match life {
            Some(life) => self.live_until_up(machine, life).await,
            None => {
                let booted = self.boot(machine).await;
                booted.map_err(|error| self.refused(error))
            }
        }
    }

    /// A random part of a life of the machine, or all of it.
    async fn live_for_a_while<'a>(
        &'a self,
        machine: &'a Machine,
        life: &mut Option<Life<'a>>,
    ) -> Result<()> {
        let within = self.settings.faults.power_cut_within.as_nanos() as u64;
        let wait = Duration::from_nanos(1 + self.sim.random_u64() % within.max(1));
        let life = life.get_or_insert_with(|| Box::pin(self.live(machine)));
        let alarm = pin!(self.sim.sleep(wait));
        match select(life, alarm).await {
            Either::Left((Err(error), _)) => Err(error),
            Either::Right(((), _)) => Ok(()),
        }
    }

    /// The rest of a life that began with the machine's start, until that is done.
    async fn live_until_up(&self, machine: &Machine, life: Life<'_>) -> Result<()> {
        let up = pin!(async {
            while machine.launcher.borrow().is_none() {
                self.sim.sleep(SUPERVISION).await;
            }
        });
        match select(life, up).await {
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
            let failure = self.cluster.modules_here().iter().find_map(|name| {
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

    /// Cuts the power of all machines and starts them again.
    pub(super) fn cut_all(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            for machine in &self.machines {
                self.end_process(machine, Sim::power_cut);
                self.cuts.set(self.cuts.get() + 1);
            }
            let booted = join_all(self.machines.iter().map(|machine| self.boot(machine))).await;
            for booted in booted {
                booted.unwrap_or_else(|error| panic!("{:#}", self.refused(error)));
            }
        })
    }

    /// Stops a module of the only machine and starts `definition` over its data, without the objects
    /// to `delete`.
    pub(super) fn update(
        &self,
        definition: Definition,
        delete: BTreeSet<String>,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async {
            let machine = self.only_machine();
            let launcher = machine.launcher.take().expect("a calm machine is up");
            let updated = launcher.update(definition.clone(), delete).await;
            machine.launcher.replace(Some(launcher));
            updated?;
            let mut all = self.definitions.borrow_mut();
            let mut all = all.iter_mut().map(|(old, _)| old);
            let old = all.find(|old| old.module == definition.module);
            *old.expect("it was launched") = definition;
            Ok(())
        })
    }

    pub(super) fn only_machine(&self) -> &Machine {
        match &self.machines[..] {
            [machine] => machine,
            _ => panic!("this wants a simulation of one machine"),
        }
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
