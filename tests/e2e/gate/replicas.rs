//! Patroni's paths for standbys, where a real primary says which of them are synchronous.

use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};

use super::gated;

/// Sets `synchronous_standby_names` on node1, and waits until it lists node2 in this way.
fn synchronous(bed: &Bed, names: &str, state: &str) {
    let primary = bed.node("node1");
    primary.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
    primary.sql("SELECT pg_reload_conf()");
    eventually(&format!("node2 is {state}"), SOON, || {
        let listed = primary.value("SELECT sync_state FROM pg_stat_replication WHERE application_name = 'node2'");
        (listed == state).then_some(())
    });
}

/// Waits until `node` answers 200 to each of `yes`; then 503 to each of `no`.
fn answers(bed: &Bed, node: &str, yes: &[&str], no: &[&str]) {
    let code = |path: &str| bed.gate(node).get(path).map(|(code, _)| code);
    eventually(&format!("{node} says yes to {yes:?} and no to {no:?}"), SOON, || {
        let all = |paths: &[&str], wanted| paths.iter().all(|path| code(path) == Some(wanted));
        (all(yes, 200) && all(no, 503)).then_some(())
    });
}

#[test]
fn a_standby_is_synchronous_or_of_the_quorum_as_its_primary_says() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    // A section of HAProxy beside, with a path of each kind.
    let ports = goahead_tests::port::free_ports(3);
    let (address, _) = bed.sources()[0];
    let mut text = "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 30m\n    timeout server 30m
    timeout check 1s\n    default-server inter 300ms fall 1 rise 1\n"
        .to_owned();
    for (path, port) in ["sync", "quorum", "async"].iter().zip(&ports) {
        text += &format!("listen {path}\n    bind {address}:{port}\n    option httpchk OPTIONS /{path}\n");
        text += "    http-check expect status 200\n";
        for node in bed.data_nodes() {
            text += &format!("    server {} {} check port {}\n", node.name, node.postgres(), node.ports.health);
        }
    }
    bed.start_haproxy(&text);
    let haproxy = bed.haproxies.last().expect("just started");
    let leads = |section: &str| {
        eventually(&format!("HAProxy sends to node2 by /{section} alone"), SOON, || {
            let up = |name: &&str| haproxy.up(name) == if *name == section { vec!["node2"] } else { vec![] };
            ["sync", "quorum", "async"].iter().all(up).then_some(())
        });
    };

    let always = ["/replica", "/read-only", "/health"];
    let sync = ["/sync", "/synchronous", "/read-only-sync", "/read-only-synchronous"];
    let quorum = ["/quorum", "/read-only-quorum"];
    let asynchronous = ["/async", "/asynchronous"];
    let without = |parts: &[&[&'static str]]| parts.concat();
    answers(&bed, "node2", &without(&[&always, &asynchronous]), &without(&[&sync, &quorum, &["/primary"]]));
    leads("async");

    synchronous(&bed, "FIRST 1 (node2)", "sync");
    answers(&bed, "node2", &without(&[&always, &sync]), &without(&[&quorum, &asynchronous]));
    let primary = ["/primary", "/read-only", "/read-only-sync", "/read-only-quorum"];
    let never = ["/sync", "/quorum", "/async", "/replica"];
    answers(&bed, "node1", &primary, &never);
    leads("sync");
    // The commit waits for node2, which is there.
    bed.node("node1").sql("CREATE TABLE waited_for ()");

    synchronous(&bed, "ANY 1 (node2)", "quorum");
    answers(&bed, "node2", &without(&[&always, &quorum]), &without(&[&sync, &asynchronous]));
    answers(&bed, "node1", &primary, &never);
    leads("quorum");

    // A closed standby is none of them, whatever the primary says.
    bed.gate("node2").must(&["close", "--for", "10m", "--reason", "a test"]);
    answers(&bed, "node2", &[], &without(&[&sync, &quorum, &asynchronous, &["/replica", "/read-only"]]));
    bed.gate("node2").must(&["clear"]);
    synchronous(&bed, "", "async");
    answers(&bed, "node2", &without(&[&always, &asynchronous]), &without(&[&sync, &quorum]));
    leads("async");
    bed.assert_one_writer();
}
