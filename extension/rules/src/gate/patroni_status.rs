//! The JSON document of Patroni's health paths, with its keys.

use super::facts::SystemId;
use serde::Serialize;
use std::collections::BTreeMap;

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
