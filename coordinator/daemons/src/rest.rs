//! REST of the daemons: requests for modules go to a worker of this node; who runs none says where one is.
//!
//! Relies on `rama-rpc` for the way and on workers for every answer (spec operations §8.2). What must stay
//! true: a request is handed to one worker once; when it cannot be handed over nothing was done, and
//! when the way breaks after that the answer says that nobody knows; a redirect (308: the method and
//! the body stay) names supervisors that serve the module, never this one.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use rama_api::endpoints::Id;
use rama_gateway::refusal::{Code, Refusal};
use rama_gateway::{bounded, chain};
use rama_net::{Dial, Endpoint, Peer, Role, Roles};
use rama_planner::ids::{ModuleName, NodeId};
use rama_planner::records::{Process, WorkerLive, WorkerPhase};
use rama_planner::store::{Key, Value};
use rama_rpc::RpcError;
use uuid::Uuid;

use crate::api::routes::{Wanted, answer, known};
use crate::api::{Answer, json, module_name, unknown_module};
use crate::routes::answered_by;
use crate::snapshot::{Snapshot, Snapshots};

/// Where the supervisors that serve a module are: a JSON list of `host:port`.
const LOCATIONS: &str = "supervisor-locations";

/// Says which names of hosts are wanted: `internal`, or those for programs outside.
const HOSTS: &str = "x-rama-hosts";

/// What the routes share.
#[derive(Clone)]
pub struct Rest {
    /// The newest of what is known.
    pub snapshots: Snapshots,
    /// Speaks to workers.
    pub endpoint: Endpoint,
    /// The cluster.
    pub cluster: Uuid,
    /// This node, where workers are; none at a conductor.
    pub node: Option<NodeId>,
    /// Names of this host: inside of the cluster, and outside.
    pub hosts: (String, String),
    /// Whether HTTP is spoken over TLS.
    pub tls: bool,
}

/// What answers a line of the table that leads to modules.
pub(crate) fn handler(rest: &Rest, id: Id, on: MethodFilter) -> Option<MethodRouter> {
    let rest = rest.clone();
    match id {
        Id::Routes => Some(answered_by(on, routes, rest)),
        Id::ModuleNames => Some(answered_by(on, names, rest)),
        Id::Describe
        | Id::Append
        | Id::Select
        | Id::SelectOne
        | Id::Invoke
        | Id::Watch
        | Id::WatchPath
        | Id::Proxy
        | Id::ProxyPath
        | Id::DeadLetters
        | Id::Replay
        | Id::Drop => Some(answered_by(on, forward, rest)),
        _ => None,
    }
}

