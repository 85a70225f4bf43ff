//! What gates tell each other: the facts of a node, an ask, an answer. JSON, durations in whole microseconds.
//!
//! Unknown keys are ignored, so that a newer gate can talk to an older one.

use super::facts::{NodeFacts, SystemId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Microseconds of CLOCK_BOOTTIME of the machine that took them. Never sent to another machine.
pub type Micros = i64;

/// The version of the protocol that this code speaks.
pub const PROTOCOL: u32 = 1;

/// Durations as whole microseconds.
pub(super) mod micros {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// The same for durations that may be unknown.
pub(super) mod maybe_micros {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|value| u64::try_from(value.as_micros()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}

/// How a node's own read-write door stands, as its gate knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "door")]
pub enum RwDoor {
    /// Open, or about to be: a gate says so before it begins to open.
    Open,
    /// Closed, and that is applied and seen, at every door that it has.
    Closed {
        /// For how long; by this gate's own observation, so 0 when it has just started.
        #[serde(rename = "for_us", with = "micros")]
        since: Duration,
    },
    /// Closing could not be seen (yet).
    Unknown,
}

/// What one gate tells another of its node, in asks and in answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// Native facts; none: a witness, or the database does not answer.
    pub facts: Option<NodeFacts>,
    /// Its read-write door.
    pub rw: RwDoor,
    /// Its read-only door is open.
    #[serde(default)]
    pub ro_open: bool,
    /// An operator's open of the read-write door is in force there.
    #[serde(default)]
    pub operator_open: bool,
}

/// What must be alike in gates that work together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// The names of all voters, sorted.
    pub voters: Vec<String>,
    /// See [`Settings::lease`](super::Settings).
    #[serde(rename = "lease_us", with = "micros")]
    pub lease: Duration,
    /// See [`Settings::hold_down`](super::Settings).
    #[serde(rename = "hold_down_us", with = "micros")]
    pub hold_down: Duration,
}

/// What an asker wants from a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// Only the answer.
    Nothing,
    /// An ack: it is the primary and wants read-write traffic.
    Ack,
    /// An ack because an operator said so: timelines and conflicts are not asked about.
    OperatorAck,
}

/// One gate asks another, once a round.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The node that asks.
    pub from: String,
    /// The node that is asked.
    pub to: String,
    /// Boot id of the asker's machine: two machines under one name are not one holder.
    pub boot_id: String,
    /// Drawn at random when the asking process started.
    pub incarnation: u64,
    /// The number of the round in that process, growing.
    pub round: u64,
    /// The asker's terms.
    pub terms: Terms,
    /// What it wants.
    pub want: Want,
    /// What it is.
    pub report: Report,
}

/// Whom a voter holds to be the leader of the highest timeline that it knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leader {
    /// The node.
    pub node: String,
    /// The cluster.
    pub system_identifier: SystemId,
    /// The timeline.
    pub timeline: u32,
    /// An operator chose it among several.
    #[serde(default)]
    pub chosen: bool,
}

/// An ack that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// Who holds it.
    pub node: String,
    /// For how much longer.
    #[serde(rename = "left_us", with = "micros")]
    pub left: Duration,
}

