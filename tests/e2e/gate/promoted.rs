//! Somebody promotes by hand, beside repmgr.

use std::time::{Duration, Instant};

use goahead_tests::bed::Plan;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::{SOON, eventually};
use rustix::process::Signal;

use super::{gated_with, report, says, takes_no_writes};

/// repmgr knows nothing of such promotions, so it is not asked.
fn native(text: String) -> String {
    text.replace("sources: [repmgr]\nrepmgr_database: repmgr\n", "sources: [native]\n")
}

#[test]
fn a_standby_promoted_beside_a_living_primary_takes_over_in_turn() {
    let bed = gated_with(Plan { repmgrd: false, ..Plan::default() }, native);
    let promoted = Instant::now();
    bed.node("node2").sql("SELECT pg_promote()");
    let closed = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, promoted);
    report("promotion by hand, until the old primary refuses writes", closed);
    let opened = bed.wait_open("node2", Door::Check, Traffic::ReadWrite, promoted);
    report("promotion by hand, until the new primary takes writes", opened - promoted);
    takes_no_writes(&bed, "node1", Duration::from_secs(2));
    bed.assert_one_writer();
}

#[test]
fn a_standby_promoted_while_the_primarys_gate_hangs_waits_until_haproxy_has_noticed() {
    // Nobody hears from the old primary that it is closed: its watchdog closes it when the lease ends, HAProxy notices
    // later still, and only the hold-down keeps the new one waiting for both.
    let bed = gated_with(Plan { repmgrd: false, ..Plan::default() }, native);
    let promoted = Instant::now();
    bed.gate("node1").signal(Signal::STOP);
    bed.node("node2").sql("SELECT pg_promote()");
    let closed = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, promoted);
    report("promotion by hand while the old primary's gate hangs, until that refuses writes", closed);
    let opened = bed.wait_open("node2", Door::Check, Traffic::ReadWrite, promoted);
    report("promotion by hand while the old primary's gate hangs, until the new one takes writes", opened - promoted);
    bed.assert_one_writer();
    bed.gate("node1").signal(Signal::CONT);
    takes_no_writes(&bed, "node1", Duration::from_secs(2));
    bed.assert_one_writer();
}

#[test]
fn two_primaries_of_one_timeline_stay_closed_until_an_operator_chooses() {
    let bed = gated_with(Plan { repmgrd: false, ..Plan::default() }, native);
    let (one, two) = (bed.node("node1"), bed.node("node2"));
    one.stop();
    two.stop();
    // Both are promoted from timeline 1 to timeline 2, each without knowing of the other.
    for node in [one, two] {
        std::fs::write(node.data().join("standby.signal"), "").expect("write");
        let conf = node.data().join("postgresql.auto.conf");
        let lines = std::fs::read_to_string(&conf).unwrap_or_default();
        let kept: Vec<&str> = lines.lines().filter(|line| !line.starts_with("primary_conninfo")).collect();
        std::fs::write(&conf, kept.join("\n") + "\n").expect("write");
        node.start();
    }
    bed.gate("node1").must(&["close", "--for", "10m", "--reason", "until both are promoted"]);
    bed.gate("node2").must(&["close", "--for", "10m", "--reason", "until both are promoted"]);
    one.sql("SELECT pg_promote()");
    two.sql("SELECT pg_promote()");
    eventually("both are primaries", SOON, || (one.is_primary() && two.is_primary()).then_some(()));
    for (node, other) in [("node1", "node2"), ("node2", "node1")] {
        eventually(&format!("{node} has heard that {other} is a primary too"), SOON, || {
            let says = bed.gate(node).verdict()?;
            let peers = says["peers"].as_array()?;
            let heard = peers.iter().find(|peer| peer["label"] == other)?;
            (says["local"]["timeline"] == 2 && heard["primary"] == true && heard["timeline"] == 2).then_some(())
        });
    }
    // The round that told them has told the witness as well.
    std::thread::sleep(Duration::from_secs(1));
    bed.gate("node1").must(&["clear"]);
    bed.gate("node2").must(&["clear"]);
    takes_no_writes(&bed, "node1", Duration::from_secs(5));
    for node in ["node1", "node2"] {
        let since = Instant::now() - Duration::from_secs(5);
        assert_eq!(bed.look(|seen| seen.opened(node, Door::Check, Traffic::ReadWrite, since)), None, "{node}");
        assert!(says(&bed, node).contains("imeline"), "it says why: {}", says(&bed, node));
    }

    let chosen = Instant::now();
    let _ = bed.gate("node2").operate(&["open", "--for", "10m", "--reason", "node2 has the later writes"]);
    bed.wait_open("node2", Door::Check, Traffic::ReadWrite, chosen);
    takes_no_writes(&bed, "node1", Duration::from_secs(2));
    let second = bed.gate("node1").operate(&["open", "--for", "10m", "--reason", "a mistake"]);
    assert!(!second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
    takes_no_writes(&bed, "node1", Duration::from_secs(3));
    bed.assert_one_writer();
}
