//! Clients of scripted daemons and a real worker. Every wait is for something that comes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path as Segments, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use rama_api::{DaemonAddress, ModuleRoutes, ThreadRoute, paths};
use rama_gateway::refusal::{Code, Refusal};
use rama_net::{Endpoint, EndpointConfig, Role, Security, Versions};
use rama_runtime::{
    AckLevel, Cluster, Definition, Depot, Error, ErrorKind, Module, PState, Partition,
    RemoteConfig, Setup, Worker, WorkerConfig,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::ClientConfig;
use crate::Map;

const CLUSTER: Uuid = Uuid::from_u128(0xc1);
const PATIENCE: Duration = Duration::from_secs(60);

const NUMBERS: Depot<u64> = Depot::named("*numbers");
const SEEN: PState<Map<u64, u64>> = PState::named("$$seen");

/// Counts how often a number was appended.
struct Numbers;

impl Module for Numbers {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::hash_by(|n: &u64| *n));
        let mut stream = m.stream("see");
        let seen = stream.pstate(SEEN);
        let see = move |task: &crate::Task, n: u64| {
            seen.key(&n).update(task, |count| count.unwrap_or(0) + 1);
        };
        stream.source(NUMBERS).each(see);
    }
}

/// What the daemons of a test say of every module; none when it does not run.
type Said = watch::Sender<Option<ModuleRoutes>>;

/// A daemon that answers for routes alone.
struct Daemon {
    endpoint: Endpoint,
    work: JoinHandle<()>,
    address: SocketAddr,
}

