//! Who may ask what over QUIC.
//!
//! Relies on certificates: the role of a peer is proved when security is on. What must stay true: a route
//! that is not listed is an operator's alone.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use rama_gateway::refusal::{Code, Refusal};
use rama_net::{Peer, Role};

/// The same routes, for those who may use them.
pub(super) fn by_role(routes: Router) -> Router {
    routes.layer(from_fn(check))
}

async fn check(request: Request, next: Next) -> Response {
    let role = request
        .extensions()
        .get::<Arc<Peer>>()
        .map(|peer| peer.role);
    let Some(role) = role else {
        return Refusal::new(Code::Rejected, "it is not known who asks").into_response();
    };
    let path = request.uri().path();
    if may(role, path, request.method() == axum::http::Method::GET) {
        return next.run(request).await;
    }
    let text = format!("a {role} may not ask for {path}");
    Refusal::new(Code::Rejected, text)
        .hint("`rama certs issue --role operator` makes a certificate that may")
        .into_response()
}

/// Whether a role may ask for a path.
fn may(role: Role, path: &str, reads: bool) -> bool {
    if role == Role::Operator {
        return true;
    }
    let data = path.starts_with("/rest/");
    let routes = reads && path.starts_with("/v1/modules/") && path.ends_with("/routes");
    let health = matches!(path, "/livez" | "/readyz");
    let programs = reads && path.starts_with("/v1/artifacts/");
    match role {
        Role::Client => data || routes || health,
        Role::Conductor | Role::Supervisor | Role::Worker => data || routes || health || programs,
        Role::Operator => true,
    }
}

/// What plain HTTP answers when certificates are on.
pub(super) async fn needs_certificate() -> Refusal {
    Refusal::new(
        Code::Rejected,
        "this cluster wants certificates: nothing but health is answered over plain HTTP",
    )
    .hint("use `rama` with [conductor] and [security] in rama.toml, which speaks QUIC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_gets_its_own_and_no_more() {
        let append = "/rest/M/depot/d/append";
        assert!(may(Role::Client, append, false));
        assert!(may(Role::Client, "/v1/modules/M/routes", true));
        for path in [
            "/v1/modules",
            "/v1/modules/M",
            "/v1/operations",
            "/v1/modules/M/options",
            "/v1/artifacts/ab",
            "/v1/workers/i/0/log",
        ] {
            assert!(!may(Role::Client, path, true), "{path}");
            assert!(may(Role::Operator, path, false), "{path}");
        }
        assert!(may(Role::Supervisor, "/v1/artifacts/ab", true));
        assert!(!may(Role::Supervisor, "/v1/artifacts/ab", false));
        assert!(!may(Role::Worker, "/v1/modules", false));
    }
}
