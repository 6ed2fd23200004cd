//! Modules and their instances: status, deployment, destruction.
//!
//! Relies on the planner for what is refused. What must stay true: `RUNNING` means that every task
//! group is led; `recovering` beside it means that some worker does not serve yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use rama_api::{
    Deploy, Group, InstanceStatus, Leader, ModuleStatus, Plan, PlannedWorker, Replica, ReplicaRole,
    TaskGroups, WorkerFailure, WorkerPhase, WorkerStatus,
};
use rama_core::mirrors::{Offers, uses_of_manifest};
use rama_core::options::Objects;
use rama_gateway::bounded::Whole;
use rama_gateway::config::resources::Resources;
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::Metastore;
use rama_planner::ids::{GroupId, InstanceId, ModuleName, WorkerIndex};
use rama_planner::operation::LaunchRequest;
use rama_planner::records::{self, InstanceSpec, ModuleState};
use rama_planner::shape::Shape;
use rama_planner::store::{Key, Value};
use uuid::Uuid;

use super::{Answer, Api, host_of, json, module_name, operations, read, refused, unknown_module};
use crate::snapshot::Snapshot;

pub(super) async fn list<M: Metastore>(State(api): State<Arc<Api<M>>>) -> Answer {
    let snapshot = api.now();
    let names = snapshot.view.entries().filter_map(|(key, _)| match key {
        Key::Module(name) => Some(name.clone()),
        _ => None,
    });
    let all: Vec<ModuleStatus> = names.map(|name| status_of(&snapshot, &name)).collect();
    json(StatusCode::OK, &all)
}

pub(super) async fn status<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
) -> Answer {
    let (snapshot, name) = (api.now(), module_name(&module)?);
    exists(&snapshot, &name)?;
    json(StatusCode::OK, &status_of(&snapshot, &name))
}

/// The status of a module; one that is known and does not run is `NOT_ALIVE`.
fn status_of(snapshot: &Snapshot, name: &ModuleName) -> ModuleStatus {
    let view = &snapshot.view;
    let meta = view.module(name).map(|seen| seen.record);
    let (state, mut detail) = match meta.map(|meta| meta.state) {
        None | Some(ModuleState::NotAlive) => ("NOT_ALIVE", String::new()),
        Some(ModuleState::Running) => ("RUNNING", String::new()),
        Some(other) => {
            let text = other.to_string();
            let (state, detail) = text.split_once('/').unwrap_or((&text, ""));
            let state = if state == "launching" {
                "LAUNCHING"
            } else {
                "DESTROYING"
            };
            (state, detail.to_owned())
        }
    };
    let mut instances = BTreeSet::new();
    for (key, _) in view.entries() {
        match key {
            Key::Worker(module, id, _) | Key::Spec(module, id) if module == name => {
                instances.insert(*id);
            }
            _ => {}
        }
    }
    if state == "RUNNING" && !instances.iter().all(|id| serves(snapshot, name, *id)) {
        "recovering".clone_into(&mut detail);
    }
    let operation = |id: Option<_>| {
        let id: rama_planner::ids::OperationId = id?;
        let seen = view.operation(&id)?;
        Some(operations::describe(snapshot, id, seen.record))
    };
    ModuleStatus {
        module: name.as_str().to_owned(),
        module_state: state.to_owned(),
        detail,
        read_target_id: meta.and_then(|meta| meta.read_target).map(|id| id.0),
        append_target_id: meta.and_then(|meta| meta.append_target).map(|id| id.0),
        instances: instances.iter().map(|id| id.0).collect(),
        operation: operation(meta.and_then(|meta| meta.operation)),
        last_operation: operation(meta.and_then(|meta| meta.last_operation)),
        paused: paused(snapshot, name),
    }
}

fn paused(snapshot: &Snapshot, name: &ModuleName) -> Vec<String> {
    let of = snapshot
        .paused
        .iter()
        .filter(|(module, _)| module == name.as_str());
    of.map(|(_, topology)| topology.clone()).collect()
}

fn serves(snapshot: &Snapshot, name: &ModuleName, id: InstanceId) -> bool {
    let view = &snapshot.view;
    view.workers(name, id).all(|(index, _)| {
        let live = view.live(name, &id, &index);
        live.is_some_and(|live| live.record.details.phase == records::WorkerPhase::Serving)
    })
}

