//! Requests to processes of a cluster over QUIC.
//!
//! Relies on `rama_rpc` and on the certificates that the settings name. What must stay true:
//! commands are synchronous, so the connection lives on a thread of its own and goes on answering while a
//! command waits for something else; only a request that was not sent is told as such.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::Request as HttpRequest;
use axum::http::header::CONTENT_TYPE;
use futures_util::{StreamExt as _, stream};
use rama_gateway::chain;
use rama_gateway::config::Protection;
use rama_net::credentials::{CertificatePaths, Credentials};
use rama_net::{Dial, Endpoint, EndpointConfig, Role, Roles, Security};
use rama_rpc::RpcError;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::find::{Found, settings};
use super::http::ANSWER_MAX;
use super::request::{Answer, Content, Request, Trouble, Upload};
use crate::error::{Exit, Failure, Result};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Connections of a command.
pub struct Quic {
    runtime: Arc<Runtime>,
    security: Security,
    cluster: Uuid,
    /// This process, as it names itself.
    me: Uuid,
    role: Role,
    /// Who has to answer, if that is known.
    node: Option<Uuid>,
    endpoints: std::cell::RefCell<Vec<(bool, Endpoint)>>,
}

impl Quic {
    /// Reads the certificates.
    pub fn new(found: &Found) -> Result<Quic> {
        let config = settings(found.config.as_deref())?.config();
        let protection = config.and_then(|config| config.security.protection());
        let protection =
            protection.map_err(|error| Failure::new(Exit::Usage, error.what, error.hint))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|cause| {
            let text = format!("could not start a thread for connections: {cause}");
            Failure::new(Exit::Failed, text, "see `ulimit -u`")
        })?;
        let (security, cluster, me, role) = identity(protection)?;
        Ok(Quic {
            runtime: Arc::new(runtime),
            security,
            cluster,
            me,
            role,
            node: found.node,
            endpoints: std::cell::RefCell::default(),
        })
    }

    /// Sends a request to the process at an address.
    pub fn send(
        &self,
        host: &str,
        port: u16,
        request: &Request<'_>,
        left: Option<Duration>,
    ) -> Result<Answer, Trouble> {
        let end = left.map(|left| Instant::now() + left);
        let mut addresses: Vec<SocketAddr> = (host, port)
            .to_socket_addrs()
            .map_err(|cause| Trouble::NotSent(format!("could not look up {host}: {cause}")))?
            .collect();
        // A name such as localhost has two addresses, of which the older one is the likelier.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let mut trouble = Trouble::NotSent(format!("{host} has no address"));
        for address in addresses {
            match self.try_send(address, request, end) {
                Err(Trouble::NotSent(cause)) => trouble = Trouble::NotSent(cause),
                outcome => return outcome,
            }
        }
        Err(trouble)
    }

    fn try_send(
        &self,
        address: SocketAddr,
        request: &Request<'_>,
        end: Option<Instant>,
    ) -> Result<Answer, Trouble> {
        let endpoint = self.endpoint(address)?;
        let dial = Dial {
            address,
            roles: Roles::of(&[Role::Conductor, Role::Supervisor]),
            node: self.node,
        };
        let message = message(request)?;
        let limit = match (end, request.content) {
            (Some(end), _) => Some(end),
            // A long file takes long; a peer that is gone is noticed by the connection.
            (None, Content::File(_)) => None,
            (None, _) => Some(Instant::now() + ANSWER_MAX),
        };
        let answer = rama_rpc::request(&endpoint, &dial, message);
        let answer = self.runtime.block_on(within(limit, answer));
        let Some(answer) = answer else {
            return Err(Trouble::Broken("its time is over".to_owned()));
        };
        let (head, body) = answer.map_err(trouble)?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: Box::new(Incoming {
                runtime: self.runtime.clone(),
                pieces: body.into_data_stream(),
                left: Bytes::new(),
                end,
            }),
        })
    }

    /// The endpoint for addresses of this kind.
    fn endpoint(&self, address: SocketAddr) -> Result<Endpoint, Trouble> {
        let kind = address.is_ipv6();
        let mut endpoints = self.endpoints.borrow_mut();
        if let Some((_, endpoint)) = endpoints.iter().find(|(ipv6, _)| *ipv6 == kind) {
            return Ok(endpoint.clone());
        }
        let ip: IpAddr = match (&self.security, kind) {
            (Security::InsecureLoopback, false) => Ipv4Addr::LOCALHOST.into(),
            (Security::InsecureLoopback, true) => Ipv6Addr::LOCALHOST.into(),
            (Security::Mutual(_), false) => Ipv4Addr::UNSPECIFIED.into(),
            (Security::Mutual(_), true) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bind = SocketAddr::new(ip, 0);
        let security = self.security.clone();
        // Nobody sends this process anything but answers, so its start needs no number.
        let config = EndpointConfig::new(bind, security, self.cluster, self.me, self.role, 0);
        let _inside = self.runtime.enter();
        let endpoint =
            Endpoint::on_tokio(config).map_err(|cause| Trouble::NotSent(chain(&cause)))?;
        endpoints.push((kind, endpoint.clone()));
        Ok(endpoint)
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        for (_, endpoint) in self.endpoints.take() {
            self.runtime.block_on(endpoint.close());
        }
    }
}

