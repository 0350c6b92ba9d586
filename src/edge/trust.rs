//! Certificates that a person named as `ca_file`: each is a root as any other, and the server's own is accepted to the byte.
//!
//! A self-signed certificate often may not sign, or is a root and thus no server's, so that no chain leads to it. The handshake
//! proves all the same that the server holds its key.

use super::files;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = files::read(path).map_err(|error| error.to_string())?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read.bytes).flatten().collect();
    match certificates.is_empty() {
        true => Err("holds no certificate in PEM form".into()),
        false => Ok(certificates),
    }
}

/// Accepts what the roots accept, and a server that shows one of these certificates itself.
#[derive(Debug)]
pub(super) struct Named {
    roots: Arc<WebPkiServerVerifier>,
    exact: Vec<CertificateDer<'static>>,
}

impl Named {
    /// # Errors
    /// There are no roots.
    pub(super) fn new(
        roots: RootCertStore,
        exact: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        Ok(Self {
            roots: WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?,
            exact: exact.to_vec(),
        })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.roots.verify_server_cert(own, chain, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(_)) if self.exact.iter().any(|one| one == own) => {
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}