async fn routes(
    State(rest): State<Rest>,
    Path(module): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer {
    answer(&mut rest.snapshots.clone(), rest.cluster, &module, &wanted).await
}

/// The modules of the cluster that can be opened.
async fn names(State(rest): State<Rest>) -> Answer {
    let snapshot = known(&mut rest.snapshots.clone()).await;
    json(StatusCode::OK, &running(&snapshot))
}

/// Names of the modules that take appends, sorted.
fn running(snapshot: &Snapshot) -> Vec<String> {
    let modules = snapshot.view.entries();
    let names = modules.filter_map(|(key, value)| match (key, value) {
        (Key::Module(name), Value::Module(record)) => {
            record.append_target.map(|_| name.as_str().to_owned())
        }
        _ => None,
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Path parts of a forwarded request; the rest is the worker's.
#[derive(serde::Deserialize)]
struct Target {
    module: String,
}

async fn forward(
    State(rest): State<Rest>,
    Path(target): Path<Target>,
    mut request: Request,
) -> Answer {
    let name = module_name(&target.module)?;
    let snapshot = rest.snapshots.borrow().clone();
    let serving = serving(&snapshot, &name);
    let here = serving.iter().find(|live| Some(live.node) == rest.node);
    let Some(worker) = here else {
        return elsewhere(&rest, &snapshot, &name, &serving, &request);
    };
    // Who asks was found out here; the secret is nobody else's.
    request.headers_mut().remove(header::AUTHORIZATION);
    let dial = dial(worker).await?;
    match rama_rpc::request(&rest.endpoint, &dial, request).await {
        Ok(response) => Ok(response),
        Err(RpcError::Body(error)) => Err(bounded::refusal(&error)),
        Err(error @ RpcError::NotSent(_)) => {
            let text = format!("could not reach a worker of {name}: {}", chain(&error));
            Err(Refusal::new(Code::Unavailable, text))
        }
        Err(error) => {
            let text = format!("a worker of {name} did not answer: {}", chain(&error));
            Err(Refusal::new(Code::Unknown, text))
        }
    }
}

/// The workers that serve a module.
fn serving(snapshot: &Snapshot, name: &ModuleName) -> Vec<WorkerLive> {
    let target = snapshot.view.module(name);
    let Some(target) = target.and_then(|seen| seen.record.append_target) else {
        return Vec::new();
    };
    let workers = snapshot.view.entries();
    let workers = workers.filter_map(|(key, value)| match (key, value) {
        (Key::Live(module, instance, _), Value::Live(live))
            if module == name && *instance == target =>
        {
            Some(live)
        }
        _ => None,
    });
    let serving = workers.filter(|live| live.details.phase == WorkerPhase::Serving);
    serving.cloned().collect()
}

async fn dial(worker: &WorkerLive) -> Result<Dial, Refusal> {
    let process = &worker.details.process;
    let host = (process.host_internal.as_str(), process.rpc_port);
    let unresolved = |cause: String| {
        let text = format!("could not resolve host {}: {cause}", process.host_internal);
        Refusal::new(Code::Unavailable, text)
    };
    let mut found = tokio::net::lookup_host(host)
        .await
        .map_err(|error| unresolved(error.to_string()))?;
    let address: SocketAddr = found
        .next()
        .ok_or_else(|| unresolved("no address".into()))?;
    Ok(Dial {
        address,
        roles: Roles::of(&[Role::Worker]),
        node: Some(worker.node.0),
    })
}

/// Says which supervisors serve the module.
fn elsewhere(
    rest: &Rest,
    snapshot: &Snapshot,
    name: &ModuleName,
    serving: &[WorkerLive],
    request: &Request,
) -> Answer {
    if snapshot.view.module(name).is_none() {
        return Err(unknown_module(name));
    }
    // Who asks over QUIC goes on over QUIC.
    let quic = request.extensions().get::<Arc<Peer>>().is_some();
    let internal = wants_internal(request.headers(), &rest.hosts);
    let locations = locations(snapshot, serving, internal, quic);
    let Some(first) = locations.first() else {
        let text = format!("Module not alive: {name}: no worker of it serves now");
        return Err(Refusal::new(Code::Unavailable, text));
    };
    let scheme = match (quic, rest.tls) {
        (true, _) => "quic",
        (false, true) => "https",
        (false, false) => "http",
    };
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    // Who reads JSON and follows nothing is told, too.
    let text = format!("no worker of {name} serves here");
    let mut response = Refusal::new(Code::Elsewhere, text).into_response();
    let location = format!("{scheme}://{first}{target}");
    put(&mut response, header::LOCATION.as_str(), &location);
    let list = serde_json::json!(locations).to_string();
    put(&mut response, LOCATIONS, &list);
    Ok(response)
}

/// Whether names inside of the cluster are wanted: the header says so, or who asks used one.
fn wants_internal(headers: &HeaderMap, (internal, external): &(String, String)) -> bool {
    if let Some(wanted) = headers.get(HOSTS) {
        return wanted == "internal";
    }
    let asked = headers.get(header::HOST);
    let asked = asked.and_then(|host| host.to_str().ok()).unwrap_or("");
    let bare = asked.rsplit_once(':').map_or(asked, |(host, port)| {
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        if is_port { host } else { asked }
    });
    internal != external && bare.trim_matches(['[', ']']) == internal.trim_matches(['[', ']'])
}

fn put(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// `host:port` of the supervisors of these workers, over QUIC or HTTP.
fn locations(
    snapshot: &Snapshot,
    serving: &[WorkerLive],
    internal: bool,
    quic: bool,
) -> Vec<String> {
    let mut nodes: Vec<NodeId> = serving.iter().map(|live| live.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let supervisors = nodes
        .iter()
        .filter_map(|node| snapshot.view.supervisor(node));
    let address = |process: &Process| {
        let host = match internal {
            true => &process.host_internal,
            false => &process.host_external,
        };
        let port = match quic {
            true => process.rpc_port,
            false => process.http_port?,
        };
        let bare = host.trim_matches(['[', ']']);
        Some(match bare.contains(':') {
            true => format!("[{bare}]:{port}"),
            false => format!("{bare}:{port}"),
        })
    };
    let addresses = supervisors.filter_map(|seen| address(&seen.record.process));
    addresses.collect()
}
