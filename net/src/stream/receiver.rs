//! The receiving half of a stream of messages.
//!
//! Relies on `frame::Decoder`. Nothing is read ahead of the caller: what it does not take counts
//! against the sender's credit. What must stay true: a waiting `recv` may be dropped and called
//! again without losing anything.

use bytes::Bytes;
use quinn::{ReadError, RecvStream};

use crate::error::{StreamError, code};
use crate::frame::Decoder;

/// Portions taken from the connection at once.
const PORTIONS: usize = 32;

/// The receiving half of a stream of messages. Dropping it tells the sender to stop.
pub struct MessageReceiver {
    stream: RecvStream,
    decoder: Decoder,
    portions: [Bytes; PORTIONS],
    ended: Option<Result<(), StreamError>>,
}

impl MessageReceiver {
    pub(crate) fn new(stream: RecvStream, message_bytes_max: usize) -> MessageReceiver {
        MessageReceiver {
            stream,
            decoder: Decoder::new(message_bytes_max),
            portions: [const { Bytes::new() }; PORTIONS],
            ended: None,
        }
    }

    /// The next message, or `None` when the sender finished.
    ///
    /// # Errors
    /// [`StreamError`]; every later call says the same.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(ended) = &self.ended {
                return ended.clone().map(|()| None);
            }
            match self.decoder.poll() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(bad) => {
                    // The stream may be gone already: then nobody needs to be told.
                    let _ = self.stream.stop(code::BAD_STREAM);
                    self.ended = Some(Err(StreamError::Bad(bad)));
                    continue;
                }
            }
            match self.stream.read_chunks(&mut self.portions).await {
                Ok(Some(count)) => {
                    for portion in &mut self.portions[..count] {
                        self.decoder.push(std::mem::take(portion));
                    }
                }
                Ok(None) => self.ended = Some(self.decoder.finish().map_err(StreamError::Bad)),
                Err(error) => self.ended = Some(Err(reason(error))),
            }
        }
    }
}

fn reason(error: ReadError) -> StreamError {
    match error {
        ReadError::Reset(code) => StreamError::from_code(code, StreamError::Abandoned),
        ReadError::ConnectionLost(cause) => cause.into(),
        ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
            StreamError::Abandoned
        }
    }
}
