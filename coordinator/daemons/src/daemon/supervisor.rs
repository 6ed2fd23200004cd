//! The supervisor as a process.
//!
//! Relies on [`crate::supervisor`] for slots and on [`crate::machine`] for processes. What must stay
//! true: workers are told everything in their assignment, and live on when the supervisor ends.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::response::Response;
use futures_util::StreamExt as _;
use rama_api::endpoints::{Id, Server};
use rama_api::{Assignment, MetastoreAddress, SecurityFiles, Signature, paths};
use rama_gateway::chain;
use rama_gateway::config::resources;
use rama_gateway::problem::Problem;
use rama_metastore::{Metastore, Space};
use rama_net::{Dial, Endpoint, Role, Roles};
use rama_planner::ids::NodeId;
use rama_planner::records;
use rama_planner::store::{Key, Value};
use rama_planner::view::View;

use super::{DaemonError, Identity, Listen, Sockets, life, logs, process};
use crate::artifacts::{Artifacts, TrustRoots};
use crate::cgroups::{Cgroups, Limits};
use crate::cores::Topology;
use crate::machine::{Machine, Place, Room, Setup, Take};
use crate::ports::PortRange;
use crate::snapshot::{self, Snapshots};
use crate::supervisor::{self, SlotName, Start};
use crate::{rest, routes};

/// The longest answer about a signature.
const SIGNATURE_BYTES_MAX: usize = 64 << 10;

/// What a supervisor is started with.
#[derive(Clone, Debug)]
pub struct Settings<M> {
    /// Who it is.
    pub identity: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// The metastore.
    pub store: M,
    /// Where in it the cluster is.
    pub space: Space,
    /// How long its lease is.
    pub lease: Duration,
    /// Where everything is kept.
    pub dir: PathBuf,
    /// Its labels.
    pub labels: BTreeSet<String>,
    /// Cores that workers may use.
    pub cores: u32,
    /// Which they are, for those that are pinned; none: no worker is pinned.
    pub topology: Topology,
    /// Ports that workers may use.
    pub ports: PortRange,
    /// What a worker may take, unless its instance says else.
    pub resources: resources::Resources,
    /// Memory that workers may use.
    pub memory_bytes: u64,
    /// Whose programs are run.
    pub roots: TrustRoots,
    /// How workers reach the metastore.
    pub metastore: MetastoreAddress,
    /// How workers prove who they are.
    pub certificates: SecurityFiles,
}

/// Runs a supervisor until `stopped`.
///
/// # Errors
/// It cannot start, or the metastore is closed.
pub async fn run<M: Metastore>(
    settings: Settings<M>,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), DaemonError> {
    let (identity, listen) = (settings.identity.clone(), settings.listen.clone());
    let node = NodeId(identity.node);
    let sockets = Sockets::bind(&identity, &listen, Role::Supervisor, life()).await?;
    let dir = settings.dir.join("supervisor");
    let artifacts = Artifacts::open(&dir.join("artifacts"), settings.roots.clone())?;
    let (snapshots, following) = snapshot::follow(&settings.store, &settings.space);
    let cgroups = Cgroups::open();
    if let Err(reason) = &cgroups {
        tracing::warn!(reason, "workers run without limits of memory and time");
    }
    let unlimited = cgroups.as_ref().err().cloned().unwrap_or_default();
    let machine = Machine::open(Setup {
        dir: dir.clone(),
        artifacts,
        fetch: fetch(sockets.endpoint.clone(), snapshots.clone()),
        assign: assign(&settings),
        resources: resources(&settings),
        room: Room {
            ports: settings.ports.clone(),
            bind: listen.bind,
            own_port: sockets.ports(&listen).0,
            topology: settings.topology.clone().limited(settings.cores as usize),
        },
        cgroups: cgroups.ok(),
    });
    let machine = machine.map_err(|source| DaemonError::Dir {
        path: dir.clone(),
        source,
    })?;
    let start = Start {
        store: settings.store.clone(),
        space: settings.space.clone(),
        node,
        supervisor: records::Supervisor {
            process: process(&listen, sockets.ports(&listen)),
            memory_bytes: settings.memory_bytes,
            labels: settings.labels.clone(),
            cores: settings.cores,
            unlimited,
        },
        ttl: settings.lease,
    };
    let (_, slots) = supervisor::start(start, machine);
    let rest = sockets.rest(&identity, &listen, snapshots, Some(node));
    let logs = dir.join("logs");
    let routes = routes::router(Server::Supervisor, |endpoint, on| match endpoint.id {
        Id::WorkerLog => Some(logs::handler(&logs, on)),
        id => rest::handler(&rest, id, on),
    });
    let (rpc, http) = sockets.ports(&listen);
    tracing::info!(rpc, http, host = listen.host_internal, %node, "supervisor started");
    let ending = slots.abort_handle();
    let ended = tokio::select! {
        () = sockets.serve(&identity, Server::Supervisor, routes, stopped) => Ok(()),
        error = slots => Err(DaemonError::Metastore(error.unwrap_or_else(|error| {
            rama_metastore::Error::Closed { attempt: format!("drive the slots: {error}") }
        }))),
    };
    ending.abort();
    following.abort();
    ended
}

