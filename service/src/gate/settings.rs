//! What an operator chose for this node's gate: typed, checked, and the same whichever file it was read from.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use goahead_rules::gate::Isolated;
use serde::{Deserialize, Serialize};

/// Everything that a gate is told. Read from a file and flags by `config`; nothing here reads a file itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this node among the gates; with repmgr its node_name
    pub node: String,
    /// Which halves run in this process
    pub mode: Mode,
    /// Whether this node has no database of the cluster and only votes
    pub witness: bool,
    /// Where Patroni's paths, `/gate` and `/metrics` are; none: nowhere
    pub listen: Option<SocketAddr>,
    /// Where other gates ask; none only where there are no peers
    pub peer_listen: Option<SocketAddr>,
    /// Where HAProxy's agent-check asks
    pub agent_check_listen: Option<SocketAddr>,
    /// All other voters: data nodes and witness
    pub peers: Vec<Peer>,
    /// libpq's connection string of the local database; may hold a password
    pub database: String,
    /// The file that is gated; asked from the database where none is given
    pub hba_file: Option<PathBuf>,
    /// The local database's data directory; asked likewise
    pub data_directory: Option<PathBuf>,
    /// The database that holds `repmgr.nodes`, where repmgr is a source
    pub repmgr_database: Option<String>,
    /// The cluster's system identifier; none: the first one that the local database shows
    pub system_identifier: Option<u64>,
    /// How long everything takes
    pub timings: Timings,
    /// When a standby takes read-only traffic
    pub read_only: ReadOnly,
    /// What a primary of two nodes without a witness does when it is alone
    pub isolated: Isolated,
    /// A program and its arguments that may close the gate; empty: none
    pub veto: Vec<String>,
    /// Where the audit, overrides and sockets are
    pub state_dir: PathBuf,
    /// How gates prove to each other who they are
    pub trust: PeerTrust,
    /// Whether the peer listener speaks harepd's gRPC too
    pub grpc: bool,
    /// Whether a harepd's answer that names this node as the only master counts as its vote
    pub migrate_from_harepd: bool,
    /// Gated lines for `pgsql-check` beside those that are rows
    pub haproxy: Option<Haproxy>,
    /// What harepd's own file says beyond that; none with our own file
    pub harepd: Option<Harepd>,
}

/// Which halves run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Both: decides, writes, and answers peers
    #[default]
    Dual,
    /// Answers peers, votes, and serves the verdict that a client hands over; never touches the file
    ServerOnly,
    /// Decides and writes; votes and publishes through the local server
    ClientOnly,
}

/// Another voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its node name; none where the file has only an address, then the first answer tells it
    pub name: Option<String>,
    /// Host name or address of its peer listener
    pub host: String,
    /// Port of its peer listener
    pub port: u16,
    /// Whether it only votes
    pub witness: bool,
}

impl Peer {
    /// What it is called in messages: its name, or its address where none is known.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.authority())
    }

    /// Host and port as in an address: `10.0.0.1:8009`, `[::1]:8009`.
    pub fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => format!("[{}]:{}", self.host, self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// How long everything takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// From one decision to the next
    pub round: Duration,
    /// How long a verdict and a vote count
    pub lease: Duration,
    /// How long a peer, and the local database, may take to answer; below `round`
    pub deadline: Duration,
    /// How often the watchdog looks at the verdict's age
    pub watchdog: Duration,
    /// How long HAProxy takes to notice a closed line
    pub detection: Duration,
    /// How long a new primary waits before it first opens; none: the least that is safe
    pub hold_down: Option<Duration>,
    /// How far two machines' clocks may drift apart within a lease; none: 1 %, at least 20 ms
    pub skew: Option<Duration>,
    /// How long the veto program may take
    pub veto: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            round: Duration::from_secs(1),
            lease: Duration::from_secs(3),
            deadline: Duration::from_millis(800),
            watchdog: Duration::from_millis(250),
            detection: Duration::from_secs(6),
            hold_down: None,
            skew: None,
            veto: Duration::from_millis(500),
        }
    }
}

/// When a standby takes read-only traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOnly {
    /// Bytes of WAL that it may lag behind the primary; none: any
    pub max_lag: Option<u64>,
    /// Time that it may lag; none: any
    pub max_lag_time: Option<Duration>,
    /// Whether a standby that follows through an archive alone counts, within `max_lag_time`
    pub archive: bool,
    /// Whether the primary takes read-only traffic too
    pub on_primary: bool,
}

/// How gates prove to each other who they are.
#[derive(Debug, Clone, Default)]
pub struct PeerTrust {
    /// A file with the shared secret that signs asks and answers
    pub secret_file: Option<PathBuf>,
    /// Whether an ask must come from an address of a configured peer
    pub verify_source: bool,
    /// TLS towards peers and on the peer listener
    pub tls: Option<Tls>,
}

/// Files of TLS, all PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities whose certificates peers show as servers; none: the system's
    pub ca: Option<PathBuf>,
    /// Our certificate and its chain, as server and as client
    pub cert: Option<PathBuf>,
    /// Its private key
    pub key: Option<PathBuf>,
    /// Authorities of the certificates that callers of the peer listener must show; none: they need none
    pub client_ca: Option<PathBuf>,
}

/// The gated lines that this process itself renders, as harepd does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haproxy {
    /// Where HAProxy calls from
    pub servers: Vec<IpAddr>,
    /// The user of its read-write check
    pub read_write: String,
    /// The user of its read-only check; none: there are no such lines
    pub read_only: Option<String>,
    /// The method of an open line, with options
    pub allow: String,
    /// The method of a closed one, with options
    pub deny: String,
    /// Databases that the lines are for, beside the one with the user's own name
    pub databases: Vec<String>,
}

/// What harepd's protocol tells about this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harepd {
    /// `primaryIP`: this node's address as repmgr's conninfo has it
    pub primary_ip: IpAddr,
}

#[cfg(test)]
impl Settings {
    /// A node without peers, database and listeners.
    pub fn for_tests(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            mode: Mode::Dual,
            witness: false,
            listen: None,
            peer_listen: None,
            agent_check_listen: None,
            peers: Vec::new(),
            database: "host=/nonexistent dbname=postgres user=postgres".to_owned(),
            hba_file: None,
            data_directory: None,
            repmgr_database: None,
            system_identifier: None,
            timings: Timings::default(),
            read_only: ReadOnly::default(),
            isolated: Isolated::Close,
            veto: Vec::new(),
            state_dir: PathBuf::from("/nonexistent"),
            trust: PeerTrust { verify_source: true, ..PeerTrust::default() },
            grpc: false,
            migrate_from_harepd: false,
            haproxy: None,
            harepd: None,
        }
    }
}
