//! Whether a peer is of this cluster, and which certificate it is shown.
//!
//! Relies on webpki for the chain and on `identity` for the name. Both sides of a handshake use
//! this. What must stay true: nothing of a certificate is believed before its chain is verified,
//! except for the words of a refusal; a host name proves nothing here, the identity does.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{Credentials, Loaded};
use crate::identity::Identity;

/// Verifies peers and presents this process, with whatever credentials are in force.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    credentials: Arc<Credentials>,
    provider: Arc<CryptoProvider>,
}

impl PeerVerifier {
    pub(crate) fn new(
        credentials: Arc<Credentials>,
        provider: Arc<CryptoProvider>,
    ) -> Arc<PeerVerifier> {
        Arc::new(PeerVerifier {
            credentials,
            provider,
        })
    }

    /// The words of a refusal come before the chain: "unknown issuer" helps nobody who mixed up
    /// two clusters.
    fn check_cluster(&self, loaded: &Loaded, peer: &CertificateDer<'_>) -> Result<(), Error> {
        let ours = loaded.identity.cluster;
        let identity = Identity::of(peer).map_err(|cause| Error::General(cause.to_string()))?;
        if identity.cluster == ours {
            return Ok(());
        }
        Err(Error::General(format!(
            "a certificate of cluster {} was shown to a process of cluster {ours}",
            identity.cluster
        )))
    }
}

/// Whether `roots` vouch for `chain`, whatever its host names.
pub(super) fn check_chain(
    roots: &RootCertStore,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
    provider: &CryptoProvider,
) -> Result<(), Error> {
    let (own, intermediates) = chain
        .split_first()
        .ok_or_else(|| Error::General("there is no certificate".to_owned()))?;
    let parsed = ParsedCertificate::try_from(own)?;
    let algorithms = provider.signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let loaded = self.credentials.current();
        self.check_cluster(&loaded, peer)?;
        let mut chain = vec![peer.clone()];
        chain.extend_from_slice(intermediates);
        check_chain(&loaded.roots, &chain, now, &self.provider)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, peer, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, peer, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints would have to outlive a rotation, and every client has one certificate anyway.
        &[]
    }

    fn verify_client_cert(
        &self,
        peer: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let loaded = self.credentials.current();
        self.check_cluster(&loaded, peer)?;
        let verifier = &loaded.client_verifier;
        verifier.verify_client_cert(peer, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, peer, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, peer, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

impl ResolvesServerCert for PeerVerifier {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.credentials.current().key.clone())
    }
}

impl ResolvesClientCert for PeerVerifier {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.credentials.current().key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
