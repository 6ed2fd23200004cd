//! `POST /rest/{module}/pstate/{pstate}/select` and `/selectOne`: read a path of a PState.
//!
//! Relies on the cluster to compile and run the path. The body is the path itself, a JSON list of
//! keys and navigators; `select` answers a list, `selectOne` a bare value and a refusal unless
//! there is exactly one.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::{Gateway, Shape, body, json};
use crate::metrics::Route;
use crate::refusal::{Code, Refusal};
use crate::{names, tagged};

pub(super) const WANTED: &str = r#"a path such as ["key"] or ["key", ["sortedMapRange", 1, 9]]"#;

/// How many results a read must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    /// Any number, as a list.
    Any,
    /// Exactly one, bare.
    One,
}

pub(super) async fn select(
    State(gateway): State<Gateway>,
    Path((module, pstate)): Path<(String, String)>,
    Query(shape): Query<Shape>,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    let work = read(&gateway, &module, &pstate, &shape, bytes, Amount::Any);
    gateway.timed(Route::Select, work).await
}

pub(super) async fn select_one(
    State(gateway): State<Gateway>,
    Path((module, pstate)): Path<(String, String)>,
    Query(shape): Query<Shape>,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    let work = read(&gateway, &module, &pstate, &shape, bytes, Amount::One);
    gateway.timed(Route::Select, work).await
}

async fn read(
    gateway: &Gateway,
    module: &str,
    pstate: &str,
    shape: &Shape,
    bytes: Result<Bytes, BytesRejection>,
    amount: Amount,
) -> Result<Response, Refusal> {
    let path = checked(body(bytes, WANTED)?)?;
    let object = names::canonical(names::Kind::PState, pstate);
    let cluster = &gateway.cluster;
    let results = cluster.select_json(module, &object, &path).await;
    let results = results.map_err(|error| {
        names::explain(error.into(), cluster, module, names::Kind::PState, &object)
    })?;
    let value = match amount {
        Amount::Any => Value::Array(results),
        Amount::One => one(results, &path)?,
    };
    json(StatusCode::OK, &shape.apply(value))
}

/// The only result (spec P-34).
pub(super) fn one(mut results: Vec<Value>, path: &Value) -> Result<Value, Refusal> {
    match results.len() {
        1 => Ok(results.remove(0)),
        count => {
            let detail = format!("the path {path} has {count} results, not one");
            Err(Refusal::new(Code::Rejected, detail).hint("select answers them all as a list"))
        }
    }
}

/// A path with its tagged scalars decoded; anything but a list is refused.
pub(super) fn checked(path: Value) -> Result<Value, Refusal> {
    if !path.is_array() {
        let detail = format!("could not read the path {path}: a path is a list");
        return Err(Refusal::new(Code::Invalid, detail).hint(format!("send {WANTED}")));
    }
    tagged::decode(path)
}
