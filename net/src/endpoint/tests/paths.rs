//! Networks that lose, repeat and swap datagrams, and networks that are cut.
//!
//! Relies on a relay between the endpoints, whose faults follow from a seed. How they fall on
//! datagrams depends on the machine; that every message arrives once and in order does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use rama_wire::session::{Role, StreamHeader};
use tokio::net::UdpSocket;

use super::echo;
use crate::testing::{ANY, World, on_tokio};
use crate::{Dial, Endpoint, Lost, StreamError};

/// The way between one client and a server.
#[derive(Clone)]
struct Relay {
    address: SocketAddr,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// Of a hundred datagrams, how many are lost, sent twice, and sent after the next: each.
    percent: u64,
    cut: AtomicBool,
    lost: AtomicU64,
}

impl Relay {
    async fn start(server: &Endpoint, percent: u64, seed: u64) -> Relay {
        println!("seed {seed:#x}");
        let front = UdpSocket::bind(ANY).await.unwrap();
        let back = UdpSocket::bind(ANY).await.unwrap();
        back.connect(server.local_address().unwrap()).await.unwrap();
        let faults = Arc::new(Faults {
            percent,
            ..Faults::default()
        });
        let address = front.local_addr().unwrap();
        tokio::spawn(run(front, back, faults.clone(), seed));
        Relay { address, faults }
    }
}

async fn run(front: UdpSocket, back: UdpSocket, faults: Arc<Faults>, seed: u64) {
    let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
    let (mut client, mut held, mut state) = (None, [None, None], seed);
    loop {
        let (way, datagram) = tokio::select! {
            Ok((len, from)) = front.recv_from(&mut there) => {
                client = Some(from);
                (0, there[..len].to_vec())
            }
            Ok(len) = back.recv(&mut here) => (1, here[..len].to_vec()),
        };
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let luck = state % 100;
        let mut out = Vec::new();
        if faults.cut.load(Ordering::Relaxed) || luck < faults.percent {
            faults.lost.fetch_add(1, Ordering::Relaxed);
            held[way] = None;
        } else if luck < 2 * faults.percent {
            out.extend([datagram.clone(), datagram]);
        } else if luck < 3 * faults.percent && held[way].is_none() {
            held[way] = Some(datagram);
        } else {
            out.push(datagram);
            out.extend(held[way].take());
        }
        for datagram in out {
            // A full socket loses it, as a network may.
            let _ = match (way, client) {
                (0, _) => back.send(&datagram).await,
                (_, Some(client)) => front.send_to(&datagram, client).await,
                (_, None) => continue,
            };
        }
    }
}

#[test]
fn messages_arrive_once_and_in_order_over_a_bad_network() {
    on_tokio(async {
        let world = World::new();
        let server = world.endpoint(Role::Conductor);
        tokio::spawn(echo(server.clone()));
        let relay = Relay::start(&server, 5, 0x5eed_0007).await;
        let client = world.endpoint(Role::Client);
        let dial = Dial::role(relay.address, Role::Conductor);
        let (sender, mut receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        let message = |n: usize| Bytes::from(vec![n as u8; (n * 7919) % 100_000]);
        let sending = tokio::spawn(async move {
            for n in 0..100 {
                sender.send(message(n)).await.unwrap();
            }
            sender.close().await
        });
        for n in 0..100 {
            let found = receiver.recv().await.unwrap().unwrap();
            assert!(found == message(n), "message {n}");
        }
        assert_eq!(receiver.recv().await, Ok(None));
        assert_eq!(sending.await.unwrap(), Ok(()));
        assert!(relay.faults.lost.load(Ordering::Relaxed) > 0);
    });
}

/// Both processes live and cannot hear each other.
#[test]
fn a_cut_is_noticed_at_both_ends_and_overcome_when_it_heals() {
    on_tokio(async {
        let world = World::new();
        let server = Endpoint::on_tokio(world.impatient(Role::Conductor)).unwrap();
        let relay = Relay::start(&server, 0, 1).await;
        let client = Endpoint::on_tokio(world.impatient(Role::Client)).unwrap();
        let dial = Dial::role(relay.address, Role::Conductor);
        let (_sender, mut receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        let mut accepted = server.accept().await.unwrap();
        relay.faults.cut.store(true, Ordering::Relaxed);
        let lost = StreamError::Lost(Lost::TimedOut);
        assert_eq!(receiver.recv().await, Err(lost.clone()));
        assert_eq!(accepted.receiver.recv().await, Err(lost));
        assert!(client.connect(&dial).await.is_err());
        relay.faults.cut.store(false, Ordering::Relaxed);
        let (sender, _receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        sender.send("again").await.unwrap();
        let mut accepted = server.accept().await.unwrap();
        assert_eq!(accepted.receiver.recv().await.unwrap().unwrap(), "again");
    });
}
