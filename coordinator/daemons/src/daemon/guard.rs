//! What each role may ask over QUIC.
//!
//! Relies on certificates: the role of a peer is proved when security is on. What must stay true: a role
//! that is not listed may nothing; what a route asks for is said in the table of routes.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use rama_api::Scope;
use rama_gateway::tokens::Grant;
use rama_net::{Peer, Role};

/// The same routes, told who asks.
pub(super) fn by_role(routes: Router) -> Router {
    routes.layer(from_fn(introduce))
}

async fn introduce(mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Arc<Peer>>();
    if let Some(grant) = peer.map(|peer| granted(peer.role)) {
        request.extensions_mut().insert(grant);
    }
    next.run(request).await
}

/// What a role may do.
fn granted(role: Role) -> Grant {
    let data = || vec![Scope::Read, Scope::Append];
    let (scopes, process) = match role {
        Role::Operator => (Scope::ALL.to_vec(), true),
        Role::Client => (data(), false),
        Role::Conductor | Role::Supervisor | Role::Worker => (data(), true),
    };
    let article = match role {
        Role::Operator => "an",
        _ => "a",
    };
    Grant {
        who: format!("{article} {role}"),
        scopes,
        module: None,
        process,
    }
}
