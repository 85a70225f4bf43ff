//! TLS as harepd has it: the server shows a certificate, the client none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::listener::tls::{TlsFiles, load};

struct Authority {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
    params: rcgen::CertificateParams,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key, params }
    }

    /// Writes the authority's certificate and one for `name`.
    fn write(&self, directory: &Path, name: &str) -> Tls {
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let certificate =
            rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let place = |file: &str, text: String| -> Option<PathBuf> {
            let path = directory.join(file);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        Tls {
            ca: place("ca.pem", self.certificate.pem()),
            cert: place("cert.pem", certificate.pem()),
            key: place("key.pem", key.serialize_pem()),
            client_ca: None,
        }
    }
}

fn certificates(tls: &Tls) -> (Certificates, watch::Sender<Arc<rustls::ServerConfig>>) {
    let files = TlsFiles {
        certificate: tls.cert.clone().unwrap(),
        key: tls.key.clone().unwrap(),
        client_authorities: None,
        require: false,
    };
    let (sender, receiver) = watch::channel(load(&files).unwrap());
    (receiver, sender)
}

async fn asked(server: &Tls, client_has: Option<Tls>) -> Result<LegacyView, String> {
    let (current, _keep) = certificates(server);
    let (port, _stop) = serve("node2", Rows::of(rows(1)), Some(current)).await;
    let peer = peer("127.0.0.1", port);
    client(client_has, &peer).await.ask(&peer, None, LIMIT).await
}

#[tokio::test]
async fn a_server_of_the_named_authority_is_believed_and_no_other() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::new();
    let tls = authority.write(one.path(), "127.0.0.1");
    let view = asked(&tls, Some(Tls { cert: None, key: None, ..tls.clone() })).await.unwrap();
    assert_eq!(view.masters, ["10.0.0.1"]);

    let stranger = Authority::new().write(other.path(), "127.0.0.1");
    let why = asked(&stranger, Some(tls.clone())).await.unwrap_err();
    assert!(why.contains("TLS with it fails"), "{why}");
    let misnamed = authority.write(other.path(), "127.0.0.2");
    let why = asked(&misnamed, Some(tls.clone())).await.unwrap_err();
    assert!(why.contains("TLS with it fails"), "{why}");
    // Without TLS nothing is told.
    assert!(asked(&tls, None).await.is_err());
}
