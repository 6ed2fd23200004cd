//! Routers of the daemons, made from the table of routes.
//!
//! Relies on `rama_api::endpoints` for paths, methods and who answers what. What must stay true: nothing is
//! added to a router but lines of the table, and every line of a daemon has a handler.

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use rama_api::endpoints::{ENDPOINTS, Endpoint, Id, Server};
use rama_gateway::refusal::{Code, Refusal};

use crate::openapi;

/// The router of a daemon: `handler` gives what answers a line, for the method of that line.
pub(crate) fn router(
    server: Server,
    handler: impl Fn(&Endpoint, MethodFilter) -> Option<MethodRouter>,
) -> Router {
    let mut router = Router::new();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.is_on(server)) {
        let method = Method::from_bytes(endpoint.method.as_bytes()).ok();
        let filter = method.and_then(|method| MethodFilter::try_from(method).ok());
        let filter = filter.expect("the table has methods of HTTP");
        let handler = common(server, endpoint.id).or_else(|| handler(endpoint, filter));
        let handler =
            handler.expect("each line of the table has a handler; a test builds them all");
        router = router.route(endpoint.path, handler);
    }
    router
        .fallback(async || Refusal::new(Code::NotFound, "could not find a route for this path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(Code::Method, "this path does not take this method")
        })
}

/// What all daemons answer alike.
fn common(server: Server, id: Id) -> Option<MethodRouter> {
    match id {
        Id::Live | Id::Ready => Some(get(async || "ok\n")),
        Id::OpenApi => Some(get(async move || axum::Json(openapi::document(server)))),
        _ => None,
    }
}

/// What plain HTTP answers where HTTPS is spoken: up or down, so that probes need no certificate.
pub(crate) fn without_tls() -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async || "ok\n"))
        .fallback(async || {
            Refusal::new(
                Code::Unauthorized,
                "this cluster wants certificates: nothing but health is answered over plain HTTP",
            )
            .hint(
                "use https:// with a token (`rama tokens create`), or `rama` with [conductor] and \
                 [security] in rama.toml, which speaks QUIC",
            )
        })
}

/// A handler for one method, with its state.
pub(crate) fn answered_by<H, T, S>(filter: MethodFilter, handler: H, state: S) -> MethodRouter
where
    H: axum::handler::Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    on(filter, handler).with_state(state)
}
