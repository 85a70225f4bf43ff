//! Why a door is open or closed, in words that say what to do.

use super::facts::SystemId;
use super::wire::{Refusal, maybe_micros, micros};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One reason. Its `Display` is the sentence for people, [`Reason::code`] the word for programs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "code")]
#[non_exhaustive]
pub enum Reason {
    /// Opens: a majority acks this node.
    #[error("{} of {voters} voters ack this node ({need} needed)", .acks.len())]
    Majority {
        /// Who.
        acks: Vec<String>,
        /// Of how many.
        voters: usize,
        /// How many are needed.
        need: usize,
    },
    /// Opens: of two nodes, and a synchronous standby still streams.
    #[error("the other node is silent, but {standby} still streams synchronously, so nobody else was promoted")]
    KeptBySync {
        /// The standby.
        standby: String,
    },
    /// Opens: an operator said so.
    #[error("opened by an operator: {why}; it ends by itself, or with: goahead gate clear")]
    OperatorOpen {
        /// Their reason.
        why: String,
    },
    /// Opens for reads: a standby that follows.
    #[error("it follows the primary closely enough")]
    Follows,
    /// Opens for reads: a primary that is open for writes.
    #[error("it is the open primary, and ro_on_primary is set")]
    RoOnPrimary,

    /// The node holds no data.
    #[error("this node is a witness: it votes and takes no traffic")]
    Witness,
    /// No facts.
    #[error("the local database does not answer; look at its log, and at the gate's database setting")]
    DatabaseDown,
    /// Facts too old.
    #[error("the local database last answered {:.1} s ago, longer than a lease; it may hang", .age.as_secs_f64())]
    FactsOld {
        /// Their age.
        #[serde(rename = "age_us", with = "micros")]
        age: Duration,
    },
    /// The round was slower than its lease.
    #[error("this round took {:.1} s, longer than its lease of {:.1} s; is the machine overloaded, or was the gate stopped?", .took.as_secs_f64(), .lease.as_secs_f64())]
    Late {
        /// How long it took.
        #[serde(rename = "took_us", with = "micros")]
        took: Duration,
        /// The lease.
        #[serde(rename = "lease_us", with = "micros")]
        lease: Duration,
    },
    /// Shutting down.
    #[error("the local database is shutting down")]
    ShuttingDown,
    /// A standby takes no writes.
    #[error("the local database is a standby")]
    InRecovery,
    /// A primary takes no reads unless told.
    #[error("the local database is a primary, not a standby; set ro_on_primary to let reads in as well")]
    NotInRecovery,
    /// Another cluster.
    #[error(
        "the local database has system identifier {mine}, the cluster has {known}; clone this node again, or mend the setting"
    )]
    OtherCluster {
        /// This node's.
        mine: SystemId,
        /// The cluster's.
        known: SystemId,
    },
    /// A peer's database is of another cluster; it is not counted.
    #[error("{node} has system identifier {theirs}, this cluster has {known}; clone that node again")]
    PeerOfOtherCluster {
        /// The peer.
        node: String,
        /// Its identifier.
        theirs: SystemId,
        /// Ours.
        known: SystemId,
    },
    /// Somebody is ahead.
    #[error(
        "{node} is on timeline {theirs}, this node only on {mine}: it was promoted after us; rejoin this node as a standby"
    )]
    OldTimeline {
        /// Who is ahead.
        node: String,
        /// Their timeline.
        theirs: u32,
        /// Ours.
        mine: u32,
    },
    /// Two primaries, one timeline.
    #[error(
        "{node} is a primary on the same timeline {timeline}; both stay closed: choose one with goahead gate open --for 10m --reason … there, and rejoin the other as a standby"
    )]
    Conflict {
        /// The other.
        node: String,
        /// The timeline.
        timeline: u32,
    },
    /// Somebody else is open.
    #[error("{node} says that its read-write door is open{}", if *.operator { " by an operator" } else { "" })]
    PeerOpen {
        /// Who.
        node: String,
        /// By an operator.
        operator: bool,
    },
    /// An operator's open waits for somebody else's lease.
    #[error("{voter} has acked {node} for another {:.1} s; close that node first: goahead gate close --for 10m --reason …", .left.as_secs_f64())]
    AckedOther {
        /// The voter.
        voter: String,
        /// Who holds its ack.
        node: String,
        /// For how much longer.
        #[serde(rename = "left_us", with = "micros")]
        left: Duration,
    },
    /// A source names another.
    #[error("{source_name} names {} as primary, not this node; if that is old, mend it there (repmgr: repmgr primary register --force)", .nodes.join(", "))]
    SourceNamesOther {
        /// The source.
        #[serde(rename = "source")]
        source_name: String,
        /// Whom it names.
        nodes: Vec<String>,
    },
    /// A source names this node a primary; it is a standby.
    #[error("{source_name} says that this node is the primary, but it is in recovery")]
    SourceDisagrees {
        /// The source.
        #[serde(rename = "source")]
        source_name: String,
    },
    /// A source cannot be read; that closes nothing.
    #[error("{source_name} cannot be read: {why}")]
    SourceUnreadable {
        /// The source.
        #[serde(rename = "source")]
        source_name: String,
        /// Why.
        why: String,
    },
    /// A source knows no primary; that closes nothing.
    #[error("{source_name} knows no primary; register the nodes there")]
    SourceEmpty {
        /// The source.
        #[serde(rename = "source")]
        source_name: String,
    },
    /// Too few acks.
    #[error("only {} of {voters} voters ack this node, {need} are needed", .acks.len())]
    NoMajority {
        /// Who does.
        acks: Vec<String>,
        /// Of how many.
        voters: usize,
        /// How many are needed.
        need: usize,
    },
    /// One voter's refusal.
    #[error("{voter} does not ack: {why}")]
    Refused {
        /// The voter.
        voter: String,
        /// Its reason.
        why: Refusal,
    },
    /// One voter did not answer.
    #[error("{voter} does not answer: {why}")]
    Silent {
        /// The voter.
        voter: String,
        /// What happened.
        why: String,
    },
    /// An answer that does not belong to this round.
    #[error("the answer of {voter} came too late or belongs to another round; it does not count")]
    Stale {
        /// The voter.
        voter: String,
    },
    /// harepd names somebody else.
    #[error("harepd at {voter} names {}, not this node alone, as master", if .masters.is_empty() { "nobody".to_owned() } else { .masters.join(", ") })]
    HarepdNamesOther {
        /// The voter.
        voter: String,
        /// Whom it names.
        masters: Vec<String>,
    },
    /// A harepd holds another node for the primary, and may hold that one's line open.
    #[error(
        "harepd at {voter} names {} as master and may hold its own line open, and no witness's repmgr.nodes names this node: if this is an old primary, rejoin it as a standby; else see that repmgrd runs at the witness", .masters.join(", ")
    )]
    HarepdContradicts {
        /// Where it runs, or ran when it was last heard.
        voter: String,
        /// Whom it names.
        masters: Vec<String>,
    },
    /// A harepd may run there and hold a line open.
    #[error(
        "{voter} does not answer and may run a harepd that holds its line open (migrate_from_harepd), and no witness's repmgr.nodes names this node: if this is an old primary, rejoin it as a standby; else see that repmgrd runs at the witness"
    )]
    HarepdUnheard {
        /// The node.
        voter: String,
    },
    /// harepd agrees, but may not count.
    #[error("harepd at {voter} names this node, which counts only under migrate_from_harepd: true")]
    HarepdNotCounted {
        /// The voter.
        voter: String,
    },
    /// harepd's answer counted as an ack.
    #[error(
        "the answer of harepd at {voter} counts as its ack (migrate_from_harepd); it can name another at any time: move that node to goahead soon"
    )]
    HarepdCounted {
        /// The voter.
        voter: String,
    },
    /// The last primary may still take traffic.
    #[error("an earlier primary may still take traffic{}", .left.map(|left| format!("; it may open in {:.1} s", left.as_secs_f64())).unwrap_or_default())]
    HoldDown {
        /// What is left, as far as the voters that were heard can tell.
        #[serde(rename = "left_us", with = "maybe_micros")]
        left: Option<Duration>,
    },
    /// An operator closed it.
    #[error("closed by an operator: {why}; it ends by itself, or with: goahead gate clear")]
    OperatorClose {
        /// Their reason.
        why: String,
    },
    /// Something beside the decision closes: the veto command, or a gate that is not fit to open.
    #[error("closed: {why}")]
    Veto {
        /// What, and why.
        why: String,
    },
    /// The standby streams from nobody.
    #[error("it does not stream from a primary; look at primary_conninfo and at the log of the standby")]
    NotStreaming,
    /// Replay is paused.
    #[error("replay is paused; resume it with: select pg_wal_replay_resume()")]
    ReplayPaused,
    /// Too far behind, in bytes.
    #[error("it is {bytes} bytes behind the primary, more than the {limit} of max_lag")]
    LagBytes {
        /// How far.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Too far behind, in time.
    #[error("it is {:.1} s behind the primary, more than the {:.1} s of max_lag_time", .lag.as_secs_f64(), .limit.as_secs_f64())]
    LagTime {
        /// How far.
        #[serde(rename = "lag_us", with = "micros")]
        lag: Duration,
        /// The limit.
        #[serde(rename = "limit_us", with = "micros")]
        limit: Duration,
    },
    /// Nothing tells how far behind it is.
    #[error("nothing tells how far behind the primary it is: no primary is heard and the WAL receiver says nothing")]
    LagUnknown,
    /// The standby follows an older timeline than the primary's.
    #[error(
        "it follows timeline {mine}, the primary {node} is on {theirs}; let it follow that one (repmgr standby follow)"
    )]
    FollowsOther {
        /// The primary.
        node: String,
        /// Its timeline.
        theirs: u32,
        /// Ours.
        mine: u32,
    },
    /// The primary itself is closed for writes.
    #[error("the primary's read-write door is closed, and reads on it follow that door")]
    PrimaryClosed,
    /// Timings differ between gates; nothing is closed.
    #[error("{node} has other timings (lease {:.1} s, hold_down {:.1} s); set the same at every node", .lease.as_secs_f64(), .hold_down.as_secs_f64())]
    TermsDiffer {
        /// The peer.
        node: String,
        /// Its lease.
        #[serde(rename = "lease_us", with = "micros")]
        lease: Duration,
        /// Its hold-down.
        #[serde(rename = "hold_down_us", with = "micros")]
        hold_down: Duration,
    },
}

impl Reason {
    /// The word for programs: the tag of its JSON form, such as `no_majority`.
    pub fn code(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(object)) => {
                object.get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        }
    }
}
