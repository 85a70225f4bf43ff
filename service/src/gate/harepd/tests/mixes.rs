//! Three nodes, each a goahead or a harepd: whom a harepd believes and what it does, and what a gate learns.

use goahead_rules::gate::harepd::{IKnow, names_us};

use super::stand_in::{Harepd, Known, Lines, Says};
use super::*;

const IPS: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
const OPEN: Lines = Some((true, true));
const READS: Lines = Some((false, true));
const CLOSED: Lines = Some((false, false));

/// A node's server, of either kind; what it knows can be changed.
enum Node {
    Goahead { table: Rows, port: u16, _stop: watch::Sender<bool> },
    Harepd(Says, u16),
}

/// What a harepd on node `at` (from 0) knows when `master` (from 1) leads.
fn known(at: usize, master: i32) -> Known {
    let [primary, standby] = if master == 1 { [IPS[0], IPS[1]] } else { [IPS[1], IPS[0]] };
    Known {
        ip: IPS[at].into(),
        node_id: u8::try_from(at + 1).unwrap(),
        node_name: format!("node{}", at + 1),
        witness: IPS[2].into(),
        slaves: vec![standby.into()],
        master: vec![primary.into()],
    }
}

impl Node {
    async fn start(at: usize, harepd: bool, master: i32) -> Self {
        if harepd {
            let says = Says::of(known(at, master));
            let (port, _) = says.serve(local(0)).await;
            Self::Harepd(says, port)
        } else {
            let table = Rows::of(rows(master));
            let (port, _stop) = serve(&format!("node{}", at + 1), table.clone(), None).await;
            Self::Goahead { table, port, _stop }
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Goahead { port, .. } | Self::Harepd(_, port) => *port,
        }
    }

    /// Now it knows this; none: its database is down (goahead) or has no witness's row (harepd).
    fn learns(&self, at: usize, master: Option<i32>) {
        match self {
            Self::Goahead { table, .. } => *table.0.lock().unwrap() = master.map(rows),
            Self::Harepd(says, _) => *says.0.lock().unwrap() = master.map(|master| known(at, master)),
        }
    }
}

/// A harepd's pass on the data node `at`.
async fn pass(nodes: &[Node], at: usize, master: i32) -> Lines {
    let neighbours = vec![local(nodes[1 - at].port())];
    let client =
        Harepd { primary_ip: IPS[at].into(), table: known(at, master), neighbours, witness: local(nodes[2].port()) };
    client.pass().await
}

/// Whether node `at` learns from `from` that it leads alone.
async fn is_named(nodes: &[Node], at: usize, from: usize) -> bool {
    let view = learn(nodes[from].port()).await.unwrap();
    let known = IKnow { master: view.masters, slaves: view.standbys, ..IKnow::default() };
    names_us(&known, &[IPS[at].to_owned()])
}

#[tokio::test]
async fn in_every_mix_of_three_nodes_the_primary_is_open_and_the_standby_reads() {
    for mix in 0..8 {
        let is_harepd = |at: usize| mix >> at & 1 == 1;
        let mut nodes = Vec::new();
        for at in 0..3 {
            nodes.push(Node::start(at, is_harepd(at), 1).await);
        }
        assert_eq!(pass(&nodes, 0, 1).await, OPEN, "mix {mix:03b}");
        assert_eq!(pass(&nodes, 1, 1).await, READS, "mix {mix:03b}");
        for from in [1, 2] {
            assert!(is_named(&nodes, 0, from).await, "mix {mix:03b}");
        }
        for from in [0, 2] {
            assert!(!is_named(&nodes, 1, from).await, "mix {mix:03b}");
        }
        // After a switch-over that all have heard of it is the other way round.
        for (at, node) in nodes.iter().enumerate() {
            node.learns(at, Some(2));
        }
        assert_eq!(pass(&nodes, 0, 2).await, READS, "mix {mix:03b}");
        assert_eq!(pass(&nodes, 1, 2).await, OPEN, "mix {mix:03b}");
        assert!(is_named(&nodes, 1, 2).await && !is_named(&nodes, 0, 2).await, "mix {mix:03b}");
    }
}

#[tokio::test]
async fn in_every_mix_an_old_primary_that_nobody_believes_closes() {
    for mix in 0..8 {
        let is_harepd = |at: usize| mix >> at & 1 == 1;
        let mut nodes = Vec::new();
        for at in 0..3 {
            nodes.push(Node::start(at, is_harepd(at), 2).await);
        }
        // Its own table still says that it leads; neighbour and witness know better.
        assert_eq!(pass(&nodes, 0, 1).await, CLOSED, "mix {mix:03b}");
        // The neighbour disagrees, and the witness still holds to the old one.
        nodes[2].learns(2, Some(1));
        assert_eq!(pass(&nodes, 0, 1).await, OPEN, "mix {mix:03b}");
        // The witness gives no answer.
        nodes[2].learns(2, None);
        assert_eq!(pass(&nodes, 0, 1).await, CLOSED, "mix {mix:03b}");
        // Neither does the neighbour.
        nodes[1].learns(1, None);
        assert_eq!(pass(&nodes, 0, 1).await, CLOSED, "mix {mix:03b}");
        // The witness alone agrees.
        nodes[2].learns(2, Some(1));
        assert_eq!(pass(&nodes, 0, 1).await, OPEN, "mix {mix:03b}");
    }
}
