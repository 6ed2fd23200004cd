//! The walk: every path and every method of a daemon's router, by everyone who must not.
//!
//! Relies on axum's `Debug` of a router for the paths that it really has: a route that somebody added beside
//! the table is walked, too, and found.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use rama_api::{Access, Scope};
use rama_gateway::gate::{Door, Gate};
use rama_gateway::problem::{PROBLEM_JSON, Problem};
use rama_gateway::tokens::{Grant, TokenFile, Tokens};
use tower_service::Service as _;

use super::*;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// A router of which every handler says that it was reached.
fn reached(server: Server) -> Router {
    router(server, |_, filter| Some(on(filter, async || "reached")))
}

/// The paths that a router has.
fn paths(router: &Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    // What stands behind it answers all other paths.
    let text = text.split("fallback_router").next().unwrap_or_default();
    let quoted = text.split('"').skip(1).step_by(2);
    let paths = quoted.filter(|text| text.starts_with('/') && !text.contains("__private"));
    paths.map(str::to_owned).collect()
}

async fn status(router: &Router, method: &str, path: &str, token: Option<&str>) -> StatusCode {
    let request = Request::builder().method(method).uri(path);
    let request = match token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    };
    let request = request.body(Body::empty()).expect("a request");
    let answer = router.clone().call(request).await.expect("it answers");
    let (head, body) = answer.into_parts();
    let refused = head.status == StatusCode::UNAUTHORIZED || head.status == StatusCode::FORBIDDEN;
    let bytes = to_bytes(body, 1 << 20).await.expect("a body");
    if refused {
        assert_eq!(head.headers[header::CONTENT_TYPE], PROBLEM_JSON);
        if method != "HEAD" {
            let problem: Problem = serde_json::from_slice(&bytes).expect("a problem");
            assert!(!problem.hint.is_empty());
        }
    }
    head.status
}

/// A token for each scope, and a gate that knows them.
fn tokens(dir: &Path) -> (Vec<(Scope, String)>, Tokens) {
    let file = TokenFile::new(&dir.join("tokens.toml"));
    let made = Scope::ALL.map(|scope| {
        let made = file.create(scope.name(), &[scope], None, None);
        (scope, made.expect("a token").1)
    });
    (made.to_vec(), Tokens::open(file.path()).expect("tokens"))
}

/// What a router answers that it should not, walked with everyone who must not be answered.
async fn walk(server: Server, routes: Router) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let (made, tokens) = tokens(dir.path());
    let found = paths(&routes);
    let gated = Gate::new(server, Door::Tokens(tokens)).before(routes.clone());
    let shut = Gate::new(server, Door::Shut).before(routes);
    let mut wrong = Vec::new();
    for path in &found {
        for method in METHODS {
            let line = rama_api::endpoints::find(server, method, path);
            let access = line.map(|line| line.access);
            let url = path.replace(['{', '}', '*'], "");
            let mut must = async |router: &Router, token: Option<&str>, wanted: StatusCode| {
                let seen = status(router, method, &url, token).await;
                if seen != wanted {
                    wrong.push(format!("{method} {path} ({token:?}): {seen}, not {wanted}"));
                }
            };
            if access == Some(Access::Open) {
                must(&gated, None, StatusCode::OK).await;
                continue;
            }
            must(&gated, None, StatusCode::UNAUTHORIZED).await;
            must(&gated, Some("wrong"), StatusCode::UNAUTHORIZED).await;
            must(&shut, None, StatusCode::UNAUTHORIZED).await;
            for (scope, token) in &made {
                let wanted = match access {
                    None => StatusCode::METHOD_NOT_ALLOWED,
                    Some(access) => match access.scope() {
                        Some(wanted) if !scope.covers(wanted) => StatusCode::FORBIDDEN,
                        _ => StatusCode::OK,
                    },
                };
                must(&gated, Some(token), wanted).await;
            }
        }
    }
    wrong
}

#[tokio::test]
async fn no_route_answers_without_a_token_that_may() {
    for server in [Server::Conductor, Server::Supervisor] {
        let routes = reached(server);
        let listed = ENDPOINTS.iter().filter(|endpoint| endpoint.is_on(server));
        let listed: BTreeSet<String> = listed.map(|endpoint| endpoint.path.to_owned()).collect();
        assert_eq!(paths(&routes), listed, "{server:?}");
        assert_eq!(walk(server, routes).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_route_that_somebody_added_makes_the_walk_red() {
    let routes = reached(Server::Conductor);
    let routes = routes.merge(Router::new().route("/v1/secrets", get(async || "reached")));
    let wrong = walk(Server::Conductor, routes).await;
    assert!(
        wrong.iter().any(|line| line.contains("/v1/secrets")),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn who_was_not_introduced_gets_nothing_over_quic_but_health() {
    for server in [Server::Conductor, Server::Supervisor] {
        let routes = Gate::new(server, Door::Shut).before(reached(server));
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.is_on(server)) {
            let url = endpoint.path.replace(['{', '}'], "");
            let seen = status(&routes, endpoint.method, &url, None).await;
            let wanted = match endpoint.access {
                Access::Open => StatusCode::OK,
                _ => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(seen, wanted, "{} {}", endpoint.method, endpoint.path);
        }
    }
}

#[tokio::test]
async fn programs_are_for_operators_and_processes_of_the_cluster() {
    let grant = |scopes: &[Scope], process| Grant {
        who: "somebody".to_owned(),
        scopes: scopes.to_vec(),
        module: None,
        process,
    };
    let shut = Gate::new(Server::Conductor, Door::Shut).before(reached(Server::Conductor));
    for (grant, wanted) in [
        (grant(&[], true), 200),
        (grant(&[Scope::Operate], false), 200),
        (grant(&[Scope::Read, Scope::Append], false), 403),
    ] {
        let mut request = Request::get("/v1/artifacts/ab").body(Body::empty());
        let request = request.as_mut().expect("a request");
        request.extensions_mut().insert(Arc::new(()));
        request.extensions_mut().insert(grant.clone());
        let request = std::mem::take(request);
        let answer = shut.clone().call(request).await.expect("it answers");
        assert_eq!(answer.status().as_u16(), wanted, "{grant:?}");
    }
}
