//! Errors on the wire: RFC 9457 problem+json with three members more: `code`, `retryable`, `hint`.
//!
//! Relies on `refusal::Refusal`. What must stay true: `retryable` is true only when nothing was
//! done, so that a client which repeats on it never appends twice (spec D-16).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refusal::{Code, Refusal};

/// The media type of every error answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The body of every error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A name for the kind of problem, as a URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The kind as one word.
    pub code: Code,
    /// Nothing was done and the same request may succeed later.
    pub retryable: bool,
    /// What to do next.
    pub hint: String,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let facts = facts(refusal.code);
        Problem {
            kind: format!("urn:rama:problem:{}", facts.word),
            title: facts.title.into(),
            status: facts.status.as_u16(),
            detail: refusal.detail,
            code: refusal.code,
            retryable: facts.retryable,
            hint: refusal.hint.unwrap_or_else(|| facts.hint.into()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

struct Facts {
    status: StatusCode,
    word: &'static str,
    title: &'static str,
    hint: &'static str,
    retryable: bool,
}

const fn kind(
    status: StatusCode,
    word: &'static str,
    title: &'static str,
    hint: &'static str,
) -> Facts {
    Facts {
        status,
        word,
        title,
        hint,
        retryable: false,
    }
}

const fn again(facts: Facts) -> Facts {
    Facts {
        retryable: true,
        ..facts
    }
}

fn facts(code: Code) -> Facts {
    match code {
        Code::Unavailable => again(kind(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "not now",
            "nothing was done; repeat the request after a pause",
        )),
        Code::Unknown => kind(
            StatusCode::GATEWAY_TIMEOUT,
            "unknown",
            "outcome not known",
            "it may have happened: repeat only what is safe to do twice, or read first",
        ),
        Code::Failed => kind(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "appended, but processing failed",
            "do not append it again; see `rama status` and `rama dead-letters list`",
        ),
        Code::Invalid => kind(
            StatusCode::BAD_REQUEST,
            "invalid",
            "the request makes no sense",
            "GET /rest/<module> shows the schemas",
        ),
        Code::Rejected => kind(
            StatusCode::CONFLICT,
            "rejected",
            "refused by a rule",
            "the module or the cluster forbids this; change the request",
        ),
        Code::NotFound => kind(
            StatusCode::NOT_FOUND,
            "not_found",
            "no such thing",
            "GET / lists the modules, GET /rest/<module> what is in one",
        ),
        Code::Fenced => again(kind(
            StatusCode::SERVICE_UNAVAILABLE,
            "fenced",
            "another owner took over",
            "nothing was done; repeat the request",
        )),
        Code::Corrupt => kind(
            StatusCode::INTERNAL_SERVER_ERROR,
            "corrupt",
            "bytes on disk are damaged",
            "stop the server, run `rama doctor`, and restore the data directory",
        ),
        Code::Storage => kind(
            StatusCode::INSUFFICIENT_STORAGE,
            "storage",
            "the device failed or is full",
            "see the server's log, free space or replace the device, then restart",
        ),
        Code::Closed => again(kind(
            StatusCode::SERVICE_UNAVAILABLE,
            "closed",
            "shut down",
            "start the module again",
        )),
        Code::UnknownModule => kind(
            StatusCode::NOT_FOUND,
            "unknown_module",
            "no such module",
            "see `rama modules`",
        ),
        Code::Elsewhere => kind(
            StatusCode::PERMANENT_REDIRECT,
            "elsewhere",
            "another server answers this",
            "send the same request to where the header Location says",
        ),
        Code::Unauthorized => kind(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "it is not known who asks",
            "send `Authorization: Bearer TOKEN` over HTTPS (`rama tokens create` makes one), or use a \
             certificate over QUIC",
        ),
        Code::Forbidden => kind(
            StatusCode::FORBIDDEN,
            "forbidden",
            "who asks may not",
            "use a token or a certificate that may",
        ),
        Code::TooSlow => kind(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the request came too slowly",
            "nothing was done; send it again over a faster line",
        ),
        Code::TooLarge => kind(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the request is too large",
            "send less, or raise http.body_bytes_max in rama.toml",
        ),
        Code::Method => kind(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "wrong method for this path",
            "GET / shows each path with its method",
        ),
    }
}
