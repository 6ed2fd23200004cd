//! A UDP port that dials and accepts connections of one cluster.
//!
//! Relies on `security` for TLS and on `greeting` for what both sides say first. A connection is
//! owned by the side that dialled it: only that side opens streams on it, so it knows when nobody
//! needs it any more. What must stay true: nothing of a peer is passed on before its certificate,
//! its cluster, its version and its role were checked; everything a peer can make this side hold is
//! bounded by `Limits`.

mod acceptor;
mod connection;
mod greeting;
mod socket;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rama_io::Category;
use rama_io::glommio::GlommioEnv;
use rama_wire::session::{Hello, Role, Roles, StreamHeader, Versions};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::error::{Lost, NetError, StreamError, code};
use crate::limits::Limits;
use crate::runtime::Runtime;
use crate::security::Security;
use crate::stream::{MessageReceiver, MessageSender};

pub use connection::Connection;

/// Streams that were opened by peers and not accepted yet, at most; further ones wait.
const ACCEPTED_MAX: usize = 256;

/// Which roles may open which streams on an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Messages between task threads.
    pub worp: Roles,
    /// Requests.
    pub rpc: Roles,
    /// Files.
    pub weft: Roles,
}

impl Default for Access {
    /// WORP: workers. WEFT: conductor, supervisors and workers. Requests: everyone.
    fn default() -> Access {
        Access {
            worp: Roles::of(&[Role::Worker]),
            rpc: Roles::ALL,
            weft: Roles::of(&[Role::Conductor, Role::Supervisor, Role::Worker]),
        }
    }
}

impl Access {
    fn permits(&self, role: Role, header: &StreamHeader) -> bool {
        match header {
            StreamHeader::Worp(_) => self.worp.contains(role),
            StreamHeader::Rpc => self.rpc.contains(role),
            StreamHeader::Weft => self.weft.contains(role),
        }
    }
}

/// What an endpoint needs to know.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Address and UDP port to bind; port 0 is any.
    pub bind: SocketAddr,
    /// How connections are protected.
    pub security: Security,
    /// The cluster of this process.
    pub cluster: Uuid,
    /// Its node.
    pub node: Uuid,
    /// What it is.
    pub role: Role,
    /// New at each of its starts.
    pub incarnation: u64,
    /// Wire versions it speaks.
    pub versions: Versions,
    /// How much a peer may ask.
    pub limits: Limits,
    /// Who may open which streams.
    pub access: Access,
}

