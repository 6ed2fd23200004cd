//! Peers that hold a certificate and ask for too much, say nothing, or lie.
//!
//! Relies on quinn alone for such a peer, so that nothing of this crate keeps it in order.

use futures_util::poll;
use quinn::{ConnectionError, ReadToEndError};
use rama_wire::session::{Answer, Hello, PRELUDE_BYTES, Role, StreamHeader, Versions};
use rama_wire::session::{framed_header, greeting};
use uuid::Uuid;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use super::{echo, pair, round_trip};
use crate::testing::{ANY, World, dial, on_tokio};
use crate::{Endpoint, EndpointConfig};

/// A process that speaks QUIC with a certificate of the cluster, and nothing more.
struct Raw {
    quinn: quinn::Endpoint,
    client: quinn::ClientConfig,
}

impl Raw {
    fn new(config: &EndpointConfig) -> Raw {
        let tls = config.security.tls().unwrap();
        Raw {
            quinn: quinn::Endpoint::client(ANY).unwrap(),
            client: quinn::ClientConfig::new(tls.client),
        }
    }

    async fn connect(&self, to: SocketAddr) -> Result<quinn::Connection, ConnectionError> {
        let client = self.client.clone();
        self.quinn.connect_with(client, to, "rama").unwrap().await
    }

    /// A connection on which `greeting` was said, and what came back.
    async fn greet(
        &self,
        to: SocketAddr,
        greeting: &[u8],
    ) -> Result<(quinn::Connection, Vec<u8>), ReadToEndError> {
        let connection = self.connect(to).await.map_err(quinn::ReadError::from)?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(quinn::ReadError::from)?;
        // A peer that has heard enough stops listening.
        let _ = send.write_all(greeting).await;
        let _ = send.finish();
        let answer = recv.read_to_end(10_000).await?;
        Ok((connection, answer))
    }
}

fn hello(config: &EndpointConfig) -> Hello {
    config.hello()
}

fn said(answer: &[u8]) -> Answer {
    Answer::decode(&answer[PRELUDE_BYTES..]).unwrap()
}

/// A small generator, so that a seed is all a failure needs: xorshift.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

/// Random bytes, or some of `good` with flipped bits.
fn spoilt(good: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = good.to_vec();
    if next(state).is_multiple_of(3) {
        let len = next(state) % 100;
        bytes = (0..len).map(|_| next(state) as u8).collect();
    } else if next(state).is_multiple_of(2) {
        bytes.truncate(next(state) % good.len());
    }
    for _ in 0..next(state) % 3 {
        if !bytes.is_empty() {
            let at = next(state) % bytes.len();
            bytes[at] ^= 1 << (next(state) % 8);
        }
    }
    bytes
}

#[test]
fn a_name_that_the_certificate_does_not_give_is_refused() {
    on_tokio(async {
        let world = World::new();
        let (server, _) = pair(&world);
        let to = server.local_address().unwrap();
        let config = world.config(Role::Client);
        let raw = Raw::new(&config);
        let lies: [fn(&mut Hello); 2] = [
            |hello| hello.role = Role::Conductor,
            |hello| hello.node = Uuid::nil(),
        ];
        for lie in lies {
            let mut hello = hello(&config);
            lie(&mut hello);
            let greeting = greeting(Versions::OURS, &hello.encode());
            let (_, answer) = raw.greet(to, &greeting).await.unwrap();
            let Answer::Refused(text) = said(&answer) else {
                panic!("it was believed")
            };
            let named = format!("expected the client of node {}", config.node);
            assert!(text.contains(&named), "{text}");
        }
        let greeting = greeting(Versions::OURS, &hello(&config).encode());
        let (_, answer) = raw.greet(to, &greeting).await.unwrap();
        assert!(matches!(said(&answer), Answer::Welcome(_)));
    });
}

/// The server tells both versions too, to a peer that would not find out by itself.
#[test]
fn a_peer_of_another_version_is_told_both() {
    on_tokio(async {
        let world = World::new();
        let (server, _) = pair(&world);
        let config = world.config(Role::Client);
        let raw = Raw::new(&config);
        let future = greeting(Versions { min: 7, max: 9 }, b"of a layout yet unknown");
        let to = server.local_address().unwrap();
        let (_, answer) = raw.greet(to, &future).await.unwrap();
        let Answer::Refused(text) = said(&answer) else {
            panic!("it was let in")
        };
        assert!(
            text.contains("wire version 1") && text.contains("7 to 9"),
            "{text}"
        );
    });
}

