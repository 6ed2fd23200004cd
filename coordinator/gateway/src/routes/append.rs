//! `POST /rest/{module}/depot/{depot}/append`: one record into a depot.
//!
//! Relies on the cluster for durability: nothing is answered before the level asked for is reached
//! (spec D-15). The body of the answer is the map of ack returns as in Rama (D-19); the position
//! is in two headers, so that clients of Rama are not disturbed by it.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::{Gateway, Shape, body, json};
use rama_runtime::AckLevel;

use crate::metrics::Route;
use crate::refusal::Refusal;
use crate::{names, tagged};

const WANTED: &str = r#"{"data": <record>, "ackLevel": "ack" | "appendAck" | "none"}"#;
const PARTITION: HeaderName = HeaderName::from_static("rama-partition");
const OFFSET: HeaderName = HeaderName::from_static("rama-offset");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    data: Value,
    #[serde(default, rename = "ackLevel", alias = "ack_level", alias = "ack")]
    ack_level: Level,
}

/// Ack levels by Rama's names, and ours.
#[derive(Clone, Copy, Default, Deserialize)]
enum Level {
    #[default]
    #[serde(rename = "ack")]
    Ack,
    #[serde(rename = "appendAck", alias = "append_ack", alias = "append-ack")]
    AppendAck,
    #[serde(rename = "none")]
    None,
}

impl From<Level> for AckLevel {
    fn from(level: Level) -> AckLevel {
        match level {
            Level::Ack => AckLevel::Ack,
            Level::AppendAck => AckLevel::AppendAck,
            Level::None => AckLevel::None,
        }
    }
}

pub(super) async fn append(
    State(gateway): State<Gateway>,
    Path((module, depot)): Path<(String, String)>,
    Query(shape): Query<Shape>,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    gateway
        .timed(Route::Append, one(&gateway, &module, &depot, &shape, bytes))
        .await
}

async fn one(
    gateway: &Gateway,
    module: &str,
    depot: &str,
    shape: &Shape,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let Body { data, ack_level } = body(bytes, WANTED)?;
    let data = tagged::decode(data)?;
    let object = names::canonical(names::Kind::Depot, depot);
    let cluster = &gateway.cluster;
    let sent = cluster.append_json(module, &object, &data, ack_level.into());
    let appended = sent.await.map_err(|error| {
        names::explain(error.into(), cluster, module, names::Kind::Depot, &object)
    })?;
    let returns = shape.apply(appended.returns.into_iter().collect());
    let mut response = json(StatusCode::OK, &returns)?;
    if let Some(offset) = appended.offset {
        let headers = response.headers_mut();
        headers.insert(PARTITION, HeaderValue::from(appended.partition));
        headers.insert(OFFSET, HeaderValue::from(offset));
    }
    Ok(response)
}
