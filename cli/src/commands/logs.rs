//! `rama logs`: what a worker wrote, from the supervisor of its node.
//!
//! Relies on the conductor for where the worker is, and on `GET /v1/workers/…/log` of the supervisor
//! there. What must stay true: a line is printed as soon as it is whole.

use std::io::BufRead;

use rama_api::{InstanceStatus, SupervisorStatus, WorkerStatus, paths};
use serde_json::Value;

use super::supervisors::host;
use super::{ask_cluster, instance};
use crate::args::Format;
use crate::args::module::Logs;
use crate::client::{Client, Place};
use crate::error::{Exit, Failure, Result};
use crate::output;

pub fn run(client: &Client, format: Format, args: &Logs) -> Result<()> {
    let status = instance::find(client, &args.module, args.instance)?;
    let worker = worker(&status, args.worker)?;
    let supervisor = supervisor(client, worker)?;
    let (instance, number) = (status.instance.to_string(), args.worker.to_string());
    let mut path = paths::fill(paths::WORKER_LOG, &[&instance, &number]);
    path.push_str(&format!("?lines={}", args.lines));
    if args.follow {
        path.push_str("&follow");
    }
    print(&supervisor, format, &path)
}

fn worker(status: &InstanceStatus, number: u32) -> Result<&WorkerStatus> {
    let found = status
        .processes
        .iter()
        .find(|worker| worker.worker == number);
    found.ok_or_else(|| {
        let (module, count) = (&status.module, status.processes.len());
        let text = format!("{module} has no worker {number}, but {count} others");
        let hint = format!("`rama module-instance-status {module}` shows them");
        Failure::new(Exit::NotFound, text, hint)
    })
}

/// The supervisor of a worker's node, asked in the way in which the conductor is asked.
fn supervisor(client: &Client, worker: &WorkerStatus) -> Result<Client> {
    let id = worker.supervisor;
    let gone = |why: &str| {
        let text = format!(
            "could not ask supervisor {id} of worker {}: {why}",
            worker.worker
        );
        let hint = "`rama supervisors` shows who is there; the log is a file on the node";
        Failure::new(Exit::Unreachable, text, hint)
    };
    let supervisors: Vec<SupervisorStatus> = ask_cluster(client, paths::SUPERVISORS)?;
    let found = supervisors.iter().find(|supervisor| supervisor.id == id);
    let found = found.ok_or_else(|| gone("it is not alive"))?;
    let name = host(found, client.internal());
    let place = match (client.place(), found.http_port) {
        (Place::Quic { .. }, _) => Place::Quic {
            host: name.to_owned(),
            port: found.rpc_port,
        },
        (Place::Http(_), Some(port)) => Place::Http(format!("http://{name}:{port}")),
        (Place::Http(_), None) => return Err(gone("it does not serve HTTP")),
    };
    Ok(client.at(place, Some(id)))
}

fn print(supervisor: &Client, format: Format, path: &str) -> Result<()> {
    for line in supervisor.lines(path)?.lines() {
        let line = line.map_err(|cause| supervisor.lost(&cause.to_string()))?;
        match format {
            Format::Table => output::line(&line)?,
            // A log has no end, so that one document per line is the only JSON there is.
            Format::Json | Format::Jsonl => {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                output::print(Format::Jsonl, &value, String::new)?;
            }
        }
    }
    Ok(())
}