pub(super) async fn deploy<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Whole(body): Whole,
) -> Answer {
    let deploy: Deploy = read(&body)?;
    let request = request_of(&deploy)?;
    let instance = Some(request.instance.0);
    if api
        .artifacts
        .find(&deploy.artifact)
        .map_err(invalid)?
        .is_none()
        && !deploy.dry_run
    {
        let text = format!(
            "could not launch module {}: its program {} was not uploaded",
            deploy.module, deploy.artifact
        );
        return Err(Refusal::new(Code::Rejected, text).hint("`rama deploy` uploads it first"));
    }
    if !deploy.dry_run {
        let trusted = api.artifacts.trusted(&deploy.artifact);
        trusted.map_err(|error| super::artifacts::refusal(&error))?;
    }
    if deploy.dry_run {
        let plan = api.conductor.plan(request).await;
        let plan = plan.map_err(|error| refused(&error))?;
        return json(StatusCode::OK, &plan_of(&api.now(), &plan));
    }
    let begun = api.conductor.launch(request).await;
    let begun = begun.map_err(|error| refused(&error))?;
    operations::accepted(&api, begun, instance).await
}

fn request_of(deploy: &Deploy) -> Result<LaunchRequest, Refusal> {
    let module = module_name(&deploy.module)?;
    let named = deploy.manifest["module"].as_str();
    if named != Some(module.as_str()) {
        let text = format!(
            "could not launch module {module}: the program names itself {}",
            named.unwrap_or("nothing")
        );
        return Err(Refusal::new(Code::Invalid, text).hint("give its name as --module"));
    }
    if deploy.manifest["cluster"] != serde_json::Value::Bool(true) {
        let text =
            format!("could not launch module {module}: its program cannot work for a cluster");
        let hint = "build it with `--features etcd`";
        return Err(Refusal::new(Code::Rejected, text).hint(hint));
    }
    let shape = Shape::new(
        deploy.tasks,
        deploy.threads,
        deploy.workers,
        deploy.replication_factor,
    );
    let shape = shape.map_err(|error| Refusal::new(Code::Invalid, error.to_string()))?;
    let overrides = deploy.config_overrides.iter();
    let checked = overrides
        .clone()
        .map(|(name, value)| (name.as_str(), value.clone()));
    Resources::default().overridden(checked).map_err(|error| {
        let text = format!("could not launch module {module}: {}", error.what);
        Refusal::new(Code::Invalid, text).hint(error.hint)
    })?;
    let objects = Objects::of_manifest(&deploy.manifest);
    let mirrors = uses_of_manifest(&deploy.manifest);
    let uses = mirrors.iter().map(|used| module_name(&used.module));
    let uses = uses.collect::<Result<_, _>>()?;
    let settings = super::options::of_deploy(deploy, &objects)?;
    Ok(LaunchRequest {
        module,
        instance: InstanceId(Uuid::new_v4()),
        spec: InstanceSpec {
            artifact: deploy.artifact.clone(),
            shape,
            label: deploy.target_label.clone(),
            overrides: overrides
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
            metadata: deploy.metadata.clone(),
            created_ms: crate::wall_ms(),
            objects,
            offers: Offers::of_manifest(&deploy.manifest),
        },
        settings,
        uses,
        mirrors,
        by: "operator".to_owned(),
    })
}

fn invalid(error: impl std::error::Error) -> Refusal {
    Refusal::new(Code::Invalid, error.to_string())
}

fn plan_of(snapshot: &Snapshot, plan: &rama_planner::plan::Plan) -> Plan {
    let workers = plan.workers.iter().map(|worker| PlannedWorker {
        worker: worker.index.0,
        replica_set: worker.replica_set.0,
        supervisor: worker.node.0,
        host: host_of(snapshot, worker.node),
        groups: worker.groups.iter().map(|held| held.group.0).collect(),
        leads: worker
            .groups
            .iter()
            .filter(|held| held.preferred_leader)
            .map(|held| held.group.0)
            .collect(),
    });
    Plan {
        workers: workers.collect(),
    }
}

pub(super) async fn destroy<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path(module): Path<String>,
) -> Answer {
    let module = module_name(&module)?;
    let begun = api.conductor.destroy(module, "operator".to_owned()).await;
    let begun = begun.map_err(|error| refused(&error))?;
    operations::accepted(&api, begun, None).await
}

