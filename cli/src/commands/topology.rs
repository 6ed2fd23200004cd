//! `rama pause-topology` and `rama resume-topology`.
//!
//! Relies on `POST …/topologies/{topology}/pause` and `…/resume`. What must stay true: either may be
//! said twice.

use axum::http::Method;
use rama_api::paths;
use serde_json::json;

use super::no_conductor;
use crate::args::Format;
use crate::args::module::Topology;
use crate::client::{Client, Content};
use crate::error::Result;
use crate::output;

pub fn run(client: &Client, format: Format, args: &Topology, pause: bool) -> Result<()> {
    let path = if pause { paths::PAUSE } else { paths::RESUME };
    let Topology {
        module, topology, ..
    } = args;
    let path = paths::fill(path, &[module, topology]);
    let changed = client.change(Method::POST, &path, Content::Nothing);
    changed.map_err(|failure| no_conductor(client, failure))?;
    let state = json!({"module": module, "topology": topology, "paused": pause});
    output::print(format, &state, || {
        let word = if pause { "paused" } else { "running again" };
        format!("topology {topology} of {module} is {word}")
    })
}
