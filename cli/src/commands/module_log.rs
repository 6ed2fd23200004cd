//! `rama module-log`: what was done to a module, by whom and when.
//!
//! Relies on `GET /v1/modules/{module}/log`.

use rama_api::{Done, LogEntry, paths};

use super::{ask_cluster, operation, options};
use crate::args::Format;
use crate::args::module::ModuleLog;
use crate::client::Client;
use crate::error::Result;
use crate::output::{self, columns, moment};

pub fn run(client: &Client, format: Format, args: &ModuleLog) -> Result<()> {
    let path = paths::fill(paths::MODULE_LOG, &[&args.module]);
    let entries: Vec<LogEntry> = ask_cluster(client, &path)?;
    output::print_list(format, &entries, || table(&entries))
}

/// One line for each thing that was done.
fn table(entries: &[LogEntry]) -> String {
    let rows = entries.iter().flat_map(|entry| {
        entry.done.iter().map(|done| {
            vec![
                entry.number.to_string(),
                moment(entry.at_ms),
                entry.by.clone(),
                told(done),
            ]
        })
    });
    columns(&["NUMBER", "WHEN", "BY", "DONE"], rows)
}

fn told(done: &Done) -> String {
    match done {
        Done::Operation { kind, outcome, .. } => {
            let (kind, outcome) = (operation::kind(*kind), operation::outcome(outcome));
            format!("{kind} {outcome}")
        }
        Done::SetOption(set) => {
            let place = options::place(&set.level, &set.option);
            format!("set {place} to {}", set.value)
        }
        Done::UnsetOption(unset) => {
            let place = options::place(&unset.level, &unset.option);
            format!("unset {place}")
        }
        Done::Pause { topology } => format!("paused topology {topology}"),
        Done::Resume { topology } => format!("resumed topology {topology}"),
    }
}
