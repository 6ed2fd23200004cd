//! What a certificate says, for people and for checks.
//!
//! Relies on x509-parser. What must stay true: nothing here decides whether a certificate is
//! genuine.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use uuid::Uuid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertificateError, cluster_of_authority, read_public};
use crate::identity::Identity;

/// One certificate of a file.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its cluster, if it is of one.
    pub cluster: Option<Uuid>,
    /// Whether it signs others.
    pub authority: bool,
    /// Who its holder is, if it says so.
    pub identity: Option<Identity>,
    /// Its name for people.
    pub label: String,
    /// Host names and addresses.
    pub hosts: Vec<String>,
    /// Valid from.
    pub begins: SystemTime,
    /// Valid until.
    pub ends: SystemTime,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
}

/// What the certificates in `path` say, in order.
///
/// # Errors
/// [`CertificateError`] when the file cannot be read or holds none.
pub fn summaries(path: &Path) -> Result<Vec<Summary>, CertificateError> {
    let bad = |cause: String| CertificateError::Content {
        path: path.to_owned(),
        expected: "a file of certificates",
        cause,
    };
    let text = read_public(path)?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|cause| bad(cause.to_string()))?;
        found.push(summary(&certificate).map_err(bad)?);
    }
    if found.is_empty() {
        return Err(bad("it holds none".to_owned()));
    }
    Ok(found)
}

fn summary(certificate: &CertificateDer<'_>) -> Result<Summary, String> {
    let parsed = parse(certificate)?;
    let label = parsed.subject().iter_common_name().next();
    let label = label.and_then(|name| name.as_str().ok()).unwrap_or("");
    let names = parsed.subject_alternative_name();
    let names = names.map_err(|cause| cause.to_string())?;
    let names = names.map_or(&[][..], |names| &names.value.general_names[..]);
    let hosts = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    let identity = Identity::of(certificate).ok();
    let authority = cluster_of_authority(certificate);
    Ok(Summary {
        cluster: authority.or(identity.map(|identity| identity.cluster)),
        authority: parsed.is_ca(),
        identity,
        label: label.to_owned(),
        hosts: hosts.collect(),
        begins: time(parsed.validity().not_before.timestamp()),
        ends: time(parsed.validity().not_after.timestamp()),
        fingerprint: hexadecimal(digest::digest(&digest::SHA256, certificate).as_ref()),
    })
}

/// When a certificate ends.
pub(crate) fn ends(certificate: &CertificateDer<'_>) -> Result<SystemTime, String> {
    Ok(time(parse(certificate)?.validity().not_after.timestamp()))
}

/// Whether a certificate is for the public key `key`.
pub(super) fn has_key(certificate: &CertificateDer<'_>, key: &[u8]) -> bool {
    parse(certificate)
        .is_ok_and(|certificate| certificate.public_key().subject_public_key.data == key)
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    let parsed = X509Certificate::from_der(certificate);
    let (_, parsed) = parsed.map_err(|cause| cause.to_string())?;
    Ok(parsed)
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.max(0) as u64)
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    Some(address.ok()?.to_string())
}

/// Hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
