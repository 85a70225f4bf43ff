use std::time::Duration;

use super::*;
use crate::gate::settings::Isolated;

const FULL: &str = r#"
node: node1
listen: 127.0.0.1:8008
peer_listen: 10.0.0.11:8009
agent_check_listen: off
peers: [{name: node2, address: "10.0.0.12:8009"}, {name: witness, address: "[fd00::3]:8009", witness: true}]
database: "host=/var/run/postgresql dbname=postgres user=postgres"
hba_file: /etc/postgresql/15/main/pg_hba.conf
data_directory: /var/lib/postgresql/15/main
sources: [repmgr]
round: 300ms
lease: 900ms
deadline: 200ms
watchdog: 100ms
detection: 600ms
hold_down: 1.9s
skew: 30ms
max_lag: 16MB
max_lag_time: 10s
ro_on_primary: yes
isolated: keep_if_sync
veto: [/usr/local/bin/veto, "an argument"]
state_dir: /var/lib/goahead/gate
tls: {ca: /ca.pem, cert: /cert.pem, key: /key.pem, client_ca: /clients.pem}
secret_file: /etc/goahead/secret
verify_source: false
migrate_from_harepd: false
system_identifier: 7123456789012345678
haproxy: {servers: [10.0.0.5, "fd00::5"], read_write: harw, read_only: haro, allow: scram-sha-256, deny: reject}
logs: {file: /var/log/gate.log, max_age: 168h, rotate_every: 24h}
"#;

fn load(text: &str) -> Result<Loaded, ConfigError> {
    parse_at(text, Mode::Dual, &[])
}

#[test]
fn every_key_arrives() {
    let loaded = load(FULL).unwrap();
    let settings = &loaded.settings;
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(settings.node, "node1");
    assert_eq!(settings.listen, Some("127.0.0.1:8008".parse().unwrap()));
    assert_eq!(settings.peer_listen, Some("10.0.0.11:8009".parse().unwrap()));
    assert_eq!(settings.agent_check_listen, None);
    let peers: Vec<_> = settings.peers.iter().map(|peer| (peer.label(), peer.authority(), peer.witness)).collect();
    assert_eq!(
        peers,
        [
            ("node2".to_owned(), "10.0.0.12:8009".to_owned(), false),
            ("witness".to_owned(), "[fd00::3]:8009".to_owned(), true)
        ]
    );
    assert_eq!(settings.repmgr_database.as_deref(), Some("repmgr"));
    assert_eq!(settings.timings.round, Duration::from_millis(300));
    assert_eq!(settings.timings.lease, Duration::from_millis(900));
    assert_eq!(settings.timings.deadline, Duration::from_millis(200));
    assert_eq!(settings.timings.watchdog, Duration::from_millis(100));
    assert_eq!(settings.timings.detection, Duration::from_millis(600));
    assert_eq!(settings.timings.hold_down, Some(Duration::from_millis(1900)));
    assert_eq!(settings.timings.skew, Some(Duration::from_millis(30)));
    assert_eq!(settings.read_only.max_lag, Some(16 << 20));
    assert_eq!(settings.read_only.max_lag_time, Some(Duration::from_secs(10)));
    assert!(settings.read_only.on_primary && !settings.trust.verify_source && !settings.grpc);
    assert_eq!(settings.isolated, Isolated::KeepIfSync);
    assert_eq!(settings.veto, ["/usr/local/bin/veto", "an argument"]);
    assert_eq!(settings.state_dir, Path::new("/var/lib/goahead/gate"));
    assert_eq!(settings.trust.tls.as_ref().unwrap().client_ca.as_deref(), Some(Path::new("/clients.pem")));
    assert_eq!(settings.trust.secret_file.as_deref(), Some(Path::new("/etc/goahead/secret")));
    assert_eq!(settings.system_identifier, Some(7_123_456_789_012_345_678));
    assert_eq!(settings.haproxy.as_ref().unwrap().servers.len(), 2);
    assert_eq!(settings.harepd, None);
    assert_eq!(loaded.logs.as_ref().unwrap().rotate_every, Some(Duration::from_secs(86400)));
}

#[test]
fn what_is_not_said_is_safe() {
    let settings = load("node: a\n").unwrap().settings;
    assert_eq!(settings.listen, Some("127.0.0.1:8008".parse().unwrap()));
    assert_eq!((settings.peer_listen, settings.agent_check_listen), (None, None));
    assert!(settings.trust.verify_source && !settings.migrate_from_harepd && !settings.grpc);
    assert_eq!(settings.isolated, Isolated::Close);
    assert_eq!(settings.read_only.max_lag, Some(16 << 20));
    assert_eq!(settings.haproxy, None);
    assert_eq!(settings.repmgr_database, None);
    let unbounded = load("node: a\nmax_lag: off\nmax_lag_time: off\n").unwrap().settings;
    assert_eq!((unbounded.read_only.max_lag, unbounded.read_only.max_lag_time), (None, None));
}