impl Daemon {
    async fn start(role: Role, port: u16, said: &Said) -> Daemon {
        let bind = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let endpoint = loop {
            let security = Security::InsecureLoopback;
            let config = EndpointConfig::new(bind, security, CLUSTER, Uuid::new_v4(), role, 1);
            match Endpoint::on_tokio(config) {
                Ok(endpoint) => break endpoint,
                // The port of one that was just stopped is free in a moment.
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let names = get(async || Json(["Numbers", "Others"]));
        let routes = Router::new().route(paths::ROUTES, get(routes));
        let routes = routes.route(paths::MODULE_NAMES, names);
        let router = routes.with_state(Arc::new(said.subscribe()));
        let accepting = endpoint.clone();
        let work = tokio::spawn(async move {
            while let Some(accepted) = accepting.accept().await {
                tokio::spawn(rama_rpc::answer(accepted, router.clone()));
            }
        });
        let address = endpoint.local_address().expect("it is bound");
        Daemon {
            endpoint,
            work,
            address,
        }
    }

    fn text(&self) -> String {
        self.address.to_string()
    }

    fn named(&self) -> DaemonAddress {
        DaemonAddress {
            host: self.address.ip().to_string(),
            port: self.address.port(),
        }
    }

    async fn stop(self) -> u16 {
        self.endpoint.close().await;
        self.work.abort();
        self.address.port()
    }
}

async fn routes(
    State(said): State<Arc<watch::Receiver<Option<ModuleRoutes>>>>,
    Segments(module): Segments<String>,
    Query(wanted): Query<BTreeMap<String, String>>,
) -> Response {
    let after = wanted.get("after").and_then(|text| text.parse().ok());
    let news = |said: &Option<ModuleRoutes>| match (after, said) {
        (Some(0), None) => false,
        (Some(after), Some(routes)) => routes.revision > after,
        (_, None) | (None, _) => true,
    };
    let mut said = (*said).clone();
    match said.wait_for(news).await.map(|said| said.clone()) {
        Ok(Some(routes)) => Json(routes).into_response(),
        Ok(None) => {
            let text = format!("Module not alive: {module}");
            Refusal::new(Code::NotFound, text).into_response()
        }
        Err(_) => Refusal::new(Code::Unavailable, "the test is over").into_response(),
    }
}

async fn worker(dir: &Path, start: u64) -> Worker {
    let config = WorkerConfig {
        cluster: CLUSTER,
        node: Uuid::from_u128(0x100),
        instance: Uuid::from_u128(0x15),
        incarnation: start,
        tasks: 4,
        threads: 2,
        local: vec![0, 1],
        dir: dir.to_owned(),
        bind: Ipv4Addr::LOCALHOST.into(),
        first_port: 0,
        security: Security::InsecureLoopback,
        cores: Vec::new(),
    };
    let worker = Worker::bind(config).await.expect("free ports");
    worker.launch(&Numbers).await.expect("launched");
    worker
}

fn of(worker: &Worker, start: u64, daemons: &[&Daemon]) -> ModuleRoutes {
    let definition = Definition::of(&Numbers).expect("no mistakes");
    let route = |(&thread, address): (&u32, &SocketAddr)| ThreadRoute {
        thread,
        host: "localhost".into(),
        port: address.port(),
        node: Uuid::from_u128(0x100),
        incarnation: start,
        epoch: start,
    };
    ModuleRoutes {
        offers: serde_json::Value::Null,
        revision: start,
        cluster: CLUSTER,
        instance: Uuid::from_u128(0x15),
        tasks: 4,
        threads: 2,
        interface: Some(format!("{:016x}", definition.interface())),
        routes: worker.addresses().iter().map(route).collect(),
        daemons: daemons.iter().map(|daemon| daemon.named()).collect(),
    }
}

fn config(daemon: &Daemon) -> ClientConfig {
    ClientConfig::at(daemon.text())
        .insecure()
        .deadline(PATIENCE)
}

/// A conductor that dies stops no client, nor do all daemons together; news come when one is back.
#[tokio::test]
async fn a_client_asks_any_daemon_it_has_heard_of() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = Said::new(None);
    let conductor = Daemon::start(Role::Conductor, 0, &said).await;
    let supervisor = Daemon::start(Role::Supervisor, 0, &said).await;
    let cluster = Cluster::connect(config(&conductor))
        .await
        .expect("a cluster");
    let error = cluster.open(&Numbers).await.expect_err("it does not run");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");

    let first = worker(dir.path(), 1).await;
    said.send_replace(Some(of(&first, 1, &[&supervisor])));
    let numbers = cluster.open(&Numbers).await.expect("it runs");
    let (depot, seen) = (numbers.depot(NUMBERS), numbers.pstate(SEEN));
    depot.append(&7).await.expect("appended");

    // The worker comes back elsewhere, and only the supervisor, whom nobody has named, can tell.
    conductor.stop().await;
    first.shutdown().await.expect("stopped");
    let waiting = depot.append_with(&7, AckLevel::AppendAck);
    let second = worker(dir.path(), 2).await;
    said.send_replace(Some(of(&second, 2, &[&supervisor])));
    waiting.await.expect("appended");

    // Nobody can tell anything, and nothing stops.
    let port = supervisor.stop().await;
    depot.append(&7).await.expect("appended");
    second.shutdown().await.expect("stopped");
    let waiting = depot.append_with(&7, AckLevel::AppendAck);
    let third = worker(dir.path(), 3).await;
    let back = Daemon::start(Role::Supervisor, port, &said).await;
    said.send_replace(Some(of(&third, 3, &[&back])));
    waiting.await.expect("appended");
    depot.append(&7).await.expect("appended");
    let found = seen.select(SEEN.key(&7)).await.expect("selected");
    // At least once: what a restart interrupts is done again.
    assert!(found >= Some(5), "{found:?}");
    let taken = depot.partition_info(0).await.expect("it is there");
    let rest = [1, 2, 3].map(|partition| depot.partition_info(partition));
    let mut records = taken.end - taken.start;
    for range in rest {
        let range = range.await.expect("it is there");
        records += range.end - range.start;
    }
    assert_eq!(records, 5, "each append is taken once");
    drop((cluster, numbers, depot, seen));
    third.shutdown().await.expect("stopped");
    back.stop().await;
}

/// all modules of the cluster are listed, opened or not; who is down is passed over.
#[tokio::test]
async fn a_client_lists_all_modules_of_its_cluster() {
    let said = Said::new(None);
    let conductor = Daemon::start(Role::Conductor, 0, &said).await;
    let supervisor = Daemon::start(Role::Supervisor, 0, &said).await;
    let config = config(&conductor).address(supervisor.text());
    let cluster = Cluster::connect(config).await.expect("a cluster");
    let names = cluster.modules().await.expect("listed");
    assert_eq!(names, ["Numbers", "Others"]);
    assert!(cluster.modules_here().is_empty());
    conductor.stop().await;
    assert_eq!(cluster.modules().await.expect("listed"), names);
    supervisor.stop().await;
}

/// a cluster of a version that this program does not speak is refused at once, with both named.
#[tokio::test]
async fn a_cluster_of_another_version_is_refused_with_both_named() {
    let bind = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let (security, role) = (Security::InsecureLoopback, Role::Conductor);
    let mut later = EndpointConfig::new(bind, security, CLUSTER, Uuid::new_v4(), role, 1);
    later.versions = Versions { min: 7, max: 9 };
    let endpoint = Endpoint::on_tokio(later).expect("a port");
    let address = endpoint.local_address().expect("it is bound");
    let accepting = endpoint.clone();
    let work = tokio::spawn(async move { while accepting.accept().await.is_some() {} });
    let config = ClientConfig::at(address.to_string()).insecure();
    let error = Cluster::connect(config.deadline(PATIENCE)).await;
    let error = error.expect_err("it speaks another version");
    let text = format!("{error:#}");
    assert_eq!(error.kind(), ErrorKind::Rejected, "{text}");
    let both = ["wire version 7 to 9", "this process 1", "upgrade the older"];
    assert!(both.iter().all(|part| text.contains(part)), "{text}");
    endpoint.close().await;
    work.abort();
}

/// A daemon that is down is passed over; who answers is asked first from then on.
#[tokio::test]
async fn the_first_daemon_that_answers_is_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = Said::new(None);
    let down = Daemon::start(Role::Conductor, 0, &said).await;
    let up = Daemon::start(Role::Supervisor, 0, &said).await;
    let config = config(&down).address(up.text());
    let down = down.stop().await;
    let running = worker(dir.path(), 1).await;
    said.send_replace(Some(of(&running, 1, &[])));
    let remote = RemoteConfig::try_from(config).expect("a configuration");
    remote.directory.reach().await.expect("one answers");
    let routing = remote.directory.routing("Numbers", None).await;
    assert_eq!(routing.expect("routes").routes.len(), 2);
    up.stop().await;
    let error = remote.directory.routing("Numbers", None).await;
    let error = error.expect_err("nobody is there");
    assert!(error.is_retryable(), "{error:#}");
    assert!(error.to_string().contains(&down.to_string()), "{error}");
    running.shutdown().await.expect("stopped");
}

