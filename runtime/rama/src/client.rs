//! How a program outside of a cluster connects to it.
//!
//! Relies on `rama.toml` as the command line does, on certificates, and on `daemons` for asking the
//! cluster where modules run. What must stay true: what code sets goes before what a file says; a
//! configuration that cannot be used names the key and what to do.

mod daemons;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rama_gateway::config::{self, Layers, Protection};
use rama_net::credentials::{CertificatePaths, Credentials};
use rama_net::{Role, Security};
use rama_runtime::{Error, ErrorKind, RemoteConfig, Result};
use uuid::Uuid;

use daemons::{Daemons, Identity};

/// How to find a cluster and speak to it; what [`Cluster::connect`](crate::Cluster::connect) takes.
///
/// One address is enough to begin with: of the conductor or of any supervisor. Those of all
/// supervisors are learned from the cluster, so that a conductor that is down stops no client; a
/// program that must be able to *start* while the conductor is down names a supervisor, too.
///
/// # Failure
/// Handles follow their modules by themselves: to workers that restart or move, and to the next
/// instance after a destroy and a launch. Calls wait meanwhile. While no daemon answers, everything
/// goes on as it was last heard.
///
/// Every call ends within a deadline (30 s by default; `client.deadline_ms`, [`ClientConfig::deadline`],
/// or `.within(…)` on any handle), in one of three ways: it is done, it is not done, or nobody knows
/// ([`Error::outcome`]). [`Error::is_retryable`] says that the same call does nothing twice and may
/// succeed later. Appends are numbered, and sent again by the connection itself when a link breaks: each
/// is taken once.
///
/// ```no_run
/// use rama::prelude::*;
/// # pub const LINES: Depot<String> = Depot::named("*lines");
/// # pub const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
/// # pub struct WordCount;
/// # impl Module for WordCount { fn define(&self, _: &mut Setup) {} }
///
/// async fn count() -> Result<(), rama::Error> {
///     let cluster = Cluster::connect(ClientConfig::load()?).await?;
///     let words = cluster.open(&WordCount).await?;
///     words.depot(LINES).append(&"to be or not to be".to_owned()).await?;
///     let found = words.pstate(COUNTS).select_one(COUNTS.key("be")).await?;
///     println!("be: {}", found.unwrap_or(0));
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ClientConfig {
    addresses: Vec<String>,
    protection: Option<Protection>,
    internal: bool,
    deadline: Duration,
}

impl ClientConfig {
    /// For the cluster with a daemon at `address` (`HOST:PORT` of QUIC: 1973 for a conductor, 3000 for a
    /// supervisor, by default). How connections are protected is still to be said.
    pub fn at(address: impl Into<String>) -> ClientConfig {
        let client = config::client::Client::default();
        ClientConfig {
            addresses: vec![address.into()],
            protection: None,
            internal: client.use_internal_hostnames,
            deadline: Duration::from_millis(client.deadline_ms),
        }
    }

    /// What `rama.toml` says: that of `RAMA_CONFIG`, of this directory or of one above, and over it
    /// the environment (`RAMA_CONDUCTOR__HOST` …). Sections `[conductor]`, `[client]`, `[security]`.
    ///
    /// # Errors
    /// `Invalid` for settings that cannot be used, with the key and its origin.
    pub fn load() -> Result<ClientConfig> {
        ClientConfig::read(config::client::file(None).as_deref())
    }

    /// As [`ClientConfig::load`], from the file at `path`.
    ///
    /// # Errors
    /// As [`ClientConfig::load`].
    pub fn load_from(path: impl AsRef<Path>) -> Result<ClientConfig> {
        ClientConfig::read(Some(path.as_ref()))
    }

