//! The cluster and its nodes.
//!
//! Relies on what processes registered; a node whose lease has ended is not listed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rama_api::{ClusterStatus, ConductorStatus, SupervisorStatus};
use rama_metastore::Metastore;
use rama_planner::records::Process;
use rama_planner::store::{Key, Value};

use super::{Answer, Api, json};
use crate::snapshot::Snapshot;

pub(super) async fn cluster<M: Metastore>(State(api): State<Arc<Api<M>>>) -> Answer {
    let snapshot = api.now();
    let mut modules = Vec::new();
    let mut conductor = None;
    let mut supervisors = 0;
    for (key, value) in snapshot.view.entries() {
        match (key, value) {
            (Key::Module(name), _) => modules.push(name.as_str().to_owned()),
            (Key::Conductor, Value::Conductor(record)) => {
                conductor = Some(conductor_of(&record.process));
            }
            (Key::Supervisor(_), _) => supervisors += 1,
            _ => {}
        }
    }
    let status = ClusterStatus {
        cluster: api.cluster,
        conductor,
        supervisors,
        modules,
    };
    json(StatusCode::OK, &status)
}

fn conductor_of(process: &Process) -> ConductorStatus {
    ConductorStatus {
        host_internal: process.host_internal.clone(),
        host_external: process.host_external.clone(),
        rpc_port: process.rpc_port,
        http_port: process.http_port.unwrap_or(0),
        release: process.release.clone(),
        started_ms: process.started_ms,
    }
}

pub(super) async fn supervisors<M: Metastore>(State(api): State<Arc<Api<M>>>) -> Answer {
    json(StatusCode::OK, &all_supervisors(&api.now()))
}

fn all_supervisors(snapshot: &Snapshot) -> Vec<SupervisorStatus> {
    let view = &snapshot.view;
    let nodes = view
        .entries()
        .filter_map(|(key, value)| match (key, value) {
            (Key::Supervisor(node), Value::Supervisor(record)) => Some((*node, record)),
            _ => None,
        });
    let status = |(node, record): (_, &rama_planner::records::Supervisor)| {
        let here = |(_, value): &(&Key, &Value)| matches!(value, Value::Worker(worker) if worker.node == node);
        let flags = match view.value(&Key::Flags(node)) {
            Some(Value::Flags(flags)) => *flags,
            _ => rama_planner::records::NodeFlags::default(),
        };
        SupervisorStatus {
            id: node.0,
            host_internal: record.process.host_internal.clone(),
            host_external: record.process.host_external.clone(),
            rpc_port: record.process.rpc_port,
            http_port: record.process.http_port,
            labels: record.labels.iter().cloned().collect(),
            cores: record.cores,
            memory_bytes: record.memory_bytes,
            unlimited: record.unlimited.clone(),
            workers: view.entries().filter(here).count() as u32,
            leaders_disallowed: flags.leaders_disallowed,
            release: record.process.release.clone(),
            started_ms: record.process.started_ms,
        }
    };
    nodes.map(status).collect()
}
