//! A conductor and a supervisor that answer from a script: what commands of a cluster speak to.
//!
//! Relies on `rama_api` for the shapes and on one router for HTTP and QUIC alike, as the real ones
//! have. The module's name decides how its launch goes: `WordCount` well, `Doomed` badly, `Busy` not
//! at all, `Slow` never ends, `Flaky` ends after a refusal, `Odd` ends without running. What must stay
//! true: no answer depends on time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use rama_api::*;
use rama_gateway::refusal::{Code, Refusal};
use rama_net::{Endpoint, EndpointConfig, Peer, Role, Security};
use rama_runtime::options as declared;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

pub const CLUSTER: Uuid = Uuid::from_u128(0xc1);
pub const SUPERVISOR: Uuid = Uuid::from_u128(0x51);
pub const INSTANCE: Uuid = Uuid::from_u128(0x1a);
pub const OPERATION: Uuid = Uuid::from_u128(0x0b);

/// 2026-11-21 17:03:16 UTC.
const THEN: u64 = 1_795_280_596_000;

/// The processes, until this is dropped.
pub struct Cluster {
    /// Where HTTP is spoken.
    pub url: String,
    /// Where the conductor speaks QUIC.
    pub quic: SocketAddr,
    /// Where the supervisor does.
    pub node: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    /// What was asked so far, and forgets it.
    pub fn asked(&self) -> String {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *asked).join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a clean end");
        }
    }
}

/// Without certificates.
pub fn cluster() -> Cluster {
    cluster_with(Security::InsecureLoopback, CLUSTER, SUPERVISOR)
}

/// The processes of a cluster.
pub fn cluster_with(security: Security, cluster: Uuid, node: Uuid) -> Cluster {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (ready, started) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let script = Script {
        asked: asked.clone(),
        ..Script::default()
    };
    let thread = std::thread::spawn(move || {
        let runtime = rama_gateway::dev::runtime(1).expect("a runtime");
        runtime.block_on(async {
            let endpoint = |role| {
                let bind = ([127, 0, 0, 1], 0).into();
                let security = security.clone();
                let config = EndpointConfig::new(bind, security, cluster, node, role, 1);
                let endpoint = Endpoint::on_tokio(config).expect("an endpoint");
                let address = endpoint.local_address().expect("bound");
                (endpoint, address)
            };
            let (conductor, quic) = endpoint(Role::Conductor);
            let (supervisor, node) = endpoint(Role::Supervisor);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a port");
            let http = listener.local_addr().expect("bound");
            let script = Script {
                ports: [node.port(), http.port()],
                ..script
            };
            let routes = [
                (conductor, router(script.clone())),
                (supervisor, rest(script)),
            ];
            let http_routes = routes[0].1.clone();
            for (endpoint, routes) in routes {
                tokio::spawn(async move {
                    while let Some(accepted) = endpoint.accept().await {
                        tokio::spawn(rama_rpc::answer(accepted, routes.clone()));
                    }
                });
            }
            tokio::spawn(axum::serve(listener, http_routes).into_future());
            ready.send((http, quic, node)).expect("the test waits");
            // The sender is dropped when the test fails, which is an end too.
            let _ = stopped.await;
        });
        // Requests that are never answered are left behind.
        runtime.shutdown_background();
    });
    let (http, quic, node) = started.recv().expect("it started");
    Cluster {
        url: format!("http://{http}"),
        quic,
        node,
        asked,
        stop: Some(stop),
        thread: Some(thread),
    }
}

#[derive(Clone, Default)]
struct Script {
    asked: Arc<Mutex<Vec<String>>>,
    artifacts: Arc<Mutex<BTreeSet<String>>>,
    /// The module of the operation under way, and how often it was refused.
    launched: Arc<Mutex<(String, u32)>>,
    /// Of the supervisor: QUIC and HTTP.
    ports: [u16; 2],
}

type Answer = Result<Response, Refusal>;

impl Script {
    fn note(&self, method: &Method, uri: &Uri, body: &Value) {
        let body = match body {
            Value::Null => String::new(),
            body => format!(" {body}"),
        };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(format!("{method} {uri}{body}"));
    }

