//! A bed of real machines: PostgreSQL with repmgr, gates, and HAProxy in front, all on addresses of its own.
//!
//! Several beds run side by side. Everything is below one short private directory, and ends when the bed is dropped.

mod cluster;
pub mod gate;
pub mod haproxy;
pub mod net;
pub mod node;
pub mod poll;
mod repmgr;
pub mod timeline;
mod watch;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use self::cluster::Template;
use self::gate::Gate;
use self::haproxy::Haproxy;
use self::net::{Lan, Loopbacks, Net};
use self::node::{Node, Ports};
use self::poll::Poller;
use crate::postgres::tail;
use crate::process::{self, User};
use crate::{SOON, eventually};

/// The user that HAProxy's checks of the read-write pool name; no such role exists.
pub const READ_WRITE: &str = "harw";

/// The user that HAProxy's checks of the read-only pool name; no such role exists.
pub const READ_ONLY: &str = "haro";

/// What to build.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Nodes with data, of which the first is the primary
    pub data_nodes: u8,
    /// Whether PostgreSQL preloads the extension, and its rules are rows
    pub extension: bool,
    /// Whether each machine has a network namespace of its own, so that the network can be parted
    pub partable: bool,
    /// HAProxies in front, at most two
    pub haproxies: u8,
    /// Whether repmgrd promotes a standby when the primary is gone
    pub repmgrd: bool,
}

impl Default for Plan {
    /// A primary, a standby, a witness and one HAProxy, with the extension and repmgrd, on loopback.
    fn default() -> Self {
        Self { data_nodes: 2, extension: true, partable: false, haproxies: 1, repmgrd: true }
    }
}

/// Ports of HAProxy's listeners, the same on every HAProxy of a bed.
#[derive(Debug, Clone, Copy)]
pub struct Pools {
    /// Read-write by pgsql-check
    pub check_rw: u16,
    /// Read-only by pgsql-check
    pub check_ro: u16,
    /// Read-write by the gates' health paths
    pub http_rw: u16,
    /// Read-only by the gates' health paths
    pub http_ro: u16,
}

/// The bed. Fields are dropped in this order: watchers, proxies, machines, addresses, files.
#[derive(Debug)]
pub struct Bed {
    poller: Option<Poller>,
    /// The HAProxies that run
    pub haproxies: Vec<Haproxy>,
    /// The machines: data nodes first, the witness last
    pub nodes: Vec<Node>,
    /// Ports of the HAProxies' listeners
    pub pools: Pools,
    /// The switch, in a partable bed
    pub lan: Option<Lan>,
    sources: Vec<(Ipv4Addr, Net)>,
    binary: PathBuf,
    plan: Plan,
    _loopbacks: Option<Loopbacks>,
    directory: tempfile::TempDir,
    template: Arc<Template>,
}

impl Bed {
    /// Builds primary, standbys and witness, registered with repmgr; gates and HAProxy are not started yet.
    pub fn build(plan: Plan) -> Self {
        let names: Vec<(String, u8)> = (1..=plan.data_nodes)
            .map(|number| (format!("node{number}"), 10 + number))
            .chain([("witness".to_owned(), 19)])
            .chain((1..=plan.haproxies).map(|number| (format!("haproxy{number}"), 19 + number)))
            .collect();
        let loopbacks = (!plan.partable).then(Loopbacks::claim);
        let address =
            |last: u8| loopbacks.as_ref().map_or_else(|| Ipv4Addr::new(10, 99, 0, last), |claim| claim.address(last));
        let machines: Vec<(&str, Ipv4Addr)> =
            names.iter().map(|(name, last)| (name.as_str(), address(*last))).collect();
        let lan = plan.partable.then(|| Lan::new(&machines));
        let net = |name: &str| lan.as_ref().map_or(Net::Loopback, |lan| lan.net(name));

        let directory = crate::directory(User::postgres());
        let ports = crate::port::free_ports(8);
        let of_nodes = Ports { postgres: ports[0], health: ports[1], peer: ports[2], agent: ports[3] };
        let (hosts, proxies) = machines.split_at(usize::from(plan.data_nodes) + 1);
        let nodes: Vec<Node> = (1..)
            .zip(hosts)
            .map(|(number, (name, address))| {
                let witness = *name == "witness";
                Node::new(number, name, *address, witness, net(name), of_nodes.clone(), directory.path())
            })
            .collect();
        let bed = Self {
            poller: None,
            haproxies: Vec::new(),
            nodes,
            pools: Pools { check_rw: ports[4], check_ro: ports[5], http_rw: ports[6], http_ro: ports[7] },
            sources: proxies.iter().map(|(name, address)| (*address, net(name))).collect(),
            lan,
            binary: directory.path().join("goahead"),
            plan,
            _loopbacks: loopbacks,
            directory,
            template: Template::shared(),
        };
        bed.build_cluster();
        let mut bed = bed;
        if plan.repmgrd {
            bed.nodes.iter_mut().for_each(Node::start_repmgrd);
        }
        bed
    }

