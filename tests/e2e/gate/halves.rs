//! A gate in two processes: `--server-only` votes and answers, `--client-only` decides and writes.

use std::time::{Duration, Instant};

use goahead_tests::bed::gate::Gate;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};

use super::{DOORS, report, settle, start, takes_no_writes};

/// A settled bed in which the gates of both data nodes are in two halves; gives the deciding ones. The bed keeps the
/// answering ones.
fn halved() -> (Bed, Vec<Gate>) {
    let mut bed = Bed::build(Plan { repmgrd: false, ..Plan::default() });
    start(&mut bed, |text| text);
    let mut deciding = Vec::new();
    for name in ["node1", "node2"] {
        bed.gate_mut(name).stop();
        bed.gate_mut(name).launch(&["--server-only"]);
        deciding.push(bed.gate(name).half(&["--client-only"]));
    }
    bed.watch();
    settle(&bed);
    (bed, deciding)
}

#[test]
fn each_half_may_be_restarted_and_neither_opens_alone() {
    let (mut bed, mut deciding) = halved();
    // Orders go to the half that decides.
    let closed = Instant::now();
    deciding[0].must(&["close", "--for", "10m", "--reason", "a test"]);
    for door in DOORS {
        bed.wait_closed("node1", door, Traffic::ReadWrite, closed);
    }
    deciding[0].must(&["clear"]);
    settle(&bed);

    // What decides is killed: its watchdog closes the lines, and what answers shows an old verdict no more.
    let killed = Instant::now();
    deciding[0].kill();
    for door in DOORS {
        bed.wait_closed("node1", door, Traffic::ReadWrite, killed);
    }
    takes_no_writes(&bed, "node1", Duration::from_secs(1));
    let started = Instant::now();
    deciding[0].launch(&["--client-only"]);
    let opened = bed.wait_open("node1", Door::Check, Traffic::ReadWrite, started);
    report(
        "--client-only killed and started again, until writes are let in",
        opened.saturating_duration_since(started),
    );
    settle(&bed);

    // What answers and votes is killed: without it the other half closes, and says why.
    let killed = Instant::now();
    bed.gate_mut("node1").kill();
    for door in DOORS {
        bed.wait_closed("node1", door, Traffic::ReadWrite, killed);
    }
    takes_no_writes(&bed, "node1", Duration::from_secs(2));
    eventually("it says what is missing", SOON, || {
        String::from_utf8_lossy(&deciding[0].operate(&["status"]).stdout).contains("--server-only").then_some(())
    });
    bed.gate_mut("node1").launch(&["--server-only"]);
    settle(&bed);
    bed.assert_one_writer();
}
