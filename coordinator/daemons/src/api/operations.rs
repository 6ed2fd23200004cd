//! Operations: how far they are, what came of them, cancellation.
//!
//! Relies on the planner's records. What must stay true: what an operation waits for is named.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use rama_api::{Accepted, Kind, Operation, Outcome};
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::Metastore;
use rama_planner::ids::{GroupId, NodeId, OperationId};
use rama_planner::records::{self, OperationKind, Step};
use rama_planner::store::{Key, Value};
use serde::Deserialize;
use uuid::Uuid;

use super::{Answer, Api, host_of, json, refused};
use crate::snapshot::Snapshot;

/// The longest that a request waits for a change.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// `?all`
#[derive(Deserialize)]
pub(super) struct Which {
    all: Option<String>,
}

pub(super) async fn list<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Query(which): Query<Which>,
) -> Answer {
    let snapshot = api.now();
    let all = snapshot
        .view
        .entries()
        .filter_map(|(key, value)| match (key, value) {
            (Key::Operation(id), Value::Operation(record)) => Some((*id, record)),
            _ => None,
        });
    let wanted = all.filter(|(_, record)| which.all.is_some() || record.outcome.is_none());
    let mut found: Vec<Operation> = wanted
        .map(|(id, record)| describe(&snapshot, id, record))
        .collect();
    found.sort_by_key(|operation| operation.started_ms);
    json(StatusCode::OK, &found)
}

/// The answer to who began an operation. What the conductor decides by and what questions are answered
/// by follow the metastore each on its own: the answer waits until a question finds the operation.
pub(super) async fn accepted<M: Metastore>(
    api: &Api<M>,
    begun: OperationId,
    instance: Option<Uuid>,
) -> Answer {
    let found = |snapshot: &Arc<Snapshot>| snapshot.view.operation(&begun).is_some();
    // One that is not found in time has begun all the same.
    let _ = tokio::time::timeout(WAIT_MAX, api.snapshots.clone().wait_for(found)).await;
    let operation = begun.0;
    let accepted = Accepted {
        operation,
        instance,
    };
    json(StatusCode::ACCEPTED, &accepted)
}

/// `?wait=SECONDS&step=STEP`: until it is in another step.
#[derive(Deserialize)]
pub(super) struct Patience {
    wait: Option<u64>,
    step: Option<String>,
}

pub(super) async fn one<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(operation): Path<Uuid>,
    Query(patience): Query<Patience>,
) -> Answer {
    let mut snapshots = api.snapshots.clone();
    let id = OperationId(operation);
    let wait = Duration::from_secs(patience.wait.unwrap_or(0)).min(WAIT_MAX);
    let moved = |snapshot: &Arc<Snapshot>| match snapshot.view.operation(&id) {
        Some(seen) => {
            let here = step_name(seen.record.step);
            seen.record.outcome.is_some() || Some(here) != patience.step.as_deref()
        }
        None => false,
    };
    // When nothing moves in time, what stands is the answer.
    let waited = tokio::time::timeout(wait, snapshots.wait_for(moved)).await;
    if let Ok(Err(_)) = waited {
        return Err(Refusal::new(Code::Closed, "the conductor stops"));
    }
    let snapshot = api.now();
    let seen = snapshot
        .view
        .operation(&id)
        .ok_or_else(|| unknown(operation))?;
    json(StatusCode::OK, &describe(&snapshot, id, seen.record))
}

pub(super) async fn cancel<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(operation): Path<Uuid>,
) -> Answer {
    let id = OperationId(operation);
    let known = api.now().view.operation(&id).is_some();
    if !known {
        return Err(unknown(operation));
    }
    let reason = "an operator cancelled it".to_owned();
    let cancelled = api.conductor.cancel(id, reason).await;
    cancelled.map_err(|error| refused(&error))?;
    let snapshot = api.now();
    let seen = snapshot
        .view
        .operation(&id)
        .ok_or_else(|| unknown(operation))?;
    json(StatusCode::ACCEPTED, &describe(&snapshot, id, seen.record))
}

fn unknown(operation: Uuid) -> Refusal {
    let text = format!("could not find operation {operation}");
    Refusal::new(Code::NotFound, text).hint("see `rama operations`")
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Assign => "assign",
        Step::Start => "start",
        Step::Elect => "elect",
        Step::Open => "open",
        Step::Undo => "undo",
        Step::Stop => "stop",
        Step::Done => "done",
    }
}

/// An operation for people.
pub(super) fn describe(
    snapshot: &Snapshot,
    id: OperationId,
    record: &records::Operation,
) -> Operation {
    Operation {
        id: id.0,
        kind: match record.kind {
            OperationKind::Launch => Kind::Launch,
            OperationKind::Destroy => Kind::Destroy,
        },
        module: record.module.as_str().to_owned(),
        instance: record.instance.map(|id| id.0),
        step: step_name(record.step).to_owned(),
        waits_for: waits_for(snapshot, record),
        started_ms: record.started_ms,
        by: record.by.clone(),
        outcome: record.outcome.as_ref().map(|outcome| match outcome {
            records::Outcome::Succeeded { .. } => Outcome::Succeeded,
            records::Outcome::RolledBack { reason, .. } => Outcome::RolledBack {
                reason: reason.clone(),
            },
        }),
    }
}

fn waits_for(snapshot: &Snapshot, record: &records::Operation) -> String {
    let Some(instance) = record.instance.filter(|_| record.outcome.is_none()) else {
        return String::new();
    };
    let (view, name) = (&snapshot.view, &record.module);
    let host = |node: NodeId| match host_of(snapshot, node) {
        host if host.is_empty() => format!("node {node}, which is down"),
        host => host,
    };
    match record.step {
        Step::Start => {
            let absent = view
                .workers(name, instance)
                .filter(|(index, _)| view.live(name, &instance, index).is_none());
            list_of(
                absent.map(|(index, seen)| format!("worker {index} on {}", host(seen.record.node))),
            )
        }
        Step::Elect => {
            let threads = record.spec.as_ref().map_or(0, |spec| spec.shape.threads());
            let groups = (0..threads).map(GroupId);
            let without = groups.filter(|group| view.leader(name, &instance, group).is_none());
            list_of(without.map(|group| format!("a leader of task group {group}")))
        }
        Step::Stop | Step::Undo => {
            let left = view.workers(name, instance);
            let nodes: BTreeSet<NodeId> = left.map(|(_, seen)| seen.record.node).collect();
            list_of(nodes.into_iter().map(host))
        }
        Step::Assign | Step::Open | Step::Done => String::new(),
    }
}

fn list_of(items: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 4;
    let all: Vec<String> = items.collect();
    let more = all.len().saturating_sub(SHOWN);
    let shown = all
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}
