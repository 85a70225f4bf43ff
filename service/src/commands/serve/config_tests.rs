//! Which settings win, what the original's file means, and what is refused.

use super::*;

fn load(flags: Layer, file: &str) -> Result<Config, String> {
    let mut warnings = Vec::new();
    let (file, original) = read(file, &mut warnings)?;
    flags.over(file).resolve(original, &logging::Options::default(), warnings)
}

fn flags() -> Layer {
    Layer { database_url: Some("postgres://db/x".into()), ..Layer::default() }
}

#[test]
fn the_original_s_file_is_taken_as_it_is() {
    let config = load(
        flags(),
        "---\nlisten_port: 9443\nlog_base_dir: /tmp/goahead/\nsave_state_dir: /tmp/goahead/\ninclude_dir: ./examples.d/\n\
         timeout: 20s\nssl_client_cert_ca_file: /no/such/ca.pem\nssl_certificate_file: ./ssl/goahead.pem\n\
         ssl_private_key: ./ssl/goahead.key\nssl_require_and_verify_client_cert: no\nnonsense: 1\n",
    )
    .unwrap();
    assert_eq!(config.listen, "0.0.0.0:9443".parse().ok());
    assert_eq!(config.include_dir, Some("./examples.d/".into()));
    assert_eq!(
        config.tls,
        Some(TlsFiles {
            certificate: "./ssl/goahead.pem".into(),
            key: "./ssl/goahead.key".into(),
            client_authorities: None,
            require: false
        })
    );
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("nonsense"));
}

#[test]
fn the_original_s_client_certificates() {
    let config = load(
        flags(),
        "listen_address: 127.0.0.1\nssl_client_cert_ca_file: /no/such/ca.pem\nssl_certificate_file: c\n\
         ssl_private_key: k\nssl_require_and_verify_client_cert: yes\n",
    )
    .unwrap();
    assert_eq!(config.listen, "127.0.0.1:8443".parse().ok());
    let tls = config.tls.unwrap();
    assert!(tls.require);
    assert_eq!(tls.client_authorities, Some("/no/such/ca.pem".into()));
}

#[test]
fn a_flag_wins_over_the_file() {
    let over = Layer { listen: Some("127.0.0.1:1".into()), timeout: Some(Duration::from_secs(3)), ..flags() };
    let config = load(over, "listen: 127.0.0.1:2\nadmin_listen: 127.0.0.1:3\ntimeout: 9\nbind_names: on\n").unwrap();
    let port = |address: Option<SocketAddr>| address.map(|address| address.port());
    assert_eq!((port(config.listen), port(config.admin_listen)), (Some(1), Some(3)));
    assert_eq!(config.timeout, Duration::from_secs(3));
    assert!(config.bind_names && !config.require_auth && !config.run_jobs);
}

#[test]
fn plain_http_stays_on_loopback_unless_told() {
    let exposed = || Layer { listen: Some("0.0.0.0:1".into()), ..flags() };
    assert!(load(exposed(), "").unwrap_err().contains("--insecure"));
    assert!(load(Layer { insecure: Some(true), ..exposed() }, "").unwrap().tls.is_none());
    let tls = || Layer { tls_cert: Some("c".into()), tls_key: Some("k".into()), ..exposed() };
    assert!(load(tls(), "").unwrap().tls.is_some());
    let admin = load(Layer { admin_listen: Some("0.0.0.0:2".into()), ..tls() }, "").unwrap();
    assert!(admin.admin_tls);
    let original = load(flags(), "listen_address: 0.0.0.0\n").unwrap();
    assert!(original.warnings.iter().any(|line| line.contains("plain HTTP")));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (file, named) in [
        ("require_aut: true", "require_aut"),
        ("bind_names: perhaps", "boolean"),
        ("timeout: soon", "soon"),
        ("listen: 127.0.0.1", "--listen"),
        ("tls_cert: c", "--tls-key"),
        ("tls_client_ca: c", "TLS"),
        ("tls_require_client_cert: true\ntls_cert: c\ntls_key: k", "--tls-client-ca"),
        ("cert_roles: [nobody]", "--cert-role"),
        ("- a\n- b", "name: value"),
        ("log_format: xml", "xml"),
    ] {
        let error = load(flags(), file).expect_err(file);
        assert!(error.contains(named), "{file}: {error}");
    }
}

#[test]
fn listeners_can_be_off() {
    let config = load(flags(), "listen: 'off'\nadmin_listen: 'off'\n").unwrap();
    assert_eq!((config.listen, config.admin_listen), (None, None));
    assert_eq!(config.rendezvous_listen, "127.0.0.1:8080".parse().ok());
    assert!(config.rendezvous_listen_is_default && config.keep_marks);
    let none = load(flags(), "listen: 'off'\nadmin_listen: 'off'\nrendezvous_listen: 'off'\n").unwrap_err();
    assert!(none.contains("nothing to serve"), "{none}");
}

#[test]
fn the_rendezvous_has_its_own_settings() {
    let file = "rendezvous_timeout: 0.5\npostgres_url: postgres://u:secret@db/{{.}}?sslmode=disable\n\
                probe_allow: 10.0.0.0/8,*.example.org\nkeep_marks: no\nrendezvous_listen: '[::1]:1'\n";
    let config = load(flags(), file).unwrap();
    assert_eq!(config.rendezvous_timeout, Duration::from_millis(500));
    assert!(config.postgres_template.is_some() && !config.keep_marks && !config.rendezvous_listen_is_default);
    for (file, told) in [
        ("postgres_url: postgres://u:secret@db/{{.}}?sslmode=allow", "--postgres-url: sslmode=allow"),
        ("postgres_url: postgres://u:secret@db/{{.}}?sslmode=verify-ca", "--postgres-url: sslmode=verify-ca"),
        ("postgres_url: postgres://u:secret@{{.}}/x", "--postgres-url: {{.}}"),
        ("probe_allow: 10.0.0.0/99", "--probe-allow: "),
        ("rendezvous_timeout: soon", "no time"),
        ("rendezvous_listen: 0.0.0.0:8080", "--insecure"),
    ] {
        let error = load(flags(), file).map(|_| ()).unwrap_err();
        assert!(error.contains(told) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn the_rendezvous_on_the_network_is_encrypted_or_agreed_to() {
    let exposed = || Layer { rendezvous_listen: Some("[::]:8080".into()), ..flags() };
    let encrypted = Layer { tls_cert: Some("c".into()), tls_key: Some("k".into()), ..exposed() };
    assert!(load(encrypted, "").unwrap().rendezvous_tls);
    let plain = load(Layer { insecure: Some(true), ..exposed() }, "").unwrap();
    assert!(!plain.rendezvous_tls && plain.warnings.len() == 1, "{:?}", plain.warnings);
}
