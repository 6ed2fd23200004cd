//! A cluster's own certificate authority: made once, kept in a directory, issues certificates.
//!
//! Relies on rcgen; keys are ECDSA P-256. What must stay true: a private key is written with mode
//! 0600 before its first byte, an existing authority is never replaced, and a certificate never
//! outlives the authority that signed it.

mod files;
mod summary;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rama_wire::session::Roles;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use uuid::Uuid;

use crate::identity::{Identity, uris};

pub(crate) use files::{read_private, read_public};
pub(crate) use summary::ends;
pub use summary::{Summary, hexadecimal, summaries};

/// The authority's certificate, in its directory. Every process of the cluster needs it.
pub const AUTHORITY_CERTIFICATE: &str = "ca.pem";
/// The authority's private key, in its directory. Only `rama certs issue` needs it.
pub const AUTHORITY_KEY: &str = "ca.key";

/// Certificates begin so long ago, because clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest validity that is issued, 100 years: dates beyond need another encoding.
const DAYS_MAX: u32 = 36_500;

/// Why certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file operation.
    #[error("could not {verb} {path}")]
    File {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something is there that must not be replaced.
    #[error("{0} exists already and is not replaced")]
    Exists(PathBuf),
    /// Others may read a private key.
    #[error("{path} may be read by others (mode {mode:04o}): run `chmod 600 {path}`")]
    Exposed {
        /// The key.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file that holds something else.
    #[error("{path} is not {expected}: {cause}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// A request that cannot be granted.
    #[error("could not issue a certificate: {0}")]
    Refused(String),
}

/// A cluster's authority with its private key.
pub struct CertificateAuthority {
    cluster: Uuid,
    pem: String,
    ends: SystemTime,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate shall say.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the holder may be; at least one.
    pub roles: Roles,
    /// Its node.
    pub node: Uuid,
    /// Host names, for HTTPS.
    pub names: Vec<String>,
    /// Addresses, for HTTPS.
    pub addresses: Vec<IpAddr>,
    /// How long it is valid.
    pub days: u32,
    /// A name for people.
    pub label: String,
}

/// A certificate and its private key, as text.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    key: String,
}

impl CertificateAuthority {
    /// Makes an authority for `cluster` in `dir`, which is created where it is missing.
    ///
    /// # Errors
    /// [`CertificateError::Exists`] when there is one; otherwise what the disk says.
    pub fn create(
        dir: &Path,
        cluster: Uuid,
        days: u32,
    ) -> Result<CertificateAuthority, CertificateError> {
        let (key_path, path) = (dir.join(AUTHORITY_KEY), dir.join(AUTHORITY_CERTIFICATE));
        for path in [&key_path, &path] {
            if path.exists() {
                return Err(CertificateError::Exists(path.clone()));
            }
        }
        let mut params = params(&format!("rama cluster {cluster}"), days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(authority_uri(cluster))?];
        let key = KeyPair::generate().map_err(refused)?;
        let certificate = params.self_signed(&key).map_err(refused)?;
        files::make_private_dir(dir)?;
        files::write(&key_path, key.serialize_pem().as_bytes(), files::PRIVATE)?;
        files::write(&path, certificate.pem().as_bytes(), files::PUBLIC)?;
        CertificateAuthority::open(dir)
    }

