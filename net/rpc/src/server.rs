//! Answering another process.
//!
//! Relies on a router that answers every request, errors included. What must stay true: what is not
//! a request is refused with its reason and costs this process one small answer.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rama_net::Accepted;
use tower_service::Service;

use crate::client::{pieces, send_body};
use crate::head::{RequestHead, ResponseHead, decode, encode};

/// Answers the request on a stream with what `service` says. The request carries the peer as an
/// extension of type `Arc<`[`rama_net::Peer`]`>`.
pub async fn answer<S>(accepted: Accepted, mut service: S)
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let Accepted {
        peer,
        sender,
        mut receiver,
        ..
    } = accepted;
    let message = match receiver.recv().await {
        Ok(Some(message)) => message,
        // The peer changed its mind.
        Ok(None) | Err(_) => return,
    };
    let request = decode::<RequestHead>(&message).and_then(|head| head.request(pieces(receiver)));
    let response = match request {
        Ok(mut request) => {
            request.extensions_mut().insert(peer.clone());
            let Ok(response) = service.call(request).await;
            response
        }
        Err(why) => {
            tracing::warn!(peer = %peer.address, why, "a stream that is no request");
            let text = format!("could not read the request: {why}");
            (StatusCode::BAD_REQUEST, text).into_response()
        }
    };
    let head = encode(&ResponseHead::of(&response));
    let body: Body = response.into_body();
    if sender.send(head).await.is_err() {
        return;
    }
    match send_body(&sender, body).await {
        Ok(()) => {
            let closed = sender.close().await;
            tracing::trace!(?closed, "a request is answered");
        }
        Err(error) => {
            tracing::debug!(%error, peer = %peer.address, "an answer broke off");
            // Dropping it would look like a body that is complete.
            sender.abandon();
        }
    }
}
