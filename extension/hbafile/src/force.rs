//! Whether the rules are in force after a reload: each is asked about until it replies as it says, for a short while.

use crate::probe::{Reply, ask, is_local};
use goahead_rules::hba::{Expected, From, Probe};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The first pause between two questions; each is twice the one before. A server takes a signal within milliseconds,
/// and writes a line into its log for each refusal.
const PAUSE: Duration = Duration::from_millis(20);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listens {
    addresses: Vec<IpAddr>,
    port: u16,
}

impl Listens {
    /// From the settings `listen_addresses` and `port`. Names other than `localhost` are left out: a resolver can take
    /// longer than the whole question.
    #[must_use]
    pub fn new(listen_addresses: &str, port: u16) -> Self {
        let addresses =
            listen_addresses.split(',').map(|item| item.trim().trim_matches('"')).flat_map(|item| match item {
                "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
                "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
                number => number.parse().into_iter().collect(),
            });
        Self { addresses: addresses.collect(), port }
    }

    /// From the `postmaster.pid` of a server that runs: the first address that it listens on.
    #[must_use]
    pub fn of_pid_file(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(3);
        let port = lines.next()?.trim().parse().ok()?;
        let address = lines.nth(1)?.trim();
        (!address.is_empty()).then(|| Self::new(address, port))
    }

    /// An address of this machine from which the server can be asked, and at which it is asked then.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        let anywhere =
            Probe { rule: String::new(), user: Vec::new(), from: From::Anywhere, expected: Expected::Refusal };
        self.way(&anywhere).map(|(source, _)| source)
    }

    /// From where to where a probe goes: the address that its rule names, else one that the server listens on.
    fn way(&self, probe: &Probe) -> Option<(IpAddr, SocketAddr)> {
        let ways = self.addresses.iter().map(|listener| match probe.from {
            From::One(ip) if listener.is_unspecified() => (ip, ip),
            From::One(ip) => (ip, *listener),
            From::Net { .. } | From::Anywhere => (loopback(*listener), loopback(*listener)),
        });
        let fits = |(source, to): &(IpAddr, IpAddr)| source.is_ipv4() == to.is_ipv4() && probe.from.contains(*source);
        let mut ways: Vec<_> = ways.filter(fits).collect();
        // Between loopback and the rest of the machine some kernels drop packets.
        ways.sort_by_key(|(source, to)| source.is_loopback() != to.is_loopback());
        let (source, to) = ways.into_iter().find(|(source, _)| is_local(*source))?;
        Some((source, SocketAddr::new(to, self.port)))
    }
}

/// A listener's own address; for one that listens everywhere, loopback.
fn loopback(listener: IpAddr) -> IpAddr {
    match listener {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// What was found out about the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    /// Rules that reply as they say.
    pub right: Vec<String>,
    /// Those that did not until the end, and what they last replied.
    pub wrong: Vec<Wrong>,
    /// Those that nobody on this machine can ask about, or for which no time was left.
    pub skipped: Vec<String>,
}

/// A rule that is written and has another effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The name of the rule.
    pub rule: String,
    /// What it says.
    pub expected: Expected,
    /// From where it was asked.
    pub source: IpAddr,
    /// Whom.
    pub target: SocketAddr,
    /// What came.
    pub reply: Reply,
}

/// Asks about each rule until it replies as it says, for at most `limit` in all; `between` is called before each
/// question.
#[must_use]
pub fn in_force(probes: &[Probe], listens: &Listens, limit: Duration, between: &mut dyn FnMut()) -> InForce {
    let until = Instant::now() + limit;
    let mut found = InForce::default();
    let mut open = Vec::new();
    for probe in probes {
        match listens.way(probe) {
            Some(way) => open.push((probe, way, None)),
            None => found.skipped.push(probe.rule.clone()),
        }
    }
    let mut pause = PAUSE;
    loop {
        // One question that hangs is not to take the time of all others.
        let share = if open.len() > 1 { 2 } else { 1 };
        open.retain_mut(|(probe, (source, target), last)| {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            between();
            let reply = ask(&probe.user, *source, *target, left / share);
            let right = is_right(probe.expected, &reply);
            if right {
                found.right.push(probe.rule.clone());
            }
            *last = Some(reply);
            !right
        });
        let left = until.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            break;
        }
        std::thread::sleep(pause.min(left));
        pause *= 2;
    }
    for (probe, (source, target), last) in open {
        let (rule, expected) = (probe.rule.clone(), probe.expected);
        match last {
            Some(reply) => found.wrong.push(Wrong { rule, expected, source, target, reply }),
            None => found.skipped.push(rule),
        }
    }
    found
}

fn is_right(expected: Expected, reply: &Reply) -> bool {
    match (expected, reply) {
        (Expected::Challenge, Reply::Challenged { .. }) => true,
        (Expected::Refusal, Reply::Rejected { sqlstate }) => sqlstate == "28000",
        _ => false,
    }
}