#[test]
fn errors_name_the_key_and_the_mend() {
    for (text, words) in [
        ("{}", &["node", "is missing"][..]),
        ("node: a\nrund: 1s", &["rund is not known", "is round meant"]),
        ("node: a\nRound: 1s", &["Round is not known", "is round meant"]),
        ("node: a\nround: soon", &["round", "is no time: soon"]),
        ("node: a\nround: 0", &["round"]),
        ("node: a\nlisten: 8008", &["listen", "ADDRESS:PORT"]),
        ("node: a\nmax_lag: 16MiB", &["max_lag", "is no size"]),
        ("node: a\nmax_lag: 99999999999TB", &["max_lag", "is no size"]),
        ("node: a\nisolated: keep", &["isolated", "close or keep_if_sync"]),
        ("node: a\nveto: {a: b}", &["veto", "list"]),
        ("node: a\nro_on_primary: maybe", &["ro_on_primary", "true or false"]),
        ("node: a\nhba_file: pg_hba.conf", &["hba_file", "from the root"]),
        ("node: a\nmigrate_from_harepd: true", &["migrate_from_harepd", "needs grpc: true"]),
        ("node: a\nsources: [etcd]", &["sources", "etcd"]),
        ("node: a\nrepmgr_database: x\nsources: [native]", &["repmgr_database"]),
        ("node: a\npeers: [{name: a, address: 'h:1'}]\npeer_listen: 1.1.1.1:1", &["peers[0].name", "this node"]),
        ("node: a\npeers: [{name: b}]", &["peers[0].address", "is missing"]),
        ("node: a\npeers: [{name: b, address: h}]", &["peers[0].address", "no port"]),
        ("node: a\npeers: [{name: b, address: 'h:1', wittness: true}]", &["peers[0].wittness", "witness meant"]),
        ("node: a\npeers: [{name: b, address: 'h:1'}, {name: b, address: 'h:2'}]", &["peers[1]", "another peer"]),
        ("node: a\npeers: [{name: b, address: 'h:1'}, {name: c, address: 'h:1'}]", &["peers[1]", "another peer"]),
        ("node: a\npeers: [{name: b, address: 'h:1'}]", &["peer_listen", "is missing"]),
        ("node: a\ntls: {ca: /x}", &["tls.cert", "key"]),
        ("node: a\nhaproxy: {read_write: x}", &["haproxy.servers", "is missing"]),
        ("node: a\nhaproxy: {servers: [1.1.1.1], read_write: x, deny: md5}", &["haproxy.deny", "closes nothing"]),
        ("node: a\nlogs: {path: /x}", &["logs.path"]),
        ("node: \"a\\u0007\"", &["node", "control characters"]),
        ("node: a\nnode: b", &["YAML"]),
        ("- a", &["the file", "key: value"]),
        ("node: a\nround: [1s]", &["round", "one value"]),
    ] {
        let error = load(text).map(|loaded| format!("{loaded:?}")).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
    }
}

#[test]
fn flags_count_above_the_file() {
    let machine = Machine { env: &|_| Some("/s".to_owned()), is_ours: &|_| true };
    let overrides = Overrides {
        mode: Mode::ClientOnly,
        listen: Some(None),
        peer_listen: Some("1.2.3.4:5".parse().unwrap()),
        agent_check_listen: Some(Some("1.2.3.4:6".parse().unwrap())),
    };
    let settings = parse(FULL, &overrides, &machine).unwrap().settings;
    assert_eq!((settings.mode, settings.listen), (Mode::ClientOnly, None));
    assert_eq!(settings.peer_listen, Some("1.2.3.4:5".parse().unwrap()));
    assert_eq!(settings.agent_check_listen, Some("1.2.3.4:6".parse().unwrap()));
}

#[test]
fn state_is_kept_where_systemd_says_and_never_outside_by_a_name() {
    let at = |text: &str, env: &dyn Fn(&str) -> Option<String>| {
        let machine = Machine { env, is_ours: &|_| true };
        parse(text, &Overrides::default(), &machine).map(|loaded| loaded.settings.state_dir)
    };
    let systemd = |name: &str| match name {
        "STATE_DIRECTORY" => Some("/var/lib/goahead:/var/lib/other".to_owned()),
        _ => None,
    };
    assert_eq!(at("node: a", &systemd).unwrap(), Path::new("/var/lib/goahead"));
    let home = |name: &str| (name == "HOME").then(|| "/home/p".to_owned());
    assert_eq!(at("node: ../../x", &home).unwrap(), Path::new("/home/p/.local/state/goahead/gate/%2E.%2F..%2Fx"));
    assert_eq!(at("node: '..'", &home).unwrap(), Path::new("/home/p/.local/state/goahead/gate/%2E."));
    let xdg = |name: &str| Some(if name == "XDG_STATE_HOME" { "/x" } else { "" }.to_owned()).filter(|v| !v.is_empty());
    assert_eq!(at("node: a.b", &xdg).unwrap(), Path::new("/x/goahead/gate/a.b"));
    assert!(at("node: a", &|_| None).unwrap_err().to_string().contains("state_dir"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_what_to_do() {
    let error = read(Path::new("/nonexistent/gate.yml"), &Overrides::default()).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/gate.yml: ") && error.contains("-f"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let error = read(directory.path(), &Overrides::default()).unwrap_err().to_string();
    assert!(error.contains("-f"), "{error}");
}

#[test]
fn a_misspelt_key_is_named_before_the_one_that_is_missing() {
    refused(load("nodes: a"), &["nodes is not known", "is node meant"]);
    refused(load("listen: off"), &["node is missing"]);
    let peer = |text: &str| load(&format!("node: a\npeer_listen: 10.0.0.1:1\npeers: [{text}]"));
    refused(peer("{name: b, addres: '10.0.0.2:1'}"), &["peers[0].addres is not known", "is address meant"]);
    refused(peer("{name: b}"), &["peers[0].address is missing"]);
    refused(peer("{name: b, address: 10.0.0.2}"), &["such as 10.0.0.12:8009"]);
}

#[test]
fn a_state_directory_of_the_file_is_told_from_the_usual_one() {
    assert!(load("node: a").unwrap().state_dir_by_default);
    assert!(!load("node: a\nstate_dir: /var/lib/elsewhere").unwrap().state_dir_by_default);
}
