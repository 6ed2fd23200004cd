//! How connections are protected: mutual TLS, or not at all on this machine alone.
//!
//! Relies on rustls with ring, TLS 1.3 only. What must stay true: no session is ever resumed, so
//! that every handshake shows and checks certificates as they are now, and nothing is sent before
//! it ends (no 0-RTT); without certificates only loopback addresses are bound or dialled.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, ring as ring_provider, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

use crate::certificates;
use crate::credentials::{Credentials, PeerVerifier};
use crate::error::NetError;

/// The name of what is spoken over QUIC here; versions are told in greetings.
const ALPN: &[u8] = b"rama";

/// How connections of an endpoint are protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// Both sides show a certificate of the same cluster.
    Mutual(Arc<Credentials>),
    /// Nobody proves anything. Only for addresses of this machine that no other can reach.
    InsecureLoopback,
}

/// The TLS side of an endpoint.
pub(crate) struct Tls {
    pub(crate) client: Arc<QuicClientConfig>,
    pub(crate) server: Arc<QuicServerConfig>,
}

impl Security {
    /// Refuses addresses that must not be used without certificates.
    pub(crate) fn check_address(&self, address: SocketAddr) -> Result<(), NetError> {
        match self {
            Security::InsecureLoopback if !address.ip().is_loopback() => {
                Err(NetError::InsecureAddress(address))
            }
            _ => Ok(()),
        }
    }

    /// Which certificates are in force, after a look at their files.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Security::Mutual(credentials) => credentials.current().generation,
            Security::InsecureLoopback => 0,
        }
    }

    /// How HTTPS is served with the certificate of this process; none where there is none. Who asks
    /// shows no certificate: there it is known by a token.
    ///
    /// # Errors
    /// rustls refuses.
    pub fn https(&self) -> Result<Option<Arc<ServerConfig>>, NetError> {
        let Security::Mutual(credentials) = self else {
            return Ok(None);
        };
        let provider = provider();
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(NetError::tls)?
            .with_no_client_auth()
            .with_cert_resolver(PeerVerifier::new(credentials.clone(), provider));
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        server.send_tls13_tickets = 0;
        Ok(Some(Arc::new(server)))
    }

    pub(crate) fn tls(&self) -> Result<Tls, NetError> {
        let provider = provider();
        let versions = &[&rustls::version::TLS13];
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(NetError::tls)?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(NetError::tls)?;
        let (mut client, mut server) = match self {
            Security::Mutual(credentials) => {
                let verifier = PeerVerifier::new(credentials.clone(), provider);
                let client = client
                    .dangerous()
                    .with_custom_certificate_verifier(verifier.clone())
                    .with_client_cert_resolver(verifier.clone());
                let server = server
                    .with_client_cert_verifier(verifier.clone())
                    .with_cert_resolver(verifier);
                (client, server)
            }
            Security::InsecureLoopback => {
                let (certificate, key) = certificates::self_signed()?;
                let key = PrivateKeyDer::Pkcs8(key.into());
                let client = client
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
                    .with_no_client_auth();
                let server = server
                    .with_no_client_auth()
                    .with_single_cert(vec![certificate], key)
                    .map_err(NetError::tls)?;
                (client, server)
            }
        };
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        let unusable =
            |cause: quinn::crypto::rustls::NoInitialCipherSuite| NetError::Tls(cause.to_string());
        Ok(Tls {
            client: Arc::new(QuicClientConfig::try_from(client).map_err(unusable)?),
            server: Arc::new(QuicServerConfig::try_from(server).map_err(unusable)?),
        })
    }
}

/// ring, with the cheaper of its AES ciphers first.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring_provider::default_provider();
    provider.cipher_suites = vec![
        ring_provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring_provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring_provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// Believes anyone; signatures are still checked, so that a broken peer is noticed.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _peer: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, peer, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        peer: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, peer, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
