//! Native facts of a data node.

use super::wire::{maybe_micros, micros};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The system identifier of a database cluster. Text in JSON: it does not fit a JavaScript number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for SystemId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SystemId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("a system identifier is a number as text"))
    }
}

/// What a database says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
}

/// Native facts of one data node, read from that node's own database and never from a replicated table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeFacts {
    /// How old they were when they were sent, or when they were handed to [`decide`](super::decide()).
    #[serde(rename = "age_us", with = "micros")]
    pub age: Duration,
    /// `pg_is_in_recovery()`.
    pub role: Role,
    /// A shutdown has begun (the database answers 57P03, or postmaster.pid says `stopping`).
    #[serde(default)]
    pub shutting_down: bool,
    /// `pg_control_system().system_identifier`.
    pub system_identifier: SystemId,
    /// Primary: of the current WAL file. Standby: `received_tli`, or of the last checkpoint without a WAL receiver.
    pub timeline: u32,
    /// A WAL position in bytes, `pg_wal_lsn_diff(…, '0/0')`. Primary: the current one. Standby: replayed up to here.
    pub lsn: u64,
    /// Standby: received and flushed up to here (`pg_last_wal_receive_lsn()`), in bytes.
    #[serde(default)]
    pub received_lsn: Option<u64>,
    /// Standby: its WAL receiver; none: it has none.
    #[serde(default)]
    pub upstream: Option<Upstream>,
    /// Standby: `pg_is_wal_replay_paused()`.
    #[serde(default)]
    pub replay_paused: bool,
    /// Standby: since the last replayed transaction; grows on an idle primary, so it counts only where WAL comes from an
    /// archive alone.
    #[serde(default, rename = "replay_age_us", with = "maybe_micros")]
    pub replay_age: Option<Duration>,
    /// Standby: how long ago the WAL came in that is to be replayed next ([`ReplayLag`](super::ReplayLag)).
    #[serde(default, rename = "replay_lag_us", with = "maybe_micros")]
    pub replay_lag: Option<Duration>,
    /// Those that stream from this node.
    #[serde(default)]
    pub downstream: Vec<Downstream>,
}

/// `pg_stat_wal_receiver`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Upstream {
    /// Its status is `streaming`.
    pub streaming: bool,
    /// `sender_host`.
    #[serde(default)]
    pub host: Option<String>,
    /// `sender_port`.
    #[serde(default)]
    pub port: Option<u16>,
    /// `latest_end_lsn`: how far the sender was when it was last heard, in bytes. Each message has it, WAL or not.
    #[serde(default)]
    pub latest_end_lsn: Option<u64>,
    /// Since the sender was last heard (`last_msg_receipt_time`, this node's own clock).
    #[serde(default, rename = "receipt_age_us", with = "maybe_micros")]
    pub receipt_age: Option<Duration>,
    /// How long a sender that has nothing to send leaves this receiver without a message: half of `wal_receiver_timeout`,
    /// after which the receiver asks it for one (walreceiver.c). None: it never asks.
    #[serde(default, rename = "quiet_us", with = "maybe_micros")]
    pub quiet: Option<Duration>,
}

/// A row of `pg_stat_replication`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Downstream {
    /// `application_name`.
    pub name: String,
    /// `client_addr`.
    #[serde(default)]
    pub address: Option<String>,
    /// `state`, such as `streaming`.
    pub state: String,
    /// `sync_state`: `async`, `potential`, `sync` or `quorum`.
    pub sync_state: String,
    /// `sync_priority`.
    #[serde(default)]
    pub sync_priority: i32,
    /// Since its last reply *came in*, on this node's own clock. `reply_time` is the standby's wall clock: take note of
    /// when it changes.
    #[serde(default, rename = "reply_age_us", with = "maybe_micros")]
    pub reply_age: Option<Duration>,
}

impl NodeFacts {
    /// A primary of that cluster and timeline, just looked at; nobody streams from it.
    pub fn primary(system_identifier: SystemId, timeline: u32) -> Self {
        Self {
            age: Duration::ZERO,
            role: Role::Primary,
            shutting_down: false,
            system_identifier,
            timeline,
            lsn: 0,
            received_lsn: None,
            upstream: None,
            replay_paused: false,
            replay_age: None,
            replay_lag: None,
            downstream: vec![],
        }
    }
}
