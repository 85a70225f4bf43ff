//! Two nodes and no witness: what the primary does that does not hear the other.

use std::time::{Duration, Instant};

use goahead_tests::bed::gate::TIMINGS;
use goahead_tests::bed::net::namespaces_or_skip;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};

use super::{report, says, settle, takes_no_writes};

const KEEP: &str = "isolated: keep_if_sync\n";
const CLOSE: &str = "isolated: close\n";

/// A standby that has nothing to report does so once a second (`wal_receiver_status_interval`, which takes no less), so a
/// lease of the bed's length would end in between.
const SLOWER: &str = "round: 1s
lease: 3s
deadline: 800ms
watchdog: 100ms
detection: 600ms
hold_down: 4s
";

/// The lease of [`SLOWER`].
const LEASE: Duration = Duration::from_secs(3);

/// Until a verdict in force has ended, and one of another round, on a busy machine too.
const TWO_LEASES: Duration = LEASE.saturating_mul(2);

/// A bed whose witness has no gate and is no peer of anyone's.
fn pair(plan: Plan, isolated: &str, synchronous: bool) -> Bed {
    let mut bed = Bed::build(Plan { extension: false, repmgrd: false, ..plan });
    for name in ["node1", "node2"] {
        let configuration = bed.configuration(name);
        let kept = configuration.lines().filter(|line| !line.contains("witness: true"));
        let text = kept.fold(String::new(), |text, line| text + line + "\n") + isolated;
        bed.start_gate(name, &text.replace(TIMINGS, SLOWER), &[]);
    }
    bed.start_haproxies();
    bed.watch_from(|node| if plan.haproxies > 1 { usize::from(node.name == "node2") } else { 0 });
    settle(&bed);
    if synchronous {
        bed.node("node1").sql("ALTER SYSTEM SET synchronous_standby_names = 'node2'");
        bed.node("node1").sql("SELECT pg_reload_conf()");
        streams(&bed, "sync");
    }
    streams(&bed, if synchronous { "sync" } else { "async" });
    bed
}

/// Waits until the primary's gate knows of a standby that streams so, and when it last replied.
fn streams(bed: &Bed, sync_state: &str) {
    eventually(&format!("node1's gate knows node2 as {sync_state}"), SOON, || {
        let known = bed.gate("node1").verdict()?["local"]["downstream"].clone();
        let mut rows = known.as_array()?.iter();
        let streams = rows.any(|row| row["sync_state"] == sync_state && row["reply_age_us"].is_u64());
        streams.then_some(())
    });
}

/// The codes of what holds node1's read-write door as it is.
fn reasons(bed: &Bed) -> Vec<String> {
    let verdict = eventually("node1's gate answers", SOON, || bed.gate("node1").verdict());
    let reasons = verdict["verdict"]["rw_reasons"].as_array().expect("reasons").iter();
    reasons.map(|reason| reason["code"].as_str().expect("a code").to_owned()).collect()
}

/// The door closes when the last verdict ends; what the next one says comes with the next round.
fn nobody_else_votes(bed: &Bed) {
    eventually("node1 lacks the other's vote", SOON, || {
        reasons(bed).first().is_some_and(|code| code == "no_majority").then_some(())
    });
}

#[test]
fn a_primary_goes_on_while_its_synchronous_standby_streams_and_never_begins_so() {
    let mut bed = pair(Plan::default(), KEEP, true);
    bed.gate_mut("node2").kill();
    eventually("node1 is kept open by its standby", SOON, || (reasons(&bed) == ["kept_by_sync"]).then_some(()));
    bed.assert_stays_open("node1", Door::Check, Traffic::ReadWrite, TWO_LEASES);
    assert_eq!(reasons(&bed), ["kept_by_sync"]);
    bed.node("node1").sql("CREATE TABLE kept (line text)");
    eventually("what is written is on the standby", SOON, || {
        (bed.node("node2").value("SELECT to_regclass('kept')") == "kept").then_some(())
    });

    // Without the standby no write is acknowledged any more, and the door closes.
    let crashed = Instant::now();
    bed.node("node2").crash();
    let mut session = bed.node("node1").connect("postgres");
    session.batch_execute("SET statement_timeout = '1s'").expect("SET");
    let waits = session.batch_execute("INSERT INTO kept SELECT 'never acknowledged'; SELECT pg_sleep(2)");
    assert!(waits.is_err(), "a write waits for the standby");
    drop(session);
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, crashed);
    report("pair: the synchronous standby crashed and its gate is gone, until writes are refused", open);

    // That it streams again keeps nothing open which is closed.
    bed.node("node2").start();
    streams(&bed, "sync");
    takes_no_writes(&bed, "node1", TWO_LEASES);
    nobody_else_votes(&bed);

    let back = Instant::now();
    bed.gate_mut("node2").launch(&[]);
    let opened = bed.wait_open("node1", Door::Check, Traffic::ReadWrite, back);
    report("pair: the other gate is back, until writes are let in", opened - back);
    bed.assert_one_writer();
}

#[test]
fn a_primary_told_to_close_does_so_beside_a_synchronous_standby() {
    let mut bed = pair(Plan::default(), CLOSE, true);
    let killed = Instant::now();
    bed.gate_mut("node2").kill();
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, killed);
    report("pair, isolated: close: the other gate is gone, until writes are refused", open);
    nobody_else_votes(&bed);
    assert!(bed.node("node2").streams(), "it streams all the time");
    bed.assert_one_writer();
}

#[test]
fn a_primary_whose_standby_is_not_synchronous_closes() {
    let mut bed = pair(Plan::default(), KEEP, false);
    let killed = Instant::now();
    bed.gate_mut("node2").kill();
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, killed);
    report("pair: the other gate is gone beside an asynchronous standby, until writes are refused", open);
    nobody_else_votes(&bed);
    assert!(bed.node("node2").streams(), "it streams all the time");
    bed.assert_one_writer();
}

#[test]
fn a_pair_that_is_parted_closes_and_only_an_operator_opens_the_other() {
    if !namespaces_or_skip("a_pair_that_is_parted_closes_and_only_an_operator_opens_the_other") {
        return;
    }
    let bed = pair(Plan { partable: true, haproxies: 2, ..Plan::default() }, KEEP, true);
    let parted = Instant::now();
    bed.lan.as_ref().expect("a switch").part(&["node2", "haproxy2"]);
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, parted);
    report("pair: the network parts, until the primary refuses writes", open);
    // Its own ack is not enough for the other, however long it is a primary.
    bed.node("node2").sql("SELECT pg_promote()");
    bed.wait_primary("node2");
    for node in ["node1", "node2"] {
        takes_no_writes(&bed, node, TWO_LEASES);
    }
    assert!(says(&bed, "node2").contains("no_majority"), "{}", says(&bed, "node2"));

    let ordered = Instant::now();
    let _ = bed.gate("node2").operate(&["open", "--for", "10m", "--reason", "node1 is cut off"]);
    bed.wait_open("node2", Door::Check, Traffic::ReadWrite, ordered);
    bed.lan.as_ref().expect("a switch").heal();
    takes_no_writes(&bed, "node1", TWO_LEASES);
    bed.assert_one_writer();
}
