//! What the answers of one round amount to.

use super::Settings;
use super::facts::{NodeFacts, Role, SystemId};
use super::migration::harepd_ack;
use super::reason::Reason;
use super::verdict::{Heard, Said, Verdict, View};
use super::voter::{after, between};
use super::wire::{Ack, Answer, Micros, Refusal, RwDoor};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The answers that belong to this round, and what they say.
pub(super) struct Round<'a> {
    settings: &'a Settings,
    /// Answers of goahead, by voter.
    pub answers: BTreeMap<&'a str, &'a Answer>,
    /// Acks given in this round.
    pub fresh: BTreeSet<&'a str>,
    /// Those of them that a harepd gave.
    pub by_harepd: BTreeSet<&'a str>,
    /// Acks in force, of this round and of earlier ones.
    pub acks: BTreeMap<String, Micros>,
    /// See [`Verdict::named_since`].
    pub named_since: BTreeMap<String, Micros>,
    /// Who did not ack, and why.
    pub missing: Vec<Reason>,
    /// What should be mended.
    pub warnings: Vec<Reason>,
}

impl<'a> Round<'a> {
    /// Sorts what was heard. Nothing counts that is not an answer to the ask of this very round.
    pub fn new(settings: &'a Settings, view: &View<'a>, previous: Option<&Verdict>) -> Self {
        let mut round = Self {
            settings,
            answers: BTreeMap::new(),
            fresh: BTreeSet::new(),
            by_harepd: BTreeSet::new(),
            acks: BTreeMap::new(),
            named_since: BTreeMap::new(),
            missing: vec![],
            warnings: vec![],
        };
        // A voter that is silent now keeps the ack that it gave; one that answers says so again or takes it back.
        if let Some(previous) = previous {
            round.acks =
                previous.acks.iter().filter(|(_, until)| view.now < **until).map(|(k, v)| (k.clone(), *v)).collect();
        }
        for member in &settings.members {
            match view.heard.iter().find(|heard| heard.peer == member.name) {
                Some(heard) => round.take(view, previous, heard),
                None => round.silent(&member.name, "it was not asked".to_owned()),
            }
        }
        round
    }

    fn silent(&mut self, voter: &str, why: String) {
        self.missing.push(Reason::Silent { voter: voter.to_owned(), why });
    }

    fn take(&mut self, view: &View<'a>, previous: Option<&Verdict>, heard: &'a Heard) {
        let until = after(view.round.asked, self.settings.lease);
        let voter = heard.peer.as_str();
        let late = heard.received < view.round.asked || heard.received > after(view.round.asked, self.settings.round);
        match &heard.said {
            Said::Silent(why) => self.silent(voter, why.clone()),
            _ if late => self.missing.push(Reason::Stale { voter: voter.to_owned() }),
            Said::Answer(answer) if !view.round.is_answered(self.settings, voter, answer) => {
                self.missing.push(Reason::Stale { voter: voter.to_owned() });
            }
            Said::Answer(answer) => {
                self.answers.insert(voter, answer);
                self.compare_terms(voter, answer);
                match &answer.vote.ack {
                    Ack::Granted => {
                        self.fresh.insert(voter);
                        self.acks.insert(voter.to_owned(), until);
                    }
                    Ack::NotAsked => {}
                    Ack::Refused { why } => {
                        // One that abstains keeps what it gave before it started, only without knowing it.
                        if !matches!(why, Refusal::Abstains { .. }) {
                            self.acks.remove(voter);
                        }
                        self.missing.push(Reason::Refused { voter: voter.to_owned(), why: why.clone() });
                    }
                }
            }
            Said::Harepd { names_us, masters } => match harepd_ack(self.settings, voter, *names_us, masters) {
                Ok(()) => {
                    let since = previous.and_then(|previous| previous.named_since.get(voter)).copied();
                    self.named_since.insert(voter.to_owned(), since.unwrap_or(heard.received));
                    self.fresh.insert(voter);
                    self.by_harepd.insert(voter);
                    self.acks.insert(voter.to_owned(), until);
                    self.warnings.push(Reason::HarepdCounted { voter: voter.to_owned() });
                }
                Err(reason) => {
                    self.acks.remove(voter);
                    self.missing.push(reason);
                }
            },
        }
    }

