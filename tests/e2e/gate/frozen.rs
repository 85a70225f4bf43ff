//! What hangs: a peer, the gate itself, a whole machine, a listener that says nothing.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use goahead_tests::bed::Plan;
use goahead_tests::bed::net::namespaces;
use goahead_tests::bed::timeline::{Door, Traffic};
use rustix::process::Signal;

use super::{gated, report, settle, takes_no_writes};

#[test]
fn a_peer_that_hangs_changes_nothing() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    bed.gate("node2").signal(Signal::STOP);
    bed.assert_stays_open("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(3));
    bed.gate("node2").signal(Signal::CONT);
    settle(&bed);

    // The same for one that takes every connection and never says a word.
    bed.gate_mut("node2").stop();
    let address = (bed.node("node2").address, bed.node("node2").ports.peer);
    let silent = TcpListener::bind(address).expect("the peer's address");
    bed.assert_stays_open("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(3));
    drop(silent);
    bed.assert_one_writer();
}

#[test]
fn a_gate_that_hangs_is_closed_by_the_watchdog() {
    let bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let frozen = Instant::now();
    bed.gate("node1").signal(Signal::STOP);
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, frozen);
    report("gate hangs (SIGSTOP), until writes are refused", open);
    let thawed = Instant::now();
    bed.gate("node1").signal(Signal::CONT);
    let opened = bed.wait_open("node1", Door::Check, Traffic::ReadWrite, thawed);
    report("gate goes on, until writes are let in", opened.saturating_duration_since(thawed));
    bed.assert_one_writer();
}

#[test]
fn a_machine_that_hangs_is_replaced_and_finds_itself_closed() {
    let bed = gated(Plan { partable: namespaces(), ..Plan::default() });
    let frozen = Instant::now();
    // A machine that hangs acknowledges no packet either; a repmgrd that had just asked a stopped process would wait for
    // its answer for ever.
    if let Some(lan) = &bed.lan {
        lan.part(&["node1"]);
    }
    bed.node("node1").signal_all(Signal::STOP);
    let promoted = bed.wait_primary("node2");
    let opened = bed.wait_open("node2", Door::Haproxy, Traffic::ReadWrite, frozen);
    report("machine hangs, until repmgrd has promoted", promoted - frozen);
    report("then until HAProxy sends writes to the new primary", opened.saturating_duration_since(promoted));
    bed.assert_one_writer();

    // The old primary's memory still says open: it has until its watchdog's first step.
    if let Some(lan) = &bed.lan {
        lan.heal();
    }
    let thawed = Instant::now();
    bed.node("node1").signal_all(Signal::CONT);
    std::thread::sleep(Duration::from_secs(1));
    let timeline = bed.timeline();
    let late = timeline.0.iter().rfind(|s| {
        s.node == "node1" && s.door == Door::Check && s.traffic == Traffic::ReadWrite && s.open && s.asked >= thawed
    });
    report(
        "machine goes on, and its own memory of being open lasts",
        late.map_or(Duration::ZERO, |s| s.asked - thawed),
    );
    takes_no_writes(&bed, "node1", Duration::from_secs(2));
    assert_eq!(timeline.two_writers(Door::Http), None);
}
