//! The HTTP interface over a real cluster: answers, names, errors, events.

mod proxies;

use std::net::SocketAddr;
use std::time::Duration;

use rama_runtime::InProcessCluster;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Limits;
use crate::server::Server;
use crate::testing;

const APPEND: &str = "/rest/Demo/depot/lines/append";

struct Seen {
    status: u16,
    headers: String,
    body: Value,
}

/// A server with what it serves.
struct Serving {
    cluster: InProcessCluster,
    server: Server,
}

async fn serve() -> Serving {
    serve_with(Limits {
        body_bytes_max: 1000,
        ..testing::limits()
    })
    .await
}

async fn serve_with(limits: Limits) -> Serving {
    let cluster = testing::cluster().await;
    let server = testing::serve(&cluster, limits).await;
    Serving { cluster, server }
}

impl Serving {
    async fn stop(self) {
        self.server.stop().await;
        self.cluster.shutdown().await.expect("a clean stop");
    }
}

async fn send(serving: &Serving, method: &str, path: &str, body: &str) -> Seen {
    send_to(serving.server.address(), method, path, body).await
}

async fn send_to(address: SocketAddr, method: &str, path: &str, body: &str) -> Seen {
    send_as(address, method, path, "accept: */*", body).await
}

async fn send_as(address: SocketAddr, method: &str, path: &str, header: &str, body: &str) -> Seen {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{header}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
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
    let serving = serve().await;
    let path = "/rest/Demo/depot/*lines/append";
    let seen = send(&serving, "POST", path, r#"{"data": "a b a"}"#).await;
    assert_eq!((seen.status, seen.body), (200, json!({"count": 3})));
    assert!(
        seen.headers.contains("rama-partition: 0\r\nrama-offset: 0"),
        "{}",
        seen.headers
    );
    let seen = send(&serving, "POST", path, r#"{"data": "big"}"#).await;
    assert_eq!(seen.body, json!({"count": 9_007_199_254_740_993_u64}));
    let path = "/rest/Demo/depot/*lines/append?int64=string";
    let seen = send(&serving, "POST", path, r#"{"data": "big"}"#).await;
    assert_eq!(seen.body, json!({"count": "9007199254740993"}));
    for level in ["appendAck", "append_ack", "none"] {
        let body = format!(r#"{{"data": "x", "ackLevel": "{level}"}}"#);
        let seen = send(&serving, "POST", APPEND, &body).await;
        assert_eq!((seen.status, seen.body), (200, json!({})), "{level}");
        assert_eq!(seen.headers.contains("rama-offset"), level != "none");
    }
    serving.stop().await;
}

async fn send_lines(serving: &Serving, path: &str, body: &str) -> Seen {
    let kind = "content-type: application/x-ndjson";
    send_as(serving.server.address(), "POST", path, kind, body).await
}

#[tokio::test]
async fn a_batch_is_answered_record_by_record_in_order() {
    let serving = serve().await;
    let body = r#"{"records": ["a b", "big"]}"#;
    let seen = send(&serving, "POST", APPEND, body).await;
    let good = |offset: u64, count: u64| json!({"partition": 0, "offset": offset, "returns": {"count": count}});
    let both = json!([good(0, 2), good(1, 9_007_199_254_740_993)]);
    assert_eq!((seen.status, seen.body), (200, both));
    // The first may fail with the second, when one batch of the topology has both.
    let seen = send(&serving, "POST", APPEND, r#"{"records": ["c", "poison"]}"#).await;
    assert_eq!(seen.status, 207, "{}", seen.body);
    assert_eq!(seen.body.as_array().map(Vec::len), Some(2));
    assert_eq!(seen.body[1]["problem"]["code"], json!("failed"));
    let body = r#"{"records": ["c", "poison"], "ackLevel": "appendAck"}"#;
    let seen = send(&serving, "POST", APPEND, body).await;
    let stored = |offset: u64| json!({"partition": 0, "offset": offset, "returns": {}});
    assert_eq!(
        (seen.status, seen.body),
        (200, json!([stored(4), stored(5)]))
    );
    let body = r#"{"records": ["d"], "ackLevel": "none"}"#;
    let seen = send(&serving, "POST", APPEND, body).await;
    assert_eq!(seen.body, json!([{"partition": 0, "returns": {}}]));
    let seen = send(&serving, "POST", APPEND, r#"{"records": []}"#).await;
    assert_eq!((seen.status, seen.body), (200, json!([])));
    serving.stop().await;
}

#[tokio::test]
async fn json_lines_are_answered_by_json_lines() {
    let serving = serve().await;
    let path = format!("{APPEND}?ackLevel=appendAck");
    let seen = send_lines(&serving, &path, "\"a\"\n\n\"b\"\r\n").await;
    let lines = "{\"partition\":0,\"offset\":0,\"returns\":{}}\n\
                 {\"partition\":0,\"offset\":1,\"returns\":{}}\n";
    assert_eq!((seen.status, seen.body), (200, json!(lines)));
    assert!(seen.headers.contains("content-type: application/x-ndjson"));
    let seen = send_lines(&serving, &path, "\"a\"\n\nb\n").await;
    assert_problem(&seen, 400, "invalid", false);
    let detail = seen.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("line 3"), "{detail}");
    serving.stop().await;
}

#[tokio::test]
async fn a_batch_with_an_impossible_record_is_refused_whole() {
    let serving = serve_with(Limits {
        body_bytes_max: 100_000,
        ..testing::limits()
    })
    .await;
    let many = format!(r#"{{"records": [{}""]}}"#, "\"\",".repeat(10_000));
    for (body, status, code) in [
        (r#"{"records": ["a", 1]}"#, 400, "invalid"),
        (r##"{"records": ["a", "#__Lx"]}"##, 400, "invalid"),
        (r#"{"records": ["a"], "data": "a"}"#, 400, "invalid"),
        (r#"{"ackLevel": "ack"}"#, 400, "invalid"),
        (&many, 413, "too_large"),
    ] {
        let seen = send(&serving, "POST", APPEND, body).await;
        assert_problem(&seen, status, code, false);
    }
    let seen = send(&serving, "POST", APPEND, r#"{"records": ["a", 1]}"#).await;
    let detail = seen.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("record 1 of the batch"), "{detail}");
    let seen = send(&serving, "POST", APPEND, r#"{"data": "a"}"#).await;
    assert!(seen.headers.contains("rama-offset: 0"), "it is the first");
    serving.stop().await;
}

#[tokio::test]
async fn names_work_with_and_without_prefix_and_percent_encoded() {
    let serving = serve().await;
    for depot in ["*lines", "lines", "%2Alines"] {
        let path = format!("/rest/Demo/depot/{depot}/append");
        assert_eq!(
            send(&serving, "POST", &path, r#"{"data": "w"}"#)
                .await
                .status,
            200,
            "{depot}"
        );
    }
    for pstate in ["$$counts", "counts", "%24%24counts"] {
        let path = format!("/rest/Demo/pstate/{pstate}/selectOne");
        let seen = send(&serving, "POST", &path, r#"["w"]"#).await;
        assert_eq!((seen.status, seen.body), (200, json!(3)), "{pstate}");
    }
    let seen = send(
        &serving,
        "POST",
        "/rest/Demo/pstate/counts/select",
        r#"["w"]"#,
    )
    .await;
    assert_eq!(seen.body, json!([3]));
    serving.stop().await;
}

#[tokio::test]
async fn unknown_names_list_what_exists() {
    let serving = serve().await;
    for (path, body, detail) in [
        (
            "/rest/Dmeo/depot/lines/append",
            r#"{"data": "x"}"#,
            "could not find module Dmeo; running: Demo",
        ),
        (
            "/rest/Demo/depot/line/append",
            r#"{"data": "x"}"#,
            "could not find depot *line in module Demo; it has: *lines, *closed",
        ),
        (
            "/rest/Demo/pstate/count/selectOne",
            r#"["x"]"#,
            "could not find PState $$count in module Demo; it has: $$counts, $$by_line",
        ),
        (
            "/rest/None/dead-letters/drop",
            "{}",
            "could not find module None; running: Demo",
        ),
        ("/nothing", "", "could not find a route for this path"),
    ] {
        let seen = send(&serving, "POST", path, body).await;
        assert_eq!(seen.status, 404, "{path}");
        assert_eq!(seen.body["detail"], json!(detail), "{path}");
        assert_eq!(seen.body["code"], json!("not_found"));
        assert!(
            seen.headers
                .contains("content-type: application/problem+json"),
            "{path}"
        );
    }
    serving.stop().await;
}

/// Every refusal is a problem+json with these members.
fn assert_problem(seen: &Seen, status: u16, code: &str, retryable: bool) {
    let body = &seen.body;
    assert_eq!(seen.status, status, "{body}");
    assert_eq!(body["code"], json!(code), "{body}");
    assert_eq!(body["retryable"], json!(retryable), "{body}");
    assert_eq!(body["status"], json!(status), "{body}");
    assert_eq!(body["type"], json!(format!("urn:rama:problem:{code}")));
    let hint = body["hint"].as_str().unwrap_or_default();
    assert!(!hint.is_empty(), "{body}");
    assert_eq!(seen.headers.contains("retry-after"), retryable, "{body}");
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_says_whether_to_repeat() {
    let serving = serve().await;
    let long = format!(r#"{{"data": "{}"}}"#, "x".repeat(2000));
    for (path, body, status, code) in [
        (APPEND, r#"{"data": "poison"}"#, 500, "failed"),
        (
            "/rest/Demo/depot/closed/append",
            r#"{"data": "x"}"#,
            409,
            "rejected",
        ),
        (APPEND, "", 400, "invalid"),
        (APPEND, r#"{"value": 1}"#, 400, "invalid"),
        (APPEND, r#"{"data": 1}"#, 400, "invalid"),
        (
            APPEND,
            r#"{"data": "x", "ackLevel": "maybe"}"#,
            400,
            "invalid",
        ),
        (APPEND, &long, 413, "too_large"),
        ("/rest/Demo/pstate/counts/select", r#""x""#, 400, "invalid"),
        // Spec operations 8.2: selectOne refuses 0 results.
        (
            "/rest/Demo/pstate/by_line/selectOne",
            r#"["x", ["all"]]"#,
            409,
            "rejected",
        ),
    ] {
        let seen = send(&serving, "POST", path, body).await;
        assert_problem(&seen, status, code, false);
    }
    assert_problem(
        &send(&serving, "GET", APPEND, "").await,
        405,
        "method",
        false,
    );
    let Serving { cluster, server } = serving;
    let address = server.address();
    cluster.shutdown().await.expect("a clean stop");
    let seen = send_to(address, "POST", APPEND, r#"{"data": "x"}"#).await;
    assert_problem(&seen, 503, "unavailable", true);
    let seen = send_to(address, "GET", "/readyz", "").await;
    assert_problem(&seen, 503, "unavailable", true);
    server.stop().await;
}

#[tokio::test]
async fn an_append_without_an_answer_in_time_may_have_happened() {
    let serving = serve_with(Limits {
        request_timeout: Duration::from_millis(300),
        ..testing::limits()
    })
    .await;
    let seen = send(&serving, "POST", APPEND, r#"{"data": "wait"}"#).await;
    assert_problem(&seen, 504, "unknown", false);
    testing::open_gate();
    serving.stop().await;
}

#[tokio::test]
async fn a_watch_starts_with_the_current_value_and_follows() {
    let serving = serve().await;
    send(
        &serving,
        "POST",
        "/rest/Demo/depot/lines/append",
        r#"{"data": "w w"}"#,
    )
    .await;
    let mut stream = TcpStream::connect(serving.server.address())
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
        &serving,
        "POST",
        "/rest/Demo/depot/lines/append",
        r#"{"data": "w"}"#,
    )
    .await;
    wait_for("id: 2").await;
    wait_for("data: 3").await;
    let seen = send(&serving, "GET", "/rest/Demo/pstate/counts/watch", "").await;
    assert_eq!(seen.status, 400);
    let seen = send(
        &serving,
        "GET",
        "/rest/Demo/pstate/by_line/watch?path=%5B%22x%22%2C%20%5B%22nonsense%22%5D%5D",
        "",
    );
    assert_eq!(seen.await.body["code"], json!("invalid"));
    serving.stop().await;
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_dropped_by_name_only() {
    let serving = serve().await;
    let path = |verb: &str| format!("/rest/Demo/dead-letters{verb}");
    for _ in 0..2 {
        let seen = send(&serving, "POST", APPEND, r#"{"data": "poison"}"#).await;
        assert_eq!(seen.status, 500);
    }
    let letters = async |count: usize| loop {
        // The append fails with the first attempt (D-20), the letter is written after it.
        let seen = send(&serving, "GET", &path(""), "").await;
        let letters = seen.body.as_array().cloned().unwrap_or_default();
        if letters.len() == count {
            return letters;
        }
    };
    let both = letters(2).await;
    assert_eq!(both[0]["data"], json!("poison"));
    let id = both[0]["id"].as_str().expect("an id").to_owned();
    for body in ["{}", &format!(r#"{{"ids": ["{id}"], "all": true}}"#), ""] {
        let seen = send(&serving, "POST", &path("/drop"), body).await;
        assert_eq!(seen.status, 400, "{body}");
    }
    let body = format!(r#"{{"ids": ["{id}"]}}"#);
    let seen = send(&serving, "POST", &path("/drop"), &body).await;
    assert_eq!((seen.status, seen.body), (200, json!({"count": 1})));
    let seen = send(&serving, "POST", &path("/replay"), r#"{"all": true}"#).await;
    assert_eq!((seen.status, seen.body), (200, json!({"count": 1})));
    // What is replayed fails again.
    assert_ne!(letters(1).await[0]["id"], both[1]["id"]);
    let seen = send(&serving, "POST", &path("/drop"), r#"{"all": true}"#).await;
    assert_eq!(seen.body, json!({"count": 1}));
    letters(0).await;
    serving.stop().await;
}

#[tokio::test]
async fn the_index_and_the_health_routes_answer() {
    let serving = serve().await;
    let seen = send(&serving, "GET", "/", "").await;
    assert_eq!(seen.body["modules"][0]["url"], json!("/rest/Demo"));
    let seen = send(&serving, "GET", "/rest/Demo", "").await;
    assert_eq!(seen.body["module"], json!("Demo"));
    let seen = send(&serving, "GET", "/rest/status", "").await;
    assert_eq!(seen.body["modules"][0]["depots"][0]["records"], json!(0));
    for path in ["/livez", "/readyz"] {
        assert_eq!(
            send(&serving, "GET", path, "").await.body,
            json!("ok\n"),
            "{path}"
        );
    }
    let seen = send(&serving, "GET", "/metrics", "").await;
    assert!(
        seen.headers
            .contains("content-type: application/openmetrics-text")
    );
    assert!(
        seen.body
            .as_str()
            .is_some_and(|text| text.ends_with("# EOF\n"))
    );
    serving.stop().await;
}