/// Whatever is said in place of a greeting or a stream header is answered, and others are served.
#[test]
fn greetings_and_headers_that_are_none_are_refused() {
    let seed = 0x5eed_0006;
    println!("seed {seed:#x}");
    let mut state: u64 = seed;
    on_tokio(async {
        let world = World::new();
        let (server, client) = pair(&world);
        let to = server.local_address().unwrap();
        let config = world.config(Role::Client);
        let raw = Raw::new(&config);
        let good = greeting(Versions::OURS, &hello(&config).encode());
        let mut refused = 0;
        for _ in 0..100 {
            let bytes = spoilt(&good, &mut state);
            let answer = raw.greet(to, &bytes).await;
            let welcome = matches!(answer, Ok((_, answer))
                if matches!(said(&answer), Answer::Welcome(_)));
            refused += u32::from(!welcome);
        }
        assert!(refused > 50, "only {refused} were refused");
        let (connection, _) = raw.greet(to, &good).await.unwrap();
        let header = framed_header(&StreamHeader::Rpc);
        let mut refused = 0;
        for _ in 0..300 {
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            let bytes = spoilt(&header, &mut state);
            let _ = send.write_all(&bytes).await;
            let _ = send.finish();
            refused += u32::from(recv.read_to_end(10_000).await.is_err());
        }
        assert!(refused > 150, "only {refused} were refused");
        assert_eq!(round_trip(&client, &server, "on").await, "on");
    });
}

#[test]
fn a_peer_that_says_nothing_is_let_go() {
    on_tokio(async {
        let world = World::new();
        let mut config = world.config(Role::Conductor);
        config.limits.handshake_timeout = Duration::from_millis(300);
        let server = Endpoint::on_tokio(config).unwrap();
        let to = server.local_address().unwrap();
        let config = world.config(Role::Client);
        let raw = Raw::new(&config);
        let end = match raw.connect(to).await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        };
        assert_ne!(end, ConnectionError::TimedOut, "the server ends it");
        // Neither is a stream kept that never says what it is for.
        let good = greeting(Versions::OURS, &hello(&config).encode());
        let connection = loop {
            // A machine that stalls may be too late with its own greeting.
            if let Ok((connection, _)) = raw.greet(to, &good).await {
                break connection;
            }
        };
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&[9]).await.unwrap();
        assert!(recv.read_to_end(1).await.is_err());
        assert!(connection.close_reason().is_none());
    });
}

#[test]
fn connections_above_the_limit_are_refused_until_one_ends() {
    on_tokio(async {
        let world = World::new();
        let mut config = world.config(Role::Conductor);
        config.limits.connection_count_max = 2;
        let server = Endpoint::on_tokio(config).unwrap();
        tokio::spawn(echo(server.clone()));
        let clients = [(); 3].map(|()| world.endpoint(Role::Client));
        let dial = dial(&server, Role::Conductor);
        clients[0].connect(&dial).await.unwrap();
        clients[1].connect(&dial).await.unwrap();
        assert!(clients[2].connect(&dial).await.is_err());
        assert_eq!(server.connection_count(), 2);
        clients[0].close().await;
        while clients[2].connect(&dial).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn streams_above_the_limit_wait_for_one_to_end() {
    on_tokio(async {
        let world = World::new();
        let mut config = world.config(Role::Conductor);
        config.limits.stream_count_max = 2;
        let server = Endpoint::on_tokio(config).unwrap();
        tokio::spawn(echo(server.clone()));
        let client = world.endpoint(Role::Client);
        let connection = client.connect(&dial(&server, Role::Conductor)).await;
        let connection = connection.unwrap();
        let (first, mut answers) = connection.open(&StreamHeader::Rpc).await.unwrap();
        let (_second, _kept) = connection.open(&StreamHeader::Rpc).await.unwrap();
        let mut third = pin!(connection.open(&StreamHeader::Rpc));
        let early = poll!(third.as_mut()).map(|opened| opened.map(|_| ()));
        assert_eq!(early, std::task::Poll::Pending);
        first.close().await.unwrap();
        assert_eq!(answers.recv().await, Ok(None));
        assert!(third.await.is_ok());
    });
}
