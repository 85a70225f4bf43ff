//! This node's vote, and what it tells others of itself.
//!
//! The memory of the vote is the process's: a new process abstains until whatever it forgot has ended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use goahead_rules::gate::Door;
use goahead_rules::gate::{self, Answer, Ask, Report, Standing, Voter};
use serde::{Deserialize, Serialize};

use super::clock::{self, Micros};
use super::facts;
use super::snapshot::{Local, Vote};

/// The voter of a process, and the newest that the process knows of its own node.
pub struct Voting {
    rules: gate::Settings,
    inner: Mutex<Inner>,
}

struct Inner {
    voter: Voter,
    own: Own,
}

/// What a node knows of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Own {
    /// Facts of its database; none: it has none, or it does not answer
    pub local: Option<Local>,
    /// How its doors stand
    pub standing: Standing,
}

impl Voting {
    /// A voter that has just started, of a node that knows nothing of itself yet.
    pub fn new(rules: gate::Settings) -> Self {
        let voter = Voter::new(&rules, clock::now());
        Self { rules, inner: Mutex::new(Inner { voter, own: Own::default() }) }
    }

    /// Takes note of what the node knows of itself.
    pub fn know(&self, own: Own) {
        self.lock().own = own;
    }

    /// What is told of this node now.
    pub fn report(&self) -> Report {
        let now = clock::now();
        report(&self.lock().own, &self.rules, now)
    }

    /// Judges an ask.
    pub fn answer(&self, ask: &Ask) -> Answer {
        let mut inner = self.lock();
        // Read under the lock: a vote is counted from no earlier than the one before.
        let now = clock::now();
        let report = report(&inner.own, &self.rules, now);
        let vote = inner.voter.judge(&self.rules, ask, report.facts.as_ref(), now);
        Answer::to(ask, &self.rules.node, self.rules.terms(), vote, report)
    }

    /// Whom this node acks now.
    pub fn vote(&self) -> Vote {
        let inner = self.lock();
        let now = clock::now();
        let micros = |left: Duration| u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        let held = inner.voter.held(now);
        Vote {
            left_us: held.as_ref().map(|held| micros(held.left)),
            acks: held.map(|held| held.node),
            abstains_us: inner.voter.abstains(now).map(micros),
        }
    }

    /// Takes note of what a peer said of itself in an answer.
    pub fn hear(&self, peer: &str, report: &Report) {
        self.lock().voter.hear(&self.rules, peer, report);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told of a node that knows this of itself.
pub fn report(own: &Own, rules: &gate::Settings, now: Micros) -> Report {
    own.standing.report(rules, own.local.as_ref().map(|local| facts::node_facts(local, now)), now)
}

#[cfg(test)]
mod tests {
    use goahead_rules::gate::Member;

    use super::*;

    #[test]
    fn who_has_just_started_says_that_it_abstains() {
        let member = |name: &str| Member { name: name.into(), witness: false };
        let vote = Voting::new(gate::Settings::new("a", vec![member("a"), member("b"), member("c")])).vote();
        assert_eq!((&vote.acks, vote.left_us), (&None, None));
        assert!(vote.abstains_us.is_some_and(|left| left > 0), "{vote:?}");
    }
}
