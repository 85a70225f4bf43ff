//! An operator's orders end by themselves.

use std::time::{Duration, Instant};

use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};

use super::{DOORS, gated, says, settle};

const WHILE: Duration = Duration::from_secs(3);

/// Waits until the database tells of this many switchovers of node1, the last without an end, and those before with one.
/// A busy machine may add some.
fn told(bed: &Bed, count: usize) {
    let query = format!(
        "SELECT count(*) >= {count} AND count(*) = count(closed_at) + 1 FROM goahead.switchovers WHERE node = 'node1'"
    );
    eventually(&format!("{count} switchovers"), SOON, || (bed.node("node1").value(&query) == "t").then_some(()));
}

#[test]
fn a_close_ends_with_its_time() {
    let bed = gated(Plan { repmgrd: false, ..Plan::default() });
    told(&bed, 1);
    let closed = Instant::now();
    bed.gate("node1").must(&["close", "--for", "3s", "--reason", "a short test"]);
    for door in DOORS {
        bed.wait_closed("node1", door, Traffic::ReadWrite, closed);
    }
    assert!(says(&bed, "node1").contains("a short test"), "{}", says(&bed, "node1"));
    assert!(bed.gate("node1").must(&["status"]).contains("a short test"));
    // Nobody clears it.
    let opened = bed.wait_open("node1", Door::Check, Traffic::ReadWrite, closed + Duration::from_secs(1));
    assert!(opened - closed >= WHILE, "{:?} is too early", opened - closed);
    settle(&bed);
    assert!(!says(&bed, "node1").contains("a short test"), "{}", says(&bed, "node1"));
    told(&bed, 2);
    bed.assert_one_writer();
}

#[test]
fn an_open_without_a_majority_ends_with_its_time() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    bed.gate_mut("witness").kill();
    bed.gate_mut("node2").kill();
    let alone = Instant::now();
    for door in DOORS {
        bed.wait_closed("node1", door, Traffic::ReadWrite, alone);
    }
    let opened = Instant::now();
    let _ = bed.gate("node1").operate(&["open", "--for", "4s", "--reason", "the others are gone"]);
    for door in DOORS {
        bed.wait_open("node1", door, Traffic::ReadWrite, opened);
    }
    assert!(says(&bed, "node1").contains("the others are gone"), "{}", says(&bed, "node1"));
    for door in DOORS {
        bed.wait_closed("node1", door, Traffic::ReadWrite, opened);
    }
    // It closes for the reason that there was before.
    bed.assert_stays_closed("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(2));
    assert!(!says(&bed, "node1").contains("the others are gone"), "{}", says(&bed, "node1"));
    bed.assert_one_writer();
}
