//! Requests to a daemon: over HTTP, or over QUIC by who holds a certificate.
//!
//! Relies on the daemons giving the same routes over both. What must stay true: a refusal is told
//! apart from an answer that never came.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use rama_net::{Dial, Endpoint, EndpointConfig, Role, Roles};
use rama_tests::http::{CallError, Http};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::certificates::Holder;

/// Answers are small, and come.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks one daemon.
pub enum Client {
    /// Over plain HTTP.
    Http(u16),
    /// Over QUIC.
    Quic(Quic),
}

/// One who asks over QUIC, and whom.
#[derive(Clone)]
pub struct Quic {
    endpoint: Endpoint,
    runtime: Handle,
    port: u16,
}

impl Quic {
    /// Who asks; whom is to be said with [`Quic::at`].
    pub fn new(runtime: &Handle, holder: &Holder, role: Role) -> Quic {
        let bind = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let (security, cluster, node) = (holder.security.clone(), holder.cluster, holder.node);
        let config = EndpointConfig::new(bind, security, cluster, node, role, 1);
        let _inside = runtime.enter();
        Quic {
            endpoint: Endpoint::on_tokio(config).expect("an endpoint"),
            runtime: runtime.clone(),
            port: 0,
        }
    }

    /// The same one, asking the daemon at a port.
    pub fn at(&self, port: u16) -> Client {
        Client::Quic(Quic {
            port,
            ..self.clone()
        })
    }

    async fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Value, CallError> {
        let unknown = |error: &dyn Error| {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            CallError::Unknown(text)
        };
        let dial = Dial {
            address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port),
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
        let (head, body) = answer.map_err(|error| unknown(&error))?.into_parts();
        let bytes = to_bytes(body, ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| unknown(&error))?;
        if !head.status.is_success() {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            return Err(CallError::Refused(head.status.as_u16(), text));
        }
        serde_json::from_slice(&bytes).map_err(|error| unknown(&error))
    }
}

impl Client {
    /// Gets a JSON answer.
    pub fn get(&self, path: &str) -> Result<Value, CallError> {
        match self {
            Client::Http(port) => http(*port).get(path),
            Client::Quic(_) => self.quic("GET", path, Vec::new()),
        }
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        match self {
            Client::Http(port) => http(*port).post(path, body),
            Client::Quic(_) => self.quic("POST", path, body.to_string().into_bytes()),
        }
    }

    /// Deletes; the JSON answer.
    pub fn delete(&self, path: &str) -> Result<Value, CallError> {
        match self {
            Client::Http(port) => http(*port).delete(path),
            Client::Quic(_) => self.quic("DELETE", path, Vec::new()),
        }
    }

    /// Puts bytes.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        match self {
            Client::Http(port) => {
                let put = ureq::put(format!("http://127.0.0.1:{port}{path}"));
                put.send(&bytes[..]).expect("uploaded");
            }
            // What it answers is no matter of the tests, but that it does not refuse is.
            Client::Quic(_) => match self.quic("PUT", path, bytes) {
                Err(CallError::Refused(status, text)) => panic!("{status}: {text}"),
                Ok(_) | Err(CallError::Unknown(_)) => {}
            },
        }
    }

    fn quic(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Value, CallError> {
        let Client::Quic(quic) = self else {
            unreachable!("asked over HTTP");
        };
        quic.runtime.block_on(async {
            let answer = tokio::time::timeout(PATIENCE, quic.ask(method, path, body)).await;
            answer.unwrap_or_else(|_| Err(CallError::Unknown("no answer in time".to_owned())))
        })
    }
}

fn http(port: u16) -> Http {
    Http::new(format!("http://127.0.0.1:{port}"))
}
