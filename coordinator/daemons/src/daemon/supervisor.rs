//! The supervisor as a process.
//!
//! Relies on [`crate::supervisor`] for slots and on [`crate::machine`] for processes. What must stay
//! true: workers are told everything in their assignment, and live on when the supervisor ends.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rama_api::endpoints::{Id, Server};
use rama_api::{Assignment, MetastoreAddress, SecurityFiles};
use rama_gateway::config::resources;
use rama_metastore::{Metastore, Space};
use rama_net::Role;
use rama_planner::ids::NodeId;
use rama_planner::records;
use rama_planner::store::Value;
use rama_planner::view::View;

use super::{DaemonError, Identity, Listen, Sockets, life, logs, process, programs};
use crate::artifacts::{Artifacts, TrustRoots};
use crate::cgroups::{Cgroups, Limits};
use crate::cores::Topology;
use crate::machine::{Machine, Place, Room, Setup, Take};
use crate::ports::PortRange;
use crate::snapshot;
use crate::supervisor::{self, SlotName, Start};
use crate::{rest, routes};

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

/// Daemons that a worker is told of, at most; they tell it of others.
const DAEMONS_MAX: usize = 8;

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
    let files = programs::served(&artifacts)?;
    let (snapshots, following) = snapshot::follow(&settings.store, &settings.space);
    let cgroups = Cgroups::open();
    if let Err(reason) = &cgroups {
        tracing::warn!(reason, "workers run without limits of memory and time");
    }
    let unlimited = cgroups.as_ref().err().cloned().unwrap_or_default();
    let machine = Machine::open(Setup {
        dir: dir.clone(),
        artifacts,
        fetch: programs::fetch(sockets.endpoint.clone(), snapshots.clone(), node),
        assign: assign(&settings, sockets.ports(&listen).0),
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
        () = sockets.serve(&identity, Server::Supervisor, (routes, files), stopped) => Ok(()),
        error = slots => Err(DaemonError::Metastore(error.unwrap_or_else(|error| {
            rama_metastore::Error::Closed { attempt: format!("drive the slots: {error}") }
        }))),
    };
    ending.abort();
    following.abort();
    ended
}

/// What a worker of this node is told.
fn assign<M: Metastore>(settings: &Settings<M>, rpc: u16) -> crate::machine::Assign {
    let settings = settings.clone();
    let here = address(&settings.listen.host_internal, rpc);
    Arc::new(move |view: &View, slot: &SlotName, place: Place| {
        let worker = view.worker(&slot.module, &slot.instance, &slot.worker)?;
        let spec = view.spec(&slot.module, &slot.instance)?.record;
        let groups = worker.record.groups.iter().map(|held| held.group.0);
        let overrides = spec.overrides.iter();
        let others = view.entries().filter_map(|(_, value)| match value {
            Value::Supervisor(record) => Some(&record.process),
            _ => None,
        });
        let others = others.map(|process| address(&process.host_internal, process.rpc_port));
        let others = others.filter(|other| *other != here).take(DAEMONS_MAX - 1);
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
            daemons: [here.clone()].into_iter().chain(others).collect(),
            metastore: settings.metastore.clone(),
            security: settings.certificates.clone(),
            overrides: overrides
                .map(|(name, text)| (name.clone(), json(text)))
                .collect(),
        })
    })
}

fn address(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
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
