//! `rama modules`: the modules of a cluster.
//!
//! Relies on `GET /v1/modules`.

use rama_api::{ModuleStatus, paths};

use super::{ask_cluster, operation};
use crate::args::Format;
use crate::client::Client;
use crate::error::Result;
use crate::output::{self, columns};

pub fn run(client: &Client, format: Format) -> Result<()> {
    let modules: Vec<ModuleStatus> = ask_cluster(client, paths::MODULES)?;
    output::print_list(format, &modules, || {
        let rows = modules.iter().map(|module| {
            let instance = module.read_target_id.map(|id| id.to_string());
            let operation = module.operation.as_ref().map(|operation| {
                let kind = operation::kind(operation.kind);
                format!("{kind}: {}", operation::state(operation))
            });
            vec![
                module.module.clone(),
                module.module_state.clone(),
                instance.unwrap_or_default(),
                operation.unwrap_or_default(),
            ]
        });
        columns(&["MODULE", "STATE", "INSTANCE", "OPERATION"], rows)
    })
}
