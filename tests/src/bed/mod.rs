//! A bed of real machines: PostgreSQL with repmgr, gates, and HAProxy in front, all on addresses of its own.
//!
//! Several beds run side by side. Everything is below one short private directory, and ends when the bed is dropped.

pub mod gate;
pub mod haproxy;
pub mod net;
pub mod node;
pub mod poll;
mod repmgr;
pub mod timeline;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::gate::Gate;
use self::haproxy::Haproxy;
use self::net::{Lan, Loopbacks, Net};
use self::node::{Node, Ports};
use self::poll::{Poller, Target};
use self::timeline::{Door, Sample, Traffic};
use crate::postgres::tail;
use crate::process::User;
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
        let ports = net::free_ports(8);
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
        };
        bed.build_cluster();
        let mut bed = bed;
        if plan.repmgrd {
            bed.nodes.iter_mut().for_each(Node::start_repmgrd);
        }
        bed
    }

    fn build_cluster(&self) {
        let (primary, standbys) = (&self.nodes[0], &self.nodes[1..self.nodes.len() - 1]);
        let witness = self.witness();
        let libraries = if self.plan.extension { "repmgr, goahead" } else { "repmgr" };
        let gated = "goahead.gate = on\ngoahead.gate_watchdog = 100ms\n";
        let gated = if self.plan.extension { gated } else { "" };
        self.nodes.iter().for_each(repmgr::configure);
        for node in [primary, witness] {
            node.initdb();
            let libraries = if node.witness { "repmgr" } else { libraries };
            let gated = if node.witness { "" } else { gated };
            let settings =
                repmgr::common_settings(node.ports.postgres, libraries) + gated + &repmgr::own_settings(node);
            repmgr::write(&node.data().join("postgresql.conf"), &settings);
            repmgr::write(&node.hba(), &self.hba());
            node.start();
            node.sql("CREATE ROLE repmgr SUPERUSER LOGIN");
            node.sql("CREATE DATABASE repmgr OWNER repmgr");
        }
        primary.sql("CREATE ROLE app SUPERUSER LOGIN PASSWORD 'app'");
        primary.repmgr(&["primary", "register"]);
        for standby in standbys {
            self.clone_standby(standby);
        }
        let upstream = primary.address.to_string();
        let port = primary.ports.postgres.to_string();
        witness.repmgr(&["witness", "register", "-h", &upstream, "-p", &port, "-U", "repmgr", "-d", "repmgr"]);
    }

    /// Makes `standby` a copy of the first node by `repmgr standby clone`, starts and registers it.
    pub fn clone_standby(&self, standby: &Node) {
        self.copy_primary(standby);
        standby.start();
        standby.repmgr(&["standby", "register", "--force"]);
    }

    /// Makes the data directory of `standby` a copy of the first node's, pg_hba.conf with it; does not start it.
    pub fn copy_primary(&self, standby: &Node) {
        let upstream = self.nodes[0].address.to_string();
        let port = self.nodes[0].ports.postgres.to_string();
        let from = ["-h", &upstream, "-p", &port, "-U", "repmgr", "-d", "repmgr"];
        standby.repmgr(&[&from[..], &["standby", "clone", "-c", "--without-barman", "--force"]].concat());
        let path = standby.data().join("postgresql.conf");
        let text = std::fs::read_to_string(&path).expect("postgresql.conf");
        repmgr::write(&path, &(text + &repmgr::own_settings(standby)));
    }

    /// The administrator's pg_hba.conf.
    fn hba(&self) -> String {
        let [a, b, c, _] = self.nodes[0].address.octets();
        let mut text = "# The administrator's own file.\nlocal all all trust\n".to_owned();
        for network in ["127.0.0.1/32".to_owned(), format!("{a}.{b}.{c}.0/24")] {
            text += &format!("host repmgr,replication repmgr {network} trust\n");
        }
        for (address, _) in &self.sources {
            text += &format!("host all app {address}/32 scram-sha-256 # applications\n");
        }
        // An HAProxy that is not told its source calls from here.
        text + "host all app 127.0.0.1/32 scram-sha-256 # applications\n"
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
            std::fs::copy(crate::binary(), &self.binary).expect("copy of the binary");
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

    /// Starts one HAProxy with sections of one's own.
    pub fn start_haproxy(&mut self, configuration: &str) {
        let (address, net) = self.sources[0].clone();
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

    /// How to ask a node as one of the HAProxies would.
    pub fn target(&self, node: &Node, door: Door, traffic: Traffic, haproxy: usize) -> Target {
        let (source, net) = self.sources[haproxy].clone();
        let (port, what) = match (door, traffic) {
            (Door::Http, Traffic::ReadWrite) => (node.ports.health, "/primary"),
            (Door::Http, Traffic::ReadOnly) => (node.ports.health, "/replica"),
            (_, Traffic::ReadWrite) => (node.ports.postgres, READ_WRITE),
            (_, Traffic::ReadOnly) => (node.ports.postgres, READ_ONLY),
        };
        let to = SocketAddrV4::new(node.address, port);
        Target { node: node.name.clone(), door, traffic, net, source, to, what: what.to_owned() }
    }

    /// From now on asks every data node through every door, and the HAProxies too. `view` gives the HAProxy from
    /// whose place a node is asked.
    pub fn watch_from(&mut self, view: impl Fn(&Node) -> usize) {
        let mut targets = Vec::new();
        for node in self.data_nodes() {
            for traffic in [Traffic::ReadWrite, Traffic::ReadOnly] {
                targets.push(self.target(node, Door::Check, traffic, view(node)));
                if node.gate.is_some() {
                    targets.push(self.target(node, Door::Http, traffic, view(node)));
                }
            }
        }
        let mut poller = Poller::start(targets);
        let sockets: Vec<PathBuf> = self.haproxies.iter().map(Haproxy::socket).collect();
        let names: Vec<String> = self.data_nodes().iter().map(|node| node.name.clone()).collect();
        poller.each_period(Net::Loopback, move |record| {
            for (section, traffic) in [("check_rw", Traffic::ReadWrite), ("check_ro", Traffic::ReadOnly)] {
                let asked = Instant::now();
                let seen: Vec<_> = sockets.iter().flat_map(|socket| haproxy::servers(socket, section)).collect();
                for node in &names {
                    // One that sends traffic there is enough.
                    let open = seen.iter().any(|(name, state)| name == node && state.starts_with("UP"));
                    let words = if open { "UP" } else { "DOWN" }.to_owned();
                    let (node, answered) = (node.clone(), Instant::now());
                    record(Sample { asked, answered, node, door: Door::Haproxy, traffic, open, words });
                }
            }
        });
        self.poller = Some(poller);
    }

    /// From now on asks every data node through every door from the first HAProxy's place.
    pub fn watch(&mut self) {
        self.watch_from(|_| 0);
    }

    /// Asks no more; what was seen is forgotten.
    pub fn stop_watching(&mut self) {
        self.poller = None;
    }

    /// What was seen since [`Bed::watch`].
    pub fn timeline(&self) -> timeline::Timeline {
        self.poller.as_ref().expect("the bed is watched").timeline()
    }

    /// Fails when ever two nodes took writes at once, through whichever door, or HAProxy would have sent them to two.
    pub fn assert_one_writer(&self) {
        let timeline = self.timeline();
        for door in [Door::Check, Door::Http, Door::Haproxy] {
            if let Some(words) = timeline.two_writers(door) {
                panic!("{words}");
            }
        }
    }

    /// Waits until a node lets this traffic in at a door, and gives the moment it was first seen since `since`.
    pub fn wait_open(&self, node: &str, door: Door, traffic: Traffic, since: Instant) -> Instant {
        eventually(&format!("{node} opens {traffic:?} at {door:?}"), SOON, || {
            self.timeline().opened(node, door, traffic, since)
        })
    }

    /// Waits until a node lets this traffic in no more, and gives how long after `since` it last did.
    pub fn wait_closed(&self, node: &str, door: Door, traffic: Traffic, since: Instant) -> Duration {
        eventually(&format!("{node} closes {traffic:?} at {door:?}"), SOON, || {
            let periods = self.timeline().periods(node, door, traffic);
            periods.last().filter(|period| !period.open && period.last > since).map(|_| ())
        });
        let last = self.timeline().last_open(node, door, traffic);
        last.map_or(Duration::ZERO, |last| last.saturating_duration_since(since))
    }

    /// Watches for `how_long` and fails when a node lets this traffic in at a door meanwhile.
    pub fn assert_stays_closed(&self, node: &str, door: Door, traffic: Traffic, how_long: Duration) {
        let since = Instant::now();
        std::thread::sleep(how_long);
        let timeline = self.timeline();
        let opened = timeline.opened(node, door, traffic, since);
        assert!(opened.is_none(), "{node} opened {traffic:?} at {door:?}\n{timeline}");
    }

    /// Watches for `how_long` and fails when a node refuses this traffic at a door meanwhile.
    pub fn assert_stays_open(&self, node: &str, door: Door, traffic: Traffic, how_long: Duration) {
        let since = Instant::now();
        std::thread::sleep(how_long);
        let timeline = self.timeline();
        let mut samples = timeline.0.iter().filter(|s| s.node == node && s.door == door && s.traffic == traffic);
        let refused = samples.find(|sample| sample.asked >= since && !sample.open);
        assert!(refused.is_none(), "{node} closed {traffic:?} at {door:?}: {refused:?}\n{timeline}");
    }

    /// Waits until a node is a primary, and gives that moment.
    pub fn wait_primary(&self, name: &str) -> Instant {
        let node = self.node(name);
        eventually(&format!("{name} is promoted"), 2 * SOON, || node.is_primary().then(Instant::now))
    }

    /// Brings the old primary back as a standby of `primary`, as repmgr's manual says: pg_rewind, then start.
    pub fn rejoin(&self, name: &str, primary: &str) {
        let primary = self.node(primary);
        // Until its first checkpoint a new primary's control file shows the old timeline, and pg_rewind before 16 finds
        // nothing to do.
        primary.sql("CHECKPOINT");
        let to = format!("host={} port={} user=repmgr dbname=repmgr", primary.address, primary.ports.postgres);
        let files = "--config-files=postgresql.conf";
        self.node(name).repmgr(&["node", "rejoin", "-d", &to, "--force-rewind", files]);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if !std::thread::panicking() || crate::interrupted() {
            return;
        }
        if let Some(poller) = &self.poller {
            eprintln!("--- what was seen\n{}", poller.timeline());
        }
        for node in &self.nodes {
            eprintln!("--- {}: log of PostgreSQL\n{}", node.name, tail(&without_checks(&node.log())));
            eprintln!("--- {}: log of repmgrd\n{}", node.name, tail(&node.repmgrd_log()));
            if let Some(gate) = &node.gate {
                eprintln!("--- {}: log of the gate\n{}\n{:?}", node.name, tail(&gate.log()), gate.verdict());
            }
            if let Ok(hba) = std::fs::read_to_string(node.hba()) {
                eprintln!("--- {}: pg_hba.conf\n{hba}", node.name);
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
