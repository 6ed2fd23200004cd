//! A worker of a cluster: its task threads, its control loop, and requests from others.
//!
//! Relies on the assignment for everything it must know at its start, on `rama-control` for when to
//! lead, and on the runtime's `Worker` for the work. One thread of tokio does all of this beside the task
//! threads. What must stay true: ports are bound before the process registers; nothing is served that
//! it does not lead; when the lease is over the process ends at once, without tidying up: what was
//! acknowledged is durable.

mod assignment;
mod guard;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rama_api::Assignment;
use rama_api::endpoints::Server;
use rama_control::worker::{Control, Event, GroupRoute, Order};
use rama_gateway::dev::{self, Failure};
use rama_gateway::gate::{Door, Gate};
use rama_gateway::metrics::HttpMetrics;
use rama_gateway::routes::{Gateway, router};
use rama_gateway::{config, logging};
use rama_metastore::{Etcd, Space};
use rama_net::{Endpoint, EndpointConfig, Role, StreamHeader};
use rama_planner::ids::GroupId;
use rama_planner::records::{WorkerDetails, WorkerPhase};
use rama_planner::worker::End;
use rama_runtime::options::Settings;
use rama_runtime::{Cluster, Definition, Error, ErrorKind, Route, Worker};
use tokio::sync::{mpsc, watch};

use super::{failed, interrupted};
use crate::{Module, client};

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

/// Between two tries to reach a metastore that is not there yet.
const CONNECT_RETRY: Duration = Duration::from_secs(1);

/// Exit code of a worker whose lease is over, or that another one has replaced.
const EXIT_LEASE: i32 = 3;

/// Runs the module's part of this process until it is told to stop.
pub(super) fn run(module: Box<dyn Module>, path: &Path) -> Result<(), Failure> {
    let assignment = assignment::read(path, &module.name())?;
    logging::start(&config::Log {
        format: config::LogFormat::Json,
        ..config::Log::default()
    })?;
    dev::runtime(1)?.block_on(serve(&module, assignment))
}

async fn serve(module: &dyn Module, assignment: Assignment) -> Result<(), Failure> {
    let stopped = interrupted()?;
    let definition = Definition::of(module)
        .map_err(|error| Failure::new(error.to_string(), "fix the module's `define`"))?;
    let life = assignment::life();
    let worker = Worker::bind(assignment::worker(&assignment, life)?).await;
    let worker = worker.map_err(failed)?;
    let endpoint = bind(&assignment, life)?;
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(answer(endpoint.clone(), requests(&worker, stopping)));
    let store = connect(&assignment).await?;
    let space = Space::new(&assignment.metastore.root)
        .map_err(|error| Failure::new(error.to_string(), "fix metastore.root"))?;
    let address = endpoint.local_address().map_err(net)?;
    let details = WorkerDetails {
        process: assignment::process(&assignment, address.port()),
        ports: assignment::ports(&worker),
        phase: WorkerPhase::Recovering,
        interface: format!("{:016x}", definition.interface()),
    };
    let identity = assignment::identity(&assignment, life, details)?;
    let ttl = Duration::from_millis(assignment.metastore.lease_ms);
    let (control, events) = Control::start(store, space, identity, ttl);
    let member = Member {
        assignment,
        worker: Some(worker),
        control,
        open: BTreeSet::new(),
        definition,
        launched: false,
        paused: Vec::new(),
    };
    let ended = member.run(module, events, stopped).await;
    stop.send_replace(true);
    endpoint.close().await;
    ended
}

/// The metastore; it may come later than the worker.
async fn connect(assignment: &Assignment) -> Result<Etcd, Failure> {
    let config = assignment::metastore(assignment)?;
    loop {
        match Etcd::connect(config.clone()).await {
            Ok(store) => return Ok(store),
            Err(error) => tracing::warn!(%error, "the metastore is not there yet"),
        }
        tokio::time::sleep(CONNECT_RETRY).await;
    }
}

/// The way to other modules. The supervisor that started this process may be restarting.
async fn others(assignment: &Assignment) -> Result<Cluster, Error> {
    let security = assignment::security(assignment).map_err(|failure| {
        let text = format!("{}; {}", failure.what, failure.hint);
        Error::new(ErrorKind::Invalid, text)
    })?;
    let daemons = assignment.daemons.clone();
    let config = client::of_worker((assignment.cluster, assignment.node), security, daemons);
    loop {
        match Cluster::connect(config.clone()).await {
            Ok(cluster) => return Ok(cluster),
            Err(error) => tracing::warn!(%error, "no daemon tells where other modules run"),
        }
        tokio::time::sleep(CONNECT_RETRY).await;
    }
}

