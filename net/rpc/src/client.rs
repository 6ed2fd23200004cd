//! Asking another process.
//!
//! Relies on one stream per request. What must stay true: an error says whether the request may have
//! been carried out; dropping the answer's body ends the request at the other side.

use std::pin::pin;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use rama_net::{
    Dial, Endpoint, MessageReceiver, MessageSender, NetError, StreamError, StreamHeader,
};

use crate::head::{RequestHead, ResponseHead, decode, encode};

/// Pieces of a body travel one by one, so that neither side holds much of it.
pub(crate) const PIECE_BYTES_MAX: usize = 256 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The other process could not be reached: the request was not carried out.
    #[error("the request was not sent")]
    NotSent(#[source] NetError),
    /// The way broke before the answer came: the request may have been carried out.
    #[error("no answer came, the request may have been carried out")]
    Broken(#[source] StreamError),
    /// The other process ended the stream without an answer.
    #[error("the stream ended without an answer, the request may have been carried out")]
    Ended,
    /// What came is not an answer.
    #[error("what came is no answer: {0}")]
    Malformed(String),
    /// The caller's own body failed.
    #[error("could not read the body of the request")]
    Body(#[source] axum::Error),
}

/// Asks the process at `dial` and answers as soon as the head of its answer is here; the body follows
/// as it comes. An answer that comes before the request is sent whole ends the sending.
///
/// # Errors
/// [`RpcError`]; `NotSent` alone means that nothing was done.
pub async fn request(
    endpoint: &Endpoint,
    dial: &Dial,
    request: Request<Body>,
) -> Result<Response<Body>, RpcError> {
    let opened = endpoint.open(dial, &StreamHeader::Rpc).await;
    let (sender, mut receiver) = opened.map_err(RpcError::NotSent)?;
    let first = {
        let upload = pin!(send(sender, request));
        let answer = pin!(receiver.recv());
        match select(upload, answer).await {
            Either::Left((sent, answer)) => {
                // A refusal stops the sending with an error, and is told by the answer.
                if let Err(RpcError::Body(error)) = sent {
                    return Err(RpcError::Body(error));
                }
                answer.await
            }
            Either::Right((answer, _)) => answer,
        }
    };
    let message = first.map_err(RpcError::Broken)?.ok_or(RpcError::Ended)?;
    let head: ResponseHead = decode(&message).map_err(RpcError::Malformed)?;
    head.response(pieces(receiver)).map_err(RpcError::Malformed)
}

async fn send(sender: MessageSender, request: Request<Body>) -> Result<(), RpcError> {
    let head = encode(&RequestHead::of(&request));
    sender.send(head).await.map_err(RpcError::Broken)?;
    match send_body(&sender, request.into_body()).await {
        Ok(()) => sender.close().await.map_err(RpcError::Broken),
        Err(error) => {
            // Dropping it would look like a body that is complete.
            sender.abandon();
            Err(error)
        }
    }
}

/// Sends a body piece by piece.
pub(crate) async fn send_body(sender: &MessageSender, body: Body) -> Result<(), RpcError> {
    let mut data = body.into_data_stream();
    while let Some(bytes) = data.next().await {
        let mut bytes: Bytes = bytes.map_err(RpcError::Body)?;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            sender.send(piece).await.map_err(RpcError::Broken)?;
        }
    }
    Ok(())
}

/// A body made of the messages that follow.
pub(crate) fn pieces(mut receiver: MessageReceiver) -> Body {
    Body::from_stream(async_stream::stream! {
        loop {
            match receiver.recv().await {
                Ok(Some(piece)) => yield Ok(piece),
                Ok(None) => return,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
        }
    })
}
