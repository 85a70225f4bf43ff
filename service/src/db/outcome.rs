//! What the set form of the restart functions answers for one item.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fold::{Answered, Why};

/// What the set form says about one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The host may restart now
    Granted,
    /// A request id was handed out or repeated
    Handshake,
    /// `condition` said no
    Denied,
    /// No cluster matches, or the name is blacklisted
    Unknown,
    /// No reason to restart
    No,
    /// A reason to restart
    Yes,
    /// Results of `checks` are wanted first
    Checks,
    /// The slot is free, or was never held
    Released,
    /// No cluster has the name of this FleetLock group
    UnknownGroup,
    /// `message` says why the item cannot be judged
    Invalid,
    /// Another transaction holds the group's lock
    Busy,
}

impl Kind {
    /// The name on the wire, which is also a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Handshake => "handshake",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
            Self::No => "no",
            Self::Yes => "yes",
            Self::Checks => "checks",
            Self::Released => "released",
            Self::UnknownGroup => "unknown_group",
            Self::Invalid => "invalid",
            Self::Busy => "busy",
        }
    }
}

/// The database's answer to one item of a set form.
#[derive(Debug, Clone, Deserialize)]
pub struct Outcome {
    /// What was decided
    #[serde(rename = "outcome")]
    pub kind: Kind,
    /// Which condition denied
    pub condition: Option<String>,
    /// The cluster the host belongs to
    pub cluster: Option<String>,
    /// goahead's response object, to be sent as it stands
    pub answer: Option<Box<RawValue>>,
    /// Why an item is invalid
    pub message: Option<String>,
    /// How to mend an invalid item
    pub hint: Option<String>,
    /// The checks that are wanted: an array of `{"command": […], "exit_code_for_reboot": n}`
    pub checks: Option<Box<RawValue>>,
}

impl Answered for Outcome {
    fn busy(&self) -> Option<Why<'_>> {
        // A blocker is never asked for a set.
        let never_in_a_set = self.condition.as_deref() == Some("blocker");
        (self.kind == Kind::Busy).then_some(Why { group: self.cluster.as_deref(), never_in_a_set })
    }
}

/// The database's answer to a call about a lock.
#[derive(Debug, Clone, Deserialize)]
pub struct LockOutcome {
    /// granted, queued, renewed, released, withdrawn, broken, forgotten, lost, other_token, not_queued, held, guarded,
    /// invalid or busy
    pub outcome: String,
    /// The fencing token of a hold
    pub token: Option<i64>,
    /// The place in the queue, from 1
    pub position: Option<i64>,
    /// When it was first asked for, RFC 3339
    pub requested_at: Option<String>,
    /// When it was granted, RFC 3339
    pub granted_at: Option<String>,
    /// When the hold ends unless it is renewed, RFC 3339
    pub expires_at: Option<String>,
    /// When the grant goes to the next unless it is confirmed, RFC 3339
    pub confirm_by: Option<String>,
    /// Why the call is invalid
    pub message: Option<String>,
    /// How to mend that
    pub hint: Option<String>,
    /// The lock of a busy call
    pub group: Option<String>,
    /// `policy` for a busy call whose lock has one
    pub condition: Option<String>,
    /// Ticket of a queued request
    pub ticket: Option<i64>,
    /// Row of the lock
    pub lock_id: i32,
}

impl Answered for LockOutcome {
    fn busy(&self) -> Option<Why<'_>> {
        // A policy is never asked for a set.
        let never_in_a_set = self.condition.as_deref() == Some("policy");
        (self.outcome == "busy").then_some(Why { group: self.group.as_deref(), never_in_a_set })
    }
}

/// The database's answer to a call about a rendezvous.
#[derive(Debug, Clone, Deserialize)]
pub struct RendezvousOutcome {
    /// What became of it
    pub outcome: Meeting,
    /// What the signal carries
    pub payload: Option<Box<RawValue>>,
    /// Which meeting of a barrier, from 1
    pub generation: Option<i64>,
    /// Why the call is invalid
    pub message: Option<String>,
    /// How to mend that
    pub hint: Option<String>,
    /// The key of a busy call
    pub group: Option<String>,
}

/// What became of a call about a rendezvous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meeting {
    /// The key is signalled now
    Signalled,
    /// The key is not signalled
    NotSignalled,
    /// It was signalled and is no longer
    Unsignalled,
    /// Nobody waits here any more
    Left,
    /// All parties of the barrier have arrived
    Released,
    /// Others have yet to arrive
    Arrived,
    /// A member went away before the others came
    Departed,
    /// There was no such member
    NotHere,
    /// `message` says why
    Invalid,
    /// Another transaction holds the key
    Busy,
}

impl Answered for RendezvousOutcome {
    fn busy(&self) -> Option<Why<'_>> {
        (self.outcome == Meeting::Busy).then_some(Why { group: self.group.as_deref(), never_in_a_set: false })
    }
}
