//! A little world for tests: an authority, certificates, endpoints on loopback.
//!
//! Relies on the public API. What must stay true: no port is chosen by hand; a test that waits for
//! ever fails by its own deadline, which is far beyond anything it waits for.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rama_wire::session::{Role, Roles, StreamHeader, WorpHeader};
use tempfile::TempDir;
use uuid::Uuid;

use crate::certificates::{AUTHORITY_CERTIFICATE, CertificateAuthority, Request};
use crate::credentials::{CertificatePaths, Credentials};
use crate::{Dial, Endpoint, EndpointConfig, Limits, Security};

/// Anything a test waits for takes far less.
const DEADLINE: Duration = Duration::from_secs(120);

/// Silence and handshakes that end nothing, so that a machine which stalls fails no test that is
/// about something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Any port of loopback.
pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs an asynchronous test on a tokio runtime of its own.
pub(crate) fn on_tokio<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("no end") })
}

/// A cluster's authority in a directory of its own.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) cluster: Uuid,
    pub(crate) authority: CertificateAuthority,
}

impl World {
    pub(crate) fn new() -> World {
        let (dir, cluster) = (tempfile::tempdir().unwrap(), Uuid::new_v4());
        let authority = CertificateAuthority::create(dir.path(), cluster, 1000).unwrap();
        World {
            dir,
            cluster,
            authority,
        }
    }

    /// Writes a certificate for `node`, in place of an earlier one.
    pub(crate) fn issue(&self, role: Role, node: Uuid) -> CertificatePaths {
        self.issue_by(&self.authority, role, node)
    }

    pub(crate) fn issue_by(
        &self,
        authority: &CertificateAuthority,
        role: Role,
        node: Uuid,
    ) -> CertificatePaths {
        let issued = authority.issue(&request(role, node)).unwrap();
        let (certificate, key) = issued.write(self.dir.path(), &node.to_string()).unwrap();
        CertificatePaths {
            authority: self.authority_file(),
            certificate,
            key,
        }
    }

    pub(crate) fn authority_file(&self) -> PathBuf {
        self.dir.path().join(AUTHORITY_CERTIFICATE)
    }

    /// The configuration of a process with a certificate of its own.
    pub(crate) fn config(&self, role: Role) -> EndpointConfig {
        let node = Uuid::new_v4();
        let credentials = Credentials::load(self.issue(role, node)).unwrap();
        let security = Security::Mutual(Arc::new(credentials));
        patient(EndpointConfig::new(
            ANY,
            security,
            self.cluster,
            node,
            role,
            incarnation(),
        ))
    }

    /// The same with the limits of a process, for tests about silence.
    pub(crate) fn impatient(&self, role: Role) -> EndpointConfig {
        EndpointConfig {
            limits: Limits::default(),
            ..self.config(role)
        }
    }

    pub(crate) fn endpoint(&self, role: Role) -> Endpoint {
        Endpoint::on_tokio(self.config(role)).unwrap()
    }
}

/// A configuration without certificates.
pub(crate) fn insecure(cluster: Uuid, role: Role) -> EndpointConfig {
    let security = Security::InsecureLoopback;
    let node = Uuid::new_v4();
    patient(EndpointConfig::new(
        ANY,
        security,
        cluster,
        node,
        role,
        incarnation(),
    ))
}

fn patient(mut config: EndpointConfig) -> EndpointConfig {
    config.limits.idle_timeout = PATIENCE;
    config.limits.handshake_timeout = PATIENCE;
    config
}

pub(crate) fn request(role: Role, node: Uuid) -> Request {
    Request {
        roles: Roles::of(&[role]),
        node,
        names: vec!["localhost".to_owned()],
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        days: 30,
        label: format!("{role} {node}"),
    }
}

pub(crate) fn dial(endpoint: &Endpoint, role: Role) -> Dial {
    Dial::role(endpoint.local_address().unwrap(), role)
}

fn incarnation() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}

/// A header between task threads that both sides accept.
pub(crate) fn worp(source_incarnation: u64, destination_incarnation: u64) -> StreamHeader {
    StreamHeader::Worp(WorpHeader {
        instance: Uuid::from_u128(1),
        source_thread: 0,
        destination_thread: 1,
        category: 2,
        epoch: 3,
        source_incarnation,
        destination_incarnation,
    })
}

/// The chain of an error as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
