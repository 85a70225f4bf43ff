use std::time::Duration;

use super::*;

/// The least that works, with `more` under `harepd:` and `grpc` under `gRPC:`.
fn conf(more: &str, grpc: &str) -> String {
    let indent =
        |text: &str, by: usize| -> String { text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect() };
    format!(
        "harepd:\n  nodeName: node1\n  primaryIP: 10.0.0.1\n  hbaConfig: /etc/pg_hba.conf\n  repmgr: {{db: repmgr}}\n  \
         watchDog: 1\n{}  gRPC:\n    bindAddress: 10.0.0.1\n    bindPort: 10000\n    connectionDeadline: 0.5\n{}",
        indent(more, 2),
        indent(grpc, 4)
    )
}

const HAPROXY: &str = "allowRO: true\nhaproxy: {server: [10.0.0.9], users: {readOnly: haro, readWrite: harw}}\n";
const MODES: &str = "authModes: {allow: md5, deny: reject}\n";

fn load(more: &str, grpc: &str) -> Result<Loaded, ConfigError> {
    parse_at(&conf(more, grpc), Mode::Dual, &["10.0.0.1"])
}

fn plain(grpc: &str) -> Loaded {
    load(&format!("{HAPROXY}{MODES}"), grpc).unwrap()
}

#[test]
fn a_file_that_needs_no_warning_gets_none() {
    let loaded = plain("neighbours: ['10.0.0.2:10000']\nwitness: 10.0.0.3:10000");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.settings.timings.round, Duration::from_secs(1));
    assert_eq!(loaded.settings.timings.deadline, Duration::from_millis(500));
    assert!(loaded.settings.read_only.on_primary);
    assert_eq!(loaded.settings.haproxy.as_ref().unwrap().read_only.as_deref(), Some("haro"));
    let peers: Vec<_> = loaded.settings.peers.iter().map(|peer| (peer.authority(), peer.witness)).collect();
    assert_eq!(peers, [("10.0.0.2:10000".to_owned(), false), ("10.0.0.3:10000".to_owned(), true)]);
}

#[test]
fn the_methods_count_at_either_level() {
    let inner = "allowRO: true\nhaproxy: {server: 10.0.0.9, users: {readOnly: haro, readWrite: harw}, \
                 authmodes: {allow: scram-sha-256, deny: reject}}\n";
    let loaded = load(inner, "").unwrap();
    assert_eq!(loaded.settings.haproxy.as_ref().unwrap().allow, "scram-sha-256");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let both = load(&format!("{inner}{MODES}"), "").unwrap();
    assert_eq!(both.settings.haproxy.as_ref().unwrap().allow, "md5");
    warned(&both, &["harepd.authModes.allow counts", "harepd.haproxy.authModes.allow"]);
}

#[test]
fn a_gate_that_would_never_close_or_never_open_is_refused() {
    let with = |modes: &str| load(&format!("{HAPROXY}authModes: {modes}\n"), "");
    refused(with("{allow: md5, deny: md5}"), &["harepd.authModes.deny", "closes nothing"]);
    refused(with("{allow: md5, deny: REJECT}"), &["harepd.authModes.deny"]);
    refused(with("{allow: reject, deny: reject}"), &["harepd.authModes.allow", "never open"]);
    warned(&with("{allow: trust, deny: reject}").unwrap(), &["allow is trust"]);
    let defaulted = with("{}").unwrap();
    warned(&defaulted, &["harepd.authModes.allow is missing", "scram-sha-256"]);
    warned(&defaulted, &["harepd.authModes.deny is missing", "reject"]);
}

#[test]
fn ports_beyond_32767_are_ports() {
    let text = conf(&format!("{HAPROXY}{MODES}"), "neighbours: ['10.0.0.2:40000']").replace("10000", "65535");
    let loaded = parse_at(&text, Mode::Dual, &["10.0.0.1"]).unwrap();
    assert_eq!(loaded.settings.peer_listen.unwrap().port(), 65535);
    assert_eq!(loaded.settings.peers[0].port, 40000);
    for wrong in ["0", "65536", "-1", "many"] {
        let text = conf("", "").replace("bindPort: 10000", &format!("bindPort: {wrong}"));
        refused(parse_at(&text, Mode::Dual, &["10.0.0.1"]), &["harepd.gRPC.bindPort"]);
    }
}

