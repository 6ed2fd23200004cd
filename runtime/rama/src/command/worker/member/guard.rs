//! What each role may ask of a worker.
//!
//! Relies on certificates: the role of a peer is proved when security is on. What must stay true: a
//! supervisor hands on what it has let in itself, so it may everything; a client may no more here
//! than there.

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
    let scopes = match role {
        Role::Operator | Role::Supervisor => Scope::ALL.to_vec(),
        Role::Client => vec![Scope::Read, Scope::Append],
        // Workers speak to each other in streams of their own, and conductors not at all.
        Role::Conductor | Role::Worker => Vec::new(),
    };
    Grant {
        who: format!("the role {role}"),
        scopes,
        module: None,
        process: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_no_more_at_a_worker_than_at_a_supervisor() {
        let may = |role| granted(role).scopes;
        assert_eq!(may(Role::Client), [Scope::Read, Scope::Append]);
        assert_eq!(may(Role::Supervisor), Scope::ALL);
        assert_eq!(may(Role::Operator), Scope::ALL);
        assert!(may(Role::Conductor).is_empty() && may(Role::Worker).is_empty());
    }
}
