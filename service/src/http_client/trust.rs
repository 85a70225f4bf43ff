//! Whom a client trusts: the system's certificate authorities and a file of its own, as Go's library does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::HeaderValue;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::FromDer;

/// What is trusted beside the system's authorities, and what proves who calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// A file of certificates (PEM) to trust: authorities, or the service's own
    pub ca_file: Option<&'a Path>,
    /// The files of the client certificate with its chain, and of its private key (both PEM)
    pub client_certificate: Option<(&'a Path, &'a Path)>,
}

/// Why nobody can be called.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// TLS itself
    #[error("cannot set up TLS: {0}")]
    Setup(String),
    /// The file of certificates to trust
    #[error("cannot read certificates to trust from {file}: {1}", file = .0.display())]
    Authorities(PathBuf, String),
    /// The file of the client certificate
    #[error("cannot read the client certificate {file}: {1}", file = .0.display())]
    Certificate(PathBuf, String),
    /// The file of the private key
    #[error("cannot use the private key {file}: {1}", file = .0.display())]
    Key(PathBuf, String),
}

/// How TLS is spoken. What helps to find a fault goes to `note`, a sentence a time.
///
/// # Errors
/// When a certificate or the private key cannot be read; says which file.
pub fn connector(trust: Trust<'_>, note: impl Fn(&str)) -> Result<TlsConnector, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(trust.ca_file, provider.clone(), note)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let tls = match trust.client_certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)
                .and_then(|chain| if chain.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(chain) })
                .map_err(|error| TrustError::Certificate(certificate.to_owned(), error))?;
            let unusable = |error: String| TrustError::Key(key.to_owned(), error);
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(error.to_string()))?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| unusable(error.to_string()))?
        }
    };
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// The header that carries the token in `file`; marked as a secret, which no log shows.
///
/// # Errors
/// When the file cannot be read or holds no token; says why, without its name.
pub fn bearer(file: &Path) -> Result<HeaderValue, String> {
    let token = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it holds no token".to_owned());
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
    header.set_sensitive(true);
    Ok(header)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| error.to_string())
}

fn verifier(
    ca_file: Option<&Path>,
    provider: Arc<CryptoProvider>,
    note: impl Fn(&str),
) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        note(&format!("Cannot read all of the system's certificates: {error}"));
    }
    roots.add_parsable_certificates(system.certs);
    let mut own = Vec::new();
    if let Some(file) = ca_file {
        own = certificates(file).map_err(|error| TrustError::Authorities(file.to_owned(), error))?;
        note(&format!("Appending certificate {} to trusted CAs", file.display()));
        if own.is_empty() {
            note("No certs appended, using system certs only");
        }
        roots.add_parsable_certificates(own.iter().cloned());
    }
    if roots.is_empty() {
        // Nobody can be trusted, so no https address will be; plain http still works.
        return Ok(Arc::new(Pinned { inner: None, own, provider }));
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| TrustError::Setup(error.to_string()))?;
    Ok(Arc::new(Pinned { inner: Some(inner), own, provider }))
}

/// The usual verification, and beside it what Go's allows: the file may hold the service's own certificate,
/// as goahead_client's example config does. Most such certificates say of themselves that they are an authority
/// (`openssl req -x509` writes that), and then the usual verification refuses them as a server's.
#[derive(Debug)]
struct Pinned {
    inner: Option<Arc<WebPkiServerVerifier>>,
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.own.contains(end_entity) {
            rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return in_force(end_entity, now).map(|()| ServerCertVerified::assertion());
        }
        match &self.inner {
            Some(inner) => inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate is in force now.
fn in_force(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate)
        .map_err(|error| Error::from(CertificateError::Other(OtherError(Arc::new(error)))))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.not_after.timestamp() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}