#[test]
fn peers_without_a_port_have_ours() {
    let loaded = plain("witness: 10.0.0.3\nneighbours: ['10.0.0.2', '[fd00::2]:7', 'fd00::3', 'db4.example.org:9']");
    warned(&loaded, &["harepd.gRPC.witness: 10.0.0.3 has no port", "10000"]);
    warned(&loaded, &["harepd.gRPC.neighbours: 10.0.0.2 has no port"]);
    warned(&loaded, &["harepd.gRPC.neighbours: fd00::3 has no port"]);
    let peers: Vec<_> = loaded.settings.peers.iter().map(|peer| peer.authority()).collect();
    assert_eq!(peers, ["10.0.0.2:10000", "[fd00::2]:7", "[fd00::3]:10000", "db4.example.org:9", "10.0.0.3:10000"]);
    for wrong in ["10.0.0.2:0", "10.0.0.2:x", ":10000", "[fd00::2", "a b:1", "1:2:3"] {
        refused(load("", &format!("neighbours: ['{wrong}']")), &["harepd.gRPC.neighbours", "ADDRESS:PORT"]);
    }
}

#[test]
fn this_node_and_repeated_ones_have_no_further_vote() {
    let loaded = plain(
        "neighbours: ['10.0.0.1:10000', '10.0.0.2:10000', '10.0.0.2:10000', '10.0.0.3:10000']\nwitness: 10.0.0.3:10000",
    );
    warned(&loaded, &["10.0.0.1:10000 is this node itself"]);
    warned(&loaded, &["10.0.0.2:10000 is listed twice"]);
    warned(&loaded, &["lists the witness"]);
    let peers: Vec<_> = loaded.settings.peers.iter().map(|peer| (peer.host.as_str(), peer.witness)).collect();
    assert_eq!(peers, [("10.0.0.2", false), ("10.0.0.3", true)]);
    // The same address with another port is another node.
    let other = plain("neighbours: ['10.0.0.1:10001']");
    assert_eq!(other.settings.peers.len(), 1);
}

#[test]
fn the_witness_knows_itself_and_only_votes() {
    let text = conf("", "witness: 10.0.0.1:10000\nneighbours: ['10.0.0.2:10000', '10.0.0.4:10000']");
    let loaded = parse_at(&text, Mode::Dual, &["10.0.0.1"]).unwrap();
    assert!(loaded.settings.witness);
    assert_eq!(loaded.settings.mode, Mode::ServerOnly);
    warned(&loaded, &["this node is the witness"]);
    assert_eq!(loaded.settings.peers.len(), 2);
    refused(parse_at(&text, Mode::ClientOnly, &["10.0.0.1"]), &["witness", "--server-only"]);
}

#[test]
fn times_that_harepd_could_not_use_are_told() {
    let text = conf(&format!("{HAPROXY}{MODES}"), "").replace("watchDog: 1", "watchDog: 0").replace("0.5", "0");
    let loaded = parse_at(&text, Mode::Dual, &["10.0.0.1"]).unwrap();
    warned(&loaded, &["harepd.watchDog is missing or 0"]);
    warned(&loaded, &["connectionDeadline is missing or 0"]);
    assert_eq!(loaded.settings.timings.deadline, Duration::from_millis(800));
    let quick = conf(&format!("{HAPROXY}{MODES}"), "").replace("watchDog: 1", "watchDog: 0.3");
    let quick = parse_at(&quick, Mode::Dual, &["10.0.0.1"]).unwrap().settings.timings;
    assert_eq!((quick.round, quick.lease), (Duration::from_millis(300), Duration::from_millis(900)));
    assert_eq!(quick.deadline, Duration::from_millis(240));
}

#[test]
fn unknown_keys_are_told_with_the_one_that_is_meant() {
    let loaded =
        load(&format!("{HAPROXY}{MODES}nodeNmae: x\nlogs: {{filepaht: /x}}\n"), "neighbors: ['10.0.0.2:1']").unwrap();
    warned(&loaded, &["harepd.nodeNmae is not known", "is nodeName meant"]);
    warned(&loaded, &["harepd.gRPC.neighbors is not known", "is neighbours meant"]);
    warned(&loaded, &["harepd.logs.filepaht is not known", "filePath"]);
    refused(load("NODENAME: other\n", ""), &["harepd", "twice"]);
}

