//! Where the task threads of a module are, for clients.
//!
//! Relies on what leaders and workers registered. What must stay true: only threads that are led are
//! listed; a client that waits hears of every change.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use rama_api::{DaemonAddress, ModuleRoutes, ThreadRoute};
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::Metastore;
use rama_planner::ids::{GroupId, InstanceId, ModuleName};
use rama_planner::records::Process;
use rama_planner::store::Value;
use serde::Deserialize;
use uuid::Uuid;

use super::{Answer, Api, json, module_name};
use crate::snapshot::{Snapshot, Snapshots};

/// The longest that a request waits for a change.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// `?after=REVISION&hosts=internal`
#[derive(Deserialize)]
pub(crate) struct Wanted {
    after: Option<u64>,
    hosts: Option<String>,
}

pub(super) async fn routes<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer {
    answer(&mut api.snapshots.clone(), api.cluster, &module, &wanted).await
}

/// Answers a request for routes from snapshots. Who names no revision is answered now; who names one
/// hears of what is newer, or that the module does not run any more; 0 waits for it to run.
pub(crate) async fn answer(
    snapshots: &mut Snapshots,
    cluster: Uuid,
    module: &str,
    wanted: &Wanted,
) -> Answer {
    let name = module_name(module)?;
    let internal = wanted.hosts.as_deref() == Some("internal");
    let news = |snapshot: &Arc<Snapshot>| {
        let routes = routes_of(snapshot, cluster, &name, internal);
        let knows = knows(snapshot);
        match wanted.after {
            None => knows,
            Some(0) => routes.is_some(),
            Some(after) => knows && routes.is_none_or(|routes| routes.revision > after),
        }
    };
    // Nothing newer in time: what is there is said again.
    let _ = tokio::time::timeout(WAIT_MAX, snapshots.wait_for(news)).await;
    let snapshot = snapshots.borrow().clone();
    match routes_of(&snapshot, cluster, &name, internal) {
        Some(routes) => {
            let daemons = supervisors(&snapshot, internal);
            json(StatusCode::OK, &ModuleRoutes { daemons, ..routes })
        }
        None => {
            let text = format!("Module not alive: {module}");
            Err(Refusal::new(Code::NotFound, text).hint("see `rama moduleStatus`"))
        }
    }
}

/// A daemon that has just started knows nothing of any module.
fn knows(snapshot: &Arc<Snapshot>) -> bool {
    snapshot.view.entries().next().is_some()
}

/// What is there once something is known.
pub(crate) async fn known(snapshots: &mut Snapshots) -> Arc<Snapshot> {
    // Nothing in time: that nothing is known is said.
    let _ = tokio::time::timeout(WAIT_MAX, snapshots.wait_for(knows)).await;
    snapshots.borrow().clone()
}

/// The routes of the instance that takes appends, without the daemons. Their revision is that of the newest record they
/// are made of.
pub(crate) fn routes_of(
    snapshot: &Snapshot,
    cluster: Uuid,
    name: &ModuleName,
    internal: bool,
) -> Option<ModuleRoutes> {
    let view = &snapshot.view;
    let meta = view.module(name)?;
    let instance: InstanceId = meta.record.append_target?;
    let spec = view.spec(name, &instance)?;
    let mut revision = meta.revision.max(spec.revision);
    let (mut routes, mut interface) = (Vec::new(), None);
    for thread in 0..spec.record.shape.threads() {
        let group = GroupId(thread);
        let Some(leader) = view.leader(name, &instance, &group) else {
            continue;
        };
        revision = revision.max(leader.revision);
        let live = view.live(name, &instance, &leader.record.worker);
        let live = live.filter(|live| live.record.incarnation == leader.record.incarnation);
        let Some(live) = live else { continue };
        revision = revision.max(live.revision);
        let details = &live.record.details;
        interface = Some(details.interface.clone()).filter(|text| !text.is_empty());
        let process = &details.process;
        let Some(port) = live.record.details.ports.get(&thread) else {
            continue;
        };
        routes.push(ThreadRoute {
            thread,
            host: host_of(process, internal),
            port: *port,
            node: live.record.node.0,
            incarnation: live.record.incarnation.0,
            epoch: leader.record.epoch.0,
        });
    }
    Some(ModuleRoutes {
        revision,
        cluster,
        instance: instance.0,
        tasks: spec.record.shape.tasks(),
        threads: spec.record.shape.threads(),
        interface,
        offers: serde_json::to_value(&spec.record.offers).unwrap_or_default(),
        routes,
        daemons: Vec::new(),
    })
}

fn supervisors(snapshot: &Snapshot, internal: bool) -> Vec<DaemonAddress> {
    let supervisors = snapshot
        .view
        .entries()
        .filter_map(|(_, value)| match value {
            Value::Supervisor(record) => Some(&record.process),
            _ => None,
        });
    let address = |process: &Process| DaemonAddress {
        host: host_of(process, internal),
        port: process.rpc_port,
    };
    supervisors.map(address).collect()
}

fn host_of(process: &Process, internal: bool) -> String {
    match internal {
        true => process.host_internal.clone(),
        false => process.host_external.clone(),
    }
}
