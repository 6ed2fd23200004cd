//! `rama module-instance-status` and `rama task-groups-status`: one instance of a module.
//!
//! Relies on `GET /v1/modules/{module}/instances/{instance}` and what is below it. What must stay
//! true: an instance that is not named is the one that serves reads.

use rama_api::{
    Group, InstanceStatus, ModuleStatus, ReplicaRole, TaskGroups, WorkerFailure, WorkerPhase, paths,
};
use uuid::Uuid;

use super::ask_cluster;
use crate::args::{Format, module};
use crate::client::Client;
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns, fields, moment};

/// `rama module-instance-status`
pub fn status(client: &Client, format: Format, args: &module::Instance) -> Result<()> {
    let status = find(client, &args.module, args.instance)?;
    output::print(format, &status, || instance_table(&status))
}

/// `rama task-groups-status`
pub fn task_groups(client: &Client, format: Format, args: &module::Instance) -> Result<()> {
    let instance = named(client, &args.module, args.instance)?;
    let path = paths::fill(paths::TASK_GROUPS, &[&args.module, &instance.to_string()]);
    let groups: TaskGroups = ask_cluster(client, &path)?;
    output::print(format, &groups, || groups_table(&groups.groups))
}

/// An instance of a module.
pub fn find(client: &Client, module: &str, instance: Option<Uuid>) -> Result<InstanceStatus> {
    let instance = named(client, module, instance)?;
    let path = paths::fill(paths::INSTANCE, &[module, &instance.to_string()]);
    ask_cluster(client, &path)
}

fn named(client: &Client, module: &str, instance: Option<Uuid>) -> Result<Uuid> {
    if let Some(instance) = instance {
        return Ok(instance);
    }
    let path = paths::fill(paths::MODULE, &[module]);
    let status: ModuleStatus = ask_cluster(client, &path)?;
    status.read_target_id.ok_or_else(|| {
        let state = &status.module_state;
        let text = format!("no instance of {module} serves reads: it is {state}");
        let hint = "name an instance; `rama module-status` lists them";
        Failure::new(Exit::NotFound, text, hint)
    })
}

fn numbers(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(" ")
}

fn failure(failure: &WorkerFailure) -> String {
    let (at, times) = (moment(failure.at_ms), failure.failures);
    format!("{at}, {times} in a row: {}", failure.cause)
}

fn instance_table(status: &InstanceStatus) -> String {
    let about = fields([
        ("module", status.module.clone()),
        ("instance", status.instance.to_string()),
        ("artifact", status.artifact.clone()),
        ("tasks", status.tasks.to_string()),
        ("threads", status.threads.to_string()),
        ("workers", status.workers.to_string()),
        ("replicas", status.replication_factor.to_string()),
        ("label", status.target_label.clone().unwrap_or_default()),
        ("metadata", status.metadata.clone()),
        ("since", moment(status.created_ms)),
    ]);
    let rows = status.processes.iter().map(|worker| {
        let phase = match worker.phase {
            WorkerPhase::Absent => "absent",
            WorkerPhase::Recovering => "recovering",
            WorkerPhase::Serving => "serving",
            WorkerPhase::Draining => "draining",
        };
        let pid = Some(worker.pid).filter(|pid| *pid != 0);
        vec![
            worker.worker.to_string(),
            worker.host.clone(),
            worker.supervisor.to_string(),
            phase.to_owned(),
            pid.map_or_else(String::new, |pid| pid.to_string()),
            numbers(&worker.groups),
            moment(worker.started_ms),
            worker
                .last_failure
                .as_ref()
                .map_or_else(String::new, failure),
        ]
    });
    let header = [
        "WORKER",
        "HOST",
        "SUPERVISOR",
        "PHASE",
        "PID",
        "GROUPS",
        "SINCE",
        "LAST FAILURE",
    ];
    format!("{about}\n\n{}", columns(&header, rows))
}

fn groups_table(groups: &[Group]) -> String {
    let rows = groups.iter().map(|group| {
        let leader = group.leader.as_ref();
        let leader = leader.map_or_else(|| "-".to_owned(), |leader| leader.worker.to_string());
        let of = |in_sync: bool| {
            let replicas = group.replicas.iter();
            let replicas = replicas.filter(|replica| (replica.role != ReplicaRole::Osr) == in_sync);
            let workers: Vec<u32> = replicas.map(|replica| replica.worker).collect();
            numbers(&workers)
        };
        vec![
            group.group.to_string(),
            numbers(&group.tasks),
            group.epoch.to_string(),
            leader,
            of(true),
            of(false),
        ]
    });
    let header = [
        "GROUP",
        "TASKS",
        "EPOCH",
        "LEADING WORKER",
        "ISR WORKERS",
        "OSR WORKERS",
    ];
    columns(&header, rows)
}
