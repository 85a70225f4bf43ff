//! The server's side of TLS: certificates read from files, read again on request, and the names in a client's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::peer::PeerCertificate;

/// The files of the server's side of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate and chain
    pub certificate: PathBuf,
    /// Private key
    pub key: PathBuf,
    /// Authorities of client certificates
    pub client_authorities: Option<PathBuf>,
    /// Whether every client must show one
    pub require: bool,
}

/// Reads the files into what a connection needs: TLS 1.2 and 1.3, HTTP/2 and 1.1.
///
/// # Errors
/// Which file cannot be used, and why.
pub fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates("TLS certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("TLS key {}: {error}", files.key.display()))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("TLS authorities of clients", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("TLS authorities of clients {}: {error}", path.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if files.require { verifier } else { verifier.allow_unauthenticated() };
            let verifier =
                verifier.build().map_err(|error| format!("TLS authorities of clients {}: {error}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("TLS certificate {} and its key: {error}", files.certificate.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The names that callers may use for this server, from its own certificate.
pub fn server_names(files: &TlsFiles) -> Vec<String> {
    let Ok(chain) = certificates("TLS certificate", &files.certificate) else { return Vec::new() };
    let Some(names) = chain.first().and_then(|certificate| peer_certificate(certificate)) else { return Vec::new() };
    names.names.into_iter().chain(names.common_name).collect()
}

/// The names in a certificate; none when it cannot be read.
pub fn peer_certificate(certificate: &[u8]) -> Option<PeerCertificate> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let names = match parsed.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    Some(PeerCertificate { names, common_name: common_name.map(ToOwned::to_owned) })
}

fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{flag} {}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{flag} {}: there is no certificate in it", path.display()));
    }
    Ok(found)
}
