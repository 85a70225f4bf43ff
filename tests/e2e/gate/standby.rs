//! A standby takes reads only while it really follows.

use std::time::{Duration, Instant};

use goahead_tests::bed::Plan;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::{SOON, eventually, process};
use rustix::process::Signal;

use super::{gated, gated_with, report, says};

#[test]
fn a_standby_whose_replay_is_paused_takes_no_reads() {
    let bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let paused = Instant::now();
    bed.node("node2").sql("SELECT pg_wal_replay_pause()");
    let open = bed.wait_closed("node2", Door::Check, Traffic::ReadOnly, paused);
    report("replay paused, until reads are refused", open);
    assert!(says(&bed, "node2").contains("paused"), "{}", says(&bed, "node2"));
    let resumed = Instant::now();
    bed.node("node2").sql("SELECT pg_wal_replay_resume()");
    bed.wait_open("node2", Door::Check, Traffic::ReadOnly, resumed);
    bed.assert_one_writer();
}

#[test]
fn a_standby_that_streams_no_more_takes_no_reads() {
    let bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let node = bed.node("node2");
    let conninfo = node.value("SHOW primary_conninfo");
    let nobody = bed.witness().address;
    let stuck = Instant::now();
    // Its upstream is gone, and it goes on answering queries as any standby does.
    node.sql(&format!("ALTER SYSTEM SET primary_conninfo = 'host={nobody} port=1 connect_timeout=1'"));
    node.sql("SELECT pg_reload_conf()");
    let open = bed.wait_closed("node2", Door::Check, Traffic::ReadOnly, stuck);
    report("standby streams no more, until reads are refused", open);
    assert_eq!(node.value("SELECT pg_is_in_recovery()"), "t");
    let mended = Instant::now();
    node.sql(&format!("ALTER SYSTEM SET primary_conninfo = '{}'", conninfo.replace('\'', "''")));
    node.sql("SELECT pg_reload_conf()");
    eventually("it streams again", SOON, || node.streams().then_some(()));
    bed.wait_open("node2", Door::Check, Traffic::ReadOnly, mended);
    bed.assert_one_writer();
}

#[test]
fn a_standby_of_an_idle_primary_takes_reads_until_its_sender_answers_no_more() {
    let plan = Plan { repmgrd: false, extension: false, ..Plan::default() };
    let mut bed = gated_with(plan, |text| text + "max_lag_time: 1s\n");
    // Its receiver asks after 5 s of silence, and gives up after 10 s.
    bed.node("node2").sql("ALTER SYSTEM SET wal_receiver_timeout = '10s'");
    bed.node("node2").sql("SELECT pg_reload_conf()");
    // From PostgreSQL 16 on a reload postpones its next question, so it hears something after that.
    bed.node("node1").sql("CREATE TABLE something_new ()");
    eventually("node2 has replayed it", SOON, || {
        (bed.node("node2").value("SELECT to_regclass('something_new') IS NOT NULL") == "t").then_some(())
    });
    bed.gate_mut("node1").kill();
    bed.assert_stays_open("node2", Door::Check, Traffic::ReadOnly, Duration::from_secs(8));

    let sender = bed.node("node1").value("SELECT pid FROM pg_stat_replication");
    let sender: u32 = sender.parse().expect("node1 has one sender");
    let stuck = Instant::now();
    process::signal_pid(sender, Signal::STOP);
    // That its receiver gives up in the end would close it too.
    eventually("node2 says that it is behind", SOON, || {
        let said = bed.gate("node2").verdict()?;
        let behind = said["verdict"]["ro_reasons"].as_array()?.iter().any(|why| why["code"] == "lag_time");
        (behind && said["verdict"]["ro"] == false && said["local"]["receiver"]["status"] == "streaming").then_some(())
    });
    let open = bed.wait_closed("node2", Door::Check, Traffic::ReadOnly, stuck);
    report("sender hangs on an idle cluster (wal_receiver_timeout 10 s), until reads are refused", open);
    let goes_on = Instant::now();
    process::signal_pid(sender, Signal::CONT);
    bed.wait_open("node2", Door::Check, Traffic::ReadOnly, goes_on);
    bed.assert_one_writer();
}

#[test]
fn a_standby_that_lags_takes_no_reads() {
    let bed = gated_with(Plan { repmgrd: false, ..Plan::default() }, |text| text + "max_lag: 1MB\n");
    let (primary, standby) = (bed.node("node1"), bed.node("node2"));
    primary.sql("CREATE TABLE filler (line text)");
    standby.sql("ALTER SYSTEM SET recovery_min_apply_delay = '1h'");
    standby.sql("SELECT pg_reload_conf()");
    let lags = Instant::now();
    for _ in 0..30 {
        primary.sql("INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 100)");
    }
    let open = bed.wait_closed("node2", Door::Check, Traffic::ReadOnly, lags);
    report("lag grows beyond max_lag, until reads are refused", open);
    assert!(standby.streams(), "it streams all the time");
    assert!(says(&bed, "node2").contains("lag"), "{}", says(&bed, "node2"));
    let caught_up = Instant::now();
    standby.sql("ALTER SYSTEM RESET recovery_min_apply_delay");
    standby.sql("SELECT pg_reload_conf()");
    bed.wait_open("node2", Door::Check, Traffic::ReadOnly, caught_up);
    bed.assert_one_writer();
}
