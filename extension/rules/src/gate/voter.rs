//! A voter: whom it acks, and what it must remember for that.

use super::Settings;
use super::wire::{Ack, Ask, Micros, NodeFacts, Report, Vote};
use std::time::Duration;

/// A voter's memory. It lives in one process and is gone with it: that is why a new one abstains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Voter {
    started: Micros,
}

impl Voter {
    /// A voter that has just started.
    pub fn new(_settings: &Settings, now: Micros) -> Self {
        Self { started: now }
    }

    /// Judges an ask. `own` are the facts of this voter's own database, none for a witness.
    pub fn judge(&mut self, _settings: &Settings, _ask: &Ask, _own: Option<&NodeFacts>, _now: Micros) -> Vote {
        let _ = self.started;
        Vote { ack: Ack::NotAsked, clear_for: Duration::ZERO, held: None, abstains: None, leader: None }
    }

    /// Takes note of what a member said of itself in an answer.
    pub fn hear(&mut self, _settings: &Settings, _node: &str, _report: &Report) {}
}
