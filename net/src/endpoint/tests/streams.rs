//! Messages over streams on tokio: order, credit, large beside small, ends of all kinds.

use std::time::Duration;

use bytes::Bytes;
use rama_wire::session::{Role, StreamHeader};

use super::{echo, pair};
use crate::testing::{World, dial, on_tokio};
use crate::{Endpoint, Lost, MessageSender, StreamError, TrySendError};

#[test]
fn messages_of_all_sizes_come_back_in_order() {
    on_tokio(async {
        let world = World::new();
        let (server, client) = pair(&world);
        let dial = dial(&server, Role::Conductor);
        let (sender, mut receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        let message = |n: usize| Bytes::from(vec![n as u8; (n * 7919) % 200_000]);
        let sending = tokio::spawn(async move {
            for n in 0..300 {
                sender.send(message(n)).await.unwrap();
            }
            sender.close().await
        });
        for n in 0..300 {
            let found = receiver.recv().await.unwrap().unwrap();
            assert!(found == message(n), "message {n}");
        }
        assert_eq!(receiver.recv().await, Ok(None));
        assert_eq!(sending.await.unwrap(), Ok(()));
    });
}

/// A receiver that takes nothing: the sender is held back at its credit and its buffer, other
/// streams of the same connection are not, and nothing is lost when it goes on.
#[test]
fn a_slow_receiver_holds_back_its_own_stream_only() {
    on_tokio(async {
        let world = World::new();
        let server = world.endpoint(Role::Conductor);
        let client = world.endpoint(Role::Client);
        let dial = dial(&server, Role::Conductor);
        let (slow, _) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        slow.send("first").await.unwrap();
        let mut taken = server.accept().await.unwrap();
        let message = Bytes::from(vec![7; 50_000]);
        let limits = crate::Limits::default();
        let credit = limits.credit_window as usize;
        let bound = limits.send_buffer + credit + crate::CHUNK_BYTES_MAX;
        let mut sent = 0;
        // Until the credit is used up and there is no room, while another stream goes on.
        loop {
            match slow.try_send(message.clone()) {
                Ok(()) => sent += 1,
                Err(TrySendError::Full(back)) => {
                    assert_eq!(back, message);
                    if sent * message.len() >= credit {
                        break;
                    }
                    other_stream(&client, &server).await;
                }
                Err(TrySendError::Ended(error)) => panic!("{error}"),
            }
        }
        for _ in 0..20 {
            other_stream(&client, &server).await;
            sent += usize::from(slow.try_send(message.clone()).is_ok());
            let bytes = sent * message.len();
            assert!(bytes <= bound, "{bytes} bytes were taken");
        }
        assert_eq!(taken.receiver.recv().await.unwrap().unwrap(), "first");
        let closing = tokio::spawn(slow.close());
        for _ in 0..sent {
            assert_eq!(taken.receiver.recv().await.unwrap().unwrap(), message);
        }
        assert_eq!(taken.receiver.recv().await, Ok(None));
        assert_eq!(closing.await.unwrap(), Ok(()));
    });
}

async fn other_stream(client: &Endpoint, server: &Endpoint) {
    let dial = dial(server, Role::Conductor);
    let (sender, mut receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
    sender.send("quick").await.unwrap();
    let mut accepted = server.accept().await.unwrap();
    let message = accepted.receiver.recv().await.unwrap().unwrap();
    accepted.sender.send(message).await.unwrap();
    assert_eq!(receiver.recv().await.unwrap().unwrap(), "quick");
}

/// 32 MiB in one stream, which nobody takes until small messages went there and back in another.
#[test]
fn a_large_message_delays_no_other_stream() {
    on_tokio(async {
        let world = World::new();
        let server = world.endpoint(Role::Conductor);
        let client = world.endpoint(Role::Client);
        let dial = dial(&server, Role::Conductor);
        let (large, _) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        large.send(vec![1; 32 << 20]).await.unwrap();
        let mut taken = server.accept().await.unwrap();
        for _ in 0..100 {
            other_stream(&client, &server).await;
        }
        let message = taken.receiver.recv().await.unwrap().unwrap();
        assert_eq!(message.len(), 32 << 20);
    });
}

/// What a sender is told, once it is told something: the peer's word is still on its way when the
/// peer has spoken.
async fn told(sender: &MessageSender) -> StreamError {
    loop {
        match sender.send("more").await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => return error,
        }
    }
}

#[test]
fn a_message_above_the_limit_is_refused_here_and_there() {
    on_tokio(async {
        let world = World::new();
        let mut config = world.config(Role::Conductor);
        config.limits.message_bytes_max = 1000;
        let server = Endpoint::on_tokio(config).unwrap();
        let client = world.endpoint(Role::Client);
        let dial = dial(&server, Role::Conductor);
        let (sender, _receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        let limit = crate::Limits::default().message_bytes_max;
        let too_long = sender.send(vec![0; limit + 1]).await;
        let bytes = limit + 1;
        assert_eq!(too_long, Err(StreamError::TooLong { bytes, limit }));
        sender.send(vec![0; 1000]).await.unwrap();
        sender.send(vec![0; 1001]).await.unwrap();
        let mut accepted = server.accept().await.unwrap();
        assert_eq!(accepted.receiver.recv().await.unwrap().unwrap().len(), 1000);
        let bad = accepted.receiver.recv().await;
        assert!(matches!(bad, Err(StreamError::Bad(_))), "{bad:?}");
        assert_eq!(told(&sender).await, StreamError::Stopped);
        assert_eq!(sender.close().await, Err(StreamError::Stopped));
    });
}

#[test]
fn the_end_of_a_sender_is_told_as_what_it_was() {
    on_tokio(async {
        let world = World::new();
        let server = world.endpoint(Role::Conductor);
        let client = world.endpoint(Role::Client);
        let dial = dial(&server, Role::Conductor);
        let (dropped, _) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        dropped.send("last words").await.unwrap();
        drop(dropped);
        let mut accepted = server.accept().await.unwrap();
        let words = accepted.receiver.recv().await.unwrap().unwrap();
        assert_eq!(words, "last words");
        assert_eq!(accepted.receiver.recv().await, Ok(None));
        let (abandoned, _) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        let mut accepted = server.accept().await.unwrap();
        abandoned.abandon();
        let end = accepted.receiver.recv().await;
        assert_eq!(end, Err(StreamError::Abandoned));
        let (sender, _receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        drop(server.accept().await.unwrap().receiver);
        assert_eq!(told(&sender).await, StreamError::Stopped);
        assert_eq!(sender.close().await, Err(StreamError::Stopped));
    });
}

#[test]
fn an_orderly_close_is_told_to_the_peer_and_the_next_connection_is_new() {
    on_tokio(async {
        let world = World::new();
        let (server, client) = pair(&world);
        let dial = dial(&server, Role::Conductor);
        let (sender, mut receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        sender.send("a").await.unwrap();
        receiver.recv().await.unwrap();
        server.close().await;
        let lost = StreamError::Lost(Lost::ClosedByPeer);
        assert_eq!(receiver.recv().await, Err(lost.clone()));
        assert_eq!(sender.close().await, Err(lost));
        assert!(server.accept().await.is_none());
        assert!(client.connect(&dial).await.is_err());
    });
}

/// A peer that vanishes without a word is found by silence, well before three seconds by the
/// settings; the test itself waits for the event.
#[test]
fn a_dead_peer_is_found_by_silence() {
    let limits = crate::Limits::default();
    assert!(limits.keep_alive + limits.idle_timeout <= Duration::from_secs(3));
    let world = World::new();
    let (address, receiver) = std::sync::mpsc::channel();
    let (die, death) = tokio::sync::oneshot::channel::<()>();
    let config = world.impatient(Role::Conductor);
    let peer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Endpoint::on_tokio(config).unwrap();
            tokio::spawn(echo(server.clone()));
            address.send(server.local_address().unwrap()).unwrap();
            let _ = death.await;
            // Neither a close nor a drop ever runs: the peer is dead.
            std::mem::forget(server);
        });
        // The driver of the connections dies with the runtime; nothing can be sent any more.
        std::mem::forget(runtime);
    });
    on_tokio(async {
        let client = Endpoint::on_tokio(world.impatient(Role::Client)).unwrap();
        let dial = crate::Dial::role(receiver.recv().unwrap(), Role::Conductor);
        let (sender, mut receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        sender.send("a").await.unwrap();
        receiver.recv().await.unwrap();
        die.send(()).unwrap();
        let lost = StreamError::Lost(Lost::TimedOut);
        assert_eq!(receiver.recv().await, Err(lost.clone()));
        assert_eq!(sender.close().await, Err(lost));
    });
    peer.join().unwrap();
}

/// One dial for all who want the same address at the same time, whether it works or not.
#[test]
fn callers_at_the_same_time_share_a_connection_or_its_failure() {
    on_tokio(async {
        let world = World::new();
        let (server, client) = pair(&world);
        let good = dial(&server, Role::Conductor);
        let connecting = (0..20).map(|_| client.connect(&good));
        let open = futures_util::future::join_all(connecting).await;
        assert!(open.iter().all(Result::is_ok));
        assert_eq!(server.connection_count(), 1);
        let nobody = std::net::UdpSocket::bind(crate::testing::ANY).unwrap();
        let bad = crate::Dial::role(nobody.local_addr().unwrap(), Role::Conductor);
        let client = Endpoint::on_tokio(world.impatient(Role::Client)).unwrap();
        let connecting = (0..20).map(|_| client.connect(&bad));
        let failed = futures_util::future::join_all(connecting).await;
        let mut failures = failed
            .into_iter()
            .map(|failed| match failed.err().unwrap() {
                crate::NetError::Shared(failure) => failure,
                other => panic!("{other}"),
            });
        let first = failures.next().unwrap();
        assert!(failures.all(|failure| std::sync::Arc::ptr_eq(&failure, &first)));
    });
}

/// A sender that gives up is not held by a receiver that takes nothing.
#[test]
fn a_blocked_stream_can_be_abandoned() {
    on_tokio(async {
        let world = World::new();
        let server = world.endpoint(Role::Conductor);
        let client = world.endpoint(Role::Client);
        let dial = dial(&server, Role::Conductor);
        let (sender, _receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
        sender.send(vec![1; 32 << 20]).await.unwrap();
        let mut accepted = server.accept().await.unwrap();
        // The write is under way, and waits for credit.
        let waiting = tokio::spawn(async move {
            assert!(matches!(
                sender.try_send("more"),
                Err(TrySendError::Full(_))
            ));
            sender.abandon();
        });
        waiting.await.unwrap();
        let end = accepted.receiver.recv().await;
        assert_eq!(end, Err(StreamError::Abandoned));
    });
}

#[test]
fn an_address_where_nobody_listens_is_named() {
    on_tokio(async {
        let world = World::new();
        let socket = std::net::UdpSocket::bind(crate::testing::ANY).unwrap();
        let address = socket.local_addr().unwrap();
        let client = Endpoint::on_tokio(world.impatient(Role::Client)).unwrap();
        let dial = crate::Dial::role(address, Role::Conductor);
        let error = client.connect(&dial).await.err().unwrap().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    });
}
