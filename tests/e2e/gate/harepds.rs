//! A cluster on its way from harepd: some nodes run a gate, the others still a harepd (a stand-in that speaks and decides
//! as harepd does), over a real `repmgr.nodes`.

#[path = "../../../service/src/gate/harepd/tests/stand_in.rs"]
#[expect(dead_code, reason = "the service's own tests look at more of it")]
mod stand_in;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use goahead_tests::bed::node::Node;
use goahead_tests::bed::timeline::{Door, Traffic};
use goahead_tests::bed::{Bed, Plan};
use goahead_tests::{SOON, eventually};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use self::stand_in::{Harepd, Known, Lines, Says};
use super::says;

const NAMES: [&str; 3] = ["node1", "node2", "witness"];
const OPEN: Lines = Some((true, true));
const READS: Lines = Some((false, true));

/// What a harepd of this node reads in `repmgr.nodes`.
fn known(bed: &Bed, name: &str) -> Known {
    let ip = |name: &str| bed.node(name).address.to_string();
    let (node_id, node_name) = (bed.node(name).number, name.to_owned());
    Known {
        ip: ip(name),
        node_id,
        node_name,
        witness: ip("witness"),
        slaves: vec![ip("node2")],
        master: vec![ip("node1")],
    }
}

/// Where others ask this node, whichever runs there.
fn asked_at(node: &Node) -> SocketAddr {
    SocketAddr::from((node.address, node.ports.peer))
}

/// One pass of a harepd on this node of data.
fn pass(bed: &Bed, runtime: &Runtime, name: &str) -> Lines {
    let other = if name == "node1" { "node2" } else { "node1" };
    let harepd = Harepd {
        primary_ip: bed.node(name).address.to_string(),
        table: known(bed, name),
        neighbours: vec![asked_at(bed.node(other))],
        witness: asked_at(bed.witness()),
    };
    runtime.block_on(harepd.pass())
}

/// Starts a gate on each node of which `runs_harepd` is not so, and harepds elsewhere.
fn start(bed: &mut Bed, runtime: &Runtime, runs_harepd: impl Fn(&str) -> bool, migrate: bool) -> Vec<JoinHandle<()>> {
    let mut harepds = Vec::new();
    for name in NAMES {
        if runs_harepd(name) {
            let (_, task) = runtime.block_on(Says::of(known(bed, name)).serve(asked_at(bed.node(name))));
            harepds.push(task);
        } else {
            let configuration = bed.configuration(name) + &format!("grpc: true\nmigrate_from_harepd: {migrate}\n");
            bed.start_gate(name, &configuration, if name == "witness" { &["--server-only"] } else { &[] });
        }
    }
    harepds
}

/// Ends both kinds.
fn stop(bed: &mut Bed, runtime: &Runtime, harepds: Vec<JoinHandle<()>>) {
    bed.nodes.iter_mut().for_each(|node| {
        if let Some(mut gate) = node.gate.take() {
            gate.stop();
        }
    });
    for harepd in harepds {
        harepd.abort();
        let _ = runtime.block_on(harepd);
    }
}

