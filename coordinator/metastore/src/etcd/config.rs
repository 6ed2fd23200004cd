//! How an etcd is reached.
//!
//! Relies on PEM files for TLS, which are read again for every new connection, so certificates can
//! be exchanged while everything runs. What must stay true: secrets are never printed.

use std::fmt::{self, Debug, Formatter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use crate::error::Error;

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Files for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdTls {
    /// Certificates of the authorities that sign those of the members.
    pub ca: PathBuf,
    /// Our own certificate and its key, where members ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the members' certificates, where it is not that of the endpoint.
    pub server_name: Option<String>,
}

/// How an etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `http://host:port` or `https://host:port` of each member.
    pub endpoints: Vec<String>,
    /// User and password.
    pub user: Option<(String, Secret)>,
    /// TLS; needs `https` endpoints.
    pub tls: Option<EtcdTls>,
    /// How long a call is tried in all.
    pub request_timeout: Duration,
    /// How long one member has to answer before the next is asked.
    pub attempt_timeout: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How often a silent connection is probed. etcd hangs up on who probes more often than every
    /// five seconds.
    pub probe_interval: Duration,
    /// How long a probe may take.
    pub probe_timeout: Duration,
    /// How often a watch is checked against a whole listing.
    pub relist_interval: Duration,
}

impl EtcdConfig {
    /// The defaults with these endpoints.
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> EtcdConfig {
        EtcdConfig {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            user: None,
            tls: None,
            request_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            probe_interval: Duration::from_secs(6),
            probe_timeout: Duration::from_secs(3),
            relist_interval: Duration::from_secs(300),
        }
    }

    /// Refuses what cannot work, before anything is sent.
    pub(super) fn check(&self) -> Result<(), Error> {
        let invalid = |cause: &str| Err(Error::invalid("use the settings of etcd", cause));
        if self.endpoints.is_empty() {
            return invalid("no endpoint is given; add http://127.0.0.1:2379 or such");
        }
        for endpoint in &self.endpoints {
            let secure = endpoint.starts_with("https://");
            if !secure && !endpoint.starts_with("http://") {
                return invalid(&format!(
                    "{endpoint} begins with neither http:// nor https://"
                ));
            }
            if secure != self.tls.is_some() {
                return invalid(&format!("{endpoint}: https and TLS files go together"));
            }
        }
        Ok(())
    }

    /// Reads the files and makes the options of one connection.
    pub(super) fn options(&self) -> Result<ConnectOptions, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_keep_alive(self.probe_interval, self.probe_timeout)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, Secret(password))) = &self.user {
            options = options.with_user(user, password);
        }
        if let Some(files) = &self.tls {
            let mut tls = TlsOptions::new();
            tls = tls.ca_certificate(Certificate::from_pem(read(&files.ca)?));
            if let Some((certificate, key)) = &files.identity {
                tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
            }
            if let Some(name) = &files.server_name {
                tls = tls.domain_name(name);
            }
            options = options.with_tls(tls);
        }
        Ok(options)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|cause| Error::io(format!("read {}", path.display()), &cause))
}
