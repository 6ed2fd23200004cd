//! The certificate of this process and the authorities it believes, read again when their files
//! change.
//!
//! Relies on `certificates` for reading files. Every handshake asks for what is current; at most
//! once a second that looks at the files. What must stay true: what cannot be used as a whole (a
//! key without its certificate, half a rotation) is not used at all: the former stays in force and
//! the files are looked at again. Running connections are not touched; new ones use the new files.

#[cfg(test)]
mod tests;
mod verifier;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use uuid::Uuid;

use crate::certificates::{
    CertificateError, cluster_of_authority, ends, read_private, read_public,
};
use crate::identity::{BadIdentity, Identity};

pub(crate) use verifier::PeerVerifier;

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Remaining validity below which a certificate is warned of.
const WARN_BEFORE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where the three files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePaths {
    /// Certificates of the authorities to believe; two while one is replaced by another.
    pub authority: PathBuf,
    /// The certificate of this process.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate names nobody.
    #[error("could not use {path}: {source}; `rama certs issue` makes a proper one")]
    Identity {
        /// The certificate.
        path: PathBuf,
        /// What is wrong.
        source: BadIdentity,
    },
    /// The parts do not fit together.
    #[error("could not use {path}: {cause}")]
    Unusable {
        /// The file at fault.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

/// What is in force.
pub(crate) struct Loaded {
    pub(crate) identity: Identity,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) client_verifier: Arc<dyn ClientCertVerifier>,
    /// Counts what was in force before it.
    pub(crate) generation: u64,
    ends: SystemTime,
}

/// Credentials that follow their files.
pub struct Credentials {
    paths: CertificatePaths,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Loaded>>,
    looked: Mutex<Looked>,
}

struct Looked {
    at: Instant,
    stamps: [Stamp; 3],
}

/// What tells one content of a file from another without reading it.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    /// What is missing, exposed, expired or does not fit together.
    pub fn load(paths: CertificatePaths) -> Result<Credentials, CredentialError> {
        let provider = crate::security::provider();
        let stamps = paths.stamps();
        let loaded = Loaded::read(&paths, &provider, 0)?;
        loaded.warn_of_end(&paths);
        Ok(Credentials {
            paths,
            provider,
            current: RwLock::new(Arc::new(loaded)),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                stamps,
            }),
        })
    }

    /// Who this process is.
    pub fn identity(&self) -> Identity {
        self.in_force().identity
    }

    /// When the certificate of this process ends.
    pub fn ends(&self) -> SystemTime {
        self.in_force().ends
    }

    /// How often the files were read anew.
    pub fn generation(&self) -> u64 {
        self.in_force().generation
    }

    /// Looks at the files now, and reads them when they changed. Tells whether they did.
    ///
    /// # Errors
    /// Why the new files cannot be used; the former stay in force, and the next look tries again.
    pub fn refresh(&self) -> Result<bool, CredentialError> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut looked)
    }

    /// What is in force after a look at the files, if the last look was long ago.
    pub(crate) fn current(&self) -> Arc<Loaded> {
        // Whoever finds another at it uses what is in force and does not wait.
        if let Ok(mut looked) = self.looked.try_lock()
            && looked.at.elapsed() >= LOOK_EVERY
            && let Err(error) = self.look(&mut looked)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "new certificates not usable, former ones stay in force"
            );
        }
        self.in_force()
    }

    fn look(&self, looked: &mut Looked) -> Result<bool, CredentialError> {
        looked.at = Instant::now();
        let stamps = self.paths.stamps();
        if stamps == looked.stamps {
            return Ok(false);
        }
        let former = self.in_force();
        let loaded = Loaded::read(&self.paths, &self.provider, former.generation + 1)?;
        let (was, is) = (former.identity, loaded.identity);
        if (was.cluster, was.node) != (is.cluster, is.node) {
            return Err(CredentialError::Unusable {
                path: self.paths.certificate.clone(),
                cause: format!(
                    "it is for node {} of cluster {}, and this process runs as node {} of \
                     cluster {}: restart it to make it another",
                    is.node, is.cluster, was.node, was.cluster
                ),
            });
        }
        loaded.warn_of_end(&self.paths);
        looked.stamps = stamps;
        tracing::info!(generation = loaded.generation, "certificates read anew");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        Ok(true)
    }

    fn in_force(&self) -> Arc<Loaded> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Loaded {
    /// Says in time that a certificate has to be renewed.
    fn warn_of_end(&self, paths: &CertificatePaths) {
        let left = self
            .ends
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        if left < WARN_BEFORE {
            let (hours, file) = (left.as_secs() / 3600, paths.certificate.display());
            tracing::warn!(hours, %file, "the certificate ends soon: renew it");
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.paths.certificate.display())
    }
}