/// What nobody can help by waiting is told at once.
#[tokio::test]
async fn a_configuration_that_cannot_work_is_told_at_once() {
    let connect = |config: ClientConfig| async move {
        let error: Error = Cluster::connect(config).await.expect_err("it cannot work");
        (error.kind(), format!("{error:#}"))
    };
    let (kind, text) = connect(ClientConfig::at("localhost:1973")).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("security.insecure = true"), "{text}");
    let (kind, text) = connect(ClientConfig::at("localhost").insecure()).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("HOST:PORT"), "{text}");
    let (kind, text) = connect(ClientConfig::at("192.0.2.1:1973").insecure()).await;
    assert_eq!(kind, ErrorKind::Rejected);
    assert!(text.contains("without certificates"), "{text}");
    let paths = ["ca", "cert", "key"].map(|name| Path::new("/nowhere").join(name));
    let [ca, cert, key] = paths;
    let (kind, text) =
        connect(ClientConfig::at("localhost:1973").certificates(ca, cert, key)).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("certificates of [security]"), "{text}");
}

/// what is opened is what a configuration says, from inside the cluster's network or outside.
#[test]
fn a_program_reads_what_the_command_line_reads() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rama.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).expect("written");
        ClientConfig::load_from(&path)
    };
    let both = "[conductor]\nhost = \"far\"\nhost_internal = \"::1\"\nport = 7\n";
    let more = "[client]\naddresses = \"a:1, b:2\"\n";
    let config = read(&format!("{both}{more}")).expect("read");
    assert_eq!(config.addresses, ["far:7", "a:1", "b:2"]);
    assert_eq!(config.deadline, Duration::from_secs(30));
    assert!(config.protection.is_none());
    let inside = "use_internal_hostnames = true\ndeadline_ms = 5\n[security]\ninsecure = true\n";
    let config = read(&format!("{both}{more}{inside}")).expect("read");
    assert_eq!(config.addresses, ["[::1]:7", "a:1", "b:2"]);
    assert_eq!(config.deadline, Duration::from_millis(5));
    assert!(config.internal && config.protection.is_some());
    let error = read("[client]\ndeadline = 5\n").expect_err("no such key");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("client.deadline"), "{error}");
    let error = RemoteConfig::try_from(read("").expect("read")).err();
    let error = error.expect("nothing is named");
    assert!(error.to_string().contains("conductor.host"), "{error}");
}
