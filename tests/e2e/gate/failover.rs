//! The primary is lost: another takes its place, and the old one never takes a write again before it follows.

use std::time::{Duration, Instant};

use goahead_tests::bed::Plan;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::{SOON, eventually};

use super::{DOORS, gated, leads, report, says, session, settle, takes_no_writes};

#[test]
fn a_crashed_primary_is_replaced_and_comes_back_as_standby() {
    let mut bed = gated(Plan::default());
    let pools = bed.pools;
    for pool in [pools.check_rw, pools.http_rw] {
        leads(&bed, bed.haproxy(), pool, "node1", 1);
    }
    for pool in [pools.check_ro, pools.http_ro] {
        leads(&bed, bed.haproxy(), pool, "node2", 1);
    }
    let mut session = session(bed.haproxy(), pools.check_rw);

    let crashed = Instant::now();
    bed.node("node1").crash();
    let promoted = bed.wait_primary("node2");
    let opened = bed.wait_open("node2", Door::Check, Traffic::ReadWrite, crashed);
    let through = bed.wait_open("node2", Door::Haproxy, Traffic::ReadWrite, crashed);
    bed.wait_open("node2", Door::Http, Traffic::ReadWrite, crashed);
    report("primary crash, until repmgrd has promoted", promoted - crashed);
    report("promotion, until writes are let in", opened.saturating_duration_since(promoted));
    report("promotion, until HAProxy sends writes there", through.saturating_duration_since(promoted));
    for pool in [pools.check_rw, pools.http_rw] {
        leads(&bed, bed.haproxy(), pool, "node2", 1);
    }
    session.simple_query("SELECT 1").expect_err("the session on the old primary is cut");
    bed.assert_one_writer();

    // The old primary just starts again, believing what it believed.
    bed.node("node1").start();
    assert!(bed.node("node1").is_primary());
    takes_no_writes(&bed, "node1", Duration::from_secs(4));
    leads(&bed, bed.haproxy(), pools.check_rw, "node2", 6);
    let said = says(&bed, "node1");
    assert!(said.contains("node2"), "it says who is ahead: {said}");

    // It is rewound, and with that comes the file of the node that takes writes. Its gate is away, so that nothing but the
    // server itself can close it before its first connection.
    bed.gate_mut("node1").stop();
    bed.node_mut("node1").stop_repmgrd();
    bed.node("node1").stop();
    let rejoined = Instant::now();
    bed.rejoin("node1", "node2");
    let log = bed.node("node1").log();
    assert!(log.contains("goahead closed harw0"), "its open line did not come along: {log}");
    takes_no_writes(&bed, "node1", Duration::from_secs(1));
    bed.gate_mut("node1").launch(&[]);
    for door in DOORS {
        bed.wait_open("node1", door, Traffic::ReadOnly, rejoined);
    }
    for door in DOORS {
        let opened = bed.look(|seen| seen.opened("node1", door, Traffic::ReadWrite, rejoined));
        assert_eq!(opened, None, "{door:?}");
    }
    bed.assert_one_writer();
}

#[test]
fn a_session_on_a_closed_primary_is_cut() {
    let bed = gated(Plan { repmgrd: false, ..Plan::default() });
    for pool in [bed.pools.check_rw, bed.pools.http_rw] {
        let mut session = session(bed.haproxy(), pool);
        let closed = Instant::now();
        bed.gate("node1").must(&["close", "--for", "10m", "--reason", "a test"]);
        eventually("the session is cut", SOON, || session.simple_query("SELECT 1").is_err().then_some(()));
        report("operator's close, until an open session is cut", closed.elapsed());
        assert!(bed.haproxy().connect(pool).is_err(), "and no new one is let in");
        assert!(says(&bed, "node1").contains("a test"), "{}", says(&bed, "node1"));
        bed.gate("node1").must(&["clear"]);
        settle(&bed);
    }
    bed.assert_one_writer();
}

#[test]
fn a_stopped_primary_is_closed_and_opens_again() {
    let bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let stopped = Instant::now();
    bed.node("node1").stop();
    bed.wait_closed("node1", Door::Http, Traffic::ReadWrite, stopped);
    eventually("the file is closed while the database is down", SOON, || {
        let text = bed.node("node1").hba_text();
        let line = text.lines().find(|line| line.contains("goahead:harw0"))?.to_owned();
        line.contains(" reject ").then_some(())
    });
    let started = Instant::now();
    bed.node("node1").start();
    let opened = bed.wait_open("node1", Door::Check, Traffic::ReadWrite, started);
    report("restart of the primary, until writes are let in again", opened.saturating_duration_since(started));
    bed.assert_one_writer();
}
