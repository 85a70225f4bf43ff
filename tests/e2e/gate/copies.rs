//! pg_hba.conf travels with copies of a primary: its open lines are closed before the copy takes a connection.

use std::time::{Duration, Instant};

use goahead_tests::bed::Plan;
use goahead_tests::bed::timeline::{Door, Traffic};

use super::{gated, takes_no_writes};

#[test]
fn a_clone_of_the_open_primary_starts_closed() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let node = bed.node_mut("node2");
    node.gate.as_mut().expect("it has a gate").stop();
    node.stop();
    std::fs::remove_dir_all(node.data()).expect("rm");
    bed.copy_primary(bed.node("node2"));
    let open = |text: &str| text.lines().any(|line| line.contains("goahead:harw0") && line.contains(" scram-sha-256 "));
    assert!(open(&bed.node("node2").hba_text()), "the open line came along: {}", bed.node("node2").hba_text());

    let started = Instant::now();
    bed.node("node2").start();
    assert!(!open(&bed.node("node2").hba_text()), "closed before it took connections");
    takes_no_writes(&bed, "node2", Duration::from_secs(1));
    let target = bed.target(bed.node("node2"), Door::Check, Traffic::ReadOnly, 0);
    assert!(!target.ask().0, "without a gate it takes nothing");

    // What is not gated is as the administrator wrote it.
    assert!(bed.node("node2").hba_text().contains("scram-sha-256 # applications"));
    bed.gate_mut("node2").launch(&[]);
    bed.wait_open("node2", Door::Check, Traffic::ReadOnly, started);
    bed.assert_one_writer();
}