    fn module(&self) -> String {
        let launched = self.launched.lock().unwrap_or_else(PoisonError::into_inner);
        launched.0.clone()
    }
}

fn router(script: Script) -> Router {
    Router::new()
        .route(paths::CLUSTER, get(async || Json(cluster_status())))
        .route(paths::SUPERVISORS, get(supervisors))
        .route(paths::MODULES, get(modules).post(launch))
        .route(paths::MODULE, get(module).delete(destroy))
        .route(paths::INSTANCE, get(instance))
        .route(paths::TASK_GROUPS, get(task_groups))
        .route(paths::OPTIONS, get(options).put(change).delete(change))
        .route(paths::MODULE_LOG, get(module_log))
        .route(paths::PAUSE, post(pause))
        .route(paths::RESUME, post(pause))
        .route(paths::OPERATIONS, get(operations))
        .route(paths::OPERATION, get(operation).delete(cancel))
        .route(paths::ARTIFACT, put(upload).get(download))
        .route(paths::SIGNATURE, put(sign))
        .route(paths::WORKER_LOG, get(log))
        .route("/rest/{*rest}", any(elsewhere))
        .route("/supervisor/rest/{*rest}", post(data))
        .fallback(async || Refusal::new(Code::NotFound, "could not find a route for this path"))
        .with_state(script)
}

/// What a supervisor answers over QUIC.
fn rest(script: Script) -> Router {
    Router::new()
        .route(paths::WORKER_LOG, get(log))
        .route("/rest/{*rest}", post(data))
        .fallback(async || Refusal::new(Code::NotFound, "could not find a route for this path"))
        .with_state(script)
}

/// A server that answers nothing of a cluster.
pub fn stranger_of(cluster: &Cluster) -> String {
    format!("{}/supervisor", cluster.url)
}

fn cluster_status() -> ClusterStatus {
    ClusterStatus {
        cluster: CLUSTER,
        conductor: Some(ConductorStatus {
            host_internal: "c1".into(),
            host_external: "c1.example.org".into(),
            rpc_port: 1973,
            http_port: 8888,
            release: "0.1.0".into(),
            started_ms: THEN,
        }),
        supervisors: 2,
        modules: vec!["Bank".into(), "WordCount".into()],
    }
}

async fn supervisors(State(script): State<Script>) -> Json<Vec<SupervisorStatus>> {
    let [rpc_port, http_port] = script.ports;
    Json(vec![SupervisorStatus {
        id: SUPERVISOR,
        host_internal: "localhost".into(),
        host_external: "127.0.0.1".into(),
        rpc_port,
        http_port: Some(http_port),
        labels: vec!["ssd".into(), "big".into()],
        cores: 8,
        memory_bytes: 33 << 29,
        unlimited: "other processes are in cgroup /, too".into(),
        workers: 2,
        leaders_disallowed: false,
        release: "0.1.0".into(),
        started_ms: THEN,
    }])
}

fn operation_of(module: &str, step: &str, waits_for: &str, outcome: Option<Outcome>) -> Operation {
    Operation {
        id: OPERATION,
        kind: Kind::Launch,
        module: module.into(),
        instance: Some(INSTANCE),
        step: step.into(),
        waits_for: waits_for.into(),
        started_ms: THEN,
        by: "operator 7".into(),
        outcome,
    }
}

fn module_status(name: &str) -> ModuleStatus {
    let done = operation_of(name, "done", "", Some(Outcome::Succeeded));
    let odd = name == "Odd";
    ModuleStatus {
        module: name.into(),
        module_state: if odd { "NOT_ALIVE" } else { "RUNNING" }.into(),
        detail: String::new(),
        read_target_id: Some(INSTANCE).filter(|_| !odd),
        append_target_id: Some(INSTANCE).filter(|_| !odd),
        instances: vec![INSTANCE],
        operation: None,
        last_operation: Some(done),
        paused: vec!["etl".into()],
    }
}

