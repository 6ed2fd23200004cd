//! Sockets: ports that are taken, and stopping.

use std::net::Ipv4Addr;

use super::*;
use crate::testing;

#[tokio::test]
async fn a_taken_port_is_shifted_to_the_next_free_one() {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let taken = bind(host, 0, 1).await.expect("any port");
    let port = taken.local_addr().expect("bound").port();
    let next = bind(host, port, 50).await.expect("another port");
    assert!(next.local_addr().expect("bound").port() > port);
    let error = bind(host, port, 1).await.expect_err("taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(
        error
            .to_string()
            .contains(&format!("ports {port} to {port} of 127.0.0.1"))
    );
}

#[tokio::test]
async fn a_stop_ends_live_streams_and_frees_the_port() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let cluster = testing::cluster().await;
    let server = testing::serve(&cluster, testing::limits()).await;
    let mut stream = tokio::net::TcpStream::connect(server.address())
        .await
        .expect("connected");
    let request = "POST /rest/Demo/pstate/counts/watch HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n[\"a\"]";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut seen = vec![0; 4096];
    let count = stream.read(&mut seen).await.expect("an answer");
    assert!(seen[..count].starts_with(b"HTTP/1.1 200"));
    let address = server.address();
    server.stop().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("an end");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
