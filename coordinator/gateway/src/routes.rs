//! The HTTP interface: which path leads to which handler, and what every handler shares.
//!
//! Relies on the cluster's handle for the work and on `problem` for errors. Paths, bodies and answers are Rama's
//! (spec operations §8.2); watch, proxy, dead letters, describe and health are ours. What must stay true:
//! a request makes one hop to the cluster and no lock is held across it; every answer but SSE and
//! metrics is JSON; every error is a problem+json.
//!
//! Integers are JSON integers of up to 64 bits, exact on the wire. Readers that keep numbers as
//! doubles (JavaScript) lose digits beyond 2^53: `?int64=string` answers those as strings.

mod append;
pub mod dead_letters;
mod health;
mod index;
mod invoke;
mod proxy;
mod select;
#[cfg(test)]
mod tests;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use rama_runtime::Cluster;

use crate::bounded;
use crate::metrics::{HttpMetrics, Route};
use crate::refusal::{Code, Refusal};

/// Integers of a larger size are not exact as a double.
const DOUBLE_EXACT_MAX: u64 = 1 << 53;

/// What the routes share.
#[derive(Clone)]
pub struct Gateway {
    /// The cluster.
    pub cluster: Cluster,
    /// Counters of the HTTP side.
    pub metrics: Arc<HttpMetrics>,
    /// Bounds of one request.
    pub limits: Limits,
    /// Turns true when the server stops, so that live streams end.
    pub stop: tokio::sync::watch::Receiver<bool>,
}

/// Bounds of one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest request body.
    pub body_bytes_max: usize,
    /// After this a request is answered as not known or not now.
    pub request_timeout: Duration,
    /// A quiet watch sends a comment this often, so that dead connections are noticed.
    pub heartbeat: Duration,
}

/// Every route over `gateway`, without a gate before them.
pub fn router(gateway: Gateway) -> Router {
    let limit = gateway.limits.body_bytes_max;
    Router::new()
        .route("/", get(index::index))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/rest/status", get(health::status))
        .route("/rest/{module}", get(index::describe))
        .route("/rest/{module}/depot/{depot}/append", post(append::append))
        .route(
            "/rest/{module}/pstate/{pstate}/select",
            post(select::select),
        )
        .route(
            "/rest/{module}/pstate/{pstate}/selectOne",
            post(select::select_one),
        )
        .route("/rest/{module}/query/{query}/invoke", post(invoke::invoke))
        .route(
            "/rest/{module}/pstate/{pstate}/watch",
            get(watch::get).post(watch::post),
        )
        .route(
            "/rest/{module}/pstate/{pstate}/proxy",
            get(proxy::get).post(proxy::post),
        )
        .route("/rest/{module}/dead-letters", get(dead_letters::list))
        .route(
            "/rest/{module}/dead-letters/replay",
            post(dead_letters::replay),
        )
        .route("/rest/{module}/dead-letters/drop", post(dead_letters::drop))
        .fallback(async || Refusal::new(Code::NotFound, "could not find a route for this path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(Code::Method, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(limit))
        .with_state(gateway)
}

impl Gateway {
    /// Runs one request with a bound in time, and counts it.
    async fn timed(
        &self,
        route: Route,
        work: impl Future<Output = Result<Response, Refusal>>,
    ) -> Response {
        let started = Instant::now();
        let outcome = match tokio::time::timeout(self.limits.request_timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.late(route)),
        };
        let response = outcome.unwrap_or_else(Refusal::into_response);
        self.metrics
            .observe(route, response.status(), started.elapsed());
        response
    }

    fn late(&self, route: Route) -> Refusal {
        let code = if route.changes_state() {
            Code::Unknown
        } else {
            Code::Unavailable
        };
        let ms = self.limits.request_timeout.as_millis();
        Refusal::new(code, format!("no answer from the cluster within {ms} ms"))
    }
}

/// How an answer's numbers are written.
#[derive(Debug, Default, Deserialize)]
struct Shape {
    int64: Option<String>,
}

impl Shape {
    fn apply(&self, mut value: Value) -> Value {
        if self.int64.as_deref() == Some("string") {
            large_integers_to_text(&mut value);
        }
        value
    }
}

fn large_integers_to_text(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let size = match (number.as_u64(), number.as_i64()) {
                (Some(size), _) => size,
                (None, Some(negative)) => negative.unsigned_abs(),
                (None, None) => return,
            };
            if size > DOUBLE_EXACT_MAX {
                *value = Value::String(number.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(large_integers_to_text),
        Value::Object(fields) => fields.values_mut().for_each(large_integers_to_text),
        _ => {}
    }
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Result<Response, Refusal> {
    let bytes = serde_json::to_vec(body)
        .map_err(|error| Refusal::new(Code::Invalid, format!("could not write JSON: {error}")))?;
    let mut response = (status, bytes).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// The bytes of the body.
fn whole(bytes: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    bytes.map_err(|rejection| {
        if let Some(bounds) = bounded::broken(&rejection) {
            return bounds.into();
        }
        let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Code::TooLarge
        } else {
            Code::Invalid
        };
        let why = rejection.body_text();
        Refusal::new(code, format!("could not read the request body: {why}"))
    })
}

/// The body, whatever its declared content type (Rama's examples send text/plain).
fn body<T: DeserializeOwned>(
    bytes: Result<Bytes, BytesRejection>,
    wanted: &str,
) -> Result<T, Refusal> {
    serde_json::from_slice(&whole(bytes)?).map_err(|error| {
        Refusal::new(
            Code::Invalid,
            format!("could not read the request body: {error}"),
        )
        .hint(format!("send {wanted}"))
    })
}
