//! A second gate beside the first, for the same server.

use std::time::Instant;

use goahead_tests::bed::Plan;
use goahead_tests::bed::gate::LEASE;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::port::free_ports;
use goahead_tests::{SOON, eventually};

use super::{gated, settle};

#[test]
fn a_second_gate_for_one_file_ends_and_touches_nothing() {
    let mut bed = gated(Plan { repmgrd: false, ..Plan::default() });
    let node = bed.node("node1");
    let mut given = bed.configuration("node1");
    let ports = [node.ports.health, node.ports.peer, node.ports.agent];
    for (mine, other) in ports.into_iter().zip(free_ports(3)) {
        given = given
            .replace(&format!("_listen: {}:{mine}\n", node.address), &format!("_listen: {}:{other}\n", node.address));
        given = given
            .replace(&format!("\nlisten: {}:{mine}\n", node.address), &format!("\nlisten: {}:{other}\n", node.address));
    }
    let state = |name| format!("state_dir: {}\n", node.path(name).display());
    given = given.replace(&state("g"), &state("h"));
    let state_dir = node.path("h");
    std::fs::create_dir(&state_dir).expect("mkdir");
    goahead_tests::process::User::postgres().give(&state_dir);
    // The file that the database names is found to be kept as the one that was given is.
    let asked: String =
        given.lines().filter(|line| !line.starts_with("hba_file:")).map(|line| format!("{line}\n")).collect();
    assert_ne!(given, asked);
    let quiet = bed.gate("node1").log().len();
    let first = bed.gate("node1").processes()[0];
    for configuration in [&given, &asked] {
        let mut second = bed.gate("node1").second(bed.node("node1"), configuration);
        let status = eventually("the second ends", SOON, || second.exit());
        let said = second.log();
        assert!(!status.success(), "{said}");
        assert!(said.contains("hba_kept") && said.contains(&format!("process {first} holds")), "{said}");
        assert!(said.contains("stop one of the two") && !said.contains("read-write open"), "{said}");
        std::fs::remove_file(bed.node("node1").path("secondlog")).expect("its log");
    }
    bed.assert_stays_open("node1", Door::Check, Traffic::ReadWrite, 2 * LEASE);
    assert!(!bed.gate("node1").log()[quiet..].contains("read-write closed"), "{}", bed.gate("node1").log());

    // A gate that was killed keeps nothing.
    let killed = Instant::now();
    bed.gate_mut("node1").kill();
    bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, killed);
    bed.gate_mut("node1").launch(&[]);
    settle(&bed);
    bed.assert_one_writer();
}
