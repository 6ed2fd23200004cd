//! Servers and clients over `rama-net`, on whichever executor the endpoint was made.
//!
//! Relies on one stream per task. The first message says whether the server counts or sends back.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select, try_join};
use rama_net::{Accepted, Dial, Endpoint, MessageReceiver, MessageSender, Role, StreamHeader};
use tokio::sync::oneshot;

use super::{Found, Outcome, Task};
use crate::report::histogram;

/// The server sends back.
const ECHO: &str = "echo";
/// The server counts, and tells how many at the end.
const COUNT: &str = "count";

pub(super) async fn serve(
    endpoint: Endpoint,
    address: mpsc::Sender<SocketAddr>,
    mut stopped: oneshot::Receiver<()>,
) -> Outcome<()> {
    address.send(endpoint.local_address()?)?;
    loop {
        let accepting = pin!(endpoint.accept());
        match select(accepting, &mut stopped).await {
            Either::Left((Some(accepted), _)) => {
                // A client that went away is the client's business.
                let _ = serve_stream(accepted).await;
            }
            _ => break,
        }
    }
    endpoint.close().await;
    Ok(())
}

async fn serve_stream(accepted: Accepted) -> Outcome<()> {
    let (sender, mut receiver) = (accepted.sender, accepted.receiver);
    let echo = receiver.recv().await?.is_some_and(|order| order == ECHO);
    let mut count = 0u64;
    while let Some(message) = receiver.recv().await? {
        count += 1;
        if echo {
            sender.send(message).await?;
        }
    }
    if !echo {
        sender.send(count.to_le_bytes().to_vec()).await?;
    }
    sender.close().await?;
    Ok(())
}

pub(super) async fn client(
    endpoint: Endpoint,
    address: SocketAddr,
    task: Task,
    turn: impl AsyncFn(),
) -> Outcome<Found> {
    let dial = Dial::role(address, Role::Worker);
    let (sender, receiver) = endpoint.open(&dial, &StreamHeader::Rpc).await?;
    let found = match task {
        Task::Flood { bytes, duration } => flood(sender, receiver, bytes, duration).await,
        Task::Ping {
            bytes,
            per_second,
            duration,
        } => {
            let total = (per_second * duration.as_secs_f64()) as u64;
            ping(sender, receiver, bytes, per_second, total, turn).await
        }
    };
    endpoint.close().await;
    found
}

async fn flood(
    sender: MessageSender,
    mut receiver: MessageReceiver,
    bytes: usize,
    duration: Duration,
) -> Outcome<Found> {
    sender.send(COUNT).await?;
    let message = bytes::Bytes::from(vec![b'.'; bytes]);
    let began = Instant::now();
    while began.elapsed() < duration {
        sender.send(message.clone()).await?;
    }
    sender.close().await?;
    let count = receiver.recv().await?.ok_or("no count came back")?;
    let count = u64::from_le_bytes(count[..].try_into()?);
    Ok((count, histogram()))
}

async fn ping(
    sender: MessageSender,
    mut receiver: MessageReceiver,
    bytes: usize,
    per_second: f64,
    total: u64,
    turn: impl AsyncFn(),
) -> Outcome<Found> {
    sender.send(ECHO).await?;
    let message = bytes::Bytes::from(vec![b'.'; bytes]);
    let start = Instant::now();
    let intended = |n: u64| start + Duration::from_secs_f64(n as f64 / per_second);
    let sending = async {
        for n in 0..total {
            while Instant::now() < intended(n) {
                turn().await;
            }
            sender.send(message.clone()).await?;
        }
        Outcome::Ok(())
    };
    let mut took = histogram();
    let receiving = async {
        for n in 0..total {
            receiver.recv().await?.ok_or("an answer is missing")?;
            took.saturating_record(intended(n).elapsed().as_nanos() as u64);
        }
        Outcome::Ok(())
    };
    try_join(pin!(sending), pin!(receiving)).await?;
    sender.close().await?;
    Ok((total, took))
}
