//! `/` and `/rest/{module}`: what is here.
//!
//! Relies on the cluster's manifest. The index names every path with its method and shape, so that
//! a reader with nothing but an address finds the rest.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json as object};

use super::{Gateway, json};
use crate::metrics::Route;
use crate::names::{no_module, objects};

const PATHS: [(&str, &str); 12] = [
    ("GET /rest/{module}", "objects with their schemas"),
    (
        "POST /rest/{module}/depot/{depot}/append",
        r#"{"data": …, "ackLevel": "ack"}; many: {"records": […]}, or JSON lines"#,
    ),
    (
        "POST /rest/{module}/pstate/{pstate}/select",
        r#"a path: ["key", …]; answers a list"#,
    ),
    (
        "POST /rest/{module}/pstate/{pstate}/selectOne",
        "a path; answers one value",
    ),
    (
        "GET /rest/{module}/pstate/{pstate}/watch?path=…",
        "server-sent events",
    ),
    (
        "GET /rest/{module}/pstate/{pstate}/proxy?path=…",
        "server-sent events: the value, then how it changes",
    ),
    (
        "GET /rest/{module}/dead-letters",
        "records that a topology gave up on",
    ),
    (
        "POST /rest/{module}/dead-letters/replay",
        r#"{"ids": […]} or {"all": true}"#,
    ),
    (
        "POST /rest/{module}/dead-letters/drop",
        r#"{"ids": […]} or {"all": true}"#,
    ),
    ("GET /rest/status", "depots, topologies, lag"),
    ("GET /metrics", "OpenMetrics text"),
    (
        "GET /readyz",
        "200 when requests are served; /livez: the process is there",
    ),
];

pub(super) async fn index(State(gateway): State<Gateway>) -> Response {
    let work = async {
        let names = gateway.cluster.modules_here();
        let modules = names.iter().map(|name| {
            let objects = objects(&gateway.cluster, name).unwrap_or_default();
            object!({
                "name": name,
                "url": format!("/rest/{name}"),
                "depots": objects.depots,
                "pstates": objects.pstates,
            })
        });
        let modules = modules.collect::<Vec<Value>>();
        let paths: Value = PATHS
            .iter()
            .map(|(path, what)| (path.to_string(), Value::from(*what)))
            .collect();
        json(
            StatusCode::OK,
            &object!({
                "name": "rama",
                "version": env!("CARGO_PKG_VERSION"),
                "modules": modules,
                "paths": paths,
            }),
        )
    };
    gateway.timed(Route::Index, work).await
}

pub(super) async fn describe(
    State(gateway): State<Gateway>,
    Path(module): Path<String>,
) -> Response {
    let work = async {
        match gateway.cluster.definition(&module) {
            Ok(definition) => json(StatusCode::OK, &definition.manifest()),
            Err(_) => Err(no_module(&gateway.cluster, &module)),
        }
    };
    gateway.timed(Route::Describe, work).await
}
