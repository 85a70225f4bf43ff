//! harepd's file as its README prints it, letter for letter, indentation included.

use std::time::Duration;

use super::*;
use crate::gate::settings::Peer;

const README: &str = r#"        harepd:
            nodeName: "node_1"
            primaryIP: "10.21.57.61"
            allowRO: false
            hbaConfig: "/etc/postgresql/12/main/pg_hba.conf"
            haproxy:
                server: 
                - "10.21.57.65"
                users:
                  readOnly: "haro"
                  readWrite: "harw"
            authModes: 
                allow: "md5"
                deny: "reject"
            repmgr:
                user: "repmgr"
                db: "repmgr"
            gRPC:
                tls:
                enabled: false
                ca: "/etc/harepd/ca_cert.pem"
                cert: "/etc/harepd/server_cert.pem"
                key: "/etc/harepd/server_key.pem"
                bindPort: 10000
                bindAddress: "10.21.51.61"
                serverHostOverride: ""
                neighbours:
                - "10.21.57.61:10000"
                witness: "10.21.57.63:10000"
                connectionDeadline: 5
            watchDog: 15
            logs: 
                filePath: /var/log/harepd.log
                maxAge: 86400
                rotationTime: 604800
"#;

#[test]
fn every_key_of_the_readme_arrives() {
    let loaded = parse_at(README, Mode::Dual, &["10.21.57.61"]).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.node, "node_1");
    assert_eq!(settings.harepd.as_ref().unwrap().primary_ip.to_string(), "10.21.57.61");
    assert_eq!(settings.hba_file.as_deref(), Some(Path::new("/etc/postgresql/12/main/pg_hba.conf")));
    assert_eq!(settings.database, "dbname='repmgr'");
    assert_eq!(settings.repmgr_database.as_deref(), Some("repmgr"));
    assert!(settings.grpc && !settings.migrate_from_harepd && settings.trust.verify_source);
    assert_eq!(settings.trust.tls, None);
    assert!(!settings.read_only.on_primary);
    let haproxy = settings.haproxy.as_ref().unwrap();
    assert_eq!(haproxy.servers, ["10.21.57.65".parse::<IpAddr>().unwrap()]);
    assert_eq!((haproxy.read_write.as_str(), haproxy.read_only.as_deref()), ("harw", None));
    assert_eq!((haproxy.allow.as_str(), haproxy.deny.as_str()), ("md5", "reject"));
    assert_eq!(haproxy.databases, ["repmgr"]);
    assert_eq!(settings.peers, [Peer { name: None, host: "10.21.57.63".to_owned(), port: 10000, witness: true }]);
    assert_eq!(settings.timings.round, Duration::from_secs(1));
    assert_eq!(settings.timings.deadline, Duration::from_millis(800));
    assert_eq!(settings.timings.lease, Duration::from_secs(3));
    assert_eq!(
        loaded.logs,
        Some(Rotation {
            file: PathBuf::from("/var/log/harepd.log"),
            max_age: Some(Duration::from_secs(86400)),
            rotate_every: Some(Duration::from_secs(604_800)),
        })
    );
    assert_eq!(settings.state_dir, Path::new("/home/p/.local/state/goahead/gate/node_1"));
}

#[test]
fn what_cannot_be_as_it_was_is_told_and_nothing_else() {
    let loaded = parse_at(README, Mode::Dual, &["10.21.57.61"]).unwrap();
    warned(&loaded, &["gRPC.bindAddress 10.21.51.61", "no address of this machine", "primaryIP 10.21.57.61"]);
    assert_eq!(loaded.settings.peer_listen, Some("10.21.57.61:10000".parse().unwrap()));
    warned(&loaded, &["gRPC.neighbours", "10.21.57.61:10000", "this node itself"]);
    warned(&loaded, &["harepd.watchDog", "15s", "1s"]);
    warned(&loaded, &["gRPC.connectionDeadline", "5s", "800ms"]);
    warned(&loaded, &["harepd.allowRO is false", "haro"]);
    assert_eq!(loaded.warnings.len(), 5, "{:#?}", loaded.warnings);
}

#[test]
fn an_address_that_is_ours_is_listened_on() {
    let text = README.replace("10.21.51.61", "10.21.57.61");
    let loaded = parse_at(&text, Mode::Dual, &["10.21.57.61"]).unwrap();
    assert_eq!(loaded.settings.peer_listen, Some("10.21.57.61:10000".parse().unwrap()));
    assert!(!loaded.warnings.iter().any(|text| text.contains("bindAddress")), "{:#?}", loaded.warnings);
    let elsewhere = parse_at(README, Mode::Dual, &[]).unwrap();
    warned(&elsewhere, &["gRPC.bindAddress", "nor is primaryIP"]);
    assert_eq!(elsewhere.settings.peer_listen, Some("10.21.51.61:10000".parse().unwrap()));
}

#[test]
fn tls_counts_directly_under_grpc_and_below_tls() {
    let direct = README.replace("enabled: false", "enabled: true");
    let loaded = parse_at(&direct, Mode::Dual, &["10.21.57.61"]).unwrap();
    let tls = loaded.settings.trust.tls.clone().unwrap();
    assert_eq!(tls.ca.as_deref(), Some(Path::new("/etc/harepd/ca_cert.pem")));
    assert_eq!(tls.cert.as_deref(), Some(Path::new("/etc/harepd/server_cert.pem")));
    assert_eq!(tls.key.as_deref(), Some(Path::new("/etc/harepd/server_key.pem")));
    assert_eq!(tls.client_ca, None);
    warned(&loaded, &["gRPC.enabled: true", "harepd itself"]);

    let below = direct
        .replace("                enabled", "                    enabled")
        .replace("                ca:", "                    ca:")
        .replace("                cert:", "                    cert:")
        .replace("                key:", "                    key:");
    let nested = parse_at(&below, Mode::Dual, &["10.21.57.61"]).unwrap();
    assert_eq!(nested.settings.trust.tls, Some(tls));
    assert!(!nested.warnings.iter().any(|text| text.contains("enabled")), "{:#?}", nested.warnings);
}

#[test]
fn keys_count_in_any_case() {
    let loaded = parse_at(README, Mode::Dual, &["10.21.57.61"]).unwrap();
    for text in [README.to_lowercase(), {
        README
            .replace("primaryIP", "primaryIp")
            .replace("gRPC", "GRPC")
            .replace("allowRO", "AllowRo")
            .replace("watchDog", "watchdog")
            .replace("nodeName", "NODENAME")
            .replace("harepd:\n", "Harepd:\n")
    }] {
        let other = parse_at(&text, Mode::Dual, &["10.21.57.61"]).unwrap();
        assert_eq!(format!("{:?}", other.settings), format!("{:?}", loaded.settings));
        assert_eq!(other.logs, loaded.logs);
    }
}
