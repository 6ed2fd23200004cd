//! `GET|POST /rest/{module}/pstate/{pstate}/proxy`: how the value at a path changes, as server-sent
//! events.
//!
//! Relies on the cluster's proxies, which give a slow reader a resync instead of a long queue.
//!
//! ```text
//! resync     the whole value: first, and whenever something may have been missed
//! diff       what a commit changed, as JSON with its kind (see `rama::Diff`)
//! destroyed  the module is gone; the stream ends
//! error      a problem; the stream ends
//! ```
//! An id is a count and the checksum of the value that the event leads to. A reader that comes back
//! with `Last-Event-ID`, to whatever server, gets a resync only if the value is another by now;
//! else a comment says so and what follows follows. What must stay true: no queue grows with a slow
//! reader, and every stream ends when the server stops.

use std::convert::Infallible;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};
use futures_util::{Stream, StreamExt};
use rama_runtime::{Change, Diff, Proxy, ProxyStatus};
use serde_json::Value;

use super::select::{WANTED, checked};
use super::watch::{Parameters, RETRY};
use super::{Gateway, Shape, body};
use crate::metrics::Route;
use crate::names;
use crate::problem::Problem;
use crate::refusal::{Code, Refusal};

type JsonProxy = Proxy<Value, Value, Value>;

pub(super) async fn get(
    State(gateway): State<Gateway>,
    Path(place): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let path = parameters.path();
    start(gateway, place, parameters.shape(), path, &headers).await
}

pub(super) async fn post(
    State(gateway): State<Gateway>,
    Path(place): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Response {
    let path = body(bytes, WANTED);
    start(gateway, place, parameters.shape(), path, &headers).await
}

async fn start(
    gateway: Gateway,
    (module, pstate): (String, String),
    shape: Shape,
    path: Result<Value, Refusal>,
    headers: &HeaderMap,
) -> Response {
    let started = Instant::now();
    let opened = open(&gateway, &module, &pstate, path);
    let opened = tokio::time::timeout(gateway.limits.request_timeout, opened);
    let opened = opened.await.unwrap_or_else(|_| {
        let detail = "the module did not tell the value in time";
        Err(Refusal::new(Code::Unavailable, detail))
    });
    let response = match opened {
        Ok(proxy) => {
            let beat = KeepAlive::new()
                .interval(gateway.limits.heartbeat)
                .text("alive");
            let events = events(proxy, shape, last_id(headers), gateway.stop.clone());
            Sse::new(events).keep_alive(beat).into_response()
        }
        Err(refusal) => refusal.into_response(),
    };
    gateway
        .metrics
        .observe(Route::Proxy, response.status(), started.elapsed());
    response
}

async fn open(
    gateway: &Gateway,
    module: &str,
    pstate: &str,
    path: Result<Value, Refusal>,
) -> Result<JsonProxy, Refusal> {
    let path = checked(path?)?;
    let object = names::canonical(names::Kind::PState, pstate);
    let cluster = &gateway.cluster;
    let proxy = cluster.proxy_json(module, &object, &path).await;
    proxy.map_err(|error| {
        names::explain(error.into(), cluster, module, names::Kind::PState, &object)
    })
}

/// The count and the checksum that a reader saw last; what makes no sense is as if it were not there.
fn last_id(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers.get("last-event-id")?.to_str().ok()?;
    let (count, checksum) = text.split_once('-')?;
    let count = count.parse().ok()?;
    Some((count, u64::from_str_radix(checksum, 16).ok()?))
}

fn events(
    mut proxy: JsonProxy,
    shape: Shape,
    last: Option<(u64, u64)>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let stopped = async move {
        // An error means that the server is gone, which is a stop too.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    async_stream::stream! {
        let mut stopped = Box::pin(stopped);
        let (mut count, known) = last.unzip();
        let mut known = known;
        let mut first = true;
        loop {
            let change = match select(StreamExt::next(&mut proxy), stopped.as_mut()).await {
                Either::Left((Some(change), _)) => change,
                Either::Left((None, _)) | Either::Right(_) => return,
            };
            let checksum = proxy.checksum();
            let same = change.diff == Diff::Resync && known.take() == Some(checksum);
            let event = if same {
                Event::default().comment("the value is the same")
            } else {
                let number = count.map_or(1, |count: u64| count.wrapping_add(1));
                count = Some(number);
                told(&proxy, change, &shape).id(format!("{number}-{checksum:016x}"))
            };
            yield Ok(if std::mem::take(&mut first) { event.retry(RETRY) } else { event });
        }
    }
    .boxed()
}

/// A change as an event.
fn told(proxy: &JsonProxy, change: Change<Value, Value, Value>, shape: &Shape) -> Event {
    let Change { new, diff, .. } = change;
    let json = |value| shape.apply(value).to_string();
    match diff {
        Diff::Resync => Event::default().event("resync").data(json((*new).clone())),
        Diff::Destroyed => Event::default().event("destroyed").data("null"),
        Diff::UngracefulTermination => {
            debug_assert_eq!(proxy.status(), ProxyStatus::TerminatedUngracefully);
            let why = proxy.error().unwrap_or_default();
            let problem = Problem::from(Refusal::new(Code::Unavailable, why));
            let text = serde_json::to_string(&problem).unwrap_or_default();
            Event::default().event("error").data(text)
        }
        diff => {
            let diff = serde_json::to_value(diff).unwrap_or_default();
            Event::default().event("diff").data(json(diff))
        }
    }
}
