//! What one round found and decided, as every reader sees it: Patroni's paths, the agent-check, `/gate`, metrics,
//! `gate status`, and the local server of another process.
//!
//! Points in time are microseconds of CLOCK_BOOTTIME unless they say otherwise.

use std::time::Duration;

use goahead_rules::gate::{RepmgrNode, Report, SystemId};
use serde::{Deserialize, Serialize};

use super::clock::{self, Micros};
use super::settings::Mode;

/// One round's findings and verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// This node
    pub node: String,
    /// Which halves run in the process that decided
    pub mode: Mode,
    /// Whether this node only votes
    pub witness: bool,
    /// Number of the round since the process started; 0 before the first
    pub round: u64,
    /// When the round began, by the wall clock: microseconds since 1970
    pub wall_us: i64,
    /// When it was decided
    pub decided_us: Micros,
    /// When the verdict ends; readers take it as closed from then on
    pub expires_us: Micros,
    /// What is open. Ask [`Snapshot::is_live`] too
    pub verdict: Verdict,
    /// What is known of the local database; none: it does not answer
    pub local: Option<Local>,
    /// Why it does not answer, or what else went wrong with it
    pub local_error: Option<String>,
    /// Every other voter
    pub peers: Vec<PeerView>,
    /// Votes
    pub votes: Votes,
    /// This node's own vote at the time of the question; none where another process has it
    #[serde(default)]
    pub vote: Option<Vote>,
    /// The node that leads, as far as known: this one, or a peer that says of itself that it is primary
    pub leader: Option<Leader>,
    /// What was done with the file
    pub applied: Applied,
    /// What an operator ordered and has not run out
    pub order: Option<Order>,
    /// What else a reader should know, such as "harepd's votes count"
    pub notes: Vec<String>,
}

/// What is open, and why not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Read-write traffic
    pub rw: bool,
    /// Read-only traffic
    pub ro: bool,
    /// Why read-write is as it is
    pub rw_reasons: Vec<Why>,
    /// Why read-only is as it is
    pub ro_reasons: Vec<Why>,
    /// Since when read-write has been closed, really and in the file; none: it is open, or nobody knows
    pub rw_closed_since_us: Option<Micros>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// For programs: `snake_case`, stable
    pub code: String,
    /// For people
    pub text: String,
}

/// Facts of the local database: what it says, read as it is written there, and what was made of it here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// When they were asked for
    #[serde(default)]
    pub asked_us: Micros,
    /// `pg_is_in_recovery()`
    pub in_recovery: bool,
    /// Whether the server is shutting down or not yet accepting queries
    #[serde(default)]
    pub stopping: bool,
    /// `pg_control_system().system_identifier`
    pub system_identifier: SystemId,
    /// The timeline it writes or receives; none: unknown
    pub timeline: Option<u32>,
    /// `server_version_num`, as in 150020
    pub server_version: u32,
    /// `pg_postmaster_start_time()`: microseconds since 1970
    pub postmaster_start_us: i64,
    /// On a primary its own position
    pub current_lsn: Option<u64>,
    /// On a standby what it has received
    pub received_lsn: Option<u64>,
    /// On a standby what it has replayed
    pub replayed_lsn: Option<u64>,
    /// On a standby the commit time of the last replayed transaction: microseconds since 1970
    pub replayed_us: Option<i64>,
    /// How long ago that was, in microseconds
    pub replay_age_us: Option<u64>,
    /// On a standby how long the WAL that is to be replayed next has been here, in microseconds
    #[serde(default)]
    pub replay_lag_us: Option<u64>,
    /// Whether replay is paused
    pub replay_paused: bool,
    /// `pg_stat_wal_receiver`; none: there is no receiver
    pub receiver: Option<Receiver>,
    /// Whether WAL may come from an archive
    pub archive_recovery: bool,
    /// Who streams from here
    pub downstream: Vec<Downstream>,
    /// `cluster_name`; may be empty
    pub cluster_name: String,
    /// `synchronous_standby_names`
    pub synchronous_standby_names: String,
    /// Whether the extension is installed in the database asked
    pub extension: bool,
    /// Whether the extension's own watchdog runs
    pub watchdog: bool,
    /// Rows of `goahead.hba_desired`: rules of the extension
    #[serde(default)]
    pub rules: u32,
    /// What the source (repmgr.nodes) says, ordered by node_id; none: there is no source, or it cannot be read
    #[serde(default)]
    pub source: Option<Vec<RepmgrNode>>,
    /// Why the source cannot be read
    #[serde(default)]
    pub source_error: Option<String>,
}

/// `pg_stat_wal_receiver`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// `status`, such as `streaming`
    pub status: String,
    /// `sender_host`
    pub sender_host: Option<String>,
    /// `sender_port`
    pub sender_port: Option<i32>,
    /// `received_tli`
    pub timeline: Option<u32>,
    /// `slot_name`
    pub slot: Option<String>,
    /// `latest_end_lsn`
    pub latest_end_lsn: Option<u64>,
    /// Age of the last message from upstream (`last_msg_receipt_time`), in microseconds
    pub receipt_age_us: Option<u64>,
    /// After how long a silence it asks upstream for a message, in microseconds: half of `wal_receiver_timeout`; none: never
    #[serde(default)]
    pub quiet_us: Option<u64>,
}

