//! Patroni's health paths, with its exact codes (Patroni 4.1, `patroni/api.py`).

use super::facts::SystemId;
use serde::Serialize;
use std::collections::BTreeMap;

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET, and whatever is answered like it.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

/// What an answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing, not even a Content-Length beyond 0.
    Empty,
    /// The status document ([`Status`]).
    Status,
    /// `/patroni`: the status document as well.
    Patroni,
    /// `/cluster`.
    Cluster,
    /// `/history`.
    History,
    /// `/config`.
    Config,
    /// `/metrics`.
    Metrics,
}

/// What the paths are judged by: the cached verdict and facts, taken at the time of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The verdict is live; an old one makes every health path 503.
    pub live: bool,
    /// Its read-write door is open: this node holds the lease.
    pub rw_open: bool,
    /// Its read-only door is open.
    pub ro_open: bool,
    /// The local database answers.
    pub running: bool,
    /// In recovery; none: unknown.
    pub in_recovery: Option<bool>,
    /// The WAL receiver streams (or `in archive recovery`), as Patroni's `replication_state` says it.
    pub replication_state: Option<String>,
    /// Bytes behind the primary by replayed WAL; none: unknown, which counts as no lag.
    pub replay_lag: Option<u64>,
    /// Bytes behind the primary by received WAL.
    pub receive_lag: Option<u64>,
    /// The primary lists this standby as synchronous.
    pub sync: bool,
    /// The primary lists it as a member of the quorum.
    pub quorum: bool,
    /// Lag that `/readiness` accepts where no `lag=` is given, in bytes.
    pub readiness_lag: u64,
    /// Tags of this node, as text.
    pub tags: BTreeMap<String, String>,
    /// An operator's order is in force (Patroni: paused).
    pub paused: bool,
}

/// The status of a path, and what its body is.
pub fn patroni(_method: Method, _path: &str, _query: &str, _snapshot: &Snapshot) -> (u16, Body) {
    (503, Body::Empty)
}

/// Patroni's status document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `running`, `starting`, `stopped` …
    pub state: &'static str,
    /// As Postgres prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postmaster_start_time: Option<String>,
    /// `primary` or `replica`.
    pub role: &'static str,
    /// Such as 150020.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<u32>,
    /// Positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xlog: Option<Xlog>,
    /// The timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// Those that stream from here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replication: Vec<Replication>,
    /// `streaming` or `in archive recovery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_state: Option<String>,
    /// Present and true on a synchronous standby.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sync_standby: bool,
    /// Present and true on a member of the quorum.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quorum_standby: bool,
    /// Present and true while no node is the leader.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cluster_unlocked: bool,
    /// Present and true while an operator's order is in force.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pause: bool,
    /// Seconds since 1970 when a majority was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dcs_last_seen: Option<i64>,
    /// As text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_system_identifier: Option<SystemId>,
    /// Tags of this node; absent when there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Who answers.
    pub patroni: Program,
}

/// Positions in the WAL, as numbers of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Xlog {
    /// Of a primary.
    Primary {
        /// Where it writes.
        location: u64,
    },
    /// Of a standby.
    Standby {
        /// Received up to here.
        received_location: u64,
        /// Replayed up to here.
        replayed_location: u64,
        /// Commit time of the last replayed transaction.
        replayed_timestamp: Option<String>,
        /// Replay is paused.
        paused: bool,
    },
}

/// One that streams from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replication {
    /// The user of its connection.
    pub usename: Option<String>,
    /// Its name.
    pub application_name: String,
    /// Its address.
    pub client_addr: Option<String>,
    /// Such as `streaming`.
    pub state: String,
    /// Such as `async`.
    pub sync_state: String,
    /// Its priority.
    pub sync_priority: i32,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The version that clients may test for.
    pub version: String,
    /// The cluster's name.
    pub scope: String,
    /// The node's name.
    pub name: String,
}
