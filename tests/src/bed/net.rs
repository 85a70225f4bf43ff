//! Where a bed's addresses are: on loopback, or one network namespace for each machine, which can be parted.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::postgres::run;
use crate::{SOON, eventually};

/// The network that a machine of the bed is in.
#[derive(Debug, Clone)]
pub enum Net {
    /// That of the tests
    Loopback,
    /// One of its own, which ends with its last user
    Space(Arc<File>),
}

impl Net {
    /// Runs `work` in this network; processes that it starts stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::Loopback => work(),
            // A thread cannot be relied on to find back, so one is spent.
            Self::Space(space) => std::thread::scope(|scope| {
                let inside = scope.spawn(|| {
                    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
                    work()
                });
                inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }),
        }
    }

    /// A new network namespace with nothing but its loopback.
    fn space() -> Self {
        // The namespace lives as long as this process or the file opened from it.
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare (util-linux) starts");
        let path = format!("/proc/{}/ns/net", holder.id());
        let ours = std::fs::read_link("/proc/self/ns/net").expect("/proc");
        let space = eventually("a network namespace", SOON, || {
            assert!(holder.try_wait().expect("wait").is_none(), "unshare --net failed");
            let theirs = std::fs::read_link(&path).ok()?;
            (theirs != ours).then(|| File::open(&path).expect("/proc"))
        });
        let _ = holder.kill();
        let _ = holder.wait();
        let net = Self::Space(Arc::new(space));
        net.ip("link set lo up");
        net
    }

    /// Runs `ip` with these words in this network.
    fn ip(&self, words: &str) {
        self.run(|| run(Command::new("ip").args(words.split_whitespace())));
    }
}

/// Whether this process may make network namespaces, that is, is root.
pub fn namespaces() -> bool {
    rustix::process::geteuid().is_root()
        && Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|status| status.success())
}

/// As [`namespaces`]; says loudly when a test is skipped for that.
pub fn namespaces_or_skip(test: &str) -> bool {
    let may = namespaces();
    if !may {
        eprintln!("\n*** SKIPPED: {test}\n*** it parts a network and needs root with network namespaces\n");
    }
    may
}

/// A switch with one machine at each port, in two halves that can be parted.
#[derive(Debug)]
pub struct Lan {
    hub: Net,
    ports: Vec<(String, Net)>,
}

impl Lan {
    /// The machines by name with their addresses in 10.99.0.0/24, all on one side.
    pub fn new(machines: &[(&str, Ipv4Addr)]) -> Self {
        let hub = Net::space();
        for half in ["left", "right"] {
            hub.ip(&format!("link add name {half} type bridge"));
            hub.ip(&format!("link set {half} up"));
        }
        let ports = machines
            .iter()
            .enumerate()
            .map(|(number, (name, address))| {
                let net = Net::space();
                let Net::Space(space) = &net else { unreachable!("just made") };
                let file = format!("/proc/{}/fd/{}", std::process::id(), space.as_raw_fd());
                hub.ip(&format!("link add name port{number} type veth peer name eth0 netns {file}"));
                hub.ip(&format!("link set port{number} master left up"));
                net.ip(&format!("address add {address}/24 dev eth0"));
                net.ip("link set eth0 up");
                ((*name).to_owned(), net)
            })
            .collect();
        Self { hub, ports }
    }

    /// The network of a machine.
    pub fn net(&self, machine: &str) -> Net {
        let (_, net) = self.ports.iter().find(|(name, _)| name == machine).expect("a machine of this LAN");
        net.clone()
    }

    /// Takes these machines to the other side: packets between the sides vanish without a word.
    pub fn part(&self, machines: &[&str]) {
        for (number, (name, _)) in self.ports.iter().enumerate() {
            if machines.contains(&name.as_str()) {
                self.hub.ip(&format!("link set port{number} master right"));
            }
        }
    }

    /// Brings everybody together again.
    pub fn heal(&self) {
        for number in 0..self.ports.len() {
            self.hub.ip(&format!("link set port{number} master left"));
        }
    }
}

/// Addresses 127.X.Y.1 to 127.X.Y.254 that no other bed uses while this is kept.
#[derive(Debug)]
pub struct Loopbacks {
    octets: [u8; 2],
    _claim: TcpListener,
}

impl Loopbacks {
    /// Nothing is known to listen there: X is 64 to 254, far from what services choose by habit.
    pub fn claim() -> Self {
        eventually("loopback addresses that no other bed has", SOON, || {
            let octets = [rand::random_range(64..255), rand::random_range(0..=255)];
            let claim = TcpListener::bind((Ipv4Addr::new(127, octets[0], octets[1], 254), 20431)).ok()?;
            Some(Self { octets, _claim: claim })
        })
    }

    /// The address with this last number.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.octets[0], self.octets[1], last)
    }
}
