//! The first message of each direction: everything of an HTTP message but its body.
//!
//! Relies on serde. What must stay true: bytes of a peer are believed only after they were read as a
//! head within the limits; header values that are no text are left out.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};

/// The longest head.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// Headers of a head, at most.
const HEADERS_MAX: usize = 100;

/// The layout that is spoken.
const VERSION: u32 = 1;

/// What is asked.
#[derive(Serialize, Deserialize)]
pub(crate) struct RequestHead {
    v: u32,
    method: String,
    /// Path and query.
    target: String,
    headers: Vec<(String, String)>,
}

/// What is answered.
#[derive(Serialize, Deserialize)]
pub(crate) struct ResponseHead {
    v: u32,
    status: u16,
    headers: Vec<(String, String)>,
}

impl RequestHead {
    pub(crate) fn of<B>(request: &Request<B>) -> RequestHead {
        let target = request.uri().path_and_query();
        RequestHead {
            v: VERSION,
            method: request.method().to_string(),
            target: target.map_or_else(|| "/".to_owned(), ToString::to_string),
            headers: texts(request.headers()),
        }
    }

    pub(crate) fn request<B>(self, body: B) -> Result<Request<B>, String> {
        check(self.v)?;
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).map_err(text)?;
        *request.uri_mut() = self.target.parse::<Uri>().map_err(text)?;
        *request.headers_mut() = headers(self.headers)?;
        Ok(request)
    }
}

impl ResponseHead {
    pub(crate) fn of<B>(response: &Response<B>) -> ResponseHead {
        ResponseHead {
            v: VERSION,
            status: response.status().as_u16(),
            headers: texts(response.headers()),
        }
    }

    pub(crate) fn response<B>(self, body: B) -> Result<Response<B>, String> {
        check(self.v)?;
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).map_err(text)?;
        *response.headers_mut() = headers(self.headers)?;
        Ok(response)
    }
}

/// A head as a message.
pub(crate) fn encode(head: &impl Serialize) -> Vec<u8> {
    // Numbers, texts and lists of texts: nothing in them can fail to serialize.
    serde_json::to_vec(head).expect("plain structs serialize")
}

/// A head from a message of a peer.
pub(crate) fn decode<'a, T: Deserialize<'a>>(message: &'a [u8]) -> Result<T, String> {
    if message.len() > HEAD_BYTES_MAX {
        let found = message.len();
        return Err(format!(
            "a head of {found} bytes, at most {HEAD_BYTES_MAX} are read"
        ));
    }
    serde_json::from_slice(message).map_err(text)
}

fn check(version: u32) -> Result<(), String> {
    if version == VERSION {
        return Ok(());
    }
    Err(format!(
        "it speaks version {version} of requests, this process speaks {VERSION}"
    ))
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.to_string(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).take(HEADERS_MAX).collect()
}

fn headers(texts: Vec<(String, String)>) -> Result<HeaderMap, String> {
    if texts.len() > HEADERS_MAX {
        return Err(format!(
            "{} headers, at most {HEADERS_MAX} are read",
            texts.len()
        ));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in texts {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(text)?;
        headers.append(name, HeaderValue::from_str(&value).map_err(text)?);
    }
    Ok(headers)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
