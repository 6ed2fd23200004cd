//! `GET|POST /rest/{module}/pstate/{pstate}/watch`: live values of a path as server-sent events.
//!
//! Relies on the cluster's watch, which keeps only the newest value for a slow reader. Each event
//! is `value` with a rising id and the whole value as JSON; the first one is the current value, so
//! a reader that reconnects (with or without `Last-Event-ID`, to the same server or to one that was
//! started again on its data) is up to date after one event, which also says how long to wait
//! before that. An `error` event carries a problem and ends the stream. What must stay true: no queue grows with
//! a slow reader, and every stream ends when the server stops.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::Value;

use super::select::{WANTED, checked, one};
use super::{Gateway, Shape, body};
use crate::metrics::Route;
use crate::names;
use crate::problem::Problem;
use crate::refusal::{Code, Refusal};

/// How long a reader waits before it comes back after a stream has ended.
pub(super) const RETRY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
pub(super) struct Parameters {
    path: Option<String>,
    int64: Option<String>,
}

impl Parameters {
    /// The path that the query has.
    pub(super) fn path(&self) -> Result<Value, Refusal> {
        let text = self.path.as_deref().ok_or_else(|| {
            Refusal::new(Code::Invalid, "could not follow: the query has no `path`")
                .hint(r#"add ?path=["key"], percent-encoded"#)
        })?;
        serde_json::from_str(text).map_err(|error| {
            let detail = format!("could not read the path {text}: {error}");
            Refusal::new(Code::Invalid, detail).hint(format!("send {WANTED}"))
        })
    }

    /// How numbers are written.
    pub(super) fn shape(self) -> Shape {
        let int64 = self.int64;
        Shape { int64 }
    }
}

pub(super) async fn get(
    State(gateway): State<Gateway>,
    Path((module, pstate)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
) -> Response {
    let path = parameters.path();
    start(gateway, &module, &pstate, parameters, path).await
}

pub(super) async fn post(
    State(gateway): State<Gateway>,
    Path((module, pstate)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    let path = body(bytes, WANTED);
    start(gateway, &module, &pstate, parameters, path).await
}

async fn start(
    gateway: Gateway,
    module: &str,
    pstate: &str,
    parameters: Parameters,
    path: Result<Value, Refusal>,
) -> Response {
    let started = Instant::now();
    let shape = parameters.shape();
    let response = match subscribe(&gateway, module, pstate, path) {
        Ok(changes) => {
            let beat = KeepAlive::new()
                .interval(gateway.limits.heartbeat)
                .text("alive");
            let events = events(changes, shape, gateway.stop.clone());
            Sse::new(events).keep_alive(beat).into_response()
        }
        Err(refusal) => refusal.into_response(),
    };
    gateway
        .metrics
        .observe(Route::Watch, response.status(), started.elapsed());
    response
}

fn subscribe(
    gateway: &Gateway,
    module: &str,
    pstate: &str,
    path: Result<Value, Refusal>,
) -> Result<impl Stream<Item = Result<Value, Refusal>> + Send + use<>, Refusal> {
    let path = checked(path?)?;
    let object = names::canonical(names::Kind::PState, pstate);
    let cluster = &gateway.cluster;
    let watch = cluster.watch_json(module, &object, &path);
    let watch = watch.map_err(|error| {
        names::explain(error.into(), cluster, module, names::Kind::PState, &object)
    })?;
    Ok(watch.map(move |results| one(results?, &path)))
}

fn events(
    changes: impl Stream<Item = Result<Value, Refusal>> + Send,
    shape: Shape,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let stopped = async move {
        // An error means that the server is gone, which is a stop too.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    async_stream::stream! {
        let changes = changes.take_until(Box::pin(stopped));
        futures_util::pin_mut!(changes);
        let mut id: u64 = 0;
        while let Some(change) = changes.next().await {
            id += 1;
            let mut event = Event::default().id(id.to_string());
            if id == 1 {
                event = event.retry(RETRY);
            }
            match change {
                Ok(value) => {
                    let text = shape.apply(value).to_string();
                    yield Ok(event.event("value").data(text));
                }
                Err(refusal) => {
                    let problem = Problem::from(refusal);
                    let text = serde_json::to_string(&problem).unwrap_or_default();
                    yield Ok(event.event("error").data(text));
                    return;
                }
            }
        }
    }
}
