//! `rama status`: modules, depots, topologies.
//!
//! Relies on `GET /rest/status`.

use rama_runtime::Status;
use rama_runtime::status::{ModuleStatus, TopologyStatus};

use crate::args::{self, Format};
use crate::client::Client;
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};

pub fn run(client: &Client, format: Format, args: &args::Status) -> Result<()> {
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