impl EndpointConfig {
    /// A configuration with default limits and access.
    pub fn new(
        bind: SocketAddr,
        security: Security,
        cluster: Uuid,
        node: Uuid,
        role: Role,
        incarnation: u64,
    ) -> EndpointConfig {
        EndpointConfig {
            bind,
            security,
            cluster,
            node,
            role,
            incarnation,
            versions: Versions::OURS,
            limits: Limits::default(),
            access: Access::default(),
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            wire_min: self.versions.min,
            wire_max: self.versions.max,
            cluster: self.cluster,
            node: self.node,
            role: self.role,
            incarnation: self.incarnation,
            release: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Whom to dial, and who has to answer.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Where.
    pub address: SocketAddr,
    /// What the peer may be.
    pub roles: Roles,
    /// Which node it must be, when that is known.
    pub node: Option<Uuid>,
}

impl Dial {
    /// Anyone of this role.
    pub fn role(address: SocketAddr, role: Role) -> Dial {
        Dial {
            address,
            roles: Roles::of(&[role]),
            node: None,
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it speaks from.
    pub address: SocketAddr,
    /// What it is; proved by its certificate when security is on.
    pub role: Role,
    /// Its node; proved likewise.
    pub node: Uuid,
    /// Its start, as it says.
    pub incarnation: u64,
    /// Its release, as it says.
    pub release: String,
    /// The wire version spoken on this connection.
    pub version: u16,
}

/// A stream a peer opened.
pub struct Accepted {
    /// Who opened it.
    pub peer: Arc<Peer>,
    /// What for.
    pub header: StreamHeader,
    /// Messages to the peer.
    pub sender: MessageSender,
    /// Messages from the peer.
    pub receiver: MessageReceiver,
}

/// A UDP port that dials and accepts. Clones share it. One made on a glommio executor must stay
/// there; using it from another thread panics.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    quinn: quinn::Endpoint,
    client: ClientConfig,
    context: Arc<Context>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Accepted>>,
    dialled: Mutex<BTreeMap<(SocketAddr, Lane), Arc<Slot>>>,
}

/// Files have a connection of their own: their losses and their windows are theirs alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Messages,
    Files,
}

impl Lane {
    fn of(header: &StreamHeader) -> Lane {
        match header {
            StreamHeader::Worp(_) | StreamHeader::Rpc => Lane::Messages,
            StreamHeader::Weft => Lane::Files,
        }
    }
}

/// The connection to an address.
#[derive(Default)]
struct Slot {
    /// Locked while somebody dials.
    state: tokio::sync::Mutex<SlotState>,
    /// Dials that have ended.
    dial_count: AtomicU64,
}

#[derive(Default)]
struct SlotState {
    open: Option<Connection>,
    failure: Option<Arc<NetError>>,
}

impl Slot {
    /// Whether a connection is open or may be on its way.
    fn in_use(&self) -> bool {
        let open = |state: &SlotState| state.open.as_ref().is_some_and(Connection::is_open);
        self.state.try_lock().map_or(true, |state| open(&state))
    }
}

/// What the tasks of an endpoint share.
pub(crate) struct Context {
    pub(crate) config: EndpointConfig,
    pub(crate) runtime: Runtime,
}

impl Endpoint {
    /// Binds on the tokio runtime this is called from.
    ///
    /// # Errors
    /// [`NetError`] when the address must not be used without certificates, or cannot be bound.
    pub fn on_tokio(config: EndpointConfig) -> Result<Endpoint, NetError> {
        Endpoint::new(config, Runtime::tokio())
    }

    /// Binds on a glommio executor; its tasks run in the queue of `category`.
    ///
    /// # Errors
    /// As [`Endpoint::on_tokio`].
    pub fn on_glommio(
        env: &GlommioEnv,
        category: Category,
        config: EndpointConfig,
    ) -> Result<Endpoint, NetError> {
        Endpoint::new(config, Runtime::glommio(env, category))
    }

    fn new(config: EndpointConfig, runtime: Runtime) -> Result<Endpoint, NetError> {
        let bind = config.bind;
        config.security.check_address(bind)?;
        config.check_identity()?;
        let tls = config.security.tls()?;
        let limits = &config.limits;
        let mut server = ServerConfig::with_crypto(tls.server);
        server.migration(false);
        server.max_incoming(limits.handshake_count_max * 4);
        server.transport_config(Arc::new(transport(limits, limits.stream_count_max)));
        let mut client = ClientConfig::new(tls.client);
        client.transport_config(Arc::new(transport(limits, 0)));
        let failed = |source| NetError::Socket {
            verb: "bind",
            address: bind,
            source,
        };
        let socket = socket::bind(bind, limits.socket_buffer).map_err(failed)?;
        let socket = runtime.socket(socket).map_err(failed)?;
        let quinn = quinn::Endpoint::new_with_abstract_socket(
            quinn::EndpointConfig::default(),
            Some(server),
            socket,
            runtime.quinn(),
        );
        let quinn = quinn.map_err(failed)?;
        let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
        let context = Arc::new(Context { config, runtime });
        let acceptor = acceptor::run(quinn.clone(), context.clone(), sender);
        context.runtime.spawn(acceptor);
        Ok(Endpoint(Arc::new(Inner {
            quinn,
            client,
            context,
            accepted: tokio::sync::Mutex::new(accepted),
            dialled: Mutex::default(),
        })))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// [`NetError::Socket`]
    pub fn local_address(&self) -> Result<SocketAddr, NetError> {
        self.0
            .quinn
            .local_addr()
            .map_err(|source| NetError::Socket {
                verb: "ask for the address of",
                address: self.0.context.config.bind,
                source,
            })
    }

    /// The connection to an address: the one that is open, or a new one. Callers at the same time
    /// share one. It is made anew when the certificates of this process have changed since.
    ///
    /// # Errors
    /// [`NetError`] after at most `handshake_timeout`.
    pub async fn connect(&self, dial: &Dial) -> Result<Connection, NetError> {
        self.connect_in(Lane::Messages, dial).await
    }

    async fn connect_in(&self, lane: Lane, dial: &Dial) -> Result<Connection, NetError> {
        let context = &self.0.context;
        let security = &context.config.security;
        security.check_address(dial.address)?;
        let slot = self.slot(dial.address, lane);
        let dials_before = slot.dial_count.load(Ordering::Relaxed);
        let mut state = slot.state.lock().await;
        let generation = security.generation();
        if let Some(open) = &state.open
            && open.is_open()
            && open.generation() == generation
        {
            open.expect(dial)?;
            return Ok(open.clone());
        }
        // Whoever waited for a dial that failed does not try the same once more, unless it wanted
        // somebody else at that address.
        if let Some(failure) = &state.failure
            && slot.dial_count.load(Ordering::Relaxed) != dials_before
            && !matches!(failure.root(), NetError::Unexpected { .. })
        {
            return Err(NetError::Shared(failure.clone()));
        }
        let limit = context.config.limits.handshake_timeout;
        let dialled = context.runtime.within(limit, self.dial(dial, generation));
        let dialled = dialled.await.unwrap_or(Err(NetError::Unreachable {
            address: dial.address,
            cause: Lost::TimedOut,
        }));
        slot.dial_count.fetch_add(1, Ordering::Relaxed);
        match dialled {
            Ok(connection) => {
                state.open = Some(connection.clone());
                state.failure = None;
                Ok(connection)
            }
            Err(error) => {
                let error = Arc::new(error);
                state.failure = Some(error.clone());
                Err(NetError::Shared(error))
            }
        }
    }

    async fn dial(&self, dial: &Dial, generation: u64) -> Result<Connection, NetError> {
        let address = dial.address;
        let lost = |cause| NetError::from_connection(address, cause);
        let connecting = self
            .0
            .quinn
            .connect_with(self.0.client.clone(), address, "rama");
        let connecting = connecting.map_err(|cause| match cause {
            quinn::ConnectError::EndpointStopping => NetError::Closed,
            cause => NetError::Tls(cause.to_string()),
        })?;
        let connection = connecting.await.map_err(lost)?;
        let peer = greeting::greet(&connection, &self.0.context, dial).await;
        match peer {
            Ok(peer) => Ok(Connection::new(
                connection,
                Arc::new(peer),
                generation,
                self.0.context.clone(),
            )),
            Err(error) => {
                connection.close(code::REFUSED, error.to_string().as_bytes());
                Err(error)
            }
        }
    }

    /// Opens a stream to an address, over the connection that is open or a new one.
    ///
    /// # Errors
    /// [`NetError`]
    pub async fn open(
        &self,
        dial: &Dial,
        header: &StreamHeader,
    ) -> Result<(MessageSender, MessageReceiver), NetError> {
        let lane = Lane::of(header);
        let connection = self.connect_in(lane, dial).await?;
        match connection.open(header).await {
            Ok(stream) => Ok(stream),
            // It was lost without anybody having noticed: the next one is new.
            Err(StreamError::Lost(_)) => {
                let connection = self.connect_in(lane, dial).await?;
                let opened = connection.open(header).await;
                opened.map_err(|error| match error {
                    StreamError::Lost(cause) => NetError::Unreachable {
                        address: dial.address,
                        cause,
                    },
                    other => connection.refused(&other),
                })
            }
            Err(other) => Err(connection.refused(&other)),
        }
    }

    /// The next stream a peer opened; `None` when the endpoint is closed.
    pub async fn accept(&self) -> Option<Accepted> {
        self.0.accepted.lock().await.recv().await
    }

    /// Connections that are open, both dialled and accepted.
    pub fn connection_count(&self) -> usize {
        self.0.quinn.open_connections()
    }

    /// Closes all connections at once and tells the peers. Close senders first where what they
    /// queued matters.
    pub async fn close(&self) {
        self.0.quinn.close(code::DONE, b"");
        let limit = self.0.context.config.limits.idle_timeout;
        let idle = self.0.quinn.wait_idle();
        // Peers that are gone do not confirm; the sockets need not wait for them.
        let _ = self.0.context.runtime.within(limit, idle).await;
    }

    fn slot(&self, address: SocketAddr, lane: Lane) -> Arc<Slot> {
        let mut dialled = self
            .0
            .dialled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Addresses nobody answers at any more would pile up over the moves of workers.
        dialled.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.in_use());
        dialled.entry((address, lane)).or_default().clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.quinn.close(code::DONE, b"");
    }
}

impl EndpointConfig {
    /// What the process says of itself must be what its certificate says.
    fn check_identity(&self) -> Result<(), NetError> {
        let Security::Mutual(credentials) = &self.security else {
            return Ok(());
        };
        let identity = credentials.identity();
        if identity.cluster != self.cluster {
            return Err(NetError::Cluster {
                address: self.bind,
                theirs: identity.cluster,
                ours: self.cluster,
            });
        }
        if identity.node != self.node || !identity.roles.contains(self.role) {
            return Err(NetError::Unexpected {
                address: self.bind,
                expected: format!("a certificate for the {} of node {}", self.role, self.node),
                found: format!("one for {} of node {}", identity.roles, identity.node),
            });
        }
        Ok(())
    }
}

fn transport(limits: &Limits, peer_streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(limits.idle_timeout).expect("seconds fit");
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(limits.keep_alive))
        // The greeting is the first of them, and leaves its place to another.
        .max_concurrent_bidi_streams(VarInt::from_u32(peer_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(limits.credit_window))
        .receive_window(VarInt::from_u32(limits.connection_window))
        .send_window(limits.send_window)
        .datagram_receive_buffer_size(None);
    transport
}
