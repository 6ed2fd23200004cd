//! `POST /rest/{module}/query/{query}/invoke`: run a query topology.
//!
//! Relies on the cluster for the types. The body is the arguments as JSON: one is bare, several are a
//! list, none is `null`; the answer is the result, bare.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::{Gateway, Shape, body, json};
use crate::metrics::Route;
use crate::refusal::Refusal;
use crate::{names, tagged};

const WANTED: &str = "the arguments: one bare, several as a list, none as null";

pub(super) async fn invoke(
    State(gateway): State<Gateway>,
    Path((module, query)): Path<(String, String)>,
    Query(shape): Query<Shape>,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    let work = run(&gateway, &module, &query, &shape, bytes);
    gateway.timed(Route::Invoke, work).await
}

async fn run(
    gateway: &Gateway,
    module: &str,
    query: &str,
    shape: &Shape,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let args = tagged::decode(body(bytes, WANTED)?)?;
    let cluster = &gateway.cluster;
    let result = cluster.invoke_json(module, query, &args).await;
    let result = result.map_err(|error| {
        names::explain(error.into(), cluster, module, names::Kind::Query, query)
    })?;
    json(StatusCode::OK, &shape.apply(result))
}
