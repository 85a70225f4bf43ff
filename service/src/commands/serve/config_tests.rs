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
    assert_eq!(config.listen, "0.0.0.0:9443".parse().unwrap());
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
    assert_eq!(config.listen, "127.0.0.1:8443".parse().unwrap());
    let tls = config.tls.unwrap();
    assert!(tls.require);
    assert_eq!(tls.client_authorities, Some("/no/such/ca.pem".into()));
}

#[test]
fn a_flag_wins_over_the_file() {
    let over = Layer { listen: Some("127.0.0.1:1".into()), timeout: Some(Duration::from_secs(3)), ..flags() };
    let config = load(over, "listen: 127.0.0.1:2\nadmin_listen: 127.0.0.1:3\ntimeout: 9\nbind_names: on\n").unwrap();
    assert_eq!((config.listen.port(), config.admin_listen.port()), (1, 3));
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
