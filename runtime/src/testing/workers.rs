//! Two workers in one process that know each other only by address, and what a program outside is told
//! of them.
//!
//! Relies on free ports of this machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rama_core::mirrors::Offers;
use rama_net::Security;
use rama_wire::session::Role;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    Cluster, Definition, Directory, Error, ErrorKind, Module, RemoteConfig, Result, Route, Routing,
    Worker, WorkerConfig,
};

const CLUSTER: Uuid = Uuid::from_u128(0xc1);
pub(crate) const INSTANCE: Uuid = Uuid::from_u128(0x15);

/// Worker `index` of two, at its start `incarnation`.
pub(crate) fn config_of(dir: &Path, index: u32, incarnation: u64) -> WorkerConfig {
    WorkerConfig {
        cluster: CLUSTER,
        node: Uuid::from_u128(0x100 + u128::from(index)),
        instance: INSTANCE,
        incarnation,
        tasks: 8,
        threads: 4,
        local: vec![index, index + 2],
        dir: dir.join(format!("worker-{index}")),
        bind: [127, 0, 0, 1].into(),
        first_port: 0,
        security: Security::InsecureLoopback,
        cores: Vec::new(),
    }
}

pub(crate) async fn two(dir: &Path, module: &dyn Module) -> (Worker, Worker) {
    let first = Worker::bind(config_of(dir, 0, 1)).await.unwrap();
    let second = Worker::bind(config_of(dir, 1, 1)).await.unwrap();
    connect(&[&first, &second]);
    first.launch(module).await.unwrap();
    second.launch(module).await.unwrap();
    (first, second)
}

/// Tells each worker where the others are.
pub(crate) fn connect(workers: &[&Worker]) {
    for worker in workers {
        worker.set_routes(routes(workers));
    }
}

pub(crate) fn routes(workers: &[&Worker]) -> BTreeMap<u32, Route> {
    let of = |worker: &&Worker| {
        let (node, incarnation) = (worker.config().node, worker.config().incarnation);
        let route = move |(&thread, &address): (&u32, &SocketAddr)| {
            let epoch = 1;
            let route = Route {
                address,
                node,
                incarnation,
                epoch,
            };
            (thread, route)
        };
        worker.addresses().iter().map(route).collect::<Vec<_>>()
    };
    workers.iter().flat_map(of).collect()
}

/// Repeats a call while the links are not up.
pub(crate) async fn until_up<T, F: Future<Output = Result<T>>>(
    cluster: &Cluster,
    call: impl Fn() -> F,
) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                cluster.sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error:#}"),
        }
    }
}

/// What a directory answers.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// Nobody can be asked.
    Nothing,
    /// The module does not run.
    Gone,
    /// It runs there.
    At(Routing),
}

/// What [`Told`] says of a cluster that answers.
pub(crate) const ALL_MODULES: [&str; 2] = ["Bank", "Words"];

/// A directory that says what a test tells it.
#[derive(Clone)]
pub(crate) struct Told(Arc<watch::Sender<Said>>);

impl Told {
    pub(crate) fn new(said: Said) -> Told {
        Told(Arc::new(watch::Sender::new(said)))
    }

    pub(crate) fn say(&self, said: Said) {
        self.0.send_replace(said);
    }

    /// How a program outside is configured.
    pub(crate) fn config(&self, deadline: Duration) -> RemoteConfig {
        RemoteConfig {
            cluster: CLUSTER,
            node: Uuid::from_u128(0xc0de),
            role: Role::Client,
            security: Security::InsecureLoopback,
            deadline,
            directory: Arc::new(self.clone()),
        }
    }
}

/// These workers run `module`.
pub(crate) fn at(revision: u64, module: &dyn Module, workers: &[&Worker]) -> Said {
    let config = workers[0].config();
    let definition = Definition::of(module).unwrap();
    Said::At(Routing {
        revision,
        instance: config.instance,
        tasks: config.tasks,
        threads: config.threads,
        interface: Some(definition.interface()),
        offers: Offers::of_manifest(&definition.manifest()),
        routes: routes(workers),
    })
}

impl Directory for Told {
    fn reach(&self) -> BoxFuture<'_, Result<()>> {
        let said = self.0.borrow().clone();
        Box::pin(async move {
            match said {
                Said::Nothing => Err(Error::unavailable("all daemons are down")),
                Said::Gone | Said::At(_) => Ok(()),
            }
        })
    }

    fn modules(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        let reached = self.reach();
        Box::pin(async move {
            reached.await?;
            Ok(ALL_MODULES.map(str::to_owned).to_vec())
        })
    }

    fn routing(&self, module: &str, after: Option<u64>) -> BoxFuture<'_, Result<Routing>> {
        let mut said = self.0.subscribe();
        let module = module.to_owned();
        Box::pin(async move {
            let news = |said: &Said| match (said, after) {
                (Said::At(routing), Some(after)) => routing.revision > after,
                (Said::Gone, Some(0)) => false,
                _ => true,
            };
            let heard = said.wait_for(news).await;
            let heard = heard.map_err(|_| Error::unavailable("the test is over"))?;
            match heard.clone() {
                Said::Nothing => Err(Error::unavailable("all daemons are down")),
                Said::Gone => Err(Error::not_found(format!("Module not alive: {module}"))),
                Said::At(routing) => Ok(routing),
            }
        })
    }
}