    /// Reads an authority.
    ///
    /// # Errors
    /// What is missing, or not what it should be.
    pub fn open(dir: &Path) -> Result<CertificateAuthority, CertificateError> {
        let (key_path, path) = (dir.join(AUTHORITY_KEY), dir.join(AUTHORITY_CERTIFICATE));
        let pem = read_public(&path)?;
        let bad = |path: &Path, expected, cause: String| CertificateError::Content {
            path: path.to_owned(),
            expected,
            cause,
        };
        let not_authority = |cause| bad(&path, "the certificate of an authority", cause);
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|cause| not_authority(cause.to_string()))?;
        let cluster = cluster_of_authority(&der)
            .ok_or_else(|| not_authority("it names no cluster".to_owned()))?;
        let ends = summary::ends(&der).map_err(not_authority)?;
        let key = read_private(&key_path)?;
        let key = KeyPair::from_pem(&key)
            .map_err(|cause| bad(&key_path, "a private key", cause.to_string()))?;
        if !summary::has_key(&der, key.public_key_raw()) {
            return Err(not_authority(format!(
                "it belongs to another key than {}",
                key_path.display()
            )));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|cause| not_authority(cause.to_string()))?;
        Ok(CertificateAuthority {
            cluster,
            pem,
            ends,
            issuer,
        })
    }

    /// The cluster it speaks for.
    pub fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// Writes a copy of its own certificate into `dir`.
    ///
    /// # Errors
    /// [`CertificateError::File`]
    pub fn write_certificate(&self, dir: &Path) -> Result<PathBuf, CertificateError> {
        let path = dir.join(AUTHORITY_CERTIFICATE);
        files::make_private_dir(dir)?;
        files::write(&path, self.pem.as_bytes(), files::PUBLIC)?;
        Ok(path)
    }

    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    /// [`CertificateError::Refused`] without roles, with a name that is none, or when the
    /// authority ends before the certificate would.
    pub fn issue(&self, request: &Request) -> Result<Issued, CertificateError> {
        if request.roles.is_empty() {
            let text = format!("it needs a role: {}", Roles::ALL);
            return Err(CertificateError::Refused(text));
        }
        let mut params = params(&request.label, request.days)?;
        if now() + DAY * request.days > self.ends {
            let left = self.ends.duration_since(now()).unwrap_or_default();
            return Err(CertificateError::Refused(format!(
                "the authority itself ends in {} days; ask for fewer than {}",
                left.as_secs() / DAY.as_secs(),
                request.days
            )));
        }
        let identity = Identity {
            cluster: self.cluster,
            node: request.node,
            roles: request.roles,
        };
        for name in identity.uris() {
            params.subject_alt_names.push(uri(name)?);
        }
        for name in &request.names {
            let name = name
                .as_str()
                .try_into()
                .map_err(|_| CertificateError::Refused(format!("{name} is no host name")))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let addresses = request.addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every process dials and is dialled.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().map_err(refused)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(refused)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Issued {
    /// Writes `<stem>.pem` and `<stem>.key` into `dir`; both replace earlier ones atomically, so
    /// that a running process that reads them again sees whole files.
    ///
    /// # Errors
    /// [`CertificateError::File`]
    pub fn write(&self, dir: &Path, stem: &str) -> Result<(PathBuf, PathBuf), CertificateError> {
        let path = dir.join(format!("{stem}.pem"));
        let key_path = dir.join(format!("{stem}.key"));
        files::make_private_dir(dir)?;
        files::write(&key_path, self.key.as_bytes(), files::PRIVATE)?;
        files::write(&path, self.certificate.as_bytes(), files::PUBLIC)?;
        Ok((path, key_path))
    }
}

/// A certificate that nobody signed, for connections that stay on this machine and trust it.
pub(crate) fn self_signed() -> Result<(CertificateDer<'static>, Vec<u8>), CertificateError> {
    let key = KeyPair::generate().map_err(refused)?;
    let certificate = params("rama, insecure", 365)?.self_signed(&key);
    let certificate = certificate.map_err(refused)?;
    Ok((certificate.der().clone(), key.serialize_der()))
}

fn params(common_name: &str, days: u32) -> Result<CertificateParams, CertificateError> {
    if days == 0 || days > DAYS_MAX {
        let text = format!("{days} days are not between 1 and {DAYS_MAX}");
        return Err(CertificateError::Refused(text));
    }
    let mut params = CertificateParams::default();
    let name = DnValue::Utf8String(common_name.to_owned());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + DAY * days;
    Ok(params)
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn authority_uri(cluster: Uuid) -> String {
    format!("rama://{cluster}/authority")
}

/// The cluster that an authority's certificate speaks for.
pub(crate) fn cluster_of_authority(certificate: &CertificateDer<'_>) -> Option<Uuid> {
    uris(certificate).ok()?.iter().find_map(|uri| {
        let cluster = uri.strip_prefix("rama://")?.strip_suffix("/authority")?;
        Uuid::try_parse(cluster).ok()
    })
}

fn uri(text: String) -> Result<SanType, CertificateError> {
    let name = text.as_str().try_into();
    name.map(SanType::URI).map_err(refused)
}

fn refused(cause: rcgen::Error) -> CertificateError {
    CertificateError::Refused(cause.to_string())
}
