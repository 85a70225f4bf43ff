//! What an operator sets, and whether it can work.

use super::facts::SystemId;
use super::wire::Terms;
use std::time::Duration;

/// A member of the cluster: each has one vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its node name.
    pub name: String,
    /// It holds no data and only votes.
    pub witness: bool,
}

/// What the primary of two nodes without a witness does when it hears the other no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Isolated {
    /// It closes: safe, and a standby that is down stops writes.
    #[default]
    Close,
    /// It stays open while a synchronous standby streams from it; it never opens so.
    KeepIfSync,
}

/// The settings of one gate. Durations are of CLOCK_BOOTTIME and at most 24 h; [`Settings::check`] says which go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node's name, 1 to 255 bytes without control characters; one of `members`.
    pub node: String,
    /// All voters, this node among them; alike at every node.
    pub members: Vec<Member>,
    /// How often everybody is asked; default 1 s.
    pub round: Duration,
    /// How long an ack counts, from when it was asked for: at least two rounds, default 3 s.
    pub lease: Duration,
    /// How long one peer may take to answer, connecting included: less than a round, default 0.8 s.
    pub deadline: Duration,
    /// How late at most the watchdog notices that a lease has ended; more than 0, default 0.25 s.
    pub watchdog: Duration,
    /// How long the proxy may take to notice that a door has closed: HAProxy's `inter` times `fall`, default 6 s.
    pub detection: Duration,
    /// From the last moment at which another was acked until a new primary opens: at least `lease`, `watchdog` and
    /// `detection` together, default 10 s.
    pub hold_down: Duration,
    /// How far two clocks may come apart within a lease: at most a fifth of it, default 1 % and at least 20 ms.
    pub skew: Duration,
    /// The read-only door closes beyond this many bytes of WAL behind the primary; none: however many, default 16 MiB.
    pub max_lag: Option<u64>,
    /// The read-only door closes when the standby is further behind in time; none: however long, default 10 s.
    pub max_lag_time: Option<Duration>,
    /// A standby fed from an archive may take reads, while its lag in time is within `max_lag_time`.
    pub archive_only: bool,
    /// The read-only door is open on the primary too.
    pub ro_on_primary: bool,
    /// See [`Isolated`]; matters with two nodes only.
    pub isolated: Isolated,
    /// harepd's answer may stand for an ack, although it excludes nobody: for the time of a migration only.
    pub migrate_from_harepd: bool,
    /// The only cluster to open for; none: the first one seen.
    pub system_identifier: Option<SystemId>,
}

impl Settings {
    /// The defaults: rounds of 1 s, leases of 3 s, HAProxy's `inter 2s fall 3`.
    pub fn new(node: &str, members: Vec<Member>) -> Self {
        let lease = Duration::from_secs(3);
        let watchdog = Duration::from_millis(250);
        let detection = Duration::from_secs(6);
        Self {
            node: node.to_owned(),
            members,
            round: Duration::from_secs(1),
            lease,
            deadline: Duration::from_millis(800),
            watchdog,
            detection,
            hold_down: Self::default_hold_down(lease, watchdog, detection),
            skew: Self::default_skew(lease),
            max_lag: Some(16 << 20),
            max_lag_time: Some(Duration::from_secs(10)),
            archive_only: false,
            ro_on_primary: false,
            isolated: Isolated::Close,
            migrate_from_harepd: false,
            system_identifier: None,
        }
    }

    /// The hold-down where none is given: what must pass, and 0.75 s to write and reload.
    pub fn default_hold_down(lease: Duration, watchdog: Duration, detection: Duration) -> Duration {
        lease + watchdog + detection + Duration::from_millis(750)
    }

    /// The skew where none is given: 1 % of the lease, at least 20 ms.
    pub fn default_skew(lease: Duration) -> Duration {
        (lease / 100).max(Duration::from_millis(20))
    }

    /// How many votes decide: more than half of all members, whether they can be reached or not.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// What peers must have alike.
    pub fn terms(&self) -> Terms {
        let mut voters: Vec<String> = self.members.iter().map(|member| member.name.clone()).collect();
        voters.sort_unstable();
        Terms { voters, lease: self.lease, hold_down: self.hold_down }
    }

    /// This node only votes.
    pub fn is_witness(&self) -> bool {
        self.members.iter().any(|member| member.name == self.node && member.witness)
    }

    /// For how long a voter keeps an ack.
    pub fn hold(&self) -> Duration {
        self.lease + self.skew
    }

    /// A time that has passed on every clock when this has passed on ours: as much longer as `skew` is of a lease.
    pub fn stretched(&self, duration: Duration) -> Duration {
        duration + duration.mul_f64(self.skew.as_secs_f64() / self.lease.as_secs_f64().max(f64::MIN_POSITIVE))
    }

    /// Whether some member is a witness.
    pub fn has_witness(&self) -> bool {
        self.members.iter().any(|member| member.witness)
    }

    /// The nodes with data, but for this one.
    pub fn other_data_nodes(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|member| !member.witness && member.name != self.node).map(|m| m.name.as_str())
    }
}
