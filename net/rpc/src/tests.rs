//! Requests over loopback: what arrives, what breaks off, what is refused.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension};
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, body::to_bytes};
use futures_util::StreamExt as _;
use rama_net::{Dial, Endpoint, EndpointConfig, Peer, Role, Security, StreamHeader};
use uuid::Uuid;

use super::*;

const CLUSTER: Uuid = Uuid::from_u128(7);

fn endpoint(role: Role) -> Endpoint {
    let bind = ([127, 0, 0, 1], 0).into();
    let security = Security::InsecureLoopback;
    let config = EndpointConfig::new(bind, security, CLUSTER, Uuid::new_v4(), role, 1);
    Endpoint::on_tokio(config).unwrap()
}

/// A body that never ends, or ends badly.
fn endless(fails: bool) -> Body {
    Body::from_stream(async_stream::stream! {
        yield Ok(bytes::Bytes::from_static(b"one"));
        if fails {
            yield Err(std::io::Error::other("torn"));
        }
        std::future::pending::<()>().await;
    })
}

fn router() -> Router {
    let echo = |body: bytes::Bytes| async move { body };
    let who = |Extension(peer): Extension<Arc<Peer>>| async move { peer.role.to_string() };
    let query = |axum::extract::RawQuery(query): axum::extract::RawQuery| async move {
        (
            StatusCode::IM_A_TEAPOT,
            [("x-query", query.unwrap_or_default())],
            "short",
        )
    };
    Router::new()
        .route("/echo", post(echo))
        .route("/who", get(who))
        .route("/query", get(query))
        .route("/endless", get(|| async { endless(false).into_response() }))
        .route("/torn", get(|| async { endless(true).into_response() }))
        .layer(DefaultBodyLimit::max(4 << 20))
}

/// A client, and where a server answers by [`router`].
fn pair() -> (Endpoint, Dial, Endpoint) {
    let (client, server) = (endpoint(Role::Client), endpoint(Role::Conductor));
    let dial = Dial::role(server.local_address().unwrap(), Role::Conductor);
    let accepts = server.clone();
    tokio::spawn(async move {
        while let Some(accepted) = accepts.accept().await {
            tokio::spawn(answer(accepted, router()));
        }
    });
    (client, dial, server)
}

fn get_request(target: &str) -> Request<Body> {
    Request::get(target).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_request_is_answered_with_status_headers_and_body() {
    let (client, dial, _server) = pair();
    let response = request(&client, &dial, get_request("/query?a=1&b=%20"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers()["x-query"], "a=1&b=%20");
    assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "short");
    let who = request(&client, &dial, get_request("/who")).await.unwrap();
    assert_eq!(to_bytes(who.into_body(), 100).await.unwrap(), "client");
    let missing = request(&client, &dial, get_request("/nothing"))
        .await
        .unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_of_many_pieces_arrives_whole_and_one_above_the_limit_is_refused() {
    let (client, dial, _server) = pair();
    let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let post = |body: Vec<u8>| Request::post("/echo").body(Body::from(body)).unwrap();
    let response = request(&client, &dial, post(body.clone())).await.unwrap();
    assert!(to_bytes(response.into_body(), 4 << 20).await.unwrap() == body);
    let response = request(&client, &dial, post(vec![0; 5 << 20]))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_answer_comes_piece_by_piece_and_never_looks_complete_when_it_breaks_off() {
    let (client, dial, server) = pair();
    // What was sent before it broke may be lost, the head with it; but it never ends well.
    if let Ok(torn) = request(&client, &dial, get_request("/torn")).await {
        let pieces: Vec<_> = torn.into_body().into_data_stream().collect().await;
        assert!(pieces.last().unwrap().is_err());
    }

    let live = request(&client, &dial, get_request("/endless"))
        .await
        .unwrap();
    let mut pieces = live.into_body().into_data_stream();
    assert_eq!(pieces.next().await.unwrap().unwrap(), "one");
    server.close().await;
    assert!(pieces.next().await.unwrap().is_err());
}

#[tokio::test]
async fn a_request_that_was_not_sent_is_told_apart() {
    let (client, dial, server) = pair();
    server.close().await;
    let error = request(&client, &dial, get_request("/who"))
        .await
        .unwrap_err();
    assert!(matches!(error, RpcError::NotSent(_)), "{error:?}");
    let (client, dial, _server) = pair();
    let body = Body::from_stream(futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"begun")),
        Err(std::io::Error::other("torn")),
    ]));
    let post = Request::post("/echo").body(body).unwrap();
    let error = request(&client, &dial, post).await.unwrap_err();
    assert!(matches!(error, RpcError::Body(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_its_reason() {
    let (client, dial, _server) = pair();
    for message in [
        b"{".to_vec(),
        br#"{"v":2,"method":"GET","target":"/","headers":[]}"#.to_vec(),
        br#"{"v":1,"method":"G T","target":"/","headers":[]}"#.to_vec(),
        br#"{"v":1,"method":"GET","target":"/ /","headers":[]}"#.to_vec(),
        br#"{"v":1,"method":"GET","target":"/","headers":[["a b","c"]]}"#.to_vec(),
        vec![b' '; HEAD_BYTES_MAX + 1],
    ] {
        let opened = client.open(&dial, &StreamHeader::Rpc).await;
        let (sender, mut receiver) = opened.unwrap();
        sender.send(message).await.unwrap();
        let head = receiver.recv().await.unwrap().unwrap();
        assert!(head.starts_with(br#"{"v":1,"status":400"#), "{head:?}");
        let body = receiver.recv().await.unwrap().unwrap();
        assert!(
            body.starts_with(b"could not read the request: "),
            "{body:?}"
        );
    }
}
