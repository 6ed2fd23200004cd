//! Who a certificate says its holder is: `rama://<cluster>/<role>/<node>` in a URI SAN, one for
//! each role.
//!
//! Relies on x509-parser for the place of the names; that a certificate is genuine is checked
//! elsewhere, always before an identity is believed. What must stay true: all names of one
//! certificate speak of one cluster and one node; anything else is no identity.

#[cfg(test)]
mod tests;

use rama_wire::session::{Role, Roles};
use rustls::pki_types::CertificateDer;
use uuid::Uuid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const SCHEME: &str = "rama://";
/// Names of a certificate that are looked at, at most.
const NAMES_MAX: usize = 64;

/// Who the holder of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: Uuid,
    /// Its node; clients and operators have one of their own.
    pub node: Uuid,
    /// What it may be.
    pub roles: Roles,
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// Not an X.509 certificate.
    #[error("could not read the certificate: {0}")]
    Unreadable(String),
    /// No name of ours.
    #[error("the certificate has no name of the form rama://<cluster>/<role>/<node>")]
    NoName,
    /// A name that cannot be understood.
    #[error("the certificate's name {0} is not of the form rama://<cluster>/<role>/<node>")]
    BadName(String),
    /// Names that contradict each other.
    #[error("the certificate names more than one cluster or node")]
    Contradiction,
}

impl Identity {
    /// The names that go into a certificate.
    pub fn uris(&self) -> Vec<String> {
        let uri = |role| format!("{SCHEME}{}/{role}/{}", self.cluster, self.node);
        self.roles.iter().map(uri).collect()
    }

    /// The identity in a certificate, which is not checked for anything else here.
    ///
    /// # Errors
    /// [`BadIdentity`]
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Identity, BadIdentity> {
        let uris = uris(certificate)?;
        let mut found: Option<Identity> = None;
        for uri in uris.iter().filter(|uri| uri.starts_with(SCHEME)) {
            let (cluster, role, node) =
                parse(uri).ok_or_else(|| BadIdentity::BadName(uri.clone()))?;
            let known = found.get_or_insert(Identity {
                cluster,
                node,
                roles: Roles::NONE,
            });
            if (known.cluster, known.node) != (cluster, node) {
                return Err(BadIdentity::Contradiction);
            }
            known.roles = known.roles.with(role);
        }
        found.ok_or(BadIdentity::NoName)
    }
}

/// The URI names of a certificate.
pub(crate) fn uris(certificate: &CertificateDer<'_>) -> Result<Vec<String>, BadIdentity> {
    let unreadable = |cause: String| BadIdentity::Unreadable(cause);
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|cause| unreadable(cause.to_string()))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|cause| unreadable(cause.to_string()))?;
    let names = names.map_or(&[][..], |names| &names.value.general_names[..]);
    let uris = names.iter().take(NAMES_MAX).filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Ok(uris.collect())
}

fn parse(uri: &str) -> Option<(Uuid, Role, Uuid)> {
    let mut parts = uri.strip_prefix(SCHEME)?.split('/');
    let cluster = Uuid::try_parse(parts.next()?).ok()?;
    let role = parts.next()?.parse().ok()?;
    let node = Uuid::try_parse(parts.next()?).ok()?;
    parts.next().is_none().then_some((cluster, role, node))
}
