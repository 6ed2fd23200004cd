//! `rama operations`: what a conductor does, and the end of it.
//!
//! Relies on `GET /v1/operations` and `DELETE /v1/operations/{operation}`.

use rama_api::{Operation, paths};

use super::{ask_cluster, no_conductor, operation};
use crate::args::Format;
use crate::args::cluster::Operations;
use crate::client::Client;
use crate::error::Result;
use crate::output::{self, columns, moment};

pub fn run(client: &Client, format: Format, args: &Operations) -> Result<()> {
    if let Some(id) = args.cancel {
        let path = paths::fill(paths::OPERATION, &[&id.to_string()]);
        let cancelled: Operation = client
            .delete(&path)
            .map_err(|failure| no_conductor(client, failure))?;
        return output::print(format, &cancelled, || {
            let kind = operation::kind(cancelled.kind);
            let (module, state) = (&cancelled.module, operation::state(&cancelled));
            format!("{kind} of {module} is cancelled: {state}")
        });
    }
    let path = match args.all {
        true => format!("{}?all", paths::OPERATIONS),
        false => paths::OPERATIONS.to_owned(),
    };
    let operations: Vec<Operation> = ask_cluster(client, &path)?;
    output::print_list(format, &operations, || table(&operations))
}

fn table(operations: &[Operation]) -> String {
    let rows = operations.iter().map(|operation| {
        vec![
            operation.id.to_string(),
            operation::kind(operation.kind).to_owned(),
            operation.module.clone(),
            operation::state(operation),
            operation.by.clone(),
            moment(operation.started_ms),
        ]
    });
    columns(&["ID", "KIND", "MODULE", "STATE", "BY", "SINCE"], rows)
}
