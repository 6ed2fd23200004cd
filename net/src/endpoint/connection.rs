//! A connection that this side dialled.
//!
//! Relies on quinn, which closes a connection when its last handle and stream are dropped. What
//! must stay true: a stream keeps its connection, so that a connection which was replaced lives
//! until its last stream has ended.

use std::sync::Arc;

use rama_wire::session::{StreamHeader, framed_header};

use super::{Context, Dial, Peer, greeting};
use crate::error::{Lost, NetError, StreamError};
use crate::stream::{MessageReceiver, MessageSender};

/// Files give way to everything else.
const WEFT_PRIORITY: i32 = -1;

pub(super) fn set_priority(stream: &quinn::SendStream, header: &StreamHeader) {
    if *header == StreamHeader::Weft {
        // A stream that is closed already needs no priority.
        let _ = stream.set_priority(WEFT_PRIORITY);
    }
}

/// A connection that this side dialled. Clones share it.
#[derive(Clone)]
pub struct Connection {
    quinn: quinn::Connection,
    peer: Arc<Peer>,
    /// Of the certificates it was made with.
    generation: u64,
    context: Arc<Context>,
}

impl Connection {
    pub(super) fn new(
        quinn: quinn::Connection,
        peer: Arc<Peer>,
        generation: u64,
        context: Arc<Context>,
    ) -> Connection {
        Connection {
            quinn,
            peer,
            generation,
            context,
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Which certificates it was made with, counted from zero.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it can be used, as far as is known here.
    pub fn is_open(&self) -> bool {
        self.quinn.close_reason().is_none()
    }

    /// Waits until it is lost, and tells why.
    pub async fn lost(&self) -> Lost {
        self.quinn.closed().await.into()
    }

    /// The time a packet takes there and back, as measured lately.
    pub fn round_trip(&self) -> std::time::Duration {
        self.quinn.rtt()
    }

    /// Opens a stream; waits while the peer has as many open as it allows.
    ///
    /// # Errors
    /// [`StreamError::Lost`]
    pub async fn open(
        &self,
        header: &StreamHeader,
    ) -> Result<(MessageSender, MessageReceiver), StreamError> {
        let (mut send, recv) = self.quinn.open_bi().await?;
        set_priority(&send, header);
        let written = send.write_all(&framed_header(header)).await;
        if written.is_err() {
            let cause = self.quinn.close_reason().map_or(Lost::Reset, Lost::from);
            return Err(StreamError::Lost(cause));
        }
        let limits = &self.context.config.limits;
        let sender = MessageSender::new(send, limits, &self.context.runtime);
        let receiver = MessageReceiver::new(recv, limits.message_bytes_max);
        Ok((sender, receiver))
    }

    pub(super) fn expect(&self, dial: &Dial) -> Result<(), NetError> {
        greeting::expect(&self.peer, dial)
    }

    pub(super) fn refused(&self, error: &StreamError) -> NetError {
        NetError::Refused {
            address: self.peer.address,
            text: error.to_string(),
        }
    }
}
