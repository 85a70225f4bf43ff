//! The watchdog closes when its gate cannot, and outlives it until then.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Node, Process, goahead, wait};

const GATE: u32 = 4_194_303;
const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(600);

/// Starts one that believes `GATE` to be its gate, and has it watch the node.
fn watchdog(node: &Node) -> Process {
    let mut command = goahead();
    command.args(["gate", "watch", "--gate", &GATE.to_string()]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process(command.spawn().expect("the program"));
    let order = serde_json::json!({
        "hba_file": node.hba_file(), "data_directory": node.path(), "major": 15, "period_us": 20_000,
    });
    let input = process.0.stdin.as_mut().expect("a pipe");
    writeln!(input, "{order}").expect("read");
    process
}

#[test]
fn it_closes_when_the_verdict_ends_and_tells_the_server() {
    let node = Node::new();
    node.stamp(GATE, SHORT);
    let mut process = watchdog(&node);
    assert!(node.is_open());
    wait("the closed line", || !node.is_open());
    wait("the reload", || node.reloads() == 1);
    // Its gate lives, and so does it.
    assert!(process.0.try_wait().expect("a child").is_none());
    drop(process.0.stdin.take());
    assert!(process.ends_well());
    assert_eq!(node.reloads(), 1);
}

#[test]
fn it_outlives_its_gate_until_the_lines_are_closed() {
    let node = Node::new();
    node.stamp(GATE, SHORT);
    let mut process = watchdog(&node);
    drop(process.0.stdin.take());
    assert!(process.ends_well());
    assert!(!node.is_open());
}

#[test]
fn without_a_stamp_it_closes_at_once() {
    let node = Node::new();
    let process = watchdog(&node);
    wait("the closed line", || !node.is_open());
    drop(process);
}

#[test]
fn asked_to_end_it_closes_at_once() {
    let node = Node::new();
    node.stamp(GATE, LONG);
    let mut process = watchdog(&node);
    // The order is read before the signal is looked for again.
    wait("its first look", || std::fs::read_to_string(format!("/proc/{}/wchan", process.0.id())).is_ok());
    std::thread::sleep(Duration::from_millis(200));
    assert!(node.is_open());
    process.signal(Signal::TERM);
    assert!(process.ends_well());
    assert!(!node.is_open());
    wait("the reload", || node.reloads() == 1);
}

#[test]
fn the_next_gate_s_lines_are_none_of_its_business() {
    let node = Node::new();
    node.stamp(GATE + 1, LONG);
    let mut process = watchdog(&node);
    drop(process.0.stdin.take());
    assert!(process.ends_well());
    assert!(node.is_open());
}

#[test]
fn where_the_node_is_gone_with_its_gate_it_goes_too() {
    let node = Node::new();
    node.stamp(GATE, LONG);
    let mut process = watchdog(&node);
    std::thread::sleep(Duration::from_millis(100));
    std::fs::remove_file(node.hba_file()).expect("removed");
    drop(process.0.stdin.take());
    assert!(process.ends_well());
}
