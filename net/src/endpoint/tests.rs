//! Endpoints on tokio: who may connect, what is refused, what survives a rotation, who is dead.

mod hostile;
mod paths;
mod security;
mod streams;

use bytes::Bytes;
use rama_wire::session::{Role, StreamHeader};

use crate::testing::{World, dial};
use crate::{Accepted, Endpoint};

/// Answers every message of every stream with itself until the endpoint is closed.
pub(crate) async fn echo(endpoint: Endpoint) {
    while let Some(accepted) = endpoint.accept().await {
        tokio::spawn(echo_stream(accepted));
    }
}

async fn echo_stream(mut accepted: Accepted) {
    while let Ok(Some(message)) = accepted.receiver.recv().await {
        if accepted.sender.send(message).await.is_err() {
            return;
        }
    }
}

/// A server that echoes and a client of it, of one cluster.
pub(super) fn pair(world: &World) -> (Endpoint, Endpoint) {
    let server = world.endpoint(Role::Conductor);
    tokio::spawn(echo(server.clone()));
    (server, world.endpoint(Role::Client))
}

/// One message there and back over a stream of its own.
pub(super) async fn round_trip(client: &Endpoint, server: &Endpoint, text: &str) -> String {
    let dial = dial(server, Role::Conductor);
    let (sender, mut receiver) = client.open(&dial, &StreamHeader::Rpc).await.unwrap();
    sender.send(Bytes::from(text.to_owned())).await.unwrap();
    let answer = receiver.recv().await.unwrap().unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}
