//! What a set form of the restart functions answers for one item.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What a set form says about one item.
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
