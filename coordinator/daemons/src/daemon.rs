//! A daemon as a process: its sockets, who may ask what, readiness, and its end.
//!
//! Relies on `conductor`, `supervisor`, `api` and `rest` for everything else. What must stay true: ports
//! are bound before anything is announced; with certificates on, nothing but health is answered over
//! plain HTTP, and each role over QUIC gets what is its own and no more; a signal ends a daemon without
//! touching workers.

pub mod conductor;
mod guard;
mod logs;
pub mod supervisor;

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rama_net::credentials::{CertificatePaths, CredentialError, Credentials};
use rama_net::{Endpoint, EndpointConfig, NetError, Role, Security, StreamHeader};
use tokio::net::TcpListener;
use uuid::Uuid;

/// What requests over HTTP may take to end when a daemon stops.
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
        })
    }

    fn is_proved(&self) -> bool {
        matches!(self.security, Security::Mutual(_))
    }
}

/// The sockets of a daemon.
struct Sockets {
    endpoint: Endpoint,
    listener: TcpListener,
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
        Ok(Sockets { endpoint, listener })
    }

    fn ports(&self, listen: &Listen) -> (u16, u16) {
        let rpc = self.endpoint.local_address().map(|address| address.port());
        let http = self.listener.local_addr().map(|address| address.port());
        (
            rpc.unwrap_or(listen.rpc_port),
            http.unwrap_or(listen.http_port),
        )
    }

    /// Serves until `stopped`: `routes` over QUIC by role; over HTTP too, when nobody has to prove
    /// anything.
    async fn serve(
        self,
        identity: &Identity,
        routes: Router,
        stopped: impl Future<Output = ()> + Send,
    ) {
        let health = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(async || "ok\n"));
        let over_http = match identity.is_proved() {
            true => health.clone().fallback(guard::needs_certificate),
            false => health.clone().merge(routes.clone()),
        };
        let over_quic = guard::by_role(routes.merge(health));
        let endpoint = self.endpoint.clone();
        let answers = tokio::spawn(async move {
            while let Some(accepted) = endpoint.accept().await {
                if accepted.header == StreamHeader::Rpc {
                    tokio::spawn(rama_rpc::answer(accepted, over_quic.clone()));
                } else {
                    accepted.sender.abandon();
                }
            }
        });
        let http = axum::serve(self.listener, over_http);
        notify("READY=1");
        tokio::select! {
            ended = async { http.await } => tracing::error!(?ended, "HTTP ended by itself"),
            () = stopped => {}
        }
        notify("STOPPING=1");
        answers.abort();
        let _ = tokio::time::timeout(STOP_MAX, self.endpoint.close()).await;
    }
}

/// Tells systemd how far the daemon is (sd_notify(3)); nobody else listens.
fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = UnixDatagram::unbound().and_then(|from| from.send_to(state.as_bytes(), &socket));
    if let Err(error) = sent {
        tracing::debug!(%error, "nobody hears how far the daemon is");
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