async fn modules() -> Json<Vec<ModuleStatus>> {
    let slow = operation_of("Slow", "start", "worker 1", None);
    let mut launching = module_status("Slow");
    launching.module_state = "LAUNCHING".into();
    launching.detail = "workers-up".into();
    (launching.read_target_id, launching.append_target_id) = (None, None);
    (launching.operation, launching.last_operation) = (Some(slow), None);
    Json(vec![launching, module_status("WordCount")])
}

fn known(name: &str) -> Result<(), Refusal> {
    match name {
        "Nope" => {
            let text = "could not find module Nope: no module has this name";
            Err(Refusal::new(Code::UnknownModule, text))
        }
        _ => Ok(()),
    }
}

async fn module(Path(name): Path<String>) -> Answer {
    known(&name)?;
    Ok(Json(module_status(&name)).into_response())
}

async fn launch(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    Json(body): Json<Value>,
) -> Answer {
    script.note(&method, &uri, &body);
    let deploy: Deploy = serde_json::from_value(body).expect("a deployment");
    if deploy.dry_run {
        let worker = |worker: u32| PlannedWorker {
            worker,
            replica_set: 0,
            supervisor: SUPERVISOR,
            host: "n1".into(),
            groups: vec![worker, worker + 2],
            leads: vec![worker, worker + 2],
        };
        let workers = (0..deploy.workers).map(worker).collect();
        return Ok(Json(Plan { workers }).into_response());
    }
    if deploy.module == "Busy" {
        let text = format!("could not launch Busy: operation {OPERATION} on it is in progress");
        return Err(Refusal::new(Code::Rejected, text).hint("`rama operations` shows it"));
    }
    let artifacts = script.artifacts.lock();
    let artifacts = artifacts.unwrap_or_else(PoisonError::into_inner);
    assert!(artifacts.contains(&deploy.artifact), "it was uploaded");
    *script
        .launched
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = (deploy.module, 0);
    Ok((StatusCode::ACCEPTED, Json(accepted())).into_response())
}

fn accepted() -> Accepted {
    Accepted {
        operation: OPERATION,
        instance: Some(INSTANCE),
    }
}

async fn destroy(State(script): State<Script>, Path(name): Path<String>) -> Answer {
    known(&name)?;
    if name == "Busy" {
        let text = "could not destroy Busy: WordCount reads its depots";
        return Err(Refusal::new(Code::Rejected, text).hint("update WordCount first"));
    }
    *script
        .launched
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = (name, 0);
    Ok((StatusCode::ACCEPTED, Json(accepted())).into_response())
}

#[derive(Deserialize)]
struct Wait {
    step: String,
}

async fn operation(State(script): State<Script>, Query(wait): Query<Wait>) -> Answer {
    let module = script.module();
    if module == "Flaky" && wait.step == "upload" {
        let mut launched = script
            .launched
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        launched.1 += 1;
        if launched.1 == 1 {
            let text = "the conductor has just begun to lead";
            return Err(Refusal::new(Code::Unavailable, text));
        }
    }
    if module == "Slow" && wait.step == "start" {
        return std::future::pending().await;
    }
    let outcome = match module.as_str() {
        "Doomed" => Outcome::RolledBack {
            reason: "worker 1 did not start within 60 s".into(),
        },
        _ => Outcome::Succeeded,
    };
    let answer = match wait.step.as_str() {
        "" => operation_of(&module, "upload", "", None),
        "upload" => operation_of(&module, "start", "workers 0, 1", None),
        _ => operation_of(&module, "done", "", Some(outcome)),
    };
    Ok(Json(answer).into_response())
}

async fn operations(uri: Uri) -> Json<Vec<Operation>> {
    let mut all = vec![operation_of("Slow", "start", "worker 1", None)];
    if uri.query() == Some("all") {
        let reason = "node n2 has no space".to_owned();
        let outcome = Some(Outcome::RolledBack { reason });
        all.insert(0, operation_of("Doomed", "undo", "", outcome));
    }
    Json(all)
}

