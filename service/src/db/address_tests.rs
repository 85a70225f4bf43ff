//! What connection strings mean, and which are refused.

use tokio_postgres::config::Host;

use super::*;

fn hosts(address: &Address) -> Vec<(String, u16)> {
    address
        .hosts
        .iter()
        .map(|config| {
            let host = match &config.get_hosts()[0] {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            };
            (host, config.get_ports()[0])
        })
        .collect()
}

#[test]
fn a_url_with_everything() {
    let address = Address::parse(
        "postgres://us%40er:p%3Aw@db1,db2:6432,[::1]:7/name?target_session_attrs=read-write&connect_timeout=1",
    )
    .unwrap();
    assert_eq!(hosts(&address), [("db1".into(), 5432), ("db2".into(), 6432), ("::1".into(), 7)]);
    let config = &address.hosts[2];
    assert_eq!(config.get_user(), Some("us@er"));
    assert_eq!(config.get_password(), Some(&b"p:w"[..]));
    assert_eq!(config.get_dbname(), Some("name"));
    assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    assert_eq!(address.timeout, Duration::from_secs(1));
    assert!(!address.describe().contains("p:w"), "{}", address.describe());
}

#[test]
fn hosts_share_the_time_to_connect() {
    let address = Address::parse("postgres://a,b,c,d/x").unwrap();
    assert_eq!(address.timeout, Duration::from_millis(500));
}

#[test]
fn keywords_with_quotes_and_escapes() {
    let address = Address::parse(r"host=/run/pg port = 5433 user='o\'neil' password='a b\\c' dbname=x").unwrap();
    assert_eq!(hosts(&address), [("/run/pg".into(), 5433)]);
    assert_eq!(address.hosts[0].get_user(), Some("o'neil"));
    assert_eq!(address.hosts[0].get_password(), Some(&br"a b\c"[..]));
}

#[test]
fn a_socket_directory_in_the_host_or_by_default() {
    assert_eq!(hosts(&Address::parse("postgres://u@%2Frun%2Fpg:5433/x").unwrap()), [("/run/pg".into(), 5433)]);
    assert_eq!(hosts(&Address::parse("postgres:///x?host=/run/pg").unwrap()), [("/run/pg".into(), 5432)]);
    assert_eq!(hosts(&Address::parse("postgres:///x").unwrap()), [("/var/run/postgresql".into(), 5432)]);
}

#[test]
fn tls_is_what_libpq_makes_of_it() {
    for (query, verify, mode) in [
        ("", Verify::Nothing, SslMode::Prefer),
        ("?sslmode=disable", Verify::Nothing, SslMode::Disable),
        ("?sslmode=require", Verify::Nothing, SslMode::Require),
        ("?ssl=true", Verify::Nothing, SslMode::Require),
        ("?sslmode=require&sslrootcert=/ca.pem", Verify::Authority, SslMode::Require),
        ("?sslmode=verify-ca&sslrootcert=/ca.pem", Verify::Authority, SslMode::Require),
        ("?sslmode=verify-full", Verify::Name, SslMode::Require),
    ] {
        let address = Address::parse(&format!("postgres://db/x{query}")).unwrap();
        assert_eq!((address.trust.verify, address.hosts[0].get_ssl_mode()), (verify, mode), "{query}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (text, named) in [
        ("db.example", "neither a URL"),
        ("mysql://db/x", "neither a URL"),
        ("postgres://db/x?sslcrl=/x", "sslcrl"),
        ("postgres://db/x?passfile=/x", "passfile"),
        ("postgres://db/x?sslmode=allow", "sslmode=allow"),
        ("postgres://db/x?sslmode=verify-ca", "sslrootcert"),
        ("postgres://db/x?target_session_attrs=standby", "target_session_attrs=standby"),
        ("postgres://db:port/x", "port=port"),
        ("postgres://db/x?user", "\"user\""),
        ("postgres://db/x?user=%zz", "hexadecimal"),
        ("postgres://a,b,c/x?port=1,2", "different numbers"),
        ("host=db password='secret", "closing quote"),
    ] {
        match Address::parse(text) {
            Ok(_) => panic!("{text} was accepted"),
            Err(error) => {
                let told = error.to_string();
                assert!(told.contains(named), "{text}: {told}");
                assert!(!told.contains("secret"), "{told}");
            }
        }
    }
}

#[test]
fn options_are_added_to_those_given() {
    let address = Address::parse("postgres://db/x?options=-c%20work_mem%3D8MB").unwrap();
    let more = address.with_options("-c lock_timeout=1s");
    assert_eq!(more.hosts[0].get_options(), Some("-c work_mem=8MB -c lock_timeout=1s"));
}
