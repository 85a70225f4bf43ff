//! The network parts: the side without a majority closes before the other opens.

use std::time::{Duration, Instant};

use goahead_tests::bed::net::namespaces_or_skip;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan};

use super::{report, settle, start, takes_no_writes};

/// A partable bed with an HAProxy on each side, watched from the side where a node will be.
fn partable(data_nodes: u8, left_behind: &'static [&'static str]) -> Bed {
    let mut bed = Bed::build(Plan { data_nodes, partable: true, haproxies: 2, ..Plan::default() });
    start(&mut bed, |text| text);
    bed.watch_from(|node| usize::from(left_behind.contains(&node.name.as_str())));
    settle(&bed);
    bed
}

/// Takes these nodes and the second HAProxy away from the rest, until a new primary takes writes; then heals.
fn part(bed: &Bed, left_behind: &[&str], candidates: &[&str]) {
    let lan = bed.lan.as_ref().expect("a switch");
    let parted = Instant::now();
    lan.part(&[left_behind, &["haproxy2"]].concat());
    let closed = bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, parted);
    report("network parts, until the minority's primary refuses writes", closed);
    let heir = goahead_tests::eventually("one of the other side is promoted", 2 * goahead_tests::SOON, || {
        candidates.iter().copied().find(|name| bed.node(name).is_primary())
    });
    report("network parts, until repmgrd has promoted", parted.elapsed());
    let opened = bed.wait_open(heir, Door::Check, Traffic::ReadWrite, parted);
    report("network parts, until the majority's primary takes writes", opened - parted);
    let gap = (opened - parted).saturating_sub(closed);
    report("between the old primary's last and the new one's first", gap);
    assert!(bed.node("node1").is_primary(), "nobody told the old one");
    takes_no_writes(bed, "node1", Duration::from_secs(2));

    lan.heal();
    takes_no_writes(bed, "node1", Duration::from_secs(4));
    bed.wait_open(heir, Door::Check, Traffic::ReadWrite, Instant::now());
    bed.assert_one_writer();
}

#[test]
fn a_primary_cut_off_alone_closes_before_another_opens() {
    if namespaces_or_skip("a_primary_cut_off_alone_closes_before_another_opens") {
        let bed = partable(2, &["node1"]);
        part(&bed, &["node1"], &["node2"]);
    }
}

#[test]
fn a_primary_cut_off_with_its_standby_closes_before_another_opens() {
    if namespaces_or_skip("a_primary_cut_off_with_its_standby_closes_before_another_opens") {
        let bed = partable(4, &["node1", "node2"]);
        part(&bed, &["node1", "node2"], &["node3", "node4"]);
    }
}
