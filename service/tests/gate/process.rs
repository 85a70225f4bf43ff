//! A gate whose database is down: it closes through the file, takes orders, and ends in order.

use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use rustix::process::Signal;

use crate::support::{Node, Process, goahead, wait};

/// Writes settings with fast rounds, and one peer that never answers.
fn settings(node: &Node) {
    let directory = node.path().display();
    let text = format!(
        "node: n1\nlisten: \"off\"\npeer_listen: 127.0.0.1:0\npeers: [{{name: n2, address: \"127.0.0.1:1\"}}]\n\
         database: \"host={directory} user=postgres dbname=postgres\"\nhba_file: {directory}/pg_hba.conf\n\
         data_directory: {directory}\nstate_dir: {directory}/state\n\
         round: 100ms\nlease: 400ms\ndeadline: 60ms\nwatchdog: 50ms\ndetection: 200ms\nhold_down: 1s\n"
    );
    std::fs::write(node.path().join("gate.yml"), text).expect("written");
}

fn gate(node: &Node) -> Process {
    let log = std::fs::File::options().create(true).append(true).open(node.path().join("log")).expect("a log");
    let mut command = goahead();
    command.args(["gate", "-f"]).arg(node.path().join("gate.yml")).stdin(Stdio::null()).stderr(log);
    Process(command.spawn().expect("the program"))
}

fn ask(node: &Node, words: &[&str]) -> Output {
    goahead().arg("gate").args(words).arg("-f").arg(node.path().join("gate.yml")).output().expect("the program")
}

fn log(node: &Node) -> String {
    std::fs::read_to_string(node.path().join("log")).unwrap_or_default()
}

fn status(node: &Node) -> serde_json::Value {
    serde_json::from_slice(&ask(node, &["status", "--json"]).stdout).unwrap_or_default()
}

fn started(node: &Node) -> Process {
    settings(node);
    let process = gate(node);
    wait("the first rounds", || status(node)["round"].as_u64() > Some(2));
    process
}

#[test]
fn what_is_open_at_its_start_is_closed_though_the_database_is_down() {
    let node = Node::new();
    let mut process = started(&node);
    wait("the closed line", || !node.is_open());
    wait("the reload", || node.reloads() >= 1);
    let socket = node.path().join("state/control.sock");
    assert_eq!(std::fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777, 0o600);
    let text = String::from_utf8(ask(&node, &["status"]).stdout).expect("text");
    assert!(text.contains("read-write closed") && text.contains("database   does not answer"), "{text}");
    // Whatever opens the line meanwhile is undone.
    let opened = std::fs::read_to_string(node.hba_file()).expect("the file").replace("reject #", "trust #");
    std::fs::write(node.hba_file(), opened).expect("written");
    wait("the closed line", || !node.is_open());
    process.signal(Signal::TERM);
    assert!(process.ends_well());
    assert!(log(&node).contains("its lines are closed"), "{}", log(&node));
    assert!(!socket.exists());
    assert_eq!(ask(&node, &["status"]).status.code(), Some(1));
}

#[test]
fn an_order_is_taken_kept_shown_written_down_and_cleared() {
    let node = Node::new();
    let process = started(&node);
    let given = ask(&node, &["close", "--for", "1h", "--reason", "kernel update"]);
    assert!(given.status.success(), "{given:?}");
    assert!(String::from_utf8_lossy(&given.stdout).contains("kernel update"), "{given:?}");
    assert_eq!(status(&node)["order"]["open"], false);
    drop(process);
    // It is another process that knows it now.
    let process = gate(&node);
    wait("the order", || status(&node)["order"]["reason"] == "kernel update");
    assert!(ask(&node, &["clear"]).status.success());
    assert!(status(&node)["order"].is_null());
    assert_eq!(ask(&node, &["clear"]).status.code(), Some(1));
    // An order opens nothing that is unfit: there is no database.
    let given = ask(&node, &["open", "--for", "10m", "--reason", "test"]);
    assert_eq!(given.status.code(), Some(1), "{given:?}");
    assert!(!node.is_open());
    for bad in [["--for", "0s"], ["--for", "8000h"], ["--for", "soon"]] {
        assert!(!ask(&node, &["close", bad[0], bad[1], "--reason", "x"]).status.success());
    }
    let audit = std::fs::read_to_string(node.path().join("state/audit.jsonl")).expect("an audit");
    assert_eq!(audit.lines().filter(|line| line.contains("\"gate_override\"")).count(), 3, "{audit}");
    drop(process);
}

#[test]
fn one_gate_runs_in_a_state_directory() {
    let node = Node::new();
    let first = started(&node);
    let mut second = gate(&node);
    assert!(!second.ends_well());
    assert!(log(&node).contains("another gate runs"), "{}", log(&node));
    drop(first);
}

#[test]
fn a_killed_gate_s_watchdog_ends_by_itself() {
    let node = Node::new();
    let process = started(&node);
    let gate_pid = process.0.id();
    let watchdogs = || {
        let wanted = format!("gate\0watch\0--gate\0{gate_pid}\0");
        let all = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        all.filter(|entry| {
            std::fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line.ends_with(&wanted))
        })
        .count()
    };
    assert_eq!(watchdogs(), 1);
    drop(process);
    wait("the watchdog's end", || watchdogs() == 0);
    assert!(!node.is_open());
}
