//! A node is closed when it starts, and closes by itself when its gate is gone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use goahead_tests::hba::{self, Answer, apply, check, expect, set_rules};
use goahead_tests::postgres::Postgres;
use goahead_tests::process::{User, signal_pid};
use goahead_tests::{SOON, eventually};
use rustix::process::Signal;

const GATE: [&str; 4] =
    ["fsync=off", "shared_preload_libraries=goahead", "goahead.gate=on", "goahead.gate_watchdog=50ms"];
/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

fn open_primary() -> Postgres {
    let server = Postgres::with(&GATE);
    let _ = server.database("fleet");
    set_rules(&mut server.connect("fleet"));
    open(&server);
    server
}

/// Opens a server for read-write traffic, as its gate would.
fn open(server: &Postgres) {
    hba::stamp(&hba::file(server), LONG, true, false);
    apply(&mut server.connect("fleet"), None);
    expect(server, "harw", Answer::Asked);
}

#[test]
fn open_lines_that_were_copied_or_left_are_closed_at_start() {
    let mut primary = open_primary();
    // A copy brings the open lines along, and the stamp.
    let standby = primary.standby(&GATE);
    assert!(standby.data().join(".goahead_gate.stamp").exists(), "the test copies nothing");
    assert_eq!(check(&standby, "harw"), Answer::Refused);
    assert_eq!(check(&standby, "app"), Answer::Asked, "an ordinary rule was touched");
    assert!(standby.log().contains("goahead closed harw in "), "{}", standby.log());

    // Its own verdict from before a crash counts for nothing either.
    primary.kill();
    primary.launch();
    assert_eq!(check(&primary, "harw"), Answer::Refused);
    apply(&mut primary.connect("fleet"), None);
    expect(&primary, "harw", Answer::Asked);
}

#[test]
fn a_start_that_cannot_close_does_not_happen_unless_told() {
    if User::postgres().is_root() {
        return;
    }
    let (directory, path) = hba::directory();
    let setting = format!("hba_file={}", path.display());
    let settings = |more: &'static str| [&GATE[..], &[&setting, more]].concat();
    let mut server = Postgres::with(&settings("goahead.close_at_start=require"));
    let _ = server.database("fleet");
    set_rules(&mut server.connect("fleet"));
    open(&server);
    server.kill();
    let mode = |mode: u32| std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).expect("chmod");
    mode(0o555);
    assert!(!server.try_launch(), "it started with open lines");
    let log = server.log();
    assert!(log.contains("FATAL:  goahead cannot close the gate's lines") && log.contains("hba_unwritable"), "{log}");
    assert!(log.contains("goahead.close_at_start = try"), "{log}");

    server.set(&settings("goahead.close_at_start=try"));
    assert!(server.try_launch(), "{}", server.log());
    assert!(server.log().contains("WARNING:  goahead cannot close the gate's lines"), "{}", server.log());
    // As soon as it can be written it is closed.
    mode(0o755);
    expire(&path);
    expect(&server, "harw", Answer::Refused);
}

/// Takes the verdict away, if there is one.
fn expire(path: &Path) {
    let _ = std::fs::remove_file(path.with_file_name(".goahead_gate.stamp"));
}

#[test]
fn lines_close_when_the_verdict_ends() {
    let primary = open_primary();
    let path = hba::file(&primary);
    hba::stamp(&path, Duration::from_millis(400), true, false);
    // Nobody writes another stamp: the gate was stopped, killed, or hangs.
    expect(&primary, "harw", Answer::Refused);
    assert!(std::fs::read_to_string(&path).expect("read").contains("reject # goahead:harw"));
    assert_eq!(check(&primary, "app"), Answer::Asked);
    assert!(primary.log().contains("no live verdict of a gate, closed harw in "), "{}", primary.log());

    let standby = primary.standby(&GATE);
    let path = hba::file(&standby);
    hba::stamp(&path, LONG, false, true);
    assert!(apply(&mut standby.connect("fleet"), None));
    expect(&standby, "haro", Answer::Asked);
    hba::stamp(&path, Duration::from_millis(400), false, true);
    expect(&standby, "haro", Answer::Refused);
    // What an operator opens without a verdict does not stay so.
    apply(&mut standby.connect("fleet"), Some("both"));
    eventually("it is closed again", SOON, || {
        std::fs::read_to_string(&path).expect("read").contains("reject # goahead:haro").then_some(())
    });
    expect(&standby, "haro", Answer::Refused);
}

#[test]
fn a_killed_watchdog_comes_back() {
    let server = open_primary();
    let path = hba::file(&server);
    let watchdog = |server: &Postgres| {
        server.processes().into_iter().find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|name| name.contains("goahead gate watchdog"))
        })
    };
    // SIGTERM ends it alone, SIGKILL has the server recover; the file is read again in neither case.
    for signal in [Signal::TERM, Signal::KILL] {
        let old = eventually("the watchdog runs", SOON, || watchdog(&server));
        signal_pid(old, signal);
        eventually("another watchdog runs", SOON, || watchdog(&server).filter(|pid| *pid != old));
        eventually("the server answers", SOON, || server.try_connect("postgres").ok());
        assert_eq!(check(&server, "harw"), Answer::Asked);
    }
    expire(&path);
    expect(&server, "harw", Answer::Refused);
}

#[test]
fn without_the_setting_nothing_is_closed() {
    let mut server = Postgres::with(&["fsync=off", "shared_preload_libraries=goahead"]);
    let _ = server.database("fleet");
    set_rules(&mut server.connect("fleet"));
    apply(&mut server.connect("fleet"), Some("primary"));
    server.kill();
    server.launch();
    assert_eq!(check(&server, "harw"), Answer::Asked);
}
