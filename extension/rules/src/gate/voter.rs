//! A voter: whom it acks, and what it must remember for that.

use super::Settings;
use super::facts::{NodeFacts, Role, SystemId};
use super::wire::{Ack, Ask, Held, Leader, Micros, PROTOCOL, Refusal, Report, Vote, Want};
use std::collections::BTreeMap;
use std::time::Duration;

/// The last ack that was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Hold {
    node: String,
    boot_id: String,
    until: Micros,
}

/// What a member last said of its database. A database that is down changes nothing: it may come back as it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seen {
    system_identifier: SystemId,
    timeline: u32,
    primary: bool,
}

/// A voter's memory. It lives in one process and is gone with it: that is why a new one abstains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Voter {
    /// Until then it may have forgotten an ack.
    abstains_until: Micros,
    last: Option<Hold>,
    /// When the last ack ended of anybody but the holder of `last`.
    others_until: Micros,
    /// The cluster that it first acked a primary of.
    cluster: Option<SystemId>,
    seen: BTreeMap<String, Seen>,
    /// Whom an operator chose among several primaries of one timeline.
    chosen: Option<(String, u32)>,
}

/// `at` and a duration later.
pub(super) fn after(at: Micros, duration: Duration) -> Micros {
    at.saturating_add(Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX))
}

