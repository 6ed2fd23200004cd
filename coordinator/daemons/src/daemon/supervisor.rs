//! The supervisor as a process.
//!
//! Relies on [`crate::supervisor`] for slots and on [`crate::machine`] for processes. What must stay
//! true: workers are told everything in their assignment, and live on when the supervisor ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt as _;
use rama_api::{Assignment, MetastoreAddress, SecurityFiles, paths};
use rama_metastore::{Metastore, Space};
use rama_net::{Dial, Endpoint, Role, Roles};
use rama_planner::ids::NodeId;
use rama_planner::records;
use rama_planner::store::{Key, Value};
use rama_planner::view::View;

use super::{DaemonError, Identity, Listen, Sockets, life, logs, process};
use crate::artifacts::{Artifacts, TrustRoots};
use crate::machine::{Machine, Setup};
use crate::rest;
use crate::snapshot::{self, Snapshots};
use crate::supervisor::{self, SlotName, Start};

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
    /// Memory that workers may use.
    pub memory_bytes: u64,
    /// Whose programs are run.
    pub roots: TrustRoots,
    /// How workers reach the metastore.
    pub metastore: MetastoreAddress,
    /// How workers prove who they are.
    pub certificates: SecurityFiles,
    /// Settings of workers.
    pub overrides: BTreeMap<String, serde_json::Value>,
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
    let machine = Machine::open(Setup {
        dir: dir.clone(),
        artifacts,
        fetch: fetch(sockets.endpoint.clone(), snapshots.clone()),
        assign: assign(&settings),
        environment: BTreeMap::new(),
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
        },
        ttl: settings.lease,
    };
    let (_, slots) = supervisor::start(start, machine);
    let routes = rest::router(rest::Rest {
        snapshots,
        endpoint: sockets.endpoint.clone(),
        cluster: identity.cluster,
        node,
    });
    let routes = routes.merge(logs::router(dir.join("logs")));
    let (rpc, http) = sockets.ports(&listen);
    tracing::info!(rpc, http, host = listen.host_internal, %node, "supervisor started");
    let ending = slots.abort_handle();
    let ended = tokio::select! {
        () = sockets.serve(&identity, routes, stopped) => Ok(()),
        error = slots => Err(DaemonError::Metastore(error.unwrap_or_else(|error| {
            rama_metastore::Error::Closed { attempt: format!("drive the slots: {error}") }
        }))),
    };
    ending.abort();
    following.abort();
    ended
}

/// Programs come from the conductor in office.
fn fetch(endpoint: Endpoint, snapshots: Snapshots) -> crate::machine::Fetch {
    Arc::new(move |artifacts: Artifacts, name: String| {
        let (endpoint, snapshots) = (endpoint.clone(), snapshots.clone());
        Box::pin(async move {
            let dial = conductor(&snapshots).await?;
            let path = paths::fill(paths::ARTIFACT, &[&name]);
            let request = Request::get(path).body(Body::empty());
            let request = request.map_err(|error| error.to_string())?;
            let answer = rama_rpc::request(&endpoint, &dial, request).await;
            let answer = answer.map_err(|error| format!("could not ask the conductor: {error}"))?;
            if !answer.status().is_success() {
                return Err(format!("the conductor answered {}", answer.status()));
            }
            let mut upload = artifacts.begin(&name).map_err(|error| error.to_string())?;
            let mut pieces = answer.into_body().into_data_stream();
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|error| format!("the program broke off: {error}"))?;
                upload = tokio::task::spawn_blocking(move || upload.write(&piece).map(|()| upload))
                    .await
                    .map_err(|error| error.to_string())?
                    .map_err(|error| error.to_string())?;
            }
            let finished = tokio::task::spawn_blocking(move || upload.finish()).await;
            let finished = finished.map_err(|error| error.to_string())?;
            finished.map(|_| ()).map_err(|error| error.to_string())
        })
    })
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
    Arc::new(
        move |view: &View, slot: &SlotName, data_dir: PathBuf, beat: PathBuf| {
            let worker = view.worker(&slot.module, &slot.instance, &slot.worker)?;
            let spec = view.spec(&slot.module, &slot.instance)?.record;
            let groups: Vec<u32> = worker
                .record
                .groups
                .iter()
                .map(|held| held.group.0)
                .collect();
            let mut overrides = settings.overrides.clone();
            for (name, text) in &spec.overrides {
                let value = serde_json::from_str(text).unwrap_or(serde_json::Value::Null);
                overrides.insert(name.clone(), value);
            }
            Some(Assignment {
                cluster: settings.identity.cluster,
                node: settings.identity.node,
                module: slot.module.as_str().to_owned(),
                instance: slot.instance.0,
                worker: slot.worker.0,
                tasks: spec.shape.tasks(),
                threads: spec.shape.threads(),
                replication: spec.shape.replication(),
                cores: cores(view, &settings, groups.len()),
                groups,
                data_dir,
                beat,
                bind: settings.listen.bind,
                first_port: 0,
                host_internal: settings.listen.host_internal.clone(),
                host_external: settings.listen.host_external.clone(),
                metastore: settings.metastore.clone(),
                security: settings.certificates.clone(),
                overrides,
            })
        },
    )
}

/// Cores for a worker: pinned only where it is alone and there is one for each of its threads,
/// because two that are pinned to the same cores stand in each other's way.
fn cores<M>(view: &View, settings: &Settings<M>, threads: usize) -> Vec<usize> {
    let node = NodeId(settings.identity.node);
    let here = view.entries().filter(|(_, value)| match value {
        Value::Worker(worker) => worker.node == node,
        _ => false,
    });
    let alone = here.count() == 1;
    if alone && threads <= settings.cores as usize {
        (0..threads).collect()
    } else {
        Vec::new()
    }
}
