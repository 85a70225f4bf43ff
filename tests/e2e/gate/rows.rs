//! Rules from rows add to the lines of the gate's own configuration, and what gates write down reaches the database.

use std::net::TcpStream;

use goahead_tests::bed::node::Node;
use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};
use postgres::NoTls;

use super::{gated, gated_with};

/// Lines for a user of their own, from where a connection to a loopback address comes.
const OWN: &str =
    "haproxy: {servers: [127.0.0.1], read_write: ownrw, read_only: ownro, allow: scram-sha-256, deny: reject}\n";

/// Whether the server that runs asks this user for a password.
fn asks(node: &Node, user: &str) -> bool {
    let source = TcpStream::connect(node.postgres()).and_then(|stream| stream.local_addr()).expect("a connection");
    assert_eq!(source.ip().to_string(), "127.0.0.1", "the lines are for it");
    let mut config = postgres::Config::new();
    config.host(&node.postgres().ip().to_string()).port(node.postgres().port()).user(user).password("wrong");
    let error = config.connect(NoTls).err().expect("nobody has this password");
    let said = error.as_db_error().unwrap_or_else(|| panic!("{error}")).message().to_owned();
    assert!(said.contains("password authentication failed") || said.contains("pg_hba.conf"), "{said}");
    said.contains("password authentication failed")
}

fn open(node: &Node, rule: &str) -> bool {
    node.hba_text().lines().any(|line| line.contains(&format!("goahead:{rule} ")) && line.contains(" scram-sha-256 "))
}

#[test]
fn rows_add_to_the_lines_of_the_gate_s_configuration() {
    let mut bed = gated_with(Plan { repmgrd: false, ..Plan::default() }, |text| text + OWN);
    let node = bed.node("node1");
    for (node, mine, other) in [(node, "ownrw", "ownro"), (bed.node("node2"), "ownro", "ownrw")] {
        eventually("its own lines are open", SOON, || (asks(node, mine) && !asks(node, other)).then_some(()));
    }
    assert!(open(node, "harw0") && open(node, "haproxy-rw-1"), "{}", node.hba_text());

    // A gate that does nothing cannot mend what an administrator's call breaks; its verdict goes on for a while.
    node.sql(
        "SELECT goahead.hba_set('late', 'host', 'late', 'late', '127.0.0.1/32', 'scram-sha-256', applies => 'primary')",
    );
    bed.gate("node1").signal(rustix::process::Signal::STOP);
    node.sql("SELECT goahead.hba_apply('primary')");
    let text = node.hba_text();
    bed.gate("node1").signal(rustix::process::Signal::CONT);
    let all = |text: &str| {
        ["haproxy-rw-1", "haproxy-ro-1", "harw0", "late"].map(|rule| text.contains(&format!("goahead:{rule} ")))
    };
    assert_eq!(all(&text), [true; 4], "{text}");
    eventually("both are open", SOON, || (asks(node, "ownrw") && asks(node, "late")).then_some(()));
    bed.assert_one_writer();

    // They close together, by order and by the end of the gate.
    bed.gate("node1").must(&["close", "--for", "10m", "--reason", "a test"]);
    eventually("both are closed", SOON, || (!asks(node, "ownrw") && !asks(node, "late")).then_some(()));
    assert_eq!(all(&node.hba_text()), [true; 4], "{}", node.hba_text());
    bed.gate("node1").must(&["clear"]);
    eventually("both are open again", SOON, || (asks(node, "ownrw") && asks(node, "late")).then_some(()));
    bed.gate_mut("node1").stop();
    let node = bed.node("node1");
    assert!(
        !["haproxy-rw-1", "haproxy-ro-1", "harw0", "late"].iter().any(|rule| open(node, rule)),
        "{}",
        node.hba_text()
    );

    // Without them in its configuration the next gate takes them out, and leaves the rows.
    let configuration = bed.configuration("node1");
    bed.start_gate("node1", &configuration, &[]);
    let node = bed.node("node1");
    eventually("only rows are left", SOON, || {
        (open(node, "late") && open(node, "harw0") && !node.hba_text().contains("by=gate")).then_some(())
    });
}

/// Lines of the audits of all gates, and which of them are in the database.
fn audited(bed: &Bed) -> (usize, String, String) {
    let entry = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON");
    let mut ids: Vec<String> = Vec::new();
    for node in &bed.nodes {
        let text = std::fs::read_to_string(node.path("g").join("audit.jsonl")).unwrap_or_default();
        ids.extend(text.lines().map(|line| entry(line)["id"].as_str().expect("an id").to_owned()));
    }
    ids.sort();
    let query = "SELECT coalesce(string_agg(detail->>'id', ' ' ORDER BY detail->>'id' COLLATE \"C\"), '')
                   FROM goahead.events WHERE kind IN ('gate_verdict', 'gate_override')";
    (ids.len(), ids.join(" "), bed.node("node1").value(query))
}

#[test]
fn what_gates_write_down_is_in_the_events_once() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    // While the primary is closed, what happens waits.
    bed.gate("node2").must(&["close", "--for", "10m", "--reason", "a test of the audit"]);
    let copied = |bed: &Bed| {
        eventually("every line is in the events, once", SOON, || {
            let (count, written, there) = audited(bed);
            (count > 0 && written == there).then_some(count)
        })
    };
    let before = copied(&bed);
    let query = "SELECT count(DISTINCT detail->>'node') FROM goahead.events WHERE kind = 'gate_verdict'";
    assert_eq!(bed.node("node1").value(query), "2", "of node2 through the peer");
    let query = "SELECT detail->>'node' FROM goahead.events WHERE kind = 'gate_override'";
    assert_eq!(bed.node("node1").value(query), "node2");
    assert_eq!(bed.node("node1").value("SELECT count(*) FROM goahead.switchovers WHERE node = 'node1'"), "1");

    // A gate that has forgotten what it copied sends all of it again.
    for name in ["node1", "node2"] {
        bed.gate_mut(name).kill();
        std::fs::remove_file(bed.node(name).path("g").join("audit.copied")).expect("it was noted");
        bed.gate_mut(name).launch(&[]);
    }
    eventually("all is sent again", SOON, || {
        ["node1", "node2"].iter().all(|name| bed.node(name).path("g").join("audit.copied").exists()).then_some(())
    });
    assert!(copied(&bed) > before, "each start is a line");
}