pub(super) async fn instance<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path((module, instance)): Path<(String, Uuid)>,
) -> Answer {
    let snapshot = api.now();
    let (name, id) = (module_name(&module)?, InstanceId(instance));
    let spec = known(&snapshot, &name, id)?;
    let processes = snapshot.view.workers(&name, id).map(|(index, seen)| {
        let live = snapshot
            .view
            .live(&name, &id, &index)
            .map(|seen| seen.record);
        let process = live.map(|live| &live.details.process);
        WorkerStatus {
            worker: index.0,
            supervisor: seen.record.node.0,
            host: host_of(&snapshot, seen.record.node),
            phase: match live.map(|live| live.details.phase) {
                None => WorkerPhase::Absent,
                Some(records::WorkerPhase::Recovering) => WorkerPhase::Recovering,
                Some(records::WorkerPhase::Serving) => WorkerPhase::Serving,
                Some(records::WorkerPhase::Draining) => WorkerPhase::Draining,
            },
            pid: process.map_or(0, |process| process.pid),
            incarnation: live.map_or(0, |live| live.incarnation.0),
            groups: seen.record.groups.iter().map(|held| held.group.0).collect(),
            started_ms: process.map_or(0, |process| process.started_ms),
            last_failure: failure_of(&snapshot, &name, id, index),
        }
    });
    let status = InstanceStatus {
        module,
        instance,
        artifact: spec.artifact.clone(),
        tasks: spec.shape.tasks(),
        threads: spec.shape.threads(),
        workers: spec.shape.workers(),
        replication_factor: spec.shape.replication(),
        target_label: spec.label.clone(),
        metadata: spec.metadata.clone(),
        created_ms: spec.created_ms,
        processes: processes.collect(),
    };
    json(StatusCode::OK, &status)
}

/// How a worker ended last, if it failed.
fn failure_of(
    snapshot: &Snapshot,
    name: &ModuleName,
    id: InstanceId,
    index: WorkerIndex,
) -> Option<WorkerFailure> {
    let exit = snapshot.view.exit(name, &id, &index)?.record;
    Some(WorkerFailure {
        at_ms: exit.at_ms,
        failures: exit.failures,
        cause: exit.cause.clone(),
    })
}

/// What an instance is.
fn known<'a>(
    snapshot: &'a Snapshot,
    name: &ModuleName,
    id: InstanceId,
) -> Result<&'a InstanceSpec, Refusal> {
    exists(snapshot, name)?;
    let spec = snapshot.view.spec(name, &id);
    spec.map(|seen| seen.record).ok_or_else(|| {
        let text = format!("module {name} has no instance {id}");
        Refusal::new(Code::NotFound, text).hint("`rama moduleStatus` lists its instances")
    })
}

pub(super) async fn task_groups<M: Metastore>(
    State(api): State<Arc<Api<M>>>,
    Path((module, instance)): Path<(String, Uuid)>,
) -> Answer {
    let snapshot = api.now();
    let (name, id) = (module_name(&module)?, InstanceId(instance));
    let spec = known(&snapshot, &name, id)?;
    let groups = 0..spec.shape.threads();
    let groups = groups.map(|group| group_of(&snapshot, &name, id, spec, GroupId(group)));
    let status = TaskGroups {
        module,
        instance,
        groups: groups.collect(),
    };
    json(StatusCode::OK, &status)
}

fn group_of(
    snapshot: &Snapshot,
    name: &ModuleName,
    id: InstanceId,
    spec: &InstanceSpec,
    group: GroupId,
) -> Group {
    let view = &snapshot.view;
    let isr = view.isr(name, &id, &group).map(|seen| seen.record);
    let leader = view.leader(name, &id, &group).map(|seen| seen.record);
    let mut replicas = Vec::new();
    for (index, seen) in view.workers(name, id) {
        for held in seen.record.groups.iter().filter(|held| held.group == group) {
            let leads = leader.is_some_and(|leader| leader.replica == held.replica);
            let in_sync = isr.is_some_and(|isr| isr.isr.contains(&held.replica));
            let role = match (leads, in_sync) {
                (true, _) => ReplicaRole::Leader,
                (false, true) => ReplicaRole::Isr,
                (false, false) => ReplicaRole::Osr,
            };
            replicas.push(Replica {
                replica: held.replica.0,
                worker: index.0,
                supervisor: seen.record.node.0,
                role,
            });
        }
    }
    Group {
        group: group.0,
        tasks: spec.shape.tasks_of(group.0).collect(),
        epoch: isr.map_or(0, |isr| isr.epoch.0),
        leader: leader.map(|leader| Leader {
            replica: leader.replica.0,
            worker: leader.worker.0,
            incarnation: leader.incarnation.0,
        }),
        replicas,
    }
}

/// Refuses a module that nobody knows, which is something else than one that is not alive.
pub(super) fn exists(snapshot: &Snapshot, name: &ModuleName) -> Result<(), Refusal> {
    match snapshot.view.value(&Key::Module(name.clone())) {
        Some(Value::Module(_)) => Ok(()),
        _ => Err(unknown_module(name)),
    }
}
