//! HAProxy as people have it: Patroni's configuration as its manual prints it, and harepd's file and lines.

use std::time::Instant;

use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan, READ_ONLY, READ_WRITE};
use goahead_tests::{SOON, eventually};

use super::{gated, leads, report, session, settle};

#[test]
fn an_unchanged_configuration_for_patroni_steers() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let ports = goahead_tests::port::free_ports(2);
    let node = bed.node("node1");
    // Only addresses and ports are filled in.
    let text = include_str!("patroni.cfg")
        .replace("HAPROXY", &bed.haproxy().address.to_string())
        .replace("PRIMARY_PORT", &ports[0].to_string())
        .replace("REPLICA_PORT", &ports[1].to_string())
        .replace("POSTGRES_PORT", &node.ports.postgres.to_string())
        .replace("HEALTH_PORT", &node.ports.health.to_string())
        .replace("NODE1", &node.address.to_string())
        .replace("NODE2", &bed.node("node2").address.to_string());
    bed.start_haproxy(&text);
    let haproxy = bed.haproxies.last().expect("just started");
    leads(&bed, haproxy, ports[0], "node1", 4);
    leads(&bed, haproxy, ports[1], "node2", 4);
    let mut session = session(haproxy, ports[0]);
    let closed = Instant::now();
    bed.gate("node1").must(&["close", "--for", "10m", "--reason", "a test"]);
    eventually("the session is cut", SOON, || session.simple_query("SELECT 1").is_err().then_some(()));
    report("operator's close, until Patroni's default checks (inter 3s fall 3) cut a session", closed.elapsed());
    assert!(haproxy.up("primary").is_empty(), "{:?}", haproxy.up("primary"));
}

/// docs/gate-http.md's lines for HAProxy's agent-check, with `inter` and addresses filled in.
fn agent_cfg(bed: &Bed, ports: &[u16]) -> String {
    let server = |name: &str, more: &str| {
        let node = bed.node(name);
        let (address, postgres, agent) = (node.address, node.ports.postgres, node.ports.agent);
        format!("    server {name} {address}:{postgres} check agent-check agent-port {agent} {more}\n")
    };
    let pool = |name: &str, port: u16, more: &str| {
        let servers: String = ["node1", "node2"].map(|node| server(node, more)).concat();
        format!("listen {name}\n    bind {}:{port}\n{servers}", bed.haproxy().address)
    };
    format!(
        "defaults
    mode tcp
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    default-server inter 300ms fall 1 agent-inter 300ms on-marked-down shutdown-sessions
{}{}",
        pool("agent_rw", ports[0], "agent-send \"rw\\n\""),
        pool("agent_ro", ports[1], "agent-send \"ro\\n\""),
    )
}

#[test]
fn the_agent_check_steers() {
    let mut bed = gated(Plan::default());
    let ports = goahead_tests::port::free_ports(2);
    let text = agent_cfg(&bed, &ports);
    bed.start_haproxy(&text);
    let haproxy = bed.haproxies.last().expect("just started");
    let takes = |pool: &str, nodes: &[&str]| {
        eventually(&format!("{pool} goes to {nodes:?}"), SOON, || (haproxy.up(pool) == nodes).then_some(()));
    };
    takes("agent_rw", &["node1"]);
    takes("agent_ro", &["node2"]);
    leads(&bed, haproxy, ports[0], "node1", 4);
    leads(&bed, haproxy, ports[1], "node2", 4);

    // An operator's close takes the node out, with what is left of its sessions.
    let mut writer = session(haproxy, ports[0]);
    bed.gate("node1").must(&["close", "--for", "10m", "--reason", "a test"]);
    takes("agent_rw", &[]);
    assert_eq!(haproxy.state("agent_rw", "node1"), "DOWN (agent)");
    eventually("the session is cut", SOON, || writer.simple_query("SELECT 1").err());
    bed.gate("node1").must(&["clear"]);
    takes("agent_rw", &["node1"]);
    leads(&bed, haproxy, ports[0], "node1", 1);

    bed.node("node1").crash();
    bed.wait_primary("node2");
    takes("agent_rw", &["node2"]);
    leads(&bed, haproxy, ports[0], "node2", 1);
    takes("agent_ro", &[]);
}

/// harepd's conf.yml for a node, in the words of its README; beside it what it cannot say.
fn conf_yml(bed: &Bed, name: &str) -> String {
    let node = bed.node(name);
    let address = |other: &str| format!("\"{}:{}\"", bed.node(other).address, node.ports.peer);
    let neighbour = if name == "node1" { address("node2") } else { address("node1") };
    format!(
        r#"harepd:
    nodeName: "{name}"
    primaryIP: "{ip}"
    allowRO: true
    hbaConfig: "{hba}"
    haproxy:
        server:
        - "{haproxy}"
        users:
          readOnly: "{READ_ONLY}"
          readWrite: "{READ_WRITE}"
    authModes:
        allow: "md5"
        deny: "reject"
    repmgr:
        user: "repmgr"
        db: "repmgr"
    gRPC:
        tls:
        enabled: false
        bindPort: {port}
        bindAddress: "{ip}"
        serverHostOverride: ""
        neighbours:
        - {neighbour}
        witness: {witness}
        connectionDeadline: 5
    watchDog: 15
goahead:
    database: "host={socket} port={postgres} dbname=postgres user=postgres"
    state_dir: {state}
    data_directory: {data}
    listen: {ip}:{health}
    round: 300ms
    lease: 900ms
    deadline: 250ms
    watchdog: 100ms
    detection: 600ms
    hold_down: 1900ms
"#,
        ip = node.address,
        hba = node.hba().display(),
        haproxy = bed.sources()[0].0,
        port = node.ports.peer,
        witness = address("witness"),
        socket = node.socket().display(),
        postgres = node.ports.postgres,
        state = node.path("g").display(),
        data = node.data().display(),
        health = node.ports.health,
    )
}

#[test]
fn harepds_file_alone_steers_and_fails_over() {
    let mut bed = Bed::build(Plan { extension: false, ..Plan::default() });
    for name in ["node1", "node2"] {
        let configuration = conf_yml(&bed, name);
        bed.start_gate(name, &configuration, &[]);
    }
    let configuration = conf_yml(&bed, "witness");
    bed.start_gate("witness", &configuration, &["--server-only"]);
    bed.start_haproxies();
    bed.watch();
    settle(&bed);
    leads(&bed, bed.haproxy(), bed.pools.check_rw, "node1", 1);
    // As with harepd, the primary takes reads too.
    bed.wait_open("node1", Door::Check, Traffic::ReadOnly, Instant::now());

    let crashed = Instant::now();
    bed.node("node1").crash();
    let promoted = bed.wait_primary("node2");
    let opened = bed.wait_open("node2", Door::Haproxy, Traffic::ReadWrite, crashed);
    report("harepd's file: promotion, until HAProxy sends writes there", opened.saturating_duration_since(promoted));
    bed.node("node1").start();
    super::takes_no_writes(&bed, "node1", std::time::Duration::from_secs(3));
    leads(&bed, bed.haproxy(), bed.pools.check_rw, "node2", 1);
    bed.assert_one_writer();
}