    fn compare_terms(&mut self, voter: &str, answer: &Answer) {
        let (lease, hold_down) = (answer.terms.lease, answer.terms.hold_down);
        if lease != self.settings.lease || hold_down != self.settings.hold_down {
            self.warnings.push(Reason::TermsDiffer { node: voter.to_owned(), lease, hold_down });
        }
    }

    /// Until when a majority of acks is in force.
    pub fn majority_until(&self) -> Option<Micros> {
        let mut until: Vec<Micros> = self.acks.values().copied().collect();
        until.sort_unstable_by(|a, b| b.cmp(a));
        until.get(self.settings.majority() - 1).copied()
    }

    /// Facts of the other data nodes that were heard, of any cluster.
    pub fn others(&self) -> impl Iterator<Item = (&'a str, &'a NodeFacts)> {
        let data: Vec<&str> = self.settings.other_data_nodes().collect();
        self.answers
            .iter()
            .filter(move |(node, _)| data.contains(node))
            .filter_map(|(node, answer)| Some((*node, answer.report.facts.as_ref()?)))
    }

    /// The same, of this cluster.
    pub fn cluster(&self, known: SystemId) -> impl Iterator<Item = (&'a str, &'a NodeFacts)> {
        self.others().filter(move |(_, facts)| facts.system_identifier == known)
    }

    /// The primary of the highest timeline among those heard; none also if there are two.
    pub fn primary(&self, known: SystemId) -> Option<(&'a str, &'a NodeFacts)> {
        let primaries = || self.cluster(known).filter(|(_, facts)| facts.role == Role::Primary);
        let timeline = primaries().map(|(_, facts)| facts.timeline).max()?;
        let mut best = primaries().filter(|(_, facts)| facts.timeline == timeline);
        best.next().filter(|_| best.next().is_none())
    }

    /// A majority acks this node because an operator chose it among the primaries of its timeline.
    pub fn is_chosen(&self, timeline: u32) -> bool {
        let chose = self.fresh.iter().filter_map(|voter| self.answers.get(voter)?.vote.leader.as_ref());
        chose.filter(|l| l.chosen && l.node == self.settings.node && l.timeline == timeline).count()
            >= self.settings.majority()
    }

    /// What is left of the hold-down; none: it is over.
    pub fn hold_down(&self, view: &View<'_>) -> Result<(), Option<Duration>> {
        let needed = self.needed();
        // An ack of harepd ends no lease, so its time counts from a lease after it first named this node.
        let clear = |voter: &&str| match self.answers.get(*voter) {
            Some(answer) => answer.vote.clear_for,
            None => {
                let since = self.named_since.get(*voter).copied().unwrap_or(view.round.asked);
                between(after(since, self.settings.hold()), view.round.asked)
            }
        };
        let mut clear: Vec<Duration> = self.fresh.iter().map(clear).collect();
        clear.sort_unstable_by(|a, b| b.cmp(a));
        let reached = clear.get(self.settings.majority() - 1).copied();
        if reached.is_some_and(|reached| reached >= needed) || self.others_have_closed() {
            return Ok(());
        }
        Err(reached.map(|reached| needed - reached))
    }

    /// How long a majority must have been clear: what remains of the hold-down when the last lease has ended, by the
    /// strictest of the gates that were heard, and by the slowest clock.
    fn needed(&self) -> Duration {
        let theirs = self.answers.values().map(|a| a.terms.hold_down.saturating_sub(a.terms.lease));
        let own = self.settings.hold_down.saturating_sub(self.settings.lease);
        self.settings.stretched(theirs.fold(own, Duration::max))
    }

    /// Every other data node says itself that it is closed, and has been for as long as the proxy needs to notice.
    /// That a node does not open right after saying so rests on the voters' exclusion, which harepd does not have.
    fn others_have_closed(&self) -> bool {
        let detection = self.settings.stretched(self.settings.detection);
        let own_acks = self.fresh.difference(&self.by_harepd).count();
        own_acks >= self.settings.majority()
            && self.settings.other_data_nodes().all(|node| {
                self.answers.get(node).is_some_and(|answer| {
                    matches!(answer.report.rw, RwDoor::Closed { since } if since >= detection)
                        && !answer.report.operator_open
                })
            })
    }
}
