//! `/livez`, `/readyz`, `/metrics` and `/rest/status`: how the server is doing.
//!
//! Relies on `metrics`. Health answers carry reasons but no data, so that they may stand open to
//! a load balancer.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Gateway, json};
use crate::metrics::{OPEN_METRICS, Route};
use crate::refusal::{Code, Refusal};

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(gateway): State<Gateway>) -> Response {
    if *gateway.stop.borrow() {
        return Refusal::new(Code::Unavailable, "the server is stopping").into_response();
    }
    let status = gateway.cluster.status();
    let down = status
        .modules
        .iter()
        .find(|module| module.state != "running");
    match down {
        None => "ok\n".into_response(),
        Some(module) => {
            let reason = format!("module {} is {}", module.name, module.state);
            Refusal::new(Code::Unavailable, reason).into_response()
        }
    }
}

pub(super) async fn metrics(State(gateway): State<Gateway>) -> Response {
    let work = async {
        let status = gateway.cluster.status();
        let text = gateway.metrics.render(&status);
        let mut response = (StatusCode::OK, text).into_response();
        let kind = HeaderValue::from_static(OPEN_METRICS);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(response)
    };
    gateway.timed(Route::Metrics, work).await
}

pub(super) async fn status(State(gateway): State<Gateway>) -> Response {
    let work = async { json(StatusCode::OK, &gateway.cluster.status()) };
    gateway.timed(Route::Status, work).await
}