async fn cancel(Path(id): Path<Uuid>) -> Answer {
    if id != OPERATION {
        return Err(Refusal::new(
            Code::NotFound,
            format!("there is no operation {id}"),
        ));
    }
    let cancelled = operation_of("Slow", "undo", "worker 1 to stop", None);
    Ok((StatusCode::ACCEPTED, Json(cancelled)).into_response())
}

async fn instance(Path((name, id)): Path<(String, Uuid)>) -> Answer {
    known(&name)?;
    if id != INSTANCE {
        let text = format!("{name} has no instance {id}");
        return Err(Refusal::new(Code::NotFound, text));
    }
    let worker = |worker, phase, pid| WorkerStatus {
        worker,
        supervisor: SUPERVISOR,
        host: "n1".into(),
        phase,
        pid,
        incarnation: 9,
        groups: vec![worker, worker + 2],
        started_ms: if pid == 0 { 0 } else { THEN },
        last_failure: (pid == 0).then(|| WorkerFailure {
            at_ms: THEN,
            failures: 2,
            cause: "it ended: signal 9".into(),
        }),
    };
    let status = InstanceStatus {
        module: name,
        instance: id,
        artifact: "ab".repeat(32),
        tasks: 8,
        threads: 4,
        workers: 2,
        replication_factor: 1,
        target_label: None,
        metadata: "first try".into(),
        created_ms: THEN,
        processes: vec![
            worker(0, WorkerPhase::Serving, 77),
            worker(1, WorkerPhase::Absent, 0),
        ],
    };
    Ok(Json(status).into_response())
}

async fn task_groups(Path((name, id)): Path<(String, Uuid)>) -> Answer {
    known(&name)?;
    let replica = |worker, role| Replica {
        replica: 0,
        worker,
        supervisor: SUPERVISOR,
        role,
    };
    let leader = Leader {
        replica: 0,
        worker: 0,
        incarnation: 9,
    };
    let group = |group, leader, replicas| Group {
        group,
        tasks: vec![group, group + 2],
        epoch: 3,
        leader,
        replicas,
    };
    let groups = vec![
        group(0, Some(leader), vec![replica(0, ReplicaRole::Leader)]),
        group(1, None, vec![replica(1, ReplicaRole::Osr)]),
    ];
    let groups = TaskGroups {
        module: name,
        instance: id,
        groups,
    };
    Ok(Json(groups).into_response())
}

async fn options(Path(name): Path<String>) -> Answer {
    known(&name)?;
    let info = |level, set, value: u32| OptionInfo {
        level,
        option: declared::STREAM_TIMEOUT.name.into(),
        value: json!(value),
        set,
        default: declared::STREAM_TIMEOUT.default(),
        help: declared::STREAM_TIMEOUT.help.into(),
        takes: declared::STREAM_TIMEOUT.range(),
    };
    let infos = vec![
        info(Level::Module, false, 30),
        info(Level::Topology("etl".into()), true, 2),
    ];
    Ok(Json(infos).into_response())
}

async fn module_log(Path(name): Path<String>) -> Answer {
    known(&name)?;
    let entry = |number, done| LogEntry {
        number,
        at_ms: THEN,
        by: "operator 7".into(),
        done,
    };
    let option = || declared::STREAM_TIMEOUT.name.to_owned();
    let set = OptionSetting {
        level: Level::Topology("etl".into()),
        option: option(),
        value: json!(2),
    };
    let unset = Unset {
        level: Level::Module,
        option: option(),
    };
    let topology = || "etl".to_owned();
    let launched = Done::Operation {
        operation: OPERATION,
        kind: Kind::Launch,
        outcome: Outcome::Succeeded,
    };
    let (pause, resume) = (
        Done::Pause {
            topology: topology(),
        },
        Done::Resume {
            topology: topology(),
        },
    );
    let entries = vec![
        entry(1, vec![Done::SetOption(set), Done::UnsetOption(unset)]),
        entry(2, vec![launched]),
        entry(3, vec![pause]),
        entry(4, vec![resume]),
    ];
    Ok(Json(entries).into_response())
}

