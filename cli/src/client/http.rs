//! Requests over HTTP and HTTPS.
//!
//! Relies on `ureq`, and for HTTPS on the authority of the settings: there host names count, those
//! that `rama certs issue --host` was given. What must stay true: only a failure before the
//! connection stood means that nothing was sent; no redirect is followed here.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use axum::http::Request as HttpRequest;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, SendBody};

use super::find::{Found, settings};
use super::request::{Answer, Content, Request, Trouble};
use super::token;
use crate::error::{Exit, Failure, Result};

/// A little more than the server's own bound, so that its answer is the one that is seen.
pub const ANSWER_MAX: Duration = Duration::from_secs(65);

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Connections that are open.
pub struct Http {
    agent: Agent,
    token: Option<String>,
}

impl Http {
    /// Reads the token and the authority that the settings name.
    pub fn new(found: &Found) -> Result<Http> {
        let config = settings(found.config.as_deref())?.config();
        let config = config.map_err(|error| Failure::new(Exit::Usage, error.what, error.hint))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(ANSWER_MAX))
            .tls_config(tls(&config.security.ca)?);
        Ok(Http {
            agent: agent.build().into(),
            token: token::find(found, &config)?,
        })
    }

    /// Refuses to show a token where others can read it.
    pub fn check(&self, url: &str) -> Result<()> {
        match self.token {
            Some(_) => token::may_be_shown(url),
            None => Ok(()),
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
        let head = match &self.token {
            Some(token) => head.header(AUTHORIZATION, format!("Bearer {token}")),
            None => head,
        };
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

/// Whom to believe: the authority of the cluster, or those of the web.
fn tls(authority: &Path) -> Result<TlsConfig> {
    let config = TlsConfig::builder();
    if authority.as_os_str().is_empty() {
        return Ok(config.build());
    }
    let unread = |cause: String| {
        let text = format!("could not use security.ca {}: {cause}", authority.display());
        Failure::new(
            Exit::Usage,
            text,
            "name the ca.pem that `rama certs init` wrote",
        )
    };
    let text = std::fs::read(authority).map_err(|cause| unread(cause.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        match item.map_err(|cause| unread(cause.to_string()))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            _ => {
                return Err(unread(
                    "it holds something else than certificates".to_owned(),
                ));
            }
        }
    }
    let roots = RootCerts::new_with_certs(&certificates);
    Ok(config.root_certs(roots).build())
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
        // What rustls refuses in a handshake, before anything of the request is sent.
        ureq::Error::Io(cause) if cause.kind() == ErrorKind::InvalidData => {
            cause.to_string().contains("certificate")
        }
        ureq::Error::Io(cause) => cause.kind() == ErrorKind::ConnectionRefused,
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => true,
        ureq::Error::Timeout(timeout) => {
            matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve)
        }
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}
