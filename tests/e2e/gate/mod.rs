//! The gate over real machines: PostgreSQL with repmgr, HAProxy in front, networks that part.
//!
//! Safety is asserted: never two nodes that take writes, at any door. Times are printed (`--nocapture`), for
//! docs/gate-failures.md, and not asserted.

mod abuse;
mod bed;
mod copies;
mod failover;
mod file;
mod frozen;
mod halves;
mod harepds;
mod killed;
mod names;
mod orders;
mod pair;
mod parted;
mod promoted;
mod quorum;
mod replicas;
mod rows;
mod second;
mod standby;
mod steering;

use std::time::{Duration, Instant};

use goahead_tests::bed::haproxy::Haproxy;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};
use postgres::Client;

/// Every door that a client could come through.
const DOORS: [Door; 3] = [Door::Check, Door::Http, Door::Haproxy];

/// A bed whose gates have settled: node1 takes writes, the others reads.
fn gated(plan: Plan) -> Bed {
    gated_with(plan, |text| text)
}

/// As [`gated`], with each gate's configuration passed through `change`.
fn gated_with(plan: Plan, change: impl Fn(String) -> String) -> Bed {
    let mut bed = Bed::build(plan);
    start(&mut bed, change);
    bed.watch();
    settle(&bed);
    bed
}

/// Installs the rules, and starts gates and HAProxies.
fn start(bed: &mut Bed, change: impl Fn(String) -> String) {
    if bed.plan().extension {
        bed.install_rules();
    }
    let names: Vec<(String, bool)> = bed.nodes.iter().map(|node| (node.name.clone(), node.witness)).collect();
    for (name, witness) in names {
        let configuration = change(bed.configuration(&name));
        bed.start_gate(&name, &configuration, if witness { &["--server-only"] } else { &[] });
    }
    bed.start_haproxies();
}

/// Waits until node1 takes writes and the other data nodes reads, and nobody more, through every door.
fn settle(bed: &Bed) {
    let begun = Instant::now();
    for door in DOORS {
        bed.wait_open("node1", door, Traffic::ReadWrite, begun);
        for node in &bed.data_nodes()[1..] {
            bed.wait_open(&node.name, door, Traffic::ReadOnly, begun);
        }
    }
    eventually("HAProxy sends writes to node1 alone", SOON, || {
        let led = |pool: &str| bed.haproxies.iter().all(|haproxy| haproxy.up(pool) == ["node1"]);
        ["check_rw", "http_rw"].into_iter().all(led).then_some(())
    });
}

/// Fails when `node` lets writes in at any door during `how_long`.
fn takes_no_writes(bed: &Bed, node: &str, how_long: Duration) {
    let since = Instant::now();
    std::thread::sleep(how_long);
    let timeline = bed.timeline();
    for door in DOORS {
        let opened = timeline.opened(node, door, Traffic::ReadWrite, since);
        assert!(opened.is_none(), "{node} took writes at {door:?}\n{timeline}");
    }
}

/// Waits until `psql` has come through the pool at `port` so many times, each time to `node`. A busy machine may refuse
/// it for a moment; being led to another node is a failure at once.
fn leads(bed: &Bed, haproxy: &Haproxy, port: u16, node: &str, times: usize) {
    let node = bed.node(node);
    let there = format!("{} {}", node.address, !node.is_primary());
    for _ in 0..times {
        eventually(&format!("psql comes to {}", node.name), SOON, || {
            let came = haproxy.psql(port).ok()?;
            assert_eq!(came, there, "it was to come to {}", node.name);
            Some(())
        });
    }
}

/// A client's session through the pool at `port`, that works.
fn session(haproxy: &Haproxy, port: u16) -> Client {
    eventually("a session", SOON, || {
        let mut session = haproxy.connect(port).ok()?;
        session.simple_query("SELECT 1").ok().map(|_| session)
    })
}

/// Prints a measured time, in the words of docs/gate-failures.md.
fn report(what: &str, time: Duration) {
    println!("measured: {what}: {:.2} s", time.as_secs_f64());
}

/// What a node's gate says about itself, as text to search in.
fn says(bed: &Bed, node: &str) -> String {
    bed.gate(node).verdict().map(|verdict| verdict.to_string()).unwrap_or_default()
}
