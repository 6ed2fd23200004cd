//! Requests over plain HTTP.
//!
//! Relies on `ureq`. What must stay true: only a failure before the connection stood means that
//! nothing was sent; no redirect is followed here.

use std::io::ErrorKind;
use std::time::Duration;

use axum::http::Request as HttpRequest;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use ureq::{Agent, AsSendBody, SendBody};

use super::request::{Answer, Content, Request, Trouble};

/// A little more than the server's own bound, so that its answer is the one that is seen.
pub const ANSWER_MAX: Duration = Duration::from_secs(65);

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Connections that are open.
pub struct Http {
    agent: Agent,
}

impl Http {
    pub fn new() -> Http {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(ANSWER_MAX));
        Http {
            agent: config.build().into(),
        }
    }

    /// Sends a request to the server at `url`.
    pub fn send(
        &self,
        url: &str,
        request: &Request<'_>,
        left: Option<Duration>,
    ) -> Result<Answer, Trouble> {
        let head = request.head(&format!("{url}{}", request.path));
        match request.content {
            Content::Nothing => self.run(head.body(()), left),
            Content::Json(value) => {
                let head = head.header(CONTENT_TYPE, "application/json");
                self.run(head.body(value.to_string()), left)
            }
            Content::File(upload) => {
                let head = head
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, upload.bytes());
                self.run(head.body(SendBody::from_reader(&mut upload.reader())), left)
            }
        }
    }

    fn run(
        &self,
        request: axum::http::Result<HttpRequest<impl AsSendBody>>,
        left: Option<Duration>,
    ) -> Result<Answer, Trouble> {
        let request = request.map_err(|cause| Trouble::Address(cause.to_string()))?;
        let request = self.agent.configure_request(request);
        let request = request.timeout_global(left).build();
        let (head, body) = self.agent.run(request).map_err(trouble)?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: Box::new(body.into_reader()),
        })
    }
}

fn trouble(cause: ureq::Error) -> Trouble {
    let text = cause.to_string();
    match cause {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Trouble::Address(text),
        cause if never_connected(&cause) => Trouble::NotSent(text),
        _ => Trouble::Broken(text),
    }
}

/// Nothing was sent.
fn never_connected(cause: &ureq::Error) -> bool {
    match cause {
        ureq::Error::Io(cause) => cause.kind() == ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(timeout) => {
            matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve)
        }
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}
