//! Who is let in: by no token, by a wrong one, by one of another scope or module, by role.

use axum::body::to_bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use tower_service::Service as _;

use super::*;
use crate::problem::Problem;
use crate::tokens::TokenFile;

struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    problem: Option<Problem>,
}

async fn ask(router: &Router, request: Request) -> Seen {
    let answer = router.clone().call(request).await.expect("it answers");
    let (head, body) = answer.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.expect("a body");
    Seen {
        status: head.status,
        headers: head.headers,
        problem: serde_json::from_slice(&bytes).ok(),
    }
}

fn request(method: &str, path: &str, authorization: Option<&str>) -> Request {
    let request = Request::builder().method(method).uri(path);
    let request = match authorization {
        Some(text) => request.header(header::AUTHORIZATION, text),
        None => request,
    };
    request.body(Body::empty()).expect("a request")
}

/// Some lines of the table, and a path that has none.
fn routes() -> Router {
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/rest/{module}", get(async || "ok"))
        .route("/rest/{module}/depot/{depot}/append", post(async || "ok"))
        .route("/rest/status", get(async || "ok"))
        .route("/forgotten", get(async || "ok"))
        .fallback(async || StatusCode::NOT_FOUND)
}

struct Gated {
    router: Router,
    file: TokenFile,
    _dir: tempfile::TempDir,
}

fn gated() -> Gated {
    let dir = tempfile::tempdir().expect("a directory");
    let file = TokenFile::new(&dir.path().join("tokens.toml"));
    let tokens = Tokens::open(file.path()).expect("usable");
    let router = Gate::new(Server::Module, Door::Tokens(tokens)).before(routes());
    Gated {
        router,
        file,
        _dir: dir,
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_answered_but_health() {
    let gated = gated();
    let shut = Gate::new(Server::Module, Door::Shut).before(routes());
    for router in [&gated.router, &shut] {
        let health = ask(router, request("GET", "/livez", None)).await;
        assert_eq!(health.status, StatusCode::OK);
        for (method, path) in [
            ("GET", "/rest/M"),
            ("HEAD", "/rest/M"),
            ("POST", "/rest/M"),
            ("POST", "/rest/M/depot/d/append"),
            ("GET", "/rest/status"),
            ("GET", "/forgotten"),
            ("GET", "/nowhere"),
        ] {
            for shown in [
                None,
                Some("Basic abc"),
                Some("Bearer"),
                Some("Bearer wrong"),
            ] {
                let seen = ask(router, request(method, path, shown)).await;
                assert_eq!(seen.status, StatusCode::UNAUTHORIZED, "{method} {path}");
                let challenge = seen.headers[header::WWW_AUTHENTICATE].to_str();
                let challenge = challenge.expect("text");
                assert!(challenge.starts_with("Bearer realm="), "{challenge}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_say_in_its_module_alone() {
    let gated = gated();
    let made = |name: &str, scopes: &[Scope], module: Option<&str>| {
        let made = gated.file.create(name, scopes, module, None).expect("made");
        format!("Bearer {}", made.1)
    };
    let append = made("append", &[Scope::Append], None);
    let here = made("here", &[Scope::Read, Scope::Append], Some("a/b"));
    let operator = made("operator", &[Scope::Operate], None);
    let tokens = Tokens::open(gated.file.path()).expect("usable");
    let router = Gate::new(Server::Module, Door::Tokens(tokens)).before(routes());
    let status = async |method: &str, path: &str, token: &str| {
        let seen = ask(&router, request(method, path, Some(token))).await;
        seen.status.as_u16()
    };
    assert_eq!(status("POST", "/rest/M/depot/d/append", &append).await, 200);
    assert_eq!(status("GET", "/rest/M", &append).await, 403);
    assert_eq!(status("GET", "/rest/a%2Fb", &here).await, 200);
    assert_eq!(
        status("POST", "/rest/a%2Fb/depot/d/append", &here).await,
        200
    );
    assert_eq!(status("GET", "/rest/M", &here).await, 403);
    // `operate` contains `status`, and no data.
    assert_eq!(status("GET", "/rest/status", &operator).await, 200);
    assert_eq!(status("GET", "/rest/M", &operator).await, 403);
    // What does not exist is told to those who are known.
    assert_eq!(status("GET", "/nowhere", &append).await, 404);
    assert_eq!(status("DELETE", "/rest/M", &append).await, 405);

    let seen = ask(&router, request("GET", "/rest/M", Some(&append))).await;
    let challenge = &seen.headers[header::WWW_AUTHENTICATE];
    let wanted = r#"Bearer realm="rama", error="insufficient_scope", scope="read""#;
    assert_eq!(challenge, wanted);
    let problem = seen.problem.expect("problem+json");
    assert_eq!(problem.code, Code::Forbidden);
    let said = "token append may not ask for GET /rest/M: that needs the scope read";
    assert_eq!(problem.detail, said);
    let seen = ask(&router, request("GET", "/rest/M", Some(&here))).await;
    let detail = seen.problem.expect("problem+json").detail;
    assert_eq!(detail, "token here is for module a/b alone");
}

#[tokio::test]
async fn a_route_without_a_line_in_the_table_is_answered_to_nobody() {
    let open = Gate::new(Server::Module, Door::Open).before(routes());
    let seen = ask(&open, request("GET", "/rest/M", None)).await;
    assert_eq!(seen.status, StatusCode::OK);
    let seen = ask(&open, request("GET", "/forgotten", None)).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    let detail = seen.problem.expect("problem+json").detail;
    assert!(detail.contains("no scope is set for it"), "{detail}");
    // A line of another server is none here.
    let other = Gate::new(Server::Conductor, Door::Open).before(routes());
    let seen = ask(&other, request("GET", "/rest/status", None)).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_long_is_not_read() {
    let open = Gate::new(Server::Module, Door::Open).before(routes());
    let mut long = request("POST", "/rest/M/depot/d/append", None);
    let length = (endpoints::RECORDS_BYTES_MAX + 1).into();
    long.headers_mut().insert(header::CONTENT_LENGTH, length);
    let seen = ask(&open, long).await;
    assert_eq!(seen.status, StatusCode::PAYLOAD_TOO_LARGE);
    let problem = seen.problem.expect("problem+json");
    assert!(
        problem.hint.contains("at most 4194304 bytes"),
        "{}",
        problem.hint
    );
}

#[tokio::test]
async fn whoever_was_introduced_needs_no_token() {
    let shut = Gate::new(Server::Module, Door::Shut).before(routes());
    let grant = Grant {
        who: "a client".to_owned(),
        scopes: vec![Scope::Read],
        module: None,
        process: false,
    };
    let introduced = |method: &str, path: &str| {
        let mut request = request(method, path, None);
        request.extensions_mut().insert(grant.clone());
        request
    };
    let seen = ask(&shut, introduced("GET", "/rest/M")).await;
    assert_eq!(seen.status, StatusCode::OK);
    let seen = ask(&shut, introduced("POST", "/rest/M/depot/d/append")).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    let detail = seen.problem.expect("problem+json").detail;
    assert!(
        detail.starts_with("a client may not ask for POST"),
        "{detail}"
    );
}
