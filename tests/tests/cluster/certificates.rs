//! The certificates of a cluster, and of those who hold none.
//!
//! Relies on an authority in the directory of the test. What must stay true: each holder has a
//! certificate of its own with the roles it needs and no more.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rama_api::SecurityFiles;
use rama_coordinator::daemon::Identity;
use rama_net::certificates::{AUTHORITY_CERTIFICATE, CertificateAuthority, Request};
use rama_net::credentials::{CertificatePaths, Credentials};
use rama_net::{Role, Roles, Security};
use uuid::Uuid;

/// A cluster's authority.
pub struct Authority {
    authority: CertificateAuthority,
    dir: PathBuf,
}

/// One who takes part, with or without a certificate.
pub struct Holder {
    /// How it protects its connections.
    pub security: Security,
    /// Which cluster it says it belongs to.
    pub cluster: Uuid,
    /// Its node.
    pub node: Uuid,
}

impl Authority {
    /// A new one.
    pub fn new(dir: &Path) -> Authority {
        Authority::of(dir, Uuid::new_v4())
    }

    /// One that says it speaks for the cluster of another.
    pub fn impostor(dir: &Path, of: &Authority) -> Authority {
        Authority::of(dir, of.authority.cluster())
    }

    fn of(dir: &Path, cluster: Uuid) -> Authority {
        let dir = dir.join("certificates");
        let authority = CertificateAuthority::create(&dir, cluster, 2);
        Authority {
            authority: authority.expect("an authority"),
            dir,
        }
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.join(AUTHORITY_CERTIFICATE)
    }

    /// The files of a certificate.
    pub fn files(&self, name: &str, roles: &[Role]) -> CertificatePaths {
        let request = Request {
            roles: Roles::of(roles),
            node: Uuid::new_v4(),
            names: Vec::new(),
            // For HTTPS, where host names count.
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            days: 1,
            label: name.to_owned(),
        };
        let issued = self.authority.issue(&request).expect("a certificate");
        let written = issued.write(&self.dir, name);
        let (certificate, key) = written.expect("its files");
        CertificatePaths {
            authority: self.file(),
            certificate,
            key,
        }
    }

    /// A daemon, and how its workers prove who they are.
    pub fn daemon(&self, name: &str, roles: &[Role]) -> (Identity, SecurityFiles) {
        let paths = self.files(name, roles);
        let identity = Identity::proved(paths.clone()).expect("an identity");
        let files = SecurityFiles::Mutual {
            authority: paths.authority,
            certificate: paths.certificate,
            key: paths.key,
        };
        (identity, files)
    }

    /// One from outside.
    pub fn outsider(&self, name: &str, roles: &[Role]) -> Holder {
        let credentials = Credentials::load(self.files(name, roles)).expect("credentials");
        let (cluster, node) = (credentials.identity().cluster, credentials.identity().node);
        let security = Security::Mutual(Arc::new(credentials));
        Holder {
            security,
            cluster,
            node,
        }
    }

    /// One who knows the cluster and holds nothing.
    pub fn nobody(&self) -> Holder {
        Holder {
            security: Security::InsecureLoopback,
            cluster: self.authority.cluster(),
            node: Uuid::new_v4(),
        }
    }
}
