//! `rama module-status`: a module of a cluster, in Rama's words.
//!
//! Relies on `GET /v1/modules/{module}`, whose JSON has the names that Rama prints.

use rama_api::{ModuleStatus, Operation, paths};

use super::{ask_cluster, operation};
use crate::args::Format;
use crate::args::module;
use crate::client::Client;
use crate::error::Result;
use crate::output::{self, fields};

pub fn run(client: &Client, format: Format, args: &module::ModuleStatus) -> Result<()> {
    show(client, format, &args.module)
}

/// Shows a module of a cluster.
pub fn show(client: &Client, format: Format, module: &str) -> Result<()> {
    let path = paths::fill(paths::MODULE, &[module]);
    let status: ModuleStatus = ask_cluster(client, &path)?;
    output::print(format, &status, || table(&status))
}

fn table(status: &ModuleStatus) -> String {
    let id = |id: Option<uuid::Uuid>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let instances: Vec<String> = status.instances.iter().map(ToString::to_string).collect();
    let about = |operation: &Option<Operation>| {
        operation.as_ref().map_or(String::new(), |operation| {
            let (kind, id) = (operation::kind(operation.kind), operation.id);
            format!("{kind} {id}: {}", operation::state(operation))
        })
    };
    fields([
        ("module", status.module.clone()),
        ("state", status.module_state.clone()),
        ("detail", status.detail.clone()),
        ("reads", id(status.read_target_id)),
        ("appends", id(status.append_target_id)),
        ("instances", instances.join(" ")),
        ("paused", status.paused.join(" ")),
        ("operation", about(&status.operation)),
        ("last", about(&status.last_operation)),
    ])
}
