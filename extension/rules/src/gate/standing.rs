//! How a node's own doors stand, and what others are told of it.

use super::Settings;
use super::facts::NodeFacts;
use super::voter::{after, between};
use super::wire::{Micros, Report, RwDoor};
use serde::{Deserialize, Serialize};

/// How the read-write door stands, by who moves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// Open, or about to be.
    Open,
    /// Closed and in effect, since then.
    Closed(Micros),
    /// Nobody can tell.
    #[default]
    Unknown,
}

impl Door {
    /// As others are told at `now`.
    pub fn told(self, now: Micros) -> RwDoor {
        match self {
            Self::Open => RwDoor::Open,
            Self::Closed(at) => RwDoor::Closed { since: between(at, now) },
            Self::Unknown => RwDoor::Unknown,
        }
    }
}

/// How a node's doors stood when somebody last looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The read-write door.
    pub door: Door,
    /// The read-only door is open.
    pub ro_open: bool,
    /// An operator's open of the read-write door is in force.
    pub operator_open: bool,
    /// When this was so; 0: never.
    pub at: Micros,
}

impl Standing {
    /// What others are told at `now`, with these facts of the database. Who should renew it may be stopped: after a lease
    /// the watchdog closes, which nobody here has seen, and nothing is known any more.
    pub fn report(&self, settings: &Settings, facts: Option<NodeFacts>, now: Micros) -> Report {
        let fresh = self.at > 0 && now < after(self.at, settings.lease);
        Report {
            facts: facts.filter(|_| fresh),
            rw: if fresh { self.door.told(now) } else { RwDoor::Unknown },
            ro_open: fresh && self.ro_open,
            operator_open: fresh && self.operator_open,
        }
    }
}
