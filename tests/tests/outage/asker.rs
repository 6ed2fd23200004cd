//! Requests to daemons over QUIC with a certificate.
//!
//! Relies on `rama-rpc`. What must stay true: a refusal, an answer that never came and a request that
//! was never sent are told apart, because only the last and some of the first say that nothing was
//! done.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use rama_net::credentials::{CertificatePaths, Credentials};
use rama_net::{Dial, Endpoint, EndpointConfig, Role, Roles, Security};
use rama_rpc::RpcError;
use rama_runtime::{Error, ErrorKind};
use rama_tests::history::Outcome;
use serde_json::Value;
use tokio::runtime::Handle;

const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// Surely not done.
    Failed(String),
    /// It may have been done.
    Unknown(String),
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Trouble {
        let text = format!("{error:#}");
        match error.kind() {
            ErrorKind::Unknown | ErrorKind::Failed => Trouble::Unknown(text),
            _ => Trouble::Failed(text),
        }
    }
}

/// What was answered when something was not done, or is not known, and how often.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<String, u64>>>);

impl Refusals {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub fn note<A>(&self, trouble: Trouble) -> Outcome<A> {
        let (text, outcome) = match trouble {
            Trouble::Failed(text) => (format!("failed: {text}"), Outcome::Failed),
            Trouble::Unknown(text) => (format!("unknown: {text}"), Outcome::Unknown),
        };
        // Numbers tell alike texts apart, and are not worth a line each.
        let alike = text.replace(|c: char| c.is_ascii_digit(), "#");
        *self.seen().entry(alike).or_default() += 1;
        outcome
    }

    /// All of it, a line each, and begins anew.
    pub fn take(&self) -> String {
        let seen = std::mem::take(&mut *self.seen());
        seen.into_iter()
            .map(|(text, count)| format!("    {count} × {text}\n"))
            .collect()
    }
}

/// One who holds a certificate.
#[derive(Clone)]
pub struct Asker {
    endpoint: Endpoint,
}

impl Asker {
    /// With `<name>.pem` and `<name>.key` of `dir`.
    pub fn new(runtime: &Handle, dir: &Path, name: &str, role: Role) -> Asker {
        let credentials = Credentials::load(CertificatePaths {
            authority: dir.join("ca.pem"),
            certificate: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        });
        let credentials = credentials.expect("credentials");
        let (cluster, node) = (credentials.identity().cluster, credentials.identity().node);
        let security = Security::Mutual(Arc::new(credentials));
        let bind = SocketAddr::from(([0, 0, 0, 0], 0));
        let config = EndpointConfig::new(bind, security, cluster, node, role, 1);
        let _inside = runtime.enter();
        Asker {
            endpoint: Endpoint::on_tokio(config).expect("an endpoint"),
        }
    }

    /// Asks a daemon; an answer has to come within `patience`.
    pub async fn ask(
        &self,
        address: SocketAddr,
        (method, path): (&str, &str),
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<(HeaderMap, Value), Trouble> {
        let asked = self.asked(address, method, path, body);
        let late = |_| Trouble::Unknown(format!("no answer within {patience:?}"));
        tokio::time::timeout(patience, asked).await.map_err(late)?
    }

    async fn asked(
        &self,
        address: SocketAddr,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(HeaderMap, Value), Trouble> {
        let dial = Dial {
            address,
            roles: Roles::of(&[Role::Conductor, Role::Supervisor]),
            node: None,
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .expect("a request");
        let answer = rama_rpc::request(&self.endpoint, &dial, request).await;
        let answer = answer.map_err(|error| match error {
            RpcError::NotSent(error) => Trouble::Failed(format!("not sent: {error}")),
            error => Trouble::Unknown(error.to_string()),
        })?;
        let (head, body) = answer.into_parts();
        let bytes = to_bytes(body, ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| Trouble::Unknown(error.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Trouble::Unknown(format!("no JSON: {error}")))?;
        if head.status.is_success() {
            return Ok((head.headers, value));
        }
        let text = format!("{}: {value}", head.status);
        // Every other code says that nothing was done.
        match value["code"].as_str() {
            Some("unknown" | "failed") | None => Err(Trouble::Unknown(text)),
            Some(_) => Err(Trouble::Failed(text)),
        }
    }
}
