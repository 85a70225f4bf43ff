//! Watching a bed: every node at every door, and HAProxy; what is asserted of what was seen.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::haproxy::{self, Haproxy};
use super::net::Net;
use super::node::Node;
use super::poll::{Poller, Target};
use super::timeline::{Door, Sample, Timeline, Traffic};
use super::{Bed, READ_ONLY, READ_WRITE};
use crate::{SOON, eventually};

/// How long a door may take to move where a machine is too busy for rounds of 0.3 s: its gates stay closed meanwhile.
const LATE: Duration = SOON.saturating_mul(3);

/// A closed door says the same for this long: one answer that was lost or late on a busy machine says so for less.
const SURE: Duration = Duration::from_millis(600);

impl Bed {
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
            let asked = Instant::now();
            let seen: Vec<_> = sockets.iter().flat_map(|socket| haproxy::servers(socket)).collect();
            let answered = Instant::now();
            for (section, traffic) in [("check_rw", Traffic::ReadWrite), ("check_ro", Traffic::ReadOnly)] {
                for node in &names {
                    // One that sends traffic there is enough.
                    let open = seen.iter().any(|server| server.takes(section, node));
                    let words = if open { "UP" } else { "DOWN" }.to_owned();
                    let node = node.clone();
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
    pub fn timeline(&self) -> Timeline {
        self.look(Timeline::clone)
    }

    /// Looks at what was seen since [`Bed::watch`]; for what is asked again and again, since it copies nothing.
    pub fn look<T>(&self, at: impl FnOnce(&Timeline) -> T) -> T {
        self.poller.as_ref().expect("the bed is watched").look(at)
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
        eventually(&format!("{node} opens {traffic:?} at {door:?}"), LATE, || {
            self.look(|seen| seen.opened(node, door, traffic, since))
        })
    }

    /// Waits until a node lets this traffic in no more, and gives how long after `since` it last did.
    pub fn wait_closed(&self, node: &str, door: Door, traffic: Traffic, since: Instant) -> Duration {
        eventually(&format!("{node} closes {traffic:?} at {door:?}"), LATE, || {
            let now = self.look(|seen| seen.periods(node, door, traffic).pop())?;
            (!now.open && now.last > since && now.last - now.first >= SURE).then_some(())
        });
        let last = self.look(|seen| seen.last_open(node, door, traffic));
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

    /// Watches for `how_long` and fails when a node refuses this traffic at a door meanwhile. Where the machine was too
    /// busy meanwhile for rounds to begin in time, a refusal proves nothing, and it watches again, up to five times.
    pub fn assert_stays_open(&self, node: &str, door: Door, traffic: Traffic, how_long: Duration) {
        for attempt in 1..=5 {
            let (since, late) = (Instant::now(), self.late_rounds());
            std::thread::sleep(how_long);
            let timeline = self.timeline();
            let mut samples = timeline.0.iter().filter(|s| s.node == node && s.door == door && s.traffic == traffic);
            let Some(refused) = samples.find(|sample| sample.asked >= since && !sample.open) else { return };
            assert!(
                attempt < 5 && self.late_rounds() > late,
                "{node} closed {traffic:?} at {door:?}: {refused:?}\n{timeline}"
            );
            println!("{node} refused once on a machine that is too busy; watched again");
            self.wait_open(node, door, traffic, Instant::now());
        }
    }

    /// How many rounds have begun late, as the gates say themselves.
    fn late_rounds(&self) -> usize {
        let gates = self.nodes.iter().filter_map(|node| node.gate.as_ref());
        gates.map(|gate| gate.log().matches("a round begins late").count()).sum()
    }
}
