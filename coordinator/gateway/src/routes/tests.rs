//! The HTTP interface over the fake cluster: answers, names, errors, events.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Limits;
use crate::backend::fake::Fake;
use crate::config::Config;
use crate::server::{Server, bind};

struct Seen {
    status: u16,
    headers: String,
    body: Value,
}

async fn serve() -> Server {
    let limits = Limits {
        body_bytes_max: 1000,
        ..Config::default().http.limits()
    };
    let listener = bind(IpAddr::V4(Ipv4Addr::LOCALHOST), 0, 1)
        .await
        .expect("a port");
    Server::start(listener, Arc::new(Fake::default()), limits).expect("serving")
}

async fn send(server: &Server, method: &str, path: &str, body: &str) -> Seen {
    let mut stream = TcpStream::connect(server.address())
        .await
        .expect("connected");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let (headers, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = headers[9..12].parse().expect("a status");
    let body = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
    Seen {
        status,
        headers: headers.to_lowercase(),
        body,
    }
}

#[tokio::test]
async fn an_append_answers_ack_returns_and_tells_the_position_in_headers() {
    let server = serve().await;
    let path = "/rest/Demo/depot/*lines/append";
    let seen = send(&server, "POST", path, r#"{"data": "a b a"}"#).await;
    assert_eq!(
        (seen.status, seen.body),
        (200, json!({"count": 9_007_199_254_740_993_u64}))
    );
    assert!(
        seen.headers
            .contains("rama-partition: 0\r\nrama-offset: 41"),
        "{}",
        seen.headers
    );
    let path = "/rest/Demo/depot/*lines/append?int64=string";
    let seen = send(&server, "POST", path, r#"{"data": "a"}"#).await;
    assert_eq!(seen.body, json!({"count": "9007199254740993"}));
    for level in ["appendAck", "append_ack", "none"] {
        let body = format!(r#"{{"data": "x", "ackLevel": "{level}"}}"#);
        let seen = send(&server, "POST", "/rest/Demo/depot/lines/append", &body).await;
        assert_eq!((seen.status, seen.body), (200, json!({})), "{level}");
        assert_eq!(seen.headers.contains("rama-offset"), level != "none");
    }
    server.stop().await;
}

#[tokio::test]
async fn names_work_with_and_without_prefix_and_percent_encoded() {
    let server = serve().await;
    for depot in ["*lines", "lines", "%2Alines"] {
        let path = format!("/rest/Demo/depot/{depot}/append");
        assert_eq!(
            send(&server, "POST", &path, r#"{"data": "w"}"#)
                .await
                .status,
            200,
            "{depot}"
        );
    }
    for pstate in ["$$counts", "counts", "%24%24counts"] {
        let path = format!("/rest/Demo/pstate/{pstate}/selectOne");
        let seen = send(&server, "POST", &path, r#"["w"]"#).await;
        assert_eq!((seen.status, seen.body), (200, json!(3)), "{pstate}");
    }
    let seen = send(
        &server,
        "POST",
        "/rest/Demo/pstate/counts/select",
        r#"["w"]"#,
    )
    .await;
    assert_eq!(seen.body, json!([3]));
    server.stop().await;
}

#[tokio::test]
async fn unknown_names_list_what_exists() {
    let server = serve().await;
    for (path, body, detail) in [
        (
            "/rest/Dmeo/depot/lines/append",
            r#"{"data": "x"}"#,
            "could not find module Dmeo; running: Demo",
        ),
        (
            "/rest/Demo/depot/line/append",
            r#"{"data": "x"}"#,
            "could not find depot *line in module Demo; it has: *lines",
        ),
        (
            "/rest/Demo/pstate/count/selectOne",
            r#"["x"]"#,
            "could not find PState $$count in module Demo; it has: $$counts, $$total",
        ),
        (
            "/rest/None/dead-letters/drop",
            "{}",
            "could not find module None; running: Demo",
        ),
        ("/nothing", "", "could not find a route for this path"),
    ] {
        let seen = send(&server, "POST", path, body).await;
        assert_eq!(seen.status, 404, "{path}");
        assert_eq!(seen.body["detail"], json!(detail), "{path}");
        assert_eq!(seen.body["code"], json!("not_found"));
        assert!(
            seen.headers
                .contains("content-type: application/problem+json"),
            "{path}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_says_whether_to_repeat() {
    let server = serve().await;
    let check = async |body: &str, status: u16, code: &str, retryable: bool| {
        let seen = send(&server, "POST", "/rest/Demo/depot/lines/append", body).await;
        assert_eq!(seen.status, status, "{body}");
        assert_eq!(seen.body["code"], json!(code), "{body}");
        assert_eq!(seen.body["retryable"], json!(retryable), "{body}");
        assert_eq!(seen.body["status"], json!(status), "{body}");
        assert_eq!(
            seen.body["type"],
            json!(format!("urn:rama:problem:{code}")),
            "{body}"
        );
        assert!(
            seen.body["hint"]
                .as_str()
                .is_some_and(|hint| !hint.is_empty()),
            "{body}"
        );
        assert_eq!(seen.headers.contains("retry-after"), retryable, "{body}");
    };
    for (code, status, retryable) in [
        ("unavailable", 503, true),
        ("unknown", 504, false),
        ("failed", 500, false),
        ("invalid", 400, false),
        ("rejected", 409, false),
        ("fenced", 503, true),
        ("corrupt", 500, false),
        ("storage", 507, false),
        ("closed", 503, true),
    ] {
        check(
            &format!(r#"{{"data": "fail:{code}"}}"#),
            status,
            code,
            retryable,
        )
        .await;
    }
    check("", 400, "invalid", false).await;
    check(r#"{"value": 1}"#, 400, "invalid", false).await;
    check(r#"{"data": 1}"#, 400, "invalid", false).await;
    check(
        r#"{"data": "x", "ackLevel": "maybe"}"#,
        400,
        "invalid",
        false,
    )
    .await;
    check(
        &format!(r#"{{"data": "{}"}}"#, "x".repeat(2000)),
        413,
        "too_large",
        false,
    )
    .await;
    let seen = send(&server, "GET", "/rest/Demo/depot/lines/append", "").await;
    assert_eq!((seen.status, &seen.body["code"]), (405, &json!("method")));
    let seen = send(&server, "POST", "/rest/Demo/pstate/counts/select", r#""x""#).await;
    assert_eq!((seen.status, &seen.body["code"]), (400, &json!("invalid")));
    let seen = send(
        &server,
        "POST",
        "/rest/Demo/pstate/counts/selectOne",
        r#"[["all"]]"#,
    )
    .await;
    assert_eq!(seen.status, 409, "spec 8.2: selectOne refuses 0 results");
    server.stop().await;
}

#[tokio::test]
async fn a_watch_starts_with_the_current_value_and_follows() {
    let server = serve().await;
    send(
        &server,
        "POST",
        "/rest/Demo/depot/lines/append",
        r#"{"data": "w w"}"#,
    )
    .await;
    let mut stream = TcpStream::connect(server.address())
        .await
        .expect("connected");
    let request =
        "GET /rest/Demo/pstate/$$counts/watch?path=%5B%22w%22%5D HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut lines = BufReader::new(stream).lines();
    let mut wait_for = async |wanted: &str| {
        while let Some(line) = lines.next_line().await.expect("readable") {
            if line == wanted {
                return;
            }
        }
        panic!("the stream ended before {wanted}");
    };
    wait_for("content-type: text/event-stream").await;
    wait_for("id: 1").await;
    wait_for("event: value").await;
    wait_for("data: 2").await;
    send(
        &server,
        "POST",
        "/rest/Demo/depot/lines/append",
        r#"{"data": "w"}"#,
    )
    .await;
    wait_for("id: 2").await;
    wait_for(r#"data: {"key":"w","version":2}"#).await;
    let seen = send(&server, "GET", "/rest/Demo/pstate/counts/watch", "").await;
    assert_eq!(seen.status, 400);
    let seen = send(
        &server,
        "GET",
        "/rest/Demo/pstate/counts/watch?path=%5B%22fail:closed%22%5D",
        "",
    );
    assert_eq!(seen.await.body["code"], json!("closed"));
    server.stop().await;
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_dropped_by_name_only() {
    let server = serve().await;
    let seen = send(&server, "GET", "/rest/Demo/dead-letters", "").await;
    assert_eq!((seen.status, &seen.body[0]["id"]), (200, &json!("0-7")));
    for body in ["{}", r#"{"ids": ["0-7"], "all": true}"#, ""] {
        let seen = send(&server, "POST", "/rest/Demo/dead-letters/drop", body).await;
        assert_eq!(seen.status, 400, "{body}");
    }
    let body = r#"{"ids": ["0-7", "9-9"]}"#;
    let seen = send(&server, "POST", "/rest/Demo/dead-letters/replay", body).await;
    assert_eq!((seen.status, seen.body), (200, json!({"count": 1})));
    let seen = send(
        &server,
        "POST",
        "/rest/Demo/dead-letters/drop",
        r#"{"all": true}"#,
    )
    .await;
    assert_eq!(seen.body, json!({"count": 0}));
    server.stop().await;
}

#[tokio::test]
async fn the_index_and_the_health_routes_answer() {
    let server = serve().await;
    let seen = send(&server, "GET", "/", "").await;
    assert_eq!(seen.body["modules"][0]["url"], json!("/rest/Demo"));
    let seen = send(&server, "GET", "/rest/Demo", "").await;
    assert_eq!(seen.body["module"], json!("Demo"));
    let seen = send(&server, "GET", "/rest/status", "").await;
    assert_eq!(seen.body["modules"][0]["depots"][0]["records"], json!(42));
    for path in ["/livez", "/readyz"] {
        assert_eq!(
            send(&server, "GET", path, "").await.body,
            json!("ok\n"),
            "{path}"
        );
    }
    let seen = send(&server, "GET", "/metrics", "").await;
    assert!(
        seen.headers
            .contains("content-type: application/openmetrics-text")
    );
    assert!(
        seen.body
            .as_str()
            .is_some_and(|text| text.ends_with("# EOF\n"))
    );
    server.stop().await;
}
