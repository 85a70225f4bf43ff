//! Whom the client trusts, and how it proves who it is.

use std::path::PathBuf;
use std::sync::Arc;

use crate::support::{Machine, Ran, Reply, Service, ok};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;

/// A certificate authority.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key in PEM.
struct Identity {
    certificate: String,
    key: String,
}

fn issue(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap().pem();
    Identity { certificate, key: key.serialize_pem() }
}

/// A certificate as `openssl req -x509` makes it: signed by itself, and an authority in its own words.
fn own_authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap().pem();
    Identity { certificate, key: key.serialize_pem() }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn server(identity: &Identity, clients: Option<&str>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(authority)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(vec![der(&identity.certificate)], key).unwrap())
}

fn no_reason() -> Vec<Reply> {
    vec![ok(json!({"go_ahead": false, "found_cluster": "c", "message": ""}))]
}

/// A machine that asks for `localhost`, so that certificates carry a name.
fn machine(service: &Service) -> Machine {
    let mut machine = Machine::new(service, 1);
    machine.url = format!("https://localhost:{}", service.address.port());
    machine
}

fn file(machine: &Machine, name: &str, text: &str) -> PathBuf {
    let path = machine.path(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn run(machine: &Machine) -> Ran {
    Ran::of(machine.legacy().env("GOAHEAD_CLIENT_TRIES", "1").output().unwrap())
}

#[test]
fn the_ca_file_is_trusted_and_without_it_nobody_unknown_is() {
    let authority = authority();
    let tls = server(&issue(&authority, "localhost"), None);
    let service = Service::start_with(no_reason(), Some(tls.clone()));
    let mut machine = machine(&service);
    let ca = file(&machine, "ca.pem", &authority.pem());
    machine.settings = format!("service_url_ca_file: {}", ca.display());
    machine.arguments = vec!["-debug".to_owned()];
    let ran = run(&machine);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(service.asked().len(), 1);
    let line = format!("Debug setupHttpClient(): Appending certificate {} to trusted CAs", ca.display());
    assert!(ran.lines().contains(&line.as_str()), "{ran:?}");

    let stranger = Service::start_with(no_reason(), Some(tls));
    machine.url = format!("https://localhost:{}", stranger.address.port());
    machine.settings = String::new();
    let ran = run(&machine);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("TLS: "), "{ran:?}");
    assert!(stranger.asked().is_empty());
}

#[test]
fn an_untrusted_certificate_is_not_tried_again() {
    let service = Service::start_with(no_reason(), Some(server(&issue(&authority(), "localhost"), None)));
    let ran = machine(&service).run();
    assert_eq!(ran.code, Some(1));
    assert!(!ran.out.contains("trying again"), "{ran:?}");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = authority();
    let service = Service::start_with(no_reason(), Some(server(&issue(&authority, "other.example.org"), None)));
    let mut machine = machine(&service);
    let ca = file(&machine, "ca.pem", &authority.pem());
    machine.settings = format!("service_url_ca_file: {}", ca.display());
    let ran = run(&machine);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(service.asked().is_empty());
}

#[test]
fn the_service_s_own_certificate_may_be_the_ca_file() {
    let good = own_authority("localhost", |_| {});
    let named_otherwise = own_authority("other.example.org", |_| {});
    let expired = own_authority("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let stranger = own_authority("localhost", |_| {});
    for (what, serving, trusted, code) in [
        ("itself", &good, &good, 0),
        ("another name", &named_otherwise, &named_otherwise, 1),
        ("expired", &expired, &expired, 1),
        ("another certificate", &stranger, &good, 1),
    ] {
        let service = Service::start_with(no_reason(), Some(server(serving, None)));
        let mut machine = machine(&service);
        let ca = file(&machine, "goahead.pem", &trusted.certificate);
        machine.settings = format!("service_url_ca_file: {}", ca.display());
        let ran = run(&machine);
        assert_eq!(ran.code, Some(code), "{what}: {ran:?}");
    }
}

#[test]
fn the_client_shows_its_certificate() {
    let authority = authority();
    let identity = issue(&authority, "host.example.org");
    let tls = server(&issue(&authority, "localhost"), Some(&authority.pem()));
    for (shown, code) in [(true, 0), (false, 1)] {
        let service = Service::start_with(no_reason(), Some(tls.clone()));
        let mut machine = machine(&service);
        let ca = file(&machine, "ca.pem", &authority.pem());
        let certificate = file(&machine, "cert.pem", &identity.certificate);
        let key = file(&machine, "key.pem", &identity.key);
        machine.settings = format!("service_url_ca_file: {}\n", ca.display());
        if shown {
            machine.settings += &format!(
                "ssl_certificate_file: {}\nssl_private_key: {}\nssl_require_and_verify_client_cert: true",
                certificate.display(),
                key.display()
            );
        }
        let ran = run(&machine);
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }
}

#[test]
fn a_key_that_does_not_fit_is_named() {
    let authority = authority();
    let service = Service::start(vec![]);
    let mut machine = machine(&service);
    let certificate = file(&machine, "cert.pem", &issue(&authority, "a.example.org").certificate);
    let key = file(&machine, "key.pem", "not a key");
    machine.settings = format!("ssl_certificate_file: {}\nssl_private_key: {}", certificate.display(), key.display());
    let ran = run(&machine);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with(&format!("Failed to read ssl_private_key {}", key.display())), "{ran:?}");
}