/// Who this process is.
fn identity(protection: Protection) -> Result<(Security, Uuid, Uuid, Role)> {
    let Protection::Certificates { ca, cert, key } = protection else {
        // Where nothing is proved, the cluster need not be known.
        let (cluster, me) = (Uuid::nil(), Uuid::new_v4());
        return Ok((Security::InsecureLoopback, cluster, me, Role::Operator));
    };
    let paths = CertificatePaths {
        authority: ca,
        certificate: cert,
        key,
    };
    let credentials = Credentials::load(paths).map_err(|cause| {
        let text = format!(
            "could not use the certificates of [security]: {}",
            chain(&cause)
        );
        Failure::new(
            Exit::Usage,
            text,
            "`rama certs issue --role operator` makes new ones",
        )
    })?;
    let identity = credentials.identity();
    // What the holder may do most with.
    let role = [Role::Operator, Role::Conductor, Role::Supervisor]
        .into_iter()
        .find(|role| identity.roles.contains(*role));
    let role = role
        .or_else(|| identity.roles.iter().next())
        .unwrap_or(Role::Client);
    let security = Security::Mutual(Arc::new(credentials));
    Ok((security, identity.cluster, identity.node, role))
}

fn message(request: &Request<'_>) -> Result<HttpRequest<Body>, Trouble> {
    let head = request.head(request.path);
    let message = match request.content {
        Content::Nothing => head.body(Body::empty()),
        Content::Json(value) => head
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(value.to_string())),
        Content::File(upload) => head
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(file(upload)),
    };
    message.map_err(|cause| Trouble::Address(cause.to_string()))
}

/// The bytes of a file, piece by piece.
fn file(upload: &Upload) -> Body {
    let mut reader = upload.reader();
    let left = upload.bytes();
    let pieces = stream::unfold(left, move |left| {
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
        let read = reader.read_exact(&mut piece);
        let size = piece.len() as u64;
        let next = (size > 0).then(|| (read.map(|()| Bytes::from(piece)), left - size));
        std::future::ready(next)
    });
    Body::from_stream(pieces)
}

/// What comes of it by `end`.
async fn within<T>(end: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match end {
        Some(end) => tokio::time::timeout_at(end.into(), future).await.ok(),
        None => Some(future.await),
    }
}

/// The body of an answer, for who waits.
struct Incoming {
    runtime: Arc<Runtime>,
    pieces: BodyDataStream,
    left: Bytes,
    end: Option<Instant>,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left.is_empty() {
            let next = self.runtime.block_on(within(self.end, self.pieces.next()));
            match next {
                Some(Some(Ok(piece))) => self.left = piece,
                Some(Some(Err(cause))) => return Err(io::Error::other(chain(&cause))),
                Some(None) => return Ok(0),
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        let piece = self.left.split_to(self.left.len().min(buffer.len()));
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

fn trouble(error: RpcError) -> Trouble {
    match error {
        RpcError::NotSent(cause) => Trouble::NotSent(chain(&cause)),
        other => Trouble::Broken(chain(&other)),
    }
}