async fn change(
    State(script): State<Script>,
    Path(name): Path<String>,
    method: Method,
    uri: Uri,
    Json(body): Json<Value>,
) -> Answer {
    known(&name)?;
    script.note(&method, &uri, &body);
    let setting: OptionSetting = serde_json::from_value(body).expect("a setting");
    let level = match setting.level {
        Level::Module => declared::Level::Module,
        Level::Topology(name) => declared::Level::Topology(name),
        Level::Depot(name) => declared::Level::Depot(name),
        Level::Pstate(name) => declared::Level::PState(name),
    };
    let objects = declared::Objects {
        topologies: BTreeMap::from([
            ("etl".into(), declared::TopologyKind::Stream),
            ("counts".into(), declared::TopologyKind::Microbatch),
        ]),
        depots: BTreeSet::from(["*d".into()]),
        pstates: BTreeSet::from(["$$p".into()]),
    };
    let checked = match method {
        Method::PUT => declared::check(Some(&objects), &level, &setting.option, &setting.value),
        _ => declared::find(&setting.option),
    };
    match checked {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(refusal) => Err(Refusal::new(Code::Invalid, refusal.to_string()).hint(refusal.hint())),
    }
}

async fn pause(
    State(script): State<Script>,
    Path((name, topology)): Path<(String, String)>,
    method: Method,
    uri: Uri,
) -> Answer {
    known(&name)?;
    script.note(&method, &uri, &Value::Null);
    if topology == "counts" {
        let text = "could not pause counts: it is a stream topology";
        return Err(Refusal::new(Code::Rejected, text).hint("only microbatch topologies pause"));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn sign(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    Json(body): Json<Value>,
) -> StatusCode {
    script.note(&method, &uri, &body);
    StatusCode::CREATED
}

async fn upload(State(script): State<Script>, Path(sha256): Path<String>, body: Bytes) -> Answer {
    let hash = digest(&SHA256, &body);
    let hash: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if hash != sha256 {
        let text = format!("the bytes have the hash {hash}, not {sha256}");
        return Err(Refusal::new(Code::Rejected, text));
    }
    let mut artifacts = script
        .artifacts
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    artifacts.insert(sha256);
    Ok(StatusCode::CREATED.into_response())
}

async fn download(State(script): State<Script>, Path(sha256): Path<String>) -> Answer {
    let artifacts = script
        .artifacts
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    match artifacts.contains(&sha256) {
        true => Ok("the program".into_response()),
        false => Err(Refusal::new(
            Code::NotFound,
            format!("no artifact {sha256} is here"),
        )),
    }
}

async fn log(State(script): State<Script>, method: Method, uri: Uri) -> Answer {
    script.note(&method, &uri, &Value::Null);
    if uri.path().contains("/1/") {
        return Err(Refusal::new(Code::NotFound, "worker 1 has no log here"));
    }
    Ok("ready\n{\"level\": \"INFO\"}\n".into_response())
}

/// A conductor sends what is meant for a module to a supervisor.
async fn elsewhere(State(script): State<Script>, request: Request) -> Response {
    script.note(request.method(), request.uri(), &Value::Null);
    let hosts = request.headers().get("x-rama-hosts");
    let host = match hosts.is_some_and(|hosts| hosts == "internal") {
        true => "localhost",
        false => "127.0.0.1",
    };
    let (quic, http) = (script.ports[0], script.ports[1]);
    let uri = request.uri();
    // Who asks over QUIC goes on over QUIC.
    let location = match request.extensions().get::<Arc<Peer>>() {
        Some(_) => format!("quic://{host}:{quic}{uri}"),
        None => format!("http://{host}:{http}/supervisor{uri}"),
    };
    (
        StatusCode::PERMANENT_REDIRECT,
        [(header::LOCATION, location)],
    )
        .into_response()
}

async fn data(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    Json(body): Json<Value>,
) -> Response {
    script.note(&method, &uri, &body);
    match uri.path().ends_with("/append") {
        true => Json(json!({"etl": 1})).into_response(),
        false => Json(json!(7)).into_response(),
    }
}
