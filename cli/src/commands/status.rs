//! `rama status`: a cluster, or the modules, depots and topologies of a server.
//!
//! Relies on `GET /v1/cluster`, which a server that is no conductor does not find, and on
//! `GET /rest/status`.

use rama_api::{ClusterStatus, paths};
use rama_runtime::Status;
use rama_runtime::status::{ModuleStatus, TopologyStatus};

use super::module_status;
use crate::args::{self, Format};
use crate::client::Client;
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns, fields, moment};

pub fn run(client: &Client, format: Format, args: &args::Status) -> Result<()> {
    let cluster: ClusterStatus = match client.get(paths::CLUSTER) {
        Ok(cluster) => cluster,
        Err(failure) if failure.exit == Exit::NotFound => return server(client, format, args),
        Err(failure) => return Err(failure),
    };
    match &args.module {
        Some(module) => module_status::show(client, format, module),
        None => output::print(format, &cluster, || {
            cluster_table(&cluster, client.internal())
        }),
    }
}

fn cluster_table(status: &ClusterStatus, internal: bool) -> String {
    let conductor = status.conductor.as_ref().map(|conductor| {
        let host = if internal {
            &conductor.host_internal
        } else {
            &conductor.host_external
        };
        let (rpc, http) = (conductor.rpc_port, conductor.http_port);
        let (release, since) = (&conductor.release, moment(conductor.started_ms));
        format!("{host}, QUIC {rpc}, HTTP {http}, release {release}, since {since}")
    });
    fields([
        ("cluster", status.cluster.to_string()),
        (
            "conductor",
            conductor.unwrap_or_else(|| "none leads: another one takes over".to_owned()),
        ),
        ("supervisors", status.supervisors.to_string()),
        ("modules", status.modules.join(" ")),
    ])
}

/// The same of a server that is no cluster.
fn server(client: &Client, format: Format, args: &args::Status) -> Result<()> {
    let mut status: Status = client.get("/rest/status")?;
    if let Some(wanted) = &args.module {
        let names: Vec<&str> = status
            .modules
            .iter()
            .map(|module| module.name.as_str())
            .collect();
        if !names.contains(&wanted.as_str()) {
            let text = format!("no module {wanted} runs; running: {}", names.join(", "));
            return Err(Failure::new(
                Exit::NotFound,
                text,
                "`rama status` shows all modules",
            ));
        }
        status.modules.retain(|module| module.name == *wanted);
    }
    output::print(format, &status, || table(&status))
}

fn table(status: &Status) -> String {
    let mut parts = vec![format!("cluster {}", status.cluster)];
    parts.extend(status.modules.iter().map(module_table));
    parts.join("\n\n")
}

fn module_table(module: &ModuleStatus) -> String {
    let ModuleStatus {
        name,
        state,
        tasks,
        threads,
        ..
    } = module;
    let depots = module.depots.iter().map(|depot| {
        let ends = depot
            .partitions
            .iter()
            .map(|(start, end)| format!("{start}..{end}"));
        let ends = ends.collect::<Vec<_>>().join(" ");
        vec![depot.name.clone(), depot.records.to_string(), ends]
    });
    let depots = columns(&["DEPOT", "RECORDS", "OFFSETS"], depots);
    let header = [
        "TOPOLOGY",
        "KIND",
        "STATE",
        "PROCESSED",
        "LAG",
        "FAILURES",
        "DEAD",
        "LAST ERROR",
    ];
    let topologies = columns(&header, module.topologies.iter().map(topology));
    format!("{name}  {state}  {tasks} tasks on {threads} threads\n\n{depots}\n\n{topologies}")
}

fn topology(found: &TopologyStatus) -> Vec<String> {
    vec![
        found.name.clone(),
        found.kind.clone(),
        if found.paused { "paused" } else { "running" }.to_owned(),
        found.processed.to_string(),
        found.lag.to_string(),
        found.failures.to_string(),
        found.dead_letters.to_string(),
        found.last_error.clone().unwrap_or_default(),
    ]
}
