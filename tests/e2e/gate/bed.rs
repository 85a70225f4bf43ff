//! The bed itself, without gates: what the other tests see through is shown to see, by hand-written lines.

use std::time::Instant;

use goahead_tests::bed::net::namespaces_or_skip;
use goahead_tests::bed::node::Node;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan, READ_ONLY, READ_WRITE};
use goahead_tests::{SOON, eventually};

/// A plain bed with what harepd's users write by hand.
fn plain(plan: Plan) -> Bed {
    let bed = Bed::build(Plan { extension: false, ..plan });
    for node in bed.data_nodes() {
        let admin = node.hba_text();
        std::fs::write(node.path("admin"), &admin).expect("write");
        gate_by_hand(&bed, node, node.number == 1);
    }
    bed
}

fn gate_by_hand(bed: &Bed, node: &Node, primary: bool) {
    let admin = std::fs::read_to_string(node.path("admin")).expect("the administrator's lines");
    let method = |open| if open { "scram-sha-256" } else { "reject" };
    let mut text = String::new();
    for (address, _) in bed.sources() {
        text += &format!("host {READ_WRITE} {READ_WRITE} {address}/32 {}\n", method(primary));
        text += &format!("host {READ_ONLY} {READ_ONLY} {address}/32 {}\n", method(!primary));
    }
    std::fs::write(node.hba(), text + &admin).expect("write");
    node.sql("SELECT pg_reload_conf()");
}

#[test]
fn a_failover_of_repmgr_is_seen_through_haproxy() {
    let mut bed = plain(Plan::default());
    bed.start_haproxies();
    let begun = Instant::now();
    bed.watch();
    bed.wait_open("node1", Door::Check, Traffic::ReadWrite, begun);
    bed.wait_open("node2", Door::Check, Traffic::ReadOnly, begun);
    eventually("HAProxy knows", SOON, || (bed.haproxy().up("check_rw") == ["node1"]).then_some(()));
    let at = |node: &str, recovery: bool| Ok(format!("{} {recovery}", bed.node(node).address));
    assert_eq!(bed.haproxy().psql(bed.pools.check_rw), at("node1", false));
    assert_eq!(bed.haproxy().psql(bed.pools.check_ro), at("node2", true));
    let mut session = bed.haproxy().connect(bed.pools.check_rw).expect("a session");

    let crashed = Instant::now();
    bed.node("node1").crash();
    let promoted = bed.wait_primary("node2");
    gate_by_hand(&bed, bed.node("node2"), true);
    let opened = bed.wait_open("node2", Door::Check, Traffic::ReadWrite, crashed);
    println!("promoted after {:?}, opened {:?} later", promoted - crashed, opened.saturating_duration_since(promoted));
    eventually("HAProxy follows", SOON, || (bed.haproxy().up("check_rw") == ["node2"]).then_some(()));
    assert_eq!(bed.haproxy().psql(bed.pools.check_rw), at("node2", false));
    session.simple_query("SELECT 1").expect_err("the session on the dead primary is cut");
    bed.assert_one_writer();

    // Without a gate, an old primary that just starts again is a second one: the watchers must say so.
    bed.node("node1").start();
    for door in [Door::Check, Door::Haproxy] {
        let words =
            eventually(&format!("two writers are seen at {door:?}"), SOON, || bed.look(|seen| seen.two_writers(door)));
        assert!(words.contains("both took writes"), "{words}");
    }
}

#[test]
fn a_parted_network_is_silent_and_heals() {
    if !namespaces_or_skip("a_parted_network_is_silent_and_heals") {
        return;
    }
    let mut bed = plain(Plan { partable: true, haproxies: 2, repmgrd: false, ..Plan::default() });
    let begun = Instant::now();
    bed.watch();
    bed.wait_open("node1", Door::Check, Traffic::ReadWrite, begun);
    let lan = bed.lan.as_ref().expect("a switch");
    lan.part(&["node1", "haproxy2"]);
    bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, Instant::now());
    let other_side = bed.target(bed.node("node1"), Door::Check, Traffic::ReadWrite, 1);
    let (open, words) = other_side.net.run(|| other_side.ask());
    assert!(open, "the other HAProxy is on its side: {words}");
    lan.heal();
    bed.wait_open("node1", Door::Check, Traffic::ReadWrite, Instant::now());
}
