//! Connections and streams that peers open.
//!
//! Relies on `greeting`. What must stay true: above the limits nothing is kept of a peer; one that
//! is slow or silent delays itself alone; a stream of a role that may not open it, or of another
//! incarnation of either process, is refused before anyone sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};
use quinn::{Incoming, RecvStream, SendStream, VarInt};
use rama_wire::session::{StreamHeader, header_length};
use tokio::sync::mpsc;

use super::{Accepted, Context, Peer, connection, greeting};
use crate::certificates;
use crate::error::{NetError, code};
use crate::stream::{MessageReceiver, MessageSender};

/// The longest a timer is set for.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How many of something there are.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct Counted(Count);

impl Count {
    fn one_more(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections until the endpoint is closed.
pub(super) async fn run(
    endpoint: quinn::Endpoint,
    context: Arc<Context>,
    accepted: mpsc::Sender<Accepted>,
) {
    let (connections, handshakes) = (Count::default(), Count::default());
    while let Some(incoming) = endpoint.accept().await {
        let limits = &context.config.limits;
        if connections.now() >= limits.connection_count_max {
            tracing::warn!(peer = %incoming.remote_address(), "too many connections");
            incoming.refuse();
            continue;
        }
        let busy = handshakes.now() >= limits.handshake_count_max;
        if busy && !incoming.remote_address_validated() {
            // Whoever sends from a false address never gets this far again.
            let _ = incoming.retry();
            continue;
        }
        let counted = (connections.one_more(), handshakes.one_more());
        let serving = serve(incoming, context.clone(), accepted.clone(), counted);
        context.runtime.spawn(serving);
    }
}

async fn serve(
    incoming: Incoming,
    context: Arc<Context>,
    accepted: mpsc::Sender<Accepted>,
    (_connection, handshake): (Counted, Counted),
) {
    let address = incoming.remote_address();
    let limit = context.config.limits.handshake_timeout;
    let Ok(mut connecting) = incoming.accept() else {
        return;
    };
    let shaken = async {
        let connection = (&mut connecting).await;
        let connection = connection.map_err(|cause| NetError::from_connection(address, cause))?;
        match greeting::answer(&connection, &context).await {
            Ok(peer) => Ok((connection, peer)),
            Err(error) => {
                connection.close(code::REFUSED, b"the greeting was refused");
                Err(error)
            }
        }
    };
    let (connection, peer) = match context.runtime.within(limit, shaken).await {
        Some(Ok(shaken)) => shaken,
        Some(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            return tracing::warn!(peer = %address, error, "connection refused");
        }
        None => return tracing::warn!(peer = %address, "no greeting in time"),
    };
    drop(handshake);
    let streams = streams(&connection, Arc::new(peer), &context, &accepted);
    let expiry = context.runtime.sleep(time_left(&connection));
    let (streams, expiry) = (std::pin::pin!(streams), std::pin::pin!(expiry));
    if let Either::Right(_) = select(streams, expiry).await {
        tracing::warn!(peer = %address, "connection closed: its certificate has expired");
        connection.close(code::REFUSED, b"the certificate has expired");
    }
}

/// How long the certificate behind a connection is valid.
fn time_left(connection: &quinn::Connection) -> Duration {
    let ends = greeting::certificate(connection)
        .and_then(|certificate| certificates::ends(&certificate).ok());
    let left = ends.map(|ends| ends.duration_since(SystemTime::now()).unwrap_or_default());
    left.map_or(FAR, |left| left.min(FAR))
}

/// Accepts streams until the connection is lost.
async fn streams(
    connection: &quinn::Connection,
    peer: Arc<Peer>,
    context: &Arc<Context>,
    accepted: &mpsc::Sender<Accepted>,
) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        let (context, peer, accepted) = (context.clone(), peer.clone(), accepted.clone());
        let runtime = context.runtime.clone();
        runtime.spawn(async move { stream(send, recv, peer, context, accepted).await });
    }
}

async fn stream(
    mut send: SendStream,
    mut recv: RecvStream,
    peer: Arc<Peer>,
    context: Arc<Context>,
    accepted: mpsc::Sender<Accepted>,
) {
    let limits = &context.config.limits;
    let header = read_header(&mut recv);
    let header = context.runtime.within(limits.handshake_timeout, header);
    let checked = header
        .await
        .unwrap_or(Err(code::BAD_STREAM))
        .and_then(|header| permitted(&header, &peer, &context).map(|()| header));
    let header = match checked {
        Ok(header) => header,
        Err(code) => {
            tracing::warn!(peer = %peer.address, role = %peer.role, %code, "stream refused");
            // Errors here mean that the stream is gone already.
            let _ = (recv.stop(code), send.reset(code));
            return;
        }
    };
    connection::set_priority(&send, &header);
    let sender = MessageSender::new(send, limits, &context.runtime);
    let receiver = MessageReceiver::new(recv, limits.message_bytes_max);
    let stream = Accepted {
        peer,
        header,
        sender,
        receiver,
    };
    // Nobody accepts any more: the stream is refused by being dropped.
    let _ = accepted.send(stream).await;
}

async fn read_header(recv: &mut RecvStream) -> Result<StreamHeader, VarInt> {
    let bad = code::BAD_STREAM;
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.map_err(|_| bad)?;
    let mut bytes = vec![0; header_length(length).map_err(|_| bad)?];
    recv.read_exact(&mut bytes).await.map_err(|_| bad)?;
    StreamHeader::decode(&bytes).map_err(|_| bad)
}

fn permitted(header: &StreamHeader, peer: &Peer, context: &Context) -> Result<(), VarInt> {
    if !context.config.access.permits(peer.role, header) {
        return Err(code::FORBIDDEN);
    }
    match header {
        StreamHeader::Worp(worp)
            if worp.destination_incarnation != context.config.incarnation
                || worp.source_incarnation != peer.incarnation =>
        {
            Err(code::FENCED)
        }
        _ => Ok(()),
    }
}