/// From `from` to `to`, zero when that is past.
pub(super) fn between(from: Micros, to: Micros) -> Duration {
    Duration::from_micros(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

impl Voter {
    /// A voter that has just started.
    pub fn new(settings: &Settings, now: Micros) -> Self {
        let abstains_until = after(now, settings.hold());
        Self {
            abstains_until,
            last: None,
            others_until: abstains_until,
            cluster: None,
            seen: BTreeMap::new(),
            chosen: None,
        }
    }

    /// Judges an ask. `own` are the facts of this voter's own database, none for a witness or when it does not answer.
    ///
    /// `now` must have been taken after the ask came in; if the process stops between the two, or calls overtake each
    /// other, an older `now` only refuses more.
    pub fn judge(&mut self, settings: &Settings, ask: &Ask, own: Option<&NodeFacts>, now: Micros) -> Vote {
        if let Err(why) = acquainted(settings, ask) {
            return self.vote(ask, refused(why), now);
        }
        if let Some(own) = own {
            self.note(settings, &settings.node, own);
        }
        self.hear(settings, &ask.from, &ask.report);
        let ack = match ask.want {
            Want::Nothing => Ack::NotAsked,
            Want::Ack | Want::OperatorAck => match self.refusal(settings, ask, own, now) {
                Some(why) => refused(why),
                None => {
                    self.grant(settings, ask, now);
                    Ack::Granted
                }
            },
        };
        self.vote(ask, ack, now)
    }

    /// Takes note of what a member said of itself in an answer.
    pub fn hear(&mut self, settings: &Settings, node: &str, report: &Report) {
        if let Some(facts) = &report.facts
            && node != settings.node
        {
            self.note(settings, node, facts);
        }
    }

    /// The ack that is in force.
    pub fn held(&self, now: Micros) -> Option<Held> {
        let held = self.last.as_ref().filter(|hold| now < hold.until)?;
        Some(Held { node: held.node.clone(), left: between(now, held.until) })
    }

    /// For how much longer it abstains; none: it votes.
    pub fn abstains(&self, now: Micros) -> Option<Duration> {
        Some(between(now, self.abstains_until)).filter(|left| !left.is_zero())
    }

    fn note(&mut self, settings: &Settings, node: &str, facts: &NodeFacts) {
        // The database of a witness is a cluster of its own.
        if settings.members.iter().any(|member| member.name == node && !member.witness) {
            let primary = facts.role == Role::Primary;
            let seen = Seen { system_identifier: facts.system_identifier, timeline: facts.timeline, primary };
            self.seen.insert(node.to_owned(), seen);
        }
    }

    /// Whom it would ack, and why not.
    fn refusal(&self, settings: &Settings, ask: &Ask, own: Option<&NodeFacts>, now: Micros) -> Option<Refusal> {
        let facts = match &ask.report.facts {
            Some(facts) if facts.role == Role::Primary && !facts.shutting_down => facts,
            _ => return Some(Refusal::NotPrimary),
        };
        if settings.members.iter().any(|member| member.name == ask.from && member.witness) {
            return Some(Refusal::NotPrimary);
        }
        let own = own.filter(|_| !settings.is_witness()).map(|own| own.system_identifier);
        let known = settings.system_identifier.or(own).or(self.cluster);
        if let Some(theirs) = known.filter(|known| *known != facts.system_identifier) {
            return Some(Refusal::OtherCluster { theirs });
        }
        if now < self.abstains_until {
            return Some(Refusal::Abstains { left: between(now, self.abstains_until) });
        }
        if let Some(hold) = self.last.as_ref().filter(|hold| now < hold.until) {
            if hold.node != ask.from {
                return Some(Refusal::HeldByOther { node: hold.node.clone(), left: between(now, hold.until) });
            }
            if hold.boot_id != ask.boot_id {
                return Some(Refusal::HeldByNamesake { node: hold.node.clone() });
            }
        }
        if ask.want == Want::OperatorAck {
            return None;
        }
        let (timeline, primaries) = self.highest(facts.system_identifier);
        if facts.timeline < timeline {
            return Some(Refusal::OldTimeline { timeline, leader: primaries.first().map(|node| (*node).to_owned()) });
        }
        let chosen = self.chosen.as_ref().is_some_and(|(node, at)| *node == ask.from && *at == timeline);
        if primaries.len() > 1 && !chosen {
            return Some(Refusal::Conflict { timeline, nodes: primaries.into_iter().map(str::to_owned).collect() });
        }
        None
    }

    /// The highest timeline that is known of a cluster, and those that are primaries on it.
    fn highest(&self, cluster: SystemId) -> (u32, Vec<&str>) {
        let ours = || self.seen.iter().filter(|(_, seen)| seen.system_identifier == cluster);
        let timeline = ours().map(|(_, seen)| seen.timeline).max().unwrap_or(0);
        let primaries = ours().filter(|(_, seen)| seen.primary && seen.timeline == timeline);
        (timeline, primaries.map(|(node, _)| node.as_str()).collect())
    }

    fn grant(&mut self, settings: &Settings, ask: &Ask, now: Micros) {
        let mut until = after(now, settings.hold());
        match self.last.take() {
            // An ask that was overtaken by a later one shortens nothing.
            Some(hold) if hold.node == ask.from && hold.boot_id == ask.boot_id => until = until.max(hold.until),
            Some(hold) => self.others_until = self.others_until.max(hold.until),
            None => {}
        }
        self.last = Some(Hold { node: ask.from.clone(), boot_id: ask.boot_id.clone(), until });
        if let Some(facts) = &ask.report.facts {
            self.cluster.get_or_insert(facts.system_identifier);
            if ask.want == Want::OperatorAck {
                self.chosen = Some((ask.from.clone(), facts.timeline));
            }
        }
    }

    fn vote(&self, ask: &Ask, ack: Ack, now: Micros) -> Vote {
        let mine = |hold: &Hold| hold.node == ask.from && hold.boot_id == ask.boot_id;
        let last_other = self.last.as_ref().filter(|hold| !mine(hold)).map_or(Micros::MIN, |hold| hold.until);
        let others = self.others_until.max(last_other);
        Vote {
            ack,
            clear_for: between(others, now),
            held: self.held(now),
            abstains: self.abstains(now),
            leader: self.leader(ask),
        }
    }

    fn leader(&self, ask: &Ask) -> Option<Leader> {
        let cluster = self.cluster.or(ask.report.facts.as_ref().map(|facts| facts.system_identifier))?;
        let (timeline, primaries) = self.highest(cluster);
        let chosen = self.chosen.as_ref().filter(|(node, at)| *at == timeline && primaries.contains(&node.as_str()));
        let node = match (chosen, primaries.as_slice()) {
            (Some((node, _)), _) => node.clone(),
            (None, [only]) => (*only).to_owned(),
            (None, _) => return None,
        };
        Some(Leader { node, system_identifier: cluster, timeline, chosen: chosen.is_some() })
    }
}

fn refused(why: Refusal) -> Ack {
    Ack::Refused { why }
}

/// Both sides mean the same cluster, the same voters and the same lease.
fn acquainted(settings: &Settings, ask: &Ask) -> Result<(), Refusal> {
    if ask.protocol != PROTOCOL {
        return Err(Refusal::OtherProtocol { theirs: PROTOCOL });
    }
    if ask.to != settings.node || !settings.members.iter().any(|member| member.name == ask.from) {
        return Err(Refusal::Stranger { from: ask.from.clone() });
    }
    if ask.want != Want::Nothing {
        let terms = settings.terms();
        if ask.terms.voters != terms.voters {
            return Err(Refusal::OtherVoters { theirs: terms.voters });
        }
        // A voter that restarts abstains for its own lease only.
        if ask.terms.lease > terms.lease {
            return Err(Refusal::LongerLease { theirs: terms.lease });
        }
    }
    Ok(())
}