/// The port for requests, which are HTTP messages.
fn bind(assignment: &Assignment, life: u64) -> Result<Endpoint, Failure> {
    let port = match assignment.first_port {
        0 => 0,
        first => first + assignment.groups.len() as u16,
    };
    let config = EndpointConfig::new(
        SocketAddr::new(assignment.bind, port),
        assignment::security(assignment)?,
        assignment.cluster,
        assignment.node,
        Role::Worker,
        life,
    );
    Endpoint::on_tokio(config).map_err(net)
}

/// The same routes that a development server has, for those whose certificates say that they may.
fn requests(worker: &Worker, stop: watch::Receiver<bool>) -> Router {
    let routes = router(Gateway {
        cluster: worker.cluster(),
        metrics: Arc::new(HttpMetrics::default()),
        limits: config::Http::default().limits(),
        stop,
    });
    guard::by_role(Gate::new(Server::Module, Door::Shut).before(routes))
}

async fn answer(endpoint: Endpoint, router: Router) {
    while let Some(accepted) = endpoint.accept().await {
        if accepted.header == StreamHeader::Rpc {
            tokio::spawn(rama_rpc::answer(accepted, router.clone()));
        } else {
            accepted.sender.abandon();
        }
    }
}

struct Member {
    assignment: Assignment,
    /// None once it is being stopped.
    worker: Option<Worker>,
    control: Control,
    /// Groups that this process leads.
    open: BTreeSet<GroupId>,
    definition: Definition,
    launched: bool,
    paused: Vec<String>,
}

