//! Where the task threads of a module are, for clients.
//!
//! Relies on what leaders and workers registered. What must stay true: only threads that are led are
//! listed; a client that waits hears of every change.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use rama_api::{ModuleRoutes, ThreadRoute};
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::Metastore;
use rama_planner::ids::{GroupId, InstanceId, ModuleName};
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

/// Answers a request for routes from snapshots.
pub(crate) async fn answer(
    snapshots: &mut Snapshots,
    cluster: Uuid,
    module: &str,
    wanted: &Wanted,
) -> Answer {
    let name = module_name(module)?;
    let internal = wanted.hosts.as_deref() == Some("internal");
    let after = wanted.after.unwrap_or(0);
    let newer = |snapshot: &Arc<Snapshot>| {
        routes_of(snapshot, cluster, &name, internal).is_some_and(|it| it.revision > after)
    };
    // Nothing newer in time: what is there is said again.
    let _ = tokio::time::timeout(WAIT_MAX, snapshots.wait_for(newer)).await;
    let snapshot = snapshots.borrow().clone();
    match routes_of(&snapshot, cluster, &name, internal) {
        Some(routes) => json(StatusCode::OK, &routes),
        None => {
            let text = format!("Module not alive: {module}");
            Err(Refusal::new(Code::NotFound, text).hint("see `rama moduleStatus`"))
        }
    }
}

/// The routes of the instance that takes appends. Their revision is that of the newest record they
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
    let mut routes = Vec::new();
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
        let process = &live.record.details.process;
        let Some(port) = live.record.details.ports.get(&thread) else {
            continue;
        };
        let host = if internal {
            &process.host_internal
        } else {
            &process.host_external
        };
        routes.push(ThreadRoute {
            thread,
            host: host.clone(),
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
        routes,
    })
}
