//! A daemon as a process: its sockets, who may ask what, readiness, and its end.
//!
//! Relies on `conductor`, `supervisor`, `api` and `rest` for everything else. What must stay true: ports
//! are bound before anything is announced; with certificates on, HTTP is spoken over TLS and to holders of
//! tokens alone, and each role over QUIC gets what is its own and no more; a signal ends a daemon without
//! touching workers.

pub mod conductor;
mod guard;
mod http;
mod logs;
mod notify;
mod programs;
pub mod supervisor;

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rama_api::endpoints::Server;
use rama_gateway::gate::{Door, Gate};
use rama_gateway::tokens::{TokenError, Tokens};
use rama_net::credentials::{CertificatePaths, CredentialError, Credentials};
use rama_net::weft::FileServer;
use rama_net::{Endpoint, EndpointConfig, NetError, Role, Security, StreamHeader};
use rama_planner::ids::NodeId;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::rest::Rest;
use crate::snapshot::Snapshots;

/// What requests over QUIC may take to end when a daemon stops.
const STOP_MAX: Duration = Duration::from_secs(2);

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A socket.
    #[error("could not bind {what} to {address}: {source}; is another one running here?")]
    Bind {
        /// Of what.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A QUIC port.
    #[error("could not bind the port for requests")]
    Net(#[from] NetError),
    /// Certificates.
    #[error("could not use the certificates of [security]")]
    Credentials(#[from] CredentialError),
    /// Tokens.
    #[error("could not use security.tokens")]
    Tokens(#[from] TokenError),
    /// A directory.
    #[error("could not use {}: {source}", path.display())]
    Dir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Programs.
    #[error("could not use the programs")]
    Artifacts(#[from] crate::artifacts::ArtifactError),
    /// It ended by itself.
    #[error("the metastore cannot be used any more: {0}")]
    Metastore(rama_metastore::Error),
}

/// Who a daemon is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: Uuid,
    /// Its node.
    pub node: Uuid,
    /// How connections are protected.
    pub security: Security,
    /// Who is answered over HTTP; without certificates, none means anyone.
    pub tokens: Option<Tokens>,
}

/// Where a daemon listens, and by which names it is found.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address to bind.
    pub bind: IpAddr,
    /// UDP port of requests.
    pub rpc_port: u16,
    /// TCP port of HTTP.
    pub http_port: u16,
    /// Host name inside the cluster.
    pub host_internal: String,
    /// Host name for clients outside.
    pub host_external: String,
}

impl Identity {
    /// With certificates: what they say.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn proved(paths: CertificatePaths) -> Result<Identity, DaemonError> {
        let credentials = Credentials::load(paths)?;
        let identity = credentials.identity();
        Ok(Identity {
            cluster: identity.cluster,
            node: identity.node,
            security: Security::Mutual(Arc::new(credentials)),
            tokens: None,
        })
    }

    /// Without: a node has an id of its own, kept in a file of its directory.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn claimed(dir: &Path) -> Result<Identity, DaemonError> {
        let path = dir.join("node-id");
        let failed = |source| DaemonError::Dir {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let node = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                failed(io::Error::new(io::ErrorKind::InvalidData, "it holds no id"))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let node = Uuid::new_v4();
                fs::write(&path, node.to_string()).map_err(failed)?;
                node
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Identity {
            cluster: Uuid::nil(),
            node,
            security: Security::InsecureLoopback,
            tokens: None,
        })
    }

    /// The same, answering over HTTP who has a token of this file.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn with_tokens(self, file: &Path) -> Result<Identity, DaemonError> {
        let tokens = Some(Tokens::open(file)?);
        Ok(Identity { tokens, ..self })
    }

    /// Who is answered over HTTP.
    fn door(&self) -> Door {
        match &self.tokens {
            Some(tokens) => Door::Tokens(tokens.clone()),
            None if self.is_proved() => Door::Shut,
            None => Door::Open,
        }
    }

    fn is_proved(&self) -> bool {
        matches!(self.security, Security::Mutual(_))
    }
}

/// The sockets of a daemon.
struct Sockets {
    endpoint: Endpoint,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Sockets {
    async fn bind(
        identity: &Identity,
        listen: &Listen,
        role: Role,
        incarnation: u64,
    ) -> Result<Sockets, DaemonError> {
        let address = SocketAddr::new(listen.bind, listen.rpc_port);
        let security = identity.security.clone();
        let (cluster, node) = (identity.cluster, identity.node);
        let config = EndpointConfig::new(address, security, cluster, node, role, incarnation);
        let endpoint = Endpoint::on_tokio(config)?;
        let address = SocketAddr::new(listen.bind, listen.http_port);
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| DaemonError::Bind {
            what: "HTTP",
            address,
            source,
        })?;
        let tls = identity.security.https()?.map(TlsAcceptor::from);
        Ok(Sockets {
            endpoint,
            listener,
            tls,
        })
    }

    fn ports(&self, listen: &Listen) -> (u16, u16) {
        let rpc = self.endpoint.local_address().map(|address| address.port());
        let http = self.listener.local_addr().map(|address| address.port());
        (
            rpc.unwrap_or(listen.rpc_port),
            http.unwrap_or(listen.http_port),
        )
    }

    /// What leads to modules, from here.
    fn rest(
        &self,
        identity: &Identity,
        listen: &Listen,
        snapshots: Snapshots,
        node: Option<NodeId>,
    ) -> Rest {
        Rest {
            snapshots,
            endpoint: self.endpoint.clone(),
            cluster: identity.cluster,
            node,
            hosts: (listen.host_internal.clone(), listen.host_external.clone()),
            tls: identity.is_proved(),
        }
    }

    /// Serves until `stopped`: `routes` over QUIC by role, over HTTP by token; `files` to processes
    /// of the cluster.
    async fn serve(
        self,
        identity: &Identity,
        server: Server,
        (routes, files): (Router, FileServer),
        stopped: impl Future<Output = ()> + Send,
    ) {
        let over_http = Gate::new(server, identity.door()).before(routes.clone());
        let over_quic = guard::by_role(Gate::new(server, Door::Shut).before(routes));
        let endpoint = self.endpoint.clone();
        let answers = tokio::spawn(async move {
            while let Some(accepted) = endpoint.accept().await {
                match accepted.header {
                    StreamHeader::Rpc => {
                        tokio::spawn(rama_rpc::answer(accepted, over_quic.clone()));
                    }
                    StreamHeader::Weft => {
                        let files = files.clone();
                        // Who asked knows how it ended.
                        tokio::spawn(async move { files.serve(accepted).await });
                    }
                    StreamHeader::Worp(_) => accepted.sender.abandon(),
                }
            }
        });
        let http = http::Http {
            listener: self.listener,
            tls: self.tls,
            routes: over_http,
            bare: crate::routes::without_tls(),
        };
        notify::tell("READY=1");
        tokio::select! {
            () = notify::watchdog() => {}
            () = http.serve() => {}
            () = stopped => {}
        }
        notify::tell("STOPPING=1");
        answers.abort();
        let _ = tokio::time::timeout(STOP_MAX, self.endpoint.close()).await;
    }
}

/// A new life of a process.
fn life() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}

/// How a daemon says that it is spoken to.
fn process(listen: &Listen, (rpc_port, http_port): (u16, u16)) -> rama_planner::records::Process {
    rama_planner::records::Process {
        host_internal: listen.host_internal.clone(),
        host_external: listen.host_external.clone(),
        rpc_port,
        http_port: Some(http_port),
        pid: std::process::id(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms: crate::wall_ms(),
    }
}
