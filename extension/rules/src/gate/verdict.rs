//! The outcome of a round.

use super::facts::{NodeFacts, SystemId};
use super::reason::Reason;
use super::wire::{Ask, Micros, PROTOCOL, Report, RwDoor, Want};
use super::{Answer, Settings};
use crate::hba::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the read-write door is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rw {
    /// Closed.
    Closed,
    /// Open: a majority acks this node.
    Lease,
    /// Open: one of two nodes, alone, kept by its synchronous standby.
    KeptBySync,
    /// Open because an operator said so.
    Operator,
}

/// What a gate decided in one round, and until when that counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// The process that decided.
    pub incarnation: u64,
    /// Its round.
    pub round: u64,
    /// The read-write door.
    pub rw: Rw,
    /// The read-only door is to be open.
    pub ro: bool,
    /// When the round's asks went out.
    pub asked: Micros,
    /// When it was decided.
    pub decided: Micros,
    /// From here on everything is closed, whatever it says above.
    pub expires: Micros,
    /// A door that is closed may begin to open only before this: somebody may rely on having heard it closed.
    pub open_by: Micros,
    /// Closed: everything that closes the read-write door. Open: what opens it.
    pub rw_reasons: Vec<Reason>,
    /// The same for the read-only door.
    pub ro_reasons: Vec<Reason>,
    /// What should be mended and closes nothing.
    pub warnings: Vec<Reason>,
    /// The acks that are in force, and until when each counts: a lease from when it was asked for.
    pub acks: BTreeMap<String, Micros>,
    /// The primary of the highest timeline, as far as is known: this node or one that was heard.
    pub primary: Option<String>,
    /// The cluster that this process belongs to since it first saw one.
    pub system_identifier: Option<SystemId>,
    /// Since when each harepd has named this node as the only master, without a break.
    pub named_since: BTreeMap<String, Micros>,
    /// Which harepds beside data held others for the primary when they were last heard, and whom.
    pub contradicted: BTreeMap<String, Vec<String>>,
}

impl Verdict {
    /// Still counts.
    pub fn is_live(&self, now: Micros) -> bool {
        now < self.expires
    }

    /// The read-write door may be open now.
    pub fn rw_open(&self, now: Micros) -> bool {
        self.rw != Rw::Closed && self.is_live(now)
    }

    /// The read-only door may be open now.
    pub fn ro_open(&self, now: Micros) -> bool {
        self.ro && self.is_live(now)
    }

    /// What may be open now.
    pub fn state(&self, now: Micros) -> State {
        State { rw: self.rw_open(now), ro: self.ro_open(now) }
    }

    /// How the doors are to stand next, when they stand as in `was`. Closing waits for nothing; a door that is closed
    /// begins to open only while [`Verdict::may_begin`] and when others were `told` so before.
    pub fn next(&self, was: State, told: bool, now: Micros) -> State {
        let wanted = self.state(now);
        let kept = State { rw: wanted.rw && was.rw, ro: wanted.ro && was.ro };
        if told && self.may_begin(now) { wanted } else { kept }
    }

    /// A door that is closed now may begin to open: the verdict is of this round. Ask right before the rename, and once
    /// more right after it: a process may be stopped in between.
    pub fn may_begin(&self, now: Micros) -> bool {
        now < self.open_by && self.is_live(now)
    }
}

/// The round of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Boot id of this machine.
    pub boot_id: String,
    /// Drawn when the process started.
    pub incarnation: u64,
    /// Growing.
    pub number: u64,
    /// Taken *before* the first ask of the round is sent, this node's own vote included.
    pub asked: Micros,
}

impl Round {
    /// The ask of this round to a voter.
    pub fn ask(&self, settings: &Settings, to: &str, want: Want, report: Report) -> Ask {
        Ask {
            protocol: PROTOCOL,
            from: settings.node.clone(),
            to: to.to_owned(),
            boot_id: self.boot_id.clone(),
            incarnation: self.incarnation,
            round: self.number,
            terms: settings.terms(),
            want,
            report,
        }
    }