#[test]
fn in_every_mix_of_three_nodes_all_believe_the_primary() {
    let mut bed = Bed::build(Plan { repmgrd: false, ..Plan::default() });
    bed.install_rules();
    let runtime = Runtime::new().expect("a runtime");
    for mix in 0..8 {
        let runs_harepd =
            |name: &str| NAMES.iter().position(|known| *known == name).is_some_and(|at| mix >> at & 1 == 1);
        let harepds = start(&mut bed, &runtime, runs_harepd, true);
        if runs_harepd("node1") {
            // A gate that has just started reads its table first.
            eventually(&format!("mix {mix:03b}: harepd opens"), SOON, || {
                (pass(&bed, &runtime, "node1") == OPEN).then_some(())
            });
        } else {
            let others = NAMES[1..].iter().filter(|name| runs_harepd(name)).count();
            eventually(&format!("mix {mix:03b}: the gate opens by {others} harepds' answers"), SOON, || {
                let says = bed.gate("node1").verdict()?;
                (says["rw"] == true && says["votes"]["migrated"] == others && says["votes"]["got"] == 3).then_some(())
            });
        }
        if runs_harepd("node2") {
            eventually(&format!("mix {mix:03b}: harepd of the standby lets reads in"), SOON, || {
                (pass(&bed, &runtime, "node2") == READS).then_some(())
            });
        } else {
            eventually(&format!("mix {mix:03b}: the standby's gate lets reads in"), SOON, || {
                let says = bed.gate("node2").verdict()?;
                (says["ro"] == true && says["rw"] == false).then_some(())
            });
        }
        stop(&mut bed, &runtime, harepds);
    }

    // Without being told so a gate counts no harepd.
    let harepds = start(&mut bed, &runtime, |name| name != "node1", false);
    bed.watch();
    eventually("it says why", SOON, || says(&bed, "node1").contains("migrate_from_harepd: true").then_some(()));
    bed.assert_stays_closed("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(4));
    stop(&mut bed, &runtime, harepds);
}

/// Whom the witness's `repmgr.nodes` names as primary, the other being a standby; no repmgrd brings it back.
fn witness_names(bed: &Bed, node: &str) {
    let kinds = "UPDATE repmgr.nodes SET type = CASE node_name WHEN $1 THEN 'primary' ELSE 'standby' END
                  WHERE node_name IN ('node1', 'node2')";
    assert_eq!(bed.witness().connect("repmgr").execute(kinds, &[&node]).expect("it is written"), 2);
}

#[test]
fn beside_a_harepd_that_holds_itself_for_the_master_the_witness_s_table_counts() {
    let mut bed = Bed::build(Plan { repmgrd: false, ..Plan::default() });
    bed.install_rules();
    let runtime = Runtime::new().expect("a runtime");
    // What a harepd of node2 says when that was promoted, and node1 is an old primary that knows nothing of it.
    let promoted = Known {
        slaves: vec![bed.node("node1").address.to_string()],
        master: vec![bed.node("node2").address.to_string()],
        ..known(&bed, "node2")
    };
    witness_names(&bed, "node2");
    let (_, task) = runtime.block_on(Says::of(promoted).serve(asked_at(bed.node("node2"))));
    for name in ["node1", "witness"] {
        let configuration = bed.configuration(name) + "grpc: true\nmigrate_from_harepd: true\n";
        bed.start_gate(name, &configuration, if name == "witness" { &["--server-only"] } else { &[] });
    }
    bed.watch();
    let contradicts = || says(&bed, "node1").contains("harepd_contradicts").then_some(());
    eventually("it says why", SOON, contradicts);
    bed.assert_stays_closed("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(4));

    let begun = Instant::now();
    witness_names(&bed, "node1");
    bed.wait_open("node1", Door::Check, Traffic::ReadWrite, begun);
    assert!(bed.gate("node1").must(&["status"]).contains("harepd"), "{}", bed.gate("node1").must(&["status"]));

    // One that is open closes for it, and the harepd that says nothing more takes nothing back.
    let turned = Instant::now();
    witness_names(&bed, "node2");
    bed.wait_closed("node1", Door::Check, Traffic::ReadWrite, turned);
    eventually("it says why again", SOON, contradicts);
    task.abort();
    let _ = runtime.block_on(task);
    bed.assert_stays_closed("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(4));
    // Neither does a new process of the gate know whether that node's line is closed.
    let mut gate = bed.nodes[0].gate.take().expect("it runs");
    gate.stop();
    gate.launch(&[]);
    bed.nodes[0].gate = Some(gate);
    eventually("it says that nobody knows", SOON, || says(&bed, "node1").contains("harepd_unheard").then_some(()));
    bed.assert_stays_closed("node1", Door::Check, Traffic::ReadWrite, Duration::from_secs(4));
}