#[test]
fn haproxy_may_have_several_addresses_of_both_kinds() {
    let more = format!("haproxy: {{server: [10.0.0.9, 'fd00::9', 10.0.0.9], users: {{readWrite: '+harw'}}}}\n{MODES}");
    let loaded = load(&more, "").unwrap();
    assert_eq!(loaded.settings.haproxy.as_ref().unwrap().servers.len(), 2);
    warned(&loaded, &["fd00::9/128"]);
    warned(&loaded, &["+harw", "quoted"]);
    refused(load(&more.replace("10.0.0.9,", "haproxy1,"), ""), &["harepd.haproxy.server", "IP address", "haproxy1"]);
    refused(load(&format!("haproxy: {{server: [10.0.0.9]}}\n{MODES}"), ""), &["harepd.haproxy.users.readWrite"]);
    refused(
        load(&format!("allowRO: yes\nhaproxy: {{server: [10.0.0.9], users: {{readWrite: h}}}}\n{MODES}"), ""),
        &["harepd.haproxy.users.readOnly", "allowRO"],
    );
}

#[test]
fn what_harepd_cannot_say_stands_beside_it() {
    let text = conf(&format!("{HAPROXY}{MODES}"), "neighbours: ['10.0.0.2:10000']");
    let more = "goahead:\n  migrate_from_harepd: true\n  listen: 10.0.0.1:8008\n  database: dbname=app\n  lease: 5s\n";
    let loaded = parse_at(&(text.clone() + more), Mode::Dual, &["10.0.0.1"]).unwrap();
    let settings = &loaded.settings;
    assert!(settings.migrate_from_harepd && settings.grpc);
    assert_eq!(settings.listen, Some("10.0.0.1:8008".parse().unwrap()));
    assert_eq!(settings.database, "dbname=app");
    assert_eq!(settings.timings.lease, Duration::from_secs(5));
    assert_eq!(settings.node, "node1");
    assert_eq!(settings.peers.len(), 1);
    refused(
        parse_at(&(text.clone() + "goahead: {migrate_from_hrepd: true}\n"), Mode::Dual, &[]),
        &["goahead.migrate_from_hrepd", "is migrate_from_harepd meant"],
    );
    let stray = parse_at(&(text + "harpd: {}\n"), Mode::Dual, &["10.0.0.1"]).unwrap();
    warned(&stray, &["harpd is not known", "is harepd meant"]);
}

#[test]
fn what_is_missing_is_named() {
    for (gone, key) in [("  nodeName: node1\n", "harepd.nodeName"), ("    bindPort: 10000\n", "harepd.gRPC.bindPort")] {
        refused(parse_at(&conf("", "").replace(gone, ""), Mode::Dual, &[]), &[key, "is missing"]);
    }
    let text = conf("", "").replace("  primaryIP: 10.0.0.1\n", "");
    let loaded = parse_at(&text, Mode::ServerOnly, &["10.0.0.1"]).unwrap();
    warned(&loaded, &["primaryIP is missing", "10.0.0.1"]);
    refused(parse_at("harepd: nonsense", Mode::Dual, &[]), &["harepd", "key: value"]);
    refused(parse_at("harepd: {gRPC: {neighbours: [[1]]}, nodeName: x", Mode::Dual, &[]), &["is not YAML"]);
}

#[test]
fn voters_go_by_the_address_that_the_others_reach() {
    // The second address is for replication alone.
    let one = conf("", "neighbours: ['10.0.0.2:10000']").replace("primaryIP: 10.0.0.1", "primaryIP: 10.9.0.1");
    let two = one.replace("10.0.0.2", "10.0.0.x").replace("10.0.0.1", "10.0.0.2").replace("10.0.0.x", "10.0.0.1");
    let one = parse_at(&one, Mode::ServerOnly, &["10.0.0.1"]).unwrap().settings;
    let two = parse_at(&two, Mode::ServerOnly, &["10.0.0.2"]).unwrap().settings;
    assert_eq!(one.voter(), two.voter_of(&two.peers[0]));
    assert_eq!(two.voter(), one.voter_of(&one.peers[0]));
    assert_eq!(one.rules().terms(), two.rules().terms());
    // On every address: repmgr's is the one that is known.
    let any = conf("", "").replace("bindAddress: 10.0.0.1", "bindAddress: 0.0.0.0");
    assert_eq!(
        parse_at(&any, Mode::ServerOnly, &["0.0.0.0"]).unwrap().settings.peer_listen,
        Some("0.0.0.0:10000".parse().unwrap())
    );
}