/// Why a voter does not ack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refusal")]
#[non_exhaustive]
pub enum Refusal {
    /// It has just started and may have forgotten an ack.
    #[error("it started a moment ago and may have forgotten an ack; it votes again in {}", secs(.left))]
    Abstains {
        /// For how much longer.
        #[serde(rename = "left_us", with = "micros")]
        left: Duration,
    },
    /// Another node's ack is in force.
    #[error("it has acked {node} for another {}", secs(.left))]
    HeldByOther {
        /// Who holds it.
        node: String,
        /// For how much longer.
        #[serde(rename = "left_us", with = "micros")]
        left: Duration,
    },
    /// Another machine under the same name holds the ack.
    #[error("another machine under the name {node} holds its ack; give every node a name of its own")]
    HeldByNamesake {
        /// The name.
        node: String,
    },
    /// The ask was meant for another node, or comes from nobody that is configured here.
    #[error("it is not configured as a voter for {from}; list the same peers at every node")]
    Stranger {
        /// Who asked.
        from: String,
    },
    /// The lists of voters differ.
    #[error("its list of voters is {}; configure the same peers at every node", .theirs.join(", "))]
    OtherVoters {
        /// The voter's list.
        theirs: Vec<String>,
    },
    /// The asker's lease is longer than the voter's.
    #[error("its own lease is {}, shorter than the asker's; set the same lease at every node", secs(.theirs))]
    LongerLease {
        /// The voter's lease.
        #[serde(rename = "theirs_us", with = "micros")]
        theirs: Duration,
    },
    /// The asker speaks another version of the protocol.
    #[error("it speaks version {theirs} of the protocol; install the same version at every node")]
    OtherProtocol {
        /// The voter's version.
        theirs: u32,
    },
    /// The asker shows no running primary.
    #[error("the asker is not a running primary")]
    NotPrimary,
    /// The asker's database belongs to another cluster.
    #[error("it knows the cluster by system identifier {theirs}; the asker's database is another cluster")]
    OtherCluster {
        /// The identifier that the voter knows.
        theirs: SystemId,
    },
    /// A higher timeline is known.
    #[error("it knows timeline {timeline}{}; rejoin the old primary as a standby", led(.leader))]
    OldTimeline {
        /// The highest known.
        timeline: u32,
        /// Its leader.
        leader: Option<String>,
    },
    /// Several primaries share the highest timeline.
    #[error(
        "{} are primaries on timeline {timeline}; choose one: goahead gate open --for 10m --reason … there, and rejoin the others as standbys",
        .nodes.join(" and ")
    )]
    Conflict {
        /// The timeline.
        timeline: u32,
        /// Those primaries.
        nodes: Vec<String>,
    },
}

fn secs(left: &Duration) -> String {
    format!("{:.1} s", left.as_secs_f64())
}

fn led(leader: &Option<String>) -> String {
    leader.as_ref().map(|leader| format!(", led by {leader}")).unwrap_or_default()
}

/// What a voter says to an ask for its ack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ack")]
pub enum Ack {
    /// It was not asked for one.
    NotAsked,
    /// Granted: it acks no other for at least a lease from now.
    Granted,
    /// Refused.
    Refused {
        /// Why.
        why: Refusal,
    },
}

/// A voter's part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vote {
    /// The ack.
    pub ack: Ack,
    /// For how long it has certainly held no ack for any node but the asker. Counts from the end of the last such
    /// ack, and after a start from the end of the time in which it abstains: what it forgot may live until then.
    #[serde(rename = "clear_for_us", with = "micros")]
    pub clear_for: Duration,
    /// Whom it acks now.
    pub held: Option<Held>,
    /// For how much longer it abstains.
    #[serde(default, rename = "abstains_us", with = "maybe_micros")]
    pub abstains: Option<Duration>,
    /// The leader of the highest timeline that it knows; none also when several claim to be it.
    pub leader: Option<Leader>,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The node that answers.
    pub from: String,
    /// The node that asked.
    pub to: String,
    /// [`Ask::incarnation`], returned.
    pub incarnation: u64,
    /// [`Ask::round`], returned: an answer counts in the round of its ask only.
    pub round: u64,
    /// The answerer's terms.
    pub terms: Terms,
    /// Its vote.
    pub vote: Vote,
    /// What it is.
    pub report: Report,
}

impl Answer {
    /// The answer of `from` to an ask.
    pub fn to(ask: &Ask, from: &str, terms: Terms, vote: Vote, report: Report) -> Self {
        Self {
            protocol: PROTOCOL,
            from: from.to_owned(),
            to: ask.from.clone(),
            incarnation: ask.incarnation,
            round: ask.round,
            terms,
            vote,
            report,
        }
    }
}