    fn read(file: Option<&Path>) -> Result<ClientConfig> {
        let layers = Layers::load(file, std::env::vars()).map_err(unusable)?;
        let config = layers.config().map_err(unusable)?;
        let (conductor, client) = (&config.conductor, &config.client);
        let internal = client.use_internal_hostnames;
        let host = conductor.host(internal).map(|host| {
            let port = conductor.port;
            match host.contains(':') && !host.starts_with('[') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            }
        });
        let more = client.addresses.split(',').map(str::trim);
        let more = more.filter(|text| !text.is_empty()).map(str::to_owned);
        let security = &config.security;
        let set = security.insecure || !security.ca.as_os_str().is_empty();
        let protection = match set {
            true => Some(security.protection().map_err(unusable)?),
            false => None,
        };
        Ok(ClientConfig {
            addresses: host.into_iter().chain(more).collect(),
            protection,
            internal,
            deadline: Duration::from_millis(client.deadline_ms),
        })
    }

    /// Another daemon that may be asked.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> ClientConfig {
        self.addresses.push(address.into());
        self
    }

    /// Whether this program is inside of the cluster's network, where nodes have their internal names.
    #[must_use]
    pub fn use_internal_hostnames(self, internal: bool) -> ClientConfig {
        ClientConfig { internal, ..self }
    }

    /// When a call is given up that says nothing else.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> ClientConfig {
        ClientConfig { deadline, ..self }
    }

    /// Connections prove both sides by these files (`rama certs issue --role client`); they may be
    /// replaced while they are in use.
    #[must_use]
    pub fn certificates(
        self,
        ca: impl Into<PathBuf>,
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> ClientConfig {
        let protection = Some(Protection::Certificates {
            ca: ca.into(),
            cert: cert.into(),
            key: key.into(),
        });
        ClientConfig { protection, ..self }
    }

    /// Nobody proves anything: for clusters on this machine alone.
    #[must_use]
    pub fn insecure(self) -> ClientConfig {
        let protection = Some(Protection::Insecure);
        ClientConfig { protection, ..self }
    }
}

impl TryFrom<ClientConfig> for RemoteConfig {
    type Error = Error;

    /// # Errors
    /// `Invalid` when something that is needed is missing, or certificates cannot be used.
    fn try_from(config: ClientConfig) -> Result<RemoteConfig> {
        if config.addresses.is_empty() {
            let text = "no cluster is named: set conductor.host in rama.toml or in the environment \
                        (RAMA_CONDUCTOR__HOST), or begin with ClientConfig::at";
            return Err(invalid(text));
        }
        for address in &config.addresses {
            daemons::split(address)?;
        }
        let identity = identity(config.protection)?;
        Ok(RemoteConfig {
            cluster: identity.cluster,
            node: identity.node,
            role: identity.role,
            security: identity.security.clone(),
            deadline: config.deadline,
            directory: Arc::new(Daemons::new(config.addresses, config.internal, identity)),
        })
    }
}

/// How a worker reaches the other modules of its cluster: as itself, by what these daemons say.
#[cfg(feature = "etcd")]
pub(crate) fn of_worker(
    (cluster, node): (Uuid, Uuid),
    security: Security,
    daemons: Vec<String>,
) -> RemoteConfig {
    let identity = Identity {
        cluster,
        node,
        role: Role::Worker,
        security: security.clone(),
    };
    RemoteConfig {
        cluster,
        node,
        role: Role::Worker,
        security,
        deadline: Duration::from_secs(30),
        directory: Arc::new(Daemons::new(daemons, true, identity)),
    }
}

/// Who this program is.
fn identity(protection: Option<Protection>) -> Result<Identity> {
    let paths = match protection {
        Some(Protection::Certificates { ca, cert, key }) => CertificatePaths {
            authority: ca,
            certificate: cert,
            key,
        },
        Some(Protection::Insecure) => {
            return Ok(Identity {
                // Where nothing is proved, the cluster need not be known.
                cluster: Uuid::nil(),
                node: Uuid::new_v4(),
                role: Role::Client,
                security: Security::InsecureLoopback,
            });
        }
        None => {
            let text = "how to connect is not said: set security.ca, security.cert and security.key \
                        in rama.toml (`rama certs issue --role client` makes the files), or \
                        security.insecure = true for a cluster on this machine";
            return Err(invalid(text));
        }
    };
    let credentials = Credentials::load(paths).map_err(|cause| {
        invalid("could not use the certificates of [security]").caused_by(cause)
    })?;
    let found = credentials.identity();
    let role = [Role::Client, Role::Operator]
        .into_iter()
        .find(|role| found.roles.contains(*role));
    let role = role.ok_or_else(|| {
        let text = format!(
            "the certificate of [security] is for {}, not for a client; `rama certs issue --role \
             client` makes one",
            found.roles
        );
        invalid(text)
    })?;
    let (cluster, node) = (found.cluster, found.node);
    Ok(Identity {
        cluster,
        node,
        role,
        security: Security::Mutual(Arc::new(credentials)),
    })
}

fn unusable(error: config::Error) -> Error {
    invalid(format!("{}; {}", error.what, error.hint))
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

#[cfg(test)]
mod tests;