    /// The answer of `voter` to the ask of this very round. Nothing counts that is not.
    pub fn is_answered(&self, settings: &Settings, voter: &str, answer: &Answer) -> bool {
        answer.protocol == PROTOCOL
            && answer.from == voter
            && answer.to == settings.node
            && answer.incarnation == self.incarnation
            && answer.round == self.number
    }
}

/// What came of asking one voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It answered. This node's own voter is asked like any other.
    Answer(Box<Answer>),
    /// harepd answered.
    Harepd {
        /// It names this node, and no other, as master ([`names_us`](super::harepd::names_us)).
        names_us: bool,
        /// The masters that it named, as text.
        masters: Vec<String>,
    },
    /// Nothing, and why: refused, timed out, certificate …
    Silent(String),
}

/// What came of asking one voter, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The member that was asked.
    pub peer: String,
    /// When its answer was complete; any value for silence.
    pub received: Micros,
    /// What it said.
    pub said: Said,
}

/// A source of topology, such as `repmgr.nodes`. It may close or confirm, and never opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceSays {
    /// Its name.
    pub source: String,
    /// What it said.
    pub says: Topology,
}

/// What a source says of this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "says")]
pub enum Topology {
    /// This node is the primary, and no other.
    Us,
    /// Other nodes are.
    Others {
        /// Their names.
        nodes: Vec<String>,
    },
    /// It knows no primary.
    Nobody,
    /// It could not be read.
    Unreadable {
        /// Why.
        why: String,
    },
}

/// What an operator ordered for one door.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// Open, or close.
    pub open: bool,
    /// Until when.
    pub until: Micros,
    /// Why.
    pub reason: String,
}

/// What operators ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Manual {
    /// For the read-write door.
    pub rw: Option<Order>,
    /// For the read-only door.
    pub ro: Option<Order>,
}

impl Manual {
    /// The order in force for the read-write door.
    pub fn rw(&self, now: Micros) -> Option<&Order> {
        self.rw.as_ref().filter(|order| now < order.until)
    }

    /// The order in force for the read-only door.
    pub fn ro(&self, now: Micros) -> Option<&Order> {
        self.ro.as_ref().filter(|order| now < order.until)
    }
}

/// What is known when a round is decided.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The round.
    pub round: &'a Round,
    /// This node's facts; [`NodeFacts::age`] is their age now. None: the database does not answer.
    pub me: Option<&'a NodeFacts>,
    /// How the doors stand that were reported in this round's asks.
    pub door: RwDoor,
    /// What the voters said, this node's own included.
    pub heard: &'a [Heard],
    /// What sources say.
    pub sources: &'a [SourceSays],
    /// Whether the `repmgr.nodes` of the witness that answered names this node, and no other, as primary; none: no witness
    /// was asked ([`asks_witness`](super::asks_witness)), or none said.
    pub witness_names_us: Option<bool>,
    /// What operators ordered.
    pub manual: &'a Manual,
    /// Why the veto command closes.
    pub veto: Option<&'a str>,
    /// The last verdict of this process.
    pub previous: Option<&'a Verdict>,
    /// CLOCK_BOOTTIME.
    pub now: Micros,
}

impl<'a> View<'a> {
    /// The last verdict, if this process made it.
    pub(super) fn own_previous(&self) -> Option<&'a Verdict> {
        self.previous.filter(|previous| previous.incarnation == self.round.incarnation)
    }

    /// This process held the read-write door open without a break until now.
    pub(super) fn is_continuous(&self) -> bool {
        let live = |previous: &Verdict| matches!(previous.rw, Rw::Lease | Rw::KeptBySync) && previous.is_live(self.now);
        self.door == RwDoor::Open && self.own_previous().is_some_and(live)
    }
}