/// Programs come from the conductor in office, and who signed them.
fn fetch(endpoint: Endpoint, snapshots: Snapshots) -> crate::machine::Fetch {
    Arc::new(move |artifacts: Artifacts, name: String| {
        let (endpoint, snapshots) = (endpoint.clone(), snapshots.clone());
        Box::pin(async move {
            let dial = conductor(&snapshots).await?;
            if artifacts
                .find(&name)
                .map_err(|error| chain(&error))?
                .is_none()
            {
                let answer = ask(&endpoint, &dial, paths::ARTIFACT, &name).await?;
                take(&artifacts, &name, answer.into_body()).await?;
            }
            if !artifacts.wants_signatures() {
                return Ok(());
            }
            let answer = ask(&endpoint, &dial, paths::SIGNATURE, &name).await?;
            let bytes = to_bytes(answer.into_body(), SIGNATURE_BYTES_MAX).await;
            let bytes = bytes.map_err(|error| format!("the signature broke off: {error}"))?;
            let signature: Signature = serde_json::from_slice(&bytes)
                .map_err(|error| format!("could not read the signature of {name}: {error}"))?;
            let signed = artifacts.sign(&name, &signature.signature);
            signed.map_err(|error| chain(&error))
        })
    })
}

async fn ask(endpoint: &Endpoint, dial: &Dial, path: &str, name: &str) -> Result<Response, String> {
    let request = Request::get(paths::fill(path, &[name])).body(Body::empty());
    let request = request.map_err(|error| error.to_string())?;
    let answer = rama_rpc::request(endpoint, dial, request).await;
    let answer =
        answer.map_err(|error| format!("could not ask the conductor: {}", chain(&error)))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let bytes = to_bytes(answer.into_body(), SIGNATURE_BYTES_MAX).await;
    let problem = bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Err(match problem {
        Some(Problem { detail, .. }) => format!("the conductor answered: {detail}"),
        None => format!("the conductor answered {status}"),
    })
}

/// Stores a program as it comes.
async fn take(artifacts: &Artifacts, name: &str, body: Body) -> Result<(), String> {
    let mut upload = artifacts.begin(name).map_err(|error| chain(&error))?;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| format!("the program broke off: {error}"))?;
        upload = tokio::task::spawn_blocking(move || upload.write(&piece).map(|()| upload))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| chain(&error))?;
    }
    let finished = tokio::task::spawn_blocking(move || upload.finish()).await;
    let finished = finished.map_err(|error| error.to_string())?;
    finished.map(|_| ()).map_err(|error| chain(&error))
}

async fn conductor(snapshots: &Snapshots) -> Result<Dial, String> {
    let snapshot = snapshots.borrow().clone();
    let Some(Value::Conductor(record)) = snapshot.view.value(&Key::Conductor) else {
        return Err("no conductor is in office".to_owned());
    };
    let host = (
        record.process.host_internal.as_str(),
        record.process.rpc_port,
    );
    let found = tokio::net::lookup_host(host).await;
    let address = found
        .map_err(|error| format!("could not resolve {}: {error}", host.0))?
        .next();
    Ok(Dial {
        address: address.ok_or_else(|| format!("{} has no address", host.0))?,
        roles: Roles::of(&[Role::Conductor]),
        node: None,
    })
}

/// What a worker of this node is told.
fn assign<M: Metastore>(settings: &Settings<M>) -> crate::machine::Assign {
    let settings = settings.clone();
    Arc::new(move |view: &View, slot: &SlotName, place: Place| {
        let worker = view.worker(&slot.module, &slot.instance, &slot.worker)?;
        let spec = view.spec(&slot.module, &slot.instance)?.record;
        let groups = worker.record.groups.iter().map(|held| held.group.0);
        let overrides = spec.overrides.iter();
        Some(Assignment {
            cluster: settings.identity.cluster,
            node: settings.identity.node,
            module: slot.module.as_str().to_owned(),
            instance: slot.instance.0,
            worker: slot.worker.0,
            tasks: spec.shape.tasks(),
            threads: spec.shape.threads(),
            replication: spec.shape.replication(),
            cores: place.cores,
            groups: groups.collect(),
            data_dir: place.data_dir,
            beat: place.beat,
            bind: settings.listen.bind,
            first_port: place.first_port,
            host_internal: settings.listen.host_internal.clone(),
            host_external: settings.listen.host_external.clone(),
            metastore: settings.metastore.clone(),
            security: settings.certificates.clone(),
            overrides: overrides
                .map(|(name, text)| (name.clone(), json(text)))
                .collect(),
        })
    })
}

/// What a worker may take: what the node says, and its instance over it.
fn resources<M>(settings: &Settings<M>) -> crate::machine::Resources {
    let node = settings.resources.clone();
    Arc::new(move |view: &View, slot: &SlotName| {
        let spec = view.spec(&slot.module, &slot.instance);
        let spec = spec.ok_or("its instance is withdrawn")?.record;
        let overrides = spec.overrides.iter();
        let overrides = overrides.map(|(name, text)| (name.as_str(), json(text)));
        let text = |error: rama_gateway::config::Error| error.to_string();
        let resources = node.overridden(overrides).map_err(text)?;
        let mut environment = resources.env.clone();
        let told = [
            ("RAMA_MODULE", slot.module.as_str().to_owned()),
            ("RAMA_INSTANCE", slot.instance.to_string()),
            ("RAMA_WORKER", slot.worker.to_string()),
        ];
        environment.extend(told.map(|(name, value)| (name.to_owned(), value)));
        Ok(Take {
            limits: Limits {
                memory_bytes_max: resources.memory_bytes_max().map_err(text)?,
                cpus: resources.cpus,
                cpu_weight: resources.cpu_weight,
            },
            pinned: resources.pin_cores,
            environment,
        })
    })
}

/// A setting as the conductor wrote it down.
fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or(serde_json::Value::Null)
}
