//! TLS towards peers: only the authorities that the operator named are believed.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsConnector;

use super::super::settings::Tls;

/// What connects to peers; clones share the certificates.
#[derive(Clone)]
pub struct Connector {
    files: Tls,
    current: Arc<RwLock<Arc<ClientConfig>>>,
}

impl Connector {
    /// With the certificates that are in the files now.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn new(files: &Tls) -> Result<Self, String> {
        Ok(Self { files: files.clone(), current: Arc::new(RwLock::new(Arc::new(load(files)?))) })
    }

    /// For one connection; `alpn` is what is spoken on it, nothing where it need not be said.
    pub fn connector(&self, alpn: &[&[u8]]) -> TlsConnector {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if alpn.is_empty() {
            return TlsConnector::from(current);
        }
        let mut config = (*current).clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    /// Which file cannot be used, and why; the certificates stay as they were then.
    pub fn reload(&self) -> Result<(), String> {
        let new = Arc::new(load(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn load(files: &Tls) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(file) => {
            let named = |error: String| format!("tls.ca {}: {error}", file.display());
            for certificate in certificates(file).map_err(named)? {
                roots.add(certificate).map_err(|error| named(error.to_string()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    Ok(match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert).map_err(|error| format!("tls.cert {}: {error}", cert.display()))?;
            let named = |error: String| format!("tls.key {}: {error}", key.display());
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| named(error.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| named(error.to_string()))?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| error.to_string())?;
    if found.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(found) }
}
