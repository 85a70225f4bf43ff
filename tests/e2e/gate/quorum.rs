//! Voters come and go.

use std::time::{Duration, Instant};

use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};

use super::{gated, report, says};

#[test]
fn one_voter_may_be_missing_but_not_two() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    bed.gate_mut("witness").kill();
    bed.assert_stays_open("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(3));

    let lost = Instant::now();
    bed.gate_mut("node2").kill();
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, lost);
    report("majority of the gates lost, until writes are refused", open);
    let said = says(&bed, "node1");
    assert!(said.contains("witness") || said.contains("voters"), "{said}");

    let back = Instant::now();
    bed.gate_mut("witness").launch(&["--server-only"]);
    let opened = bed.wait_open("node1", Door::Check, Traffic::ReadWrite, back);
    report("majority back, until writes are let in", opened - back);
    bed.assert_one_writer();
}

#[test]
fn a_restarted_gate_of_a_steady_primary_opens_soon() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let stopped = Instant::now();
    bed.gate_mut("node1").stop();
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, stopped);
    report("gate stopped (SIGTERM), until writes are refused", open);
    let started = Instant::now();
    bed.gate_mut("node1").launch(&[]);
    let opened = bed.wait_open("node1", Door::Check, Traffic::ReadWrite, started);
    report("gate started again, until writes are let in", opened - started);
    bed.assert_one_writer();
}

#[test]
fn a_voter_says_whom_it_acks() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let acks = |bed: &Bed, name: &str, holder: Option<&str>| {
        eventually(&format!("{name} acks {holder:?}"), SOON, || {
            let vote = bed.gate(name).verdict()?["vote"].clone();
            let left = vote["left_us"].as_u64().is_some_and(|left| left > 0);
            (vote["acks"].as_str() == holder && left == holder.is_some()).then_some(())
        });
    };
    for name in ["node1", "node2", "witness"] {
        acks(&bed, name, Some("node1"));
    }
    let status = String::from_utf8_lossy(&bed.gate("witness").operate(&["status"]).stdout).into_owned();
    assert!(status.contains("acks node1 for another"), "{status}");
    // An ack that is not asked for again ends.
    bed.gate_mut("node1").kill();
    for name in ["node2", "witness"] {
        acks(&bed, name, None);
    }
    bed.assert_one_writer();
}