impl CertificatePaths {
    fn stamps(&self) -> [Stamp; 3] {
        [&self.authority, &self.certificate, &self.key].map(|path| stamp(path))
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.len(),
    ))
}

impl Loaded {
    fn read(
        paths: &CertificatePaths,
        provider: &Arc<CryptoProvider>,
        generation: u64,
    ) -> Result<Loaded, CredentialError> {
        let (roots, clusters) = authorities(&paths.authority)?;
        let text = read_public(&paths.certificate)?;
        let not_usable = |path: &Path, cause: String| CredentialError::Unusable {
            path: path.to_owned(),
            cause,
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let chain = chain.map_err(|cause| not_usable(&paths.certificate, cause.to_string()))?;
        let own = chain
            .first()
            .ok_or_else(|| not_usable(&paths.certificate, "it holds no certificate".to_owned()))?;
        let identity = Identity::of(own).map_err(|source| CredentialError::Identity {
            path: paths.certificate.clone(),
            source,
        })?;
        if !clusters.contains(&identity.cluster) {
            let cause = format!(
                "it is of cluster {}, and {} speaks for cluster {}",
                identity.cluster,
                paths.authority.display(),
                named(&clusters)
            );
            return Err(not_usable(&paths.certificate, cause));
        }
        let ends = ends(own).map_err(|cause| not_usable(&paths.certificate, cause))?;
        let key = read_private(&paths.key)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|cause| not_usable(&paths.key, cause.to_string()))?;
        let key = CertifiedKey::from_der(chain.clone(), key, provider).map_err(|cause| {
            not_usable(&paths.key, format!("not the certificate's key: {cause}"))
        })?;
        let roots = Arc::new(roots);
        verifier::check_chain(&roots, &chain, UnixTime::now(), provider).map_err(|cause| {
            let authority = paths.authority.display();
            not_usable(
                &paths.certificate,
                format!("{authority} does not vouch for it: {cause}"),
            )
        })?;
        let client_verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                .build()
                .map_err(|cause| not_usable(&paths.authority, cause.to_string()))?;
        Ok(Loaded {
            identity,
            key: Arc::new(key),
            roots,
            client_verifier,
            generation,
            ends,
        })
    }
}

/// The authorities in a file and the clusters they speak for.
fn authorities(path: &Path) -> Result<(RootCertStore, Vec<Uuid>), CredentialError> {
    let bad = |cause: String| CredentialError::Unusable {
        path: path.to_owned(),
        cause,
    };
    let text = read_public(path)?;
    let mut roots = RootCertStore::empty();
    let mut clusters = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|cause| bad(cause.to_string()))?;
        let cluster = cluster_of_authority(&certificate);
        clusters.push(cluster.ok_or_else(|| bad("an authority names no cluster".to_owned()))?);
        roots
            .add(certificate)
            .map_err(|cause| bad(cause.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    Ok((roots, clusters))
}

fn named(clusters: &[Uuid]) -> String {
    let names: Vec<String> = clusters.iter().map(Uuid::to_string).collect();
    names.join(" and ")
}