    /// Where its files are: nN is the data directory of node N, sN has its socket, repmgrN.conf and gateN.yml are theirs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it was built as.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// The nodes with data.
    pub fn data_nodes(&self) -> &[Node] {
        &self.nodes[..self.nodes.len() - 1]
    }

    /// The witness.
    pub fn witness(&self) -> &Node {
        self.nodes.last().expect("a witness")
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// The node of this name.
    pub fn node_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// The gate of the node of this name.
    pub fn gate(&self, name: &str) -> &Gate {
        self.node(name).gate.as_ref().unwrap_or_else(|| panic!("{name} has no gate"))
    }

    /// The gate of the node of this name.
    pub fn gate_mut(&mut self, name: &str) -> &mut Gate {
        self.node_mut(name).gate.as_mut().unwrap_or_else(|| panic!("{name} has no gate"))
    }

    /// The configuration of a node's gate with the bed's timings; without the extension it names the lines to keep.
    pub fn configuration(&self, name: &str) -> String {
        let text = gate::configuration(self.node(name), &self.nodes.iter().collect::<Vec<_>>());
        if self.plan.extension {
            return text;
        }
        let servers: Vec<String> = self.sources.iter().map(|(address, _)| address.to_string()).collect();
        let servers = servers.join(", ");
        text + &format!(
            "haproxy: {{servers: [{servers}], read_write: {READ_WRITE}, read_only: {READ_ONLY}, allow: scram-sha-256, deny: reject}}\n"
        )
    }

    /// Starts the gate of one node with this configuration.
    pub fn start_gate(&mut self, name: &str, configuration: &str, arguments: &[&str]) {
        if !self.binary.exists() {
            // The user postgres may not be able to walk to where it was built.
            process::install(&crate::binary(), &self.binary);
        }
        let gate = Gate::start(self.node(name), &self.binary, configuration, arguments);
        self.node_mut(name).gate = Some(gate);
    }

    /// Starts a gate on every machine; the witness answers only.
    pub fn start_gates(&mut self) {
        let names: Vec<(String, bool)> = self.nodes.iter().map(|node| (node.name.clone(), node.witness)).collect();
        for (name, witness) in names {
            let configuration = self.configuration(&name);
            self.start_gate(&name, &configuration, if witness { &["--server-only"] } else { &[] });
        }
    }

    /// Installs the extension and the two rules that HAProxy's checks meet, as rows.
    pub fn install_rules(&self) {
        let primary = &self.nodes[0];
        primary.sql("CREATE EXTENSION IF NOT EXISTS goahead");
        for (number, (address, _)) in self.sources.iter().enumerate() {
            for (user, applies) in [(READ_WRITE, "primary"), (READ_ONLY, "standby")] {
                primary.sql(&format!(
                    "SELECT goahead.hba_set(name => '{user}{number}', type => 'host', database => '{user}', \
                     user_name => '{user}', address => '{address}/32', method => 'scram-sha-256', applies => '{applies}')"
                ));
            }
        }
    }

    /// What the HAProxies run: both styles of checks, at the bed's pace.
    fn haproxy_configuration(&self, address: Ipv4Addr) -> String {
        let mut text = "defaults
    mode tcp
    timeout connect 2s
    timeout client 30m
    timeout server 30m
    timeout check 1s
    default-server inter 300ms fall 1 rise 1 on-marked-down shutdown-sessions
"
        .to_owned();
        let Pools { check_rw, check_ro, http_rw, http_ro } = self.pools;
        let sections = [
            ("check_rw", check_rw, format!("option pgsql-check user {READ_WRITE}"), ""),
            ("check_ro", check_ro, format!("option pgsql-check user {READ_ONLY}"), ""),
            (
                "http_rw",
                http_rw,
                "option httpchk OPTIONS /primary\n    http-check expect status 200".to_owned(),
                "port",
            ),
            (
                "http_ro",
                http_ro,
                "option httpchk OPTIONS /replica\n    http-check expect status 200".to_owned(),
                "port",
            ),
        ];
        for (name, port, check, other) in sections {
            text += &format!("listen {name}\n    bind {address}:{port}\n    {check}\n    source {address}\n");
            for node in self.data_nodes() {
                let other = if other.is_empty() { String::new() } else { format!(" port {}", node.ports.health) };
                text += &format!("    server {} {} check{other}\n", node.name, node.postgres());
            }
        }
        text
    }

    /// Starts the HAProxies with both styles of checks.
    pub fn start_haproxies(&mut self) {
        for (number, (address, net)) in self.sources.clone().into_iter().enumerate() {
            let files = self.directory.path().join(format!("haproxy{number}"));
            self.haproxies.push(Haproxy::start(&net, address, &files, &self.haproxy_configuration(address)));
        }
    }

    /// Starts one HAProxy with sections of one's own, in the place of the first.
    pub fn start_haproxy(&mut self, configuration: &str) {
        self.start_haproxy_at(0, configuration);
    }

    /// Starts one HAProxy with sections of one's own, in the place of the one with this number.
    pub fn start_haproxy_at(&mut self, place: usize, configuration: &str) {
        let (address, net) = self.sources[place].clone();
        let files = self.directory.path().join(format!("own{}", self.haproxies.len()));
        self.haproxies.push(Haproxy::start(&net, address, &files, configuration));
    }

    /// The first HAProxy.
    pub fn haproxy(&self) -> &Haproxy {
        self.haproxies.first().expect("HAProxy runs")
    }

    /// The addresses of the HAProxies, and the networks they are in.
    pub fn sources(&self) -> &[(Ipv4Addr, Net)] {
        &self.sources
    }

    /// Waits until a node is a primary, and gives that moment.
    pub fn wait_primary(&self, name: &str) -> Instant {
        let node = self.node(name);
        eventually(&format!("{name} is promoted"), 2 * SOON, || node.is_primary().then(Instant::now))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if !std::thread::panicking() || crate::interrupted() {
            return;
        }
        if let Some(poller) = &self.poller {
            crate::complain(&format!("--- what was seen\n{}", poller.look(ToString::to_string)));
        }
        for node in &self.nodes {
            crate::complain(&format!("--- {}: log of PostgreSQL\n{}", node.name, tail(&without_checks(&node.log()))));
            crate::complain(&format!("--- {}: log of repmgrd\n{}", node.name, tail(&node.repmgrd_log())));
            if let Some(gate) = &node.gate {
                crate::complain(&format!(
                    "--- {}: log of the gate\n{}\n{:?}",
                    node.name,
                    tail(&gate.log()),
                    gate.verdict()
                ));
            }
            if let Ok(hba) = std::fs::read_to_string(node.hba()) {
                crate::complain(&format!("--- {}: pg_hba.conf\n{hba}", node.name));
            }
        }
    }
}

/// A log without what every check of a poll leaves in it.
fn without_checks(log: &str) -> String {
    let noise = ["pg_hba.conf rejects connection", "could not receive data from client: Connection reset by peer"];
    let lines = log.lines().filter(|line| !noise.iter().any(|noise| line.contains(noise)));
    lines.fold(String::new(), |text, line| text + line + "\n")
}
