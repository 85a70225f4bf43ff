//! The gate, its watchdog or its writing of the file is killed at any moment.

use std::time::{Duration, Instant};

use goahead_tests::bed::Plan;
use goahead_tests::bed::node::Node;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::process::{self, signal_pid};
use goahead_tests::{SOON, eventually};
use rustix::process::Signal;

use super::{gated, report, settle};

#[test]
fn a_killed_gate_is_closed_by_the_preloaded_watchdog() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let killed = Instant::now();
    bed.gate_mut("node1").kill();
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, killed);
    report("gate killed, until the extension's watchdog has closed", open);
    bed.gate_mut("node1").launch(&[]);
    settle(&bed);

    // The watchdog too: PostgreSQL restarts it, and forgets nothing that it must do.
    let cmdline = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let watchdog =
        |node: &Node| node.processes().into_iter().find(|pid| cmdline(pid).contains("goahead gate watchdog"));
    let first = eventually("the watchdog runs", SOON, || watchdog(bed.node("node1")));
    signal_pid(first, Signal::KILL);
    eventually("another watchdog runs", SOON, || watchdog(bed.node("node1")).filter(|pid| *pid != first));
    settle(&bed);
    let killed = Instant::now();
    bed.gate_mut("node1").kill();
    bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, killed);
    bed.assert_one_writer();
}

#[test]
fn without_the_extension_a_child_of_the_gate_closes() {
    let mut bed = gated(Plan { extension: false, repmgrd: false, ..Plan::default() });
    let killed = Instant::now();
    let children = bed.gate("node1").processes()[1..].to_vec();
    assert!(!children.is_empty(), "there is a watchdog");
    bed.gate_mut("node1").kill();
    let open = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, killed);
    report("gate killed, until its child has closed", open);
    eventually("the child has done its work and ends", SOON, || {
        children.iter().all(|pid| !process::runs(*pid)).then_some(())
    });
    bed.gate_mut("node1").launch(&[]);
    settle(&bed);

    // The gate hangs: the child closes as well, and the gate opens again by itself.
    let frozen = Instant::now();
    bed.gate("node1").signal(Signal::STOP);
    bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, frozen);
    bed.gate("node1").signal(Signal::CONT);
    settle(&bed);

    // Its watchdog is killed: the gate must not go on without one.
    let old = bed.gate("node1").processes()[1..].to_vec();
    old.iter().for_each(|pid| signal_pid(*pid, Signal::KILL));
    eventually("the gate has another watchdog", SOON, || {
        bed.gate("node1").processes().iter().skip(1).any(|pid| !old.contains(pid) && process::runs(*pid)).then_some(())
    });
    let killed = Instant::now();
    bed.gate_mut("node1").kill();
    bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, killed);
    bed.assert_one_writer();
}

#[test]
fn a_gate_killed_while_it_writes_leaves_a_file_that_loads() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let admin = bed.node("node1").hba_text();
    let admin: Vec<String> = admin.lines().filter(|line| !line.contains("goahead")).map(ToOwned::to_owned).collect();
    for round in 0..15_u64 {
        let order = ["close", "--for", "10m", "--reason", "a flip"];
        bed.gate("node1").must(if round % 2 == 0 { &order[..] } else { &["clear"] });
        // Anywhere in the round that acts on it.
        std::thread::sleep(Duration::from_millis(rand::random_range(0..350)));
        bed.gate_mut("node1").kill();
        let node = bed.node("node1");
        let bad = "SELECT count(*) FILTER (WHERE type IS NULL) || ' of ' || count(*) FROM pg_hba_file_rules";
        assert!(node.value(bad).starts_with("0 of "), "{}\n{}", node.value(bad), node.hba_text());
        let text = node.hba_text();
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("goahead")).collect();
        assert_eq!(kept, admin, "the administrator's lines");
        bed.gate_mut("node1").launch(&[]);
        eventually("the gate answers again", SOON, || bed.gate("node1").verdict());
        eventually("and takes orders", SOON, || bed.gate("node1").operate(&["status"]).status.success().then_some(()));
    }
    bed.gate("node1").must(&["clear"]);
    settle(&bed);
    let rubbish: Vec<String> = std::fs::read_dir(bed.node("node1").data())
        .expect("the data directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("goahead") && (name.contains("tmp") || name.contains("temp")))
        .collect();
    assert!(rubbish.len() <= 1, "temporary files stay: {rubbish:?}");
    bed.assert_one_writer();
}