/// A row of `pg_stat_replication`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downstream {
    /// `pid`
    pub pid: i32,
    /// `usename`
    pub usename: Option<String>,
    /// `application_name`
    pub application_name: String,
    /// `client_addr`
    pub client_addr: Option<String>,
    /// `state`
    pub state: Option<String>,
    /// `sync_state`: `async`, `potential`, `sync`, `quorum`
    pub sync_state: Option<String>,
    /// `sync_priority`
    pub sync_priority: i32,
    /// `reply_time`: by the standby's own clock, microseconds since 1970
    pub reply_us: Option<i64>,
    /// How long ago its last reply came in, by our clock, in microseconds; none: none has come in since we look
    #[serde(default)]
    pub reply_age_us: Option<u64>,
}

/// Another voter in this round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its name, or its address where none is known
    pub label: String,
    /// Host and port
    pub address: String,
    /// Whether it only votes
    pub witness: bool,
    /// Whether it answered in this round
    pub heard: bool,
    /// How: `http`, `grpc`; none when not heard
    pub via: Option<String>,
    /// How long its answer took, in microseconds
    pub took_us: Option<u64>,
    /// Why there was no answer
    pub error: Option<String>,
    /// Whether it votes for this node
    pub ack: bool,
    /// Why not
    pub refusal: Option<String>,
    /// Whether its database is a primary by its own facts; none: it has none or does not know
    pub primary: Option<bool>,
    /// Its timeline
    pub timeline: Option<u32>,
    /// Its position: written on a primary, replayed on a standby
    pub lsn: Option<u64>,
    /// Whether its read-write is open
    pub rw: Option<bool>,
    /// Whether its read-only is open
    pub ro: Option<bool>,
    /// All that it said of itself; none when it is no goahead or was not heard
    pub report: Option<Report>,
}

/// This node's own vote, whoever asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Whom it acks now; none: nobody, and anybody may have it who is entitled to
    pub acks: Option<String>,
    /// For how much longer, in microseconds, unless that node asks again
    pub left_us: Option<u64>,
    /// For how much longer it acks nobody because it has just started, in microseconds
    pub abstains_us: Option<u64>,
}

/// Votes of this round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    /// Voters in all, this node included
    pub voters: u32,
    /// What a majority is
    pub needed: u32,
    /// Those for this node, itself included
    pub got: u32,
    /// Those of harepds, counted because of `migrate_from_harepd`
    pub migrated: u32,
    /// When the majority's votes end; none: no majority
    pub lease_us: Option<Micros>,
}

/// The node that leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its name, or address
    pub node: String,
    /// Its timeline
    pub timeline: Option<u32>,
    /// Its position
    pub lsn: Option<u64>,
}

/// What was done with the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Through what
    pub by: By,
    /// What is open in the file; none: unknown
    pub state: Option<(bool, bool)>,
    /// Since when, in effect (after the reload)
    pub since_us: Option<Micros>,
    /// Why it could not be written
    pub error: Option<String>,
    /// Why the file would not load as somebody has left it; the server goes on with what it has
    #[serde(default)]
    pub mistake: Option<String>,
}

/// Through what the file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Nothing yet, or there is nothing to write
    #[default]
    Nothing,
    /// The extension's rules
    Sql,
    /// Our own lines, or a database that is down
    File,
    /// The file cannot be written: HTTP alone
    HttpOnly,
}

/// An operator's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Open or close
    pub open: bool,
    /// Whether it is about read-write
    pub rw: bool,
    /// Whether it is about read-only
    pub ro: bool,
    /// Why
    pub reason: String,
    /// Who
    pub actor: String,
    /// When it was given, microseconds since 1970
    pub given_us: i64,
    /// When it ends, microseconds since 1970
    pub until_us: i64,
}

impl Snapshot {
    /// What is shown before the first round: closed.
    pub fn nothing(node: &str, mode: Mode, witness: bool) -> Self {
        Self {
            node: node.to_owned(),
            mode,
            witness,
            round: 0,
            wall_us: 0,
            decided_us: 0,
            expires_us: 0,
            verdict: Verdict::default(),
            local: None,
            local_error: None,
            peers: Vec::new(),
            votes: Votes::default(),
            vote: None,
            leader: None,
            applied: Applied::default(),
            order: None,
            notes: Vec::new(),
        }
    }

    /// Whether the verdict still counts at `now`.
    pub fn is_live(&self, now: Micros) -> bool {
        self.round > 0 && now < self.expires_us
    }

    /// Whether read-write traffic is let in now.
    pub fn rw_open(&self) -> bool {
        self.verdict.rw && self.is_live(clock::now())
    }

    /// Whether read-only traffic is let in now.
    pub fn ro_open(&self) -> bool {
        self.verdict.ro && self.is_live(clock::now())
    }

    /// How long ago it was decided.
    pub fn age(&self) -> Duration {
        clock::since(self.decided_us)
    }
}