impl Member {
    async fn run(
        mut self,
        module: &dyn Module,
        mut events: mpsc::UnboundedReceiver<Event>,
        stopped: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let mut stopped = std::pin::pin!(stopped);
        let mut is_stopped = false;
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Drain) => self.drain().await?,
                    Some(Event::Exit(End::Stopped)) | None => return Ok(()),
                    Some(event) => self.take(event, module, &mut events).await?,
                },
                () = &mut stopped, if !is_stopped => {
                    is_stopped = true;
                    self.control.order(Order::Phase(WorkerPhase::Draining));
                    self.control.order(Order::Stop);
                }
                _ = beat.tick() => self.beat()?,
            }
        }
    }

    async fn take(
        &mut self,
        event: Event,
        module: &dyn Module,
        events: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Result<(), Failure> {
        match event {
            Event::Open(group, epoch) => {
                tracing::info!(%group, %epoch, "leads a task group");
                self.open.insert(group);
                if self.open.len() == self.assignment.groups.len() && !self.launched {
                    self.launch(module, events).await?;
                }
            }
            // One replica: what is not led here cannot be served here.
            Event::Close(group) => {
                tracing::error!(%group, "a task group is not led any more; the process ends");
                std::process::exit(EXIT_LEASE);
            }
            Event::Exit(end) => leave(end),
            Event::Routes(routes) => self.set_routes(&routes).await,
            Event::Paused(paused) => self.pause(paused),
            Event::Options(options) => self.set_options(options),
            Event::Drain => {}
        }
        Ok(())
    }

    /// Opens the data and runs the threads; the end of the lease ends it at once.
    async fn launch(
        &mut self,
        module: &dyn Module,
        events: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Result<(), Failure> {
        let Some(worker) = &self.worker else {
            return Ok(());
        };
        let mut later = Vec::new();
        let launched = {
            let mut launch = std::pin::pin!(self.begin(worker, module));
            let mut beat = tokio::time::interval(BEAT);
            loop {
                tokio::select! {
                    launched = &mut launch => break launched,
                    _ = beat.tick() => self.beat()?,
                    event = events.recv() => match event {
                        Some(Event::Exit(end)) => leave(end),
                        Some(Event::Options(options)) => self.set_options(options),
                        Some(event) => later.push(event),
                        None => return Ok(()),
                    },
                }
            }
        };
        launched.map_err(failed)?;
        self.launched = true;
        self.control.order(Order::Phase(WorkerPhase::Serving));
        let paused = std::mem::take(&mut self.paused);
        self.pause(paused);
        for event in later {
            match event {
                Event::Drain => self.drain().await?,
                Event::Close(_) => std::process::exit(EXIT_LEASE),
                Event::Routes(routes) => self.set_routes(&routes).await,
                Event::Paused(paused) => self.pause(paused),
                Event::Open(..) | Event::Options(_) | Event::Exit(_) => {}
            }
        }
        Ok(())
    }

    /// Finds the way to the modules that this one uses, if any, and runs the threads.
    async fn begin(&self, worker: &Worker, module: &dyn Module) -> Result<(), Error> {
        if !self.definition.mirrors.is_empty() {
            let others = others(&self.assignment).await?;
            let (following, definition) = (others.clone(), self.definition.clone());
            tokio::spawn(async move { following.follow_mirrors(&definition).await });
            worker.set_others(others);
        }
        worker.launch(module).await
    }

    async fn drain(&mut self) -> Result<(), Failure> {
        if let Some(worker) = self.worker.take() {
            worker.shutdown().await.map_err(failed)?;
        }
        self.control.order(Order::Drained);
        Ok(())
    }

    async fn set_routes(&self, routes: &BTreeMap<GroupId, GroupRoute>) {
        let Some(worker) = &self.worker else { return };
        let mut resolved = BTreeMap::new();
        for (group, route) in routes {
            let host = route.live.details.process.host_internal.as_str();
            match tokio::net::lookup_host((host, route.port)).await {
                Ok(mut addresses) => {
                    if let Some(address) = addresses.next() {
                        let route = Route {
                            address,
                            node: route.live.node.0,
                            incarnation: route.live.incarnation.0,
                            epoch: route.epoch.0,
                        };
                        resolved.insert(group.0, route);
                    }
                }
                Err(error) => tracing::warn!(%error, host, "could not resolve a host name"),
            }
        }
        worker.set_routes(resolved);
    }

    /// From now on these hold; before the launch, too. Nothing is waited for.
    fn set_options(&self, options: Settings) {
        let Some(worker) = &self.worker else { return };
        tracing::info!(count = options.iter().count(), "dynamic options are set");
        for useless in options.useless() {
            tracing::warn!(error = %useless, "an option has no effect; {}", useless.hint());
        }
        worker.set_options(&self.assignment.module, options);
    }

    /// Pauses and resumes what changed; the worker of task 0 does it for all.
    fn pause(&mut self, paused: Vec<String>) {
        let before = std::mem::replace(&mut self.paused, paused);
        let Some(worker) = self.worker.as_ref().filter(|_| self.launched) else {
            return;
        };
        if !self.assignment.groups.contains(&0) {
            return;
        }
        let (cluster, module) = (worker.cluster(), self.assignment.module.clone());
        let after = self.paused.clone();
        tokio::spawn(async move {
            for topology in before.iter().filter(|topology| !after.contains(topology)) {
                told("resume", topology, cluster.resume(&module, topology).await);
            }
            for topology in after.iter().filter(|topology| !before.contains(topology)) {
                told("pause", topology, cluster.pause(&module, topology).await);
            }
        });
    }

    /// Says that the process is well, or ends it when it is not.
    fn beat(&self) -> Result<(), Failure> {
        let status = self.worker.as_ref().map(|worker| worker.cluster().status());
        let modules = status.iter().flat_map(|status| &status.modules);
        if modules.into_iter().any(|module| module.state == "failed") {
            // A log that failed once is not written again by this process (reliability).
            let what = "a log of this worker failed; it has to open its data again";
            return Err(Failure::new(
                what,
                "the supervisor starts it again; see the log",
            ));
        }
        let beat = &self.assignment.beat;
        std::fs::write(beat, b"beat\n").map_err(|error| {
            let what = format!("could not write {}: {error}", beat.display());
            Failure::new(what, "check the disk and its permissions")
        })
    }
}

fn told(verb: &str, topology: &str, result: Result<(), Error>) {
    match result {
        Ok(()) => tracing::info!(topology, "{verb}d"),
        Err(error) => tracing::error!(topology, error = format!("{error:#}"), "could not {verb}"),
    }
}

/// Ends the process without tidying up: others may lead already.
fn leave(end: End) -> ! {
    match end {
        End::Stopped => std::process::exit(0),
        End::LeaseOver => tracing::error!("the lease is over; the process ends"),
        End::Replaced => tracing::error!("another process has this place; the process ends"),
    }
    std::process::exit(EXIT_LEASE)
}

fn net(error: rama_net::NetError) -> Failure {
    let what = format!("could not bind the port for requests: {error}");
    Failure::new(what, "check `supervisor.port_range` and the certificates")
}
