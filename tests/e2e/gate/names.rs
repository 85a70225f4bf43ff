//! Names and addresses that pg_hba.conf reads in ways of its own, through HAProxy's checks.

use std::net::{Ipv6Addr, TcpListener};

use goahead_tests::bed::haproxy::Haproxy;
use goahead_tests::bed::node::Node;
use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};

use super::{leads, start};

/// A regular expression from PostgreSQL 16 on, the end of a name, a comment; a keyword, members of a role, a list, a file.
const NAMES: [&str; 8] = ["/rw", "do\"uble", "ha#sh", "all", "+staff", "a,b", "@file", "sp ace"];

/// A name as HAProxy takes it literally.
fn quoted(name: &str) -> String {
    format!("'{name}'")
}

/// A name as pg_hba.conf, and with it `hba_set`, takes it literally.
fn literal(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Takes everything, below the block: what slips past our lines is let in.
fn let_in_what_slips_past(bed: &Bed) {
    for node in bed.data_nodes() {
        let text = node.hba_text();
        let all = "host all all 0.0.0.0/0 scram-sha-256\nhost all all ::/0 scram-sha-256\n";
        std::fs::write(node.hba(), text + all).expect("write");
        node.sql("SELECT pg_reload_conf()");
    }
}

/// Sections `writes0`, `writes1` … with a check by each name, at these ports.
fn sections(bed: &Bed, haproxy: usize, names: &[&str], ports: &[u16]) -> String {
    let (address, _) = bed.sources()[haproxy];
    let mut text = "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 30m\n    timeout server 30m
    timeout check 1s\n    default-server inter 300ms fall 1 rise 1 on-marked-down shutdown-sessions\n"
        .to_owned();
    for (number, (name, port)) in names.iter().zip(ports).enumerate() {
        text += &format!("listen writes{number}\n    bind {address}:{port}\n    source {address}\n");
        text += &format!("    option pgsql-check user {}\n", quoted(name));
        for node in bed.data_nodes() {
            text += &format!("    server {} {} check\n", node.name, node.postgres());
        }
    }
    text
}

/// Waits until each of these sections leads to these nodes alone.
fn lead_to(haproxy: &Haproxy, sections: usize, nodes: &[&str]) {
    eventually(&format!("{sections} sections lead to {nodes:?}"), SOON, || {
        (0..sections).all(|number| haproxy.up(&format!("writes{number}")) == nodes).then_some(())
    });
}

#[test]
fn odd_names_mean_themselves_at_two_haproxies() {
    let mut bed = Bed::build(Plan { haproxies: 2, repmgrd: false, ..Plan::default() });
    bed.nodes[0].sql("CREATE EXTENSION goahead");
    for (number, name) in NAMES.iter().enumerate() {
        for (haproxy, (address, _)) in bed.sources().iter().enumerate() {
            let mut client = bed.nodes[0].connect("postgres");
            let (rule, name, address) = (format!("rw{number}.{haproxy}"), literal(name), format!("{address}/32"));
            let sql = "SELECT goahead.hba_set($1, 'host', $2, $2, $3, 'scram-sha-256', applies => 'primary')";
            client.execute(sql, &[&rule, &name, &address]).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    }
    let_in_what_slips_past(&bed);
    start(&mut bed, |text| text);
    let ports = goahead_tests::port::free_ports(2 * NAMES.len());
    for (haproxy, ports) in ports.chunks(NAMES.len()).enumerate() {
        let sections = sections(&bed, haproxy, &NAMES, ports);
        bed.start_haproxy_at(haproxy, &sections);
    }
    let own = bed.haproxies.split_off(2);
    for haproxy in &own {
        lead_to(haproxy, NAMES.len(), &["node1"]);
    }
    // Until here the lines may not have been written yet.
    bed.watch();
    leads(&bed, &own[0], ports[0], "node1", 1);
    leads(&bed, &own[1], ports[NAMES.len()], "node1", 1);

    bed.gate("node1").must(&["close", "--for", "10m", "--reason", "a test"]);
    for haproxy in &own {
        lead_to(haproxy, NAMES.len(), &[]);
    }
    bed.gate("node1").must(&["clear"]);
    for haproxy in &own {
        lead_to(haproxy, NAMES.len(), &["node1"]);
    }
    bed.assert_one_writer();
}

/// Whether this machine has the loopback address of IPv6; says so where it has not.
fn ipv6_or_skip(test: &str) -> bool {
    let has = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        eprintln!("\n*** SKIPPED: {test}\n*** this machine has no ::1\n");
    }
    has
}

/// Has a node listen on ::1 too.
fn listen_on_ipv6(node: &Node) {
    node.sql(&format!("ALTER SYSTEM SET listen_addresses = '{}, ::1'", node.address));
    node.stop();
    node.start();
}

/// A section whose check comes from ::1 to a node there.
fn section_on_ipv6(node: &Node, user: &str, listen: u16) -> String {
    format!(
        "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 30m\n    timeout server 30m
    timeout check 1s\n    default-server inter 300ms fall 1 rise 1\n
listen writes0\n    bind [::1]:{listen}\n    source [::1]\n    option pgsql-check user {}
    server {} [::1]:{} check\n",
        quoted(user),
        node.name,
        node.ports.postgres,
    )
}

#[test]
fn an_haproxy_on_ipv6_is_served_by_a_rule_from_rows() {
    if !ipv6_or_skip("an_haproxy_on_ipv6_is_served_by_a_rule_from_rows") {
        return;
    }
    let mut bed = Bed::build(Plan { repmgrd: false, ..Plan::default() });
    listen_on_ipv6(&bed.nodes[0]);
    bed.nodes[0].sql(
        "CREATE EXTENSION goahead;
         SELECT goahead.hba_set('six', 'host', '\"/s\"\"ix\"', '\"/s\"\"ix\"', '::1/128', 'scram-sha-256',
                                applies => 'primary')",
    );
    let_in_what_slips_past(&bed);
    start(&mut bed, |text| text);
    is_steered_on_ipv6(&mut bed, "/s\"ix");
}

#[test]
fn names_and_an_ipv6_address_of_the_gates_own_lines_mean_themselves() {
    if !ipv6_or_skip("names_and_an_ipv6_address_of_the_gates_own_lines_mean_themselves") {
        return;
    }
    let own = "haproxy: {servers: [\"::1\"], read_write: '/o\"d#d', read_only: '+o\"d#d', allow: scram-sha-256, deny: reject}\n";
    let change = |text: String| text[..text.find("haproxy: ").expect("lines of its own")].to_owned() + own;
    let mut bed = Bed::build(Plan { extension: false, repmgrd: false, ..Plan::default() });
    listen_on_ipv6(&bed.nodes[0]);
    let_in_what_slips_past(&bed);
    start(&mut bed, change);
    is_steered_on_ipv6(&mut bed, "/o\"d#d");
}

/// A section that checks node1 over IPv6 as `user` follows its gate.
fn is_steered_on_ipv6(bed: &mut Bed, user: &str) {
    let port = goahead_tests::port::free_ports(1)[0];
    let section = section_on_ipv6(&bed.nodes[0], user, port);
    bed.start_haproxy(&section);
    let haproxy = bed.haproxies.last().expect("just started");
    lead_to(haproxy, 1, &["node1"]);
    bed.gate("node1").must(&["close", "--for", "10m", "--reason", "a test"]);
    lead_to(haproxy, 1, &[]);
    bed.gate("node1").must(&["clear"]);
    lead_to(haproxy, 1, &["node1"]);
}
