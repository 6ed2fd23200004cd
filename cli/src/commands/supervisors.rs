//! `rama supervisors`: the nodes of a cluster.
//!
//! Relies on `GET /v1/supervisors`.

use rama_api::{SupervisorStatus, paths};

use super::ask_cluster;
use crate::args::Format;
use crate::client::Client;
use crate::error::Result;
use crate::output::{self, columns, moment};

pub fn run(client: &Client, format: Format) -> Result<()> {
    let supervisors: Vec<SupervisorStatus> = ask_cluster(client, paths::SUPERVISORS)?;
    output::print_list(format, &supervisors, || {
        table(&supervisors, client.internal())
    })
}

fn table(supervisors: &[SupervisorStatus], internal: bool) -> String {
    let rows = supervisors.iter().map(|supervisor| {
        let leaders = if supervisor.leaders_disallowed {
            "no"
        } else {
            "yes"
        };
        vec![
            supervisor.id.to_string(),
            format!("{}:{}", host(supervisor, internal), supervisor.rpc_port),
            supervisor.labels.join(" "),
            supervisor.cores.to_string(),
            format!(
                "{:.1} GiB",
                supervisor.memory_bytes as f64 / f64::from(1 << 30)
            ),
            if supervisor.unlimited.is_empty() {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            supervisor.workers.to_string(),
            leaders.to_owned(),
            supervisor.release.clone(),
            moment(supervisor.started_ms),
        ]
    });
    let header = [
        "ID", "ADDRESS", "LABELS", "CORES", "MEMORY", "LIMITS", "WORKERS", "LEADERS", "RELEASE",
        "SINCE",
    ];
    columns(&header, rows)
}

/// Its name for who asks.
pub fn host(supervisor: &SupervisorStatus, internal: bool) -> &str {
    if internal {
        &supervisor.host_internal
    } else {
        &supervisor.host_external
    }
}
