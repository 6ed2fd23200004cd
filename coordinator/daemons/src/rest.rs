//! REST of a supervisor: requests for modules go to a worker of theirs; the conductor redirects here.
//!
//! Relies on `rama-rpc` for the way and on workers for every answer (spec operations §8.2). What must stay
//! true: a request is handed to one worker once; when it cannot be handed over nothing was done, and
//! when the way breaks after that the answer says that nobody knows.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use rama_api::paths;
use rama_gateway::refusal::{Code, Refusal};
use rama_net::{Dial, Endpoint, Peer, Role, Roles};
use rama_planner::ids::{ModuleName, NodeId};
use rama_planner::records::{WorkerLive, WorkerPhase};
use rama_planner::store::{Key, Value};
use rama_rpc::RpcError;
use uuid::Uuid;

use crate::api::routes::{Wanted, answer};
use crate::api::{Answer, module_name};
use crate::snapshot::{Snapshot, Snapshots};

/// Where the supervisors that serve REST are, for clients behind an address translation.
const LOCATIONS: &str = "supervisor-locations";

/// What the routes of a supervisor share.
#[derive(Clone)]
pub struct Rest {
    /// The newest of what the supervisor knows.
    pub snapshots: Snapshots,
    /// Speaks to workers.
    pub endpoint: Endpoint,
    /// The cluster.
    pub cluster: Uuid,
    /// This node: its own workers come first.
    pub node: NodeId,
}

/// The routes of a supervisor that lead to modules.
pub fn router(rest: Rest) -> Router {
    Router::new()
        .route("/rest/{module}", any(forward))
        .route("/rest/{module}/{*rest}", any(forward))
        .route(paths::ROUTES, get(routes))
        .with_state(rest)
}

async fn routes(
    State(rest): State<Rest>,
    Path(module): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer {
    answer(&mut rest.snapshots.clone(), rest.cluster, &module, &wanted).await
}

/// Path parts of a forwarded request; the rest is the worker's.
#[derive(serde::Deserialize)]
struct Target {
    module: String,
}

async fn forward(State(rest): State<Rest>, Path(target): Path<Target>, request: Request) -> Answer {
    let name = module_name(&target.module)?;
    let snapshot = rest.snapshots.borrow().clone();
    let worker = serving(&snapshot, &name, rest.node).ok_or_else(|| {
        let text = format!("Module not alive: {name}");
        let code = match snapshot.view.module(&name) {
            Some(_) => Code::Unavailable,
            None => Code::NotFound,
        };
        Refusal::new(code, text)
    })?;
    let dial = dial(&worker).await?;
    match rama_rpc::request(&rest.endpoint, &dial, request).await {
        Ok(response) => Ok(response),
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

/// A worker that serves the module, of this node if there is one.
fn serving(snapshot: &Snapshot, name: &ModuleName, node: NodeId) -> Option<WorkerLive> {
    let target = snapshot.view.module(name)?.record.append_target?;
    let workers = snapshot
        .view
        .entries()
        .filter_map(|(key, value)| match (key, value) {
            (Key::Live(module, instance, _), Value::Live(live))
                if module == name && *instance == target =>
            {
                Some(live)
            }
            _ => None,
        });
    let serving = workers.filter(|live| live.details.phase == WorkerPhase::Serving);
    serving.max_by_key(|live| live.node == node).cloned()
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

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The conductor's part: REST is asked of supervisors (308: the method and the body stay).
pub fn redirects(snapshots: Snapshots) -> Router {
    Router::new()
        .route("/rest/{module}", any(redirect))
        .route("/rest/{module}/{*rest}", any(redirect))
        .with_state(snapshots)
}

async fn redirect(
    State(snapshots): State<Snapshots>,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    let snapshot = snapshots.borrow().clone();
    let internal = headers
        .get("x-rama-hosts")
        .is_some_and(|value| value == "internal");
    // Who asks over QUIC goes on over QUIC: with security on nothing else is answered.
    let quic = request.extensions().get::<Arc<Peer>>().is_some();
    let locations = locations(&snapshot, internal, quic);
    let Some(first) = locations.first() else {
        let text = "no supervisor serves REST now";
        return Err(Refusal::new(Code::Unavailable, text));
    };
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    put(
        &mut response,
        header::LOCATION.as_str(),
        &format!("{first}{target}"),
    );
    put(&mut response, LOCATIONS, &locations.join(","));
    Ok(response)
}

fn put(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Addresses of supervisors: all of them over QUIC, or those that serve HTTP.
fn locations(snapshot: &Snapshot, internal: bool, quic: bool) -> Vec<String> {
    let supervisors = snapshot
        .view
        .entries()
        .filter_map(|(_, value)| match value {
            Value::Supervisor(record) => Some(&record.process),
            _ => None,
        });
    let address = |process: &rama_planner::records::Process| {
        let host = if internal {
            &process.host_internal
        } else {
            &process.host_external
        };
        match quic {
            true => Some(format!("quic://{host}:{}", process.rpc_port)),
            false => Some(format!("http://{host}:{}", process.http_port?)),
        }
    };
    supervisors.filter_map(address).collect()
}
