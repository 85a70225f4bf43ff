//! The decision of one round.

use super::Settings;
use super::facts::{NodeFacts, Role, SystemId};
use super::heard::Round;
use super::migration;
use super::reason::Reason;
use super::verdict::{Manual, Rw, SourceSays, Topology, Verdict, View};
use super::voter::{after, between};
use super::wire::{Micros, Want};
use super::{ro, rw};

/// What to ask the voters for: an ack only while nothing at this node itself closes the read-write door, so that a node
/// that cannot open holds up nobody.
pub fn wants(
    settings: &Settings,
    me: Option<&NodeFacts>,
    manual: &Manual,
    sources: &[SourceSays],
    veto: Option<&str>,
    previous: Option<&Verdict>,
    now: Micros,
) -> Want {
    let primary = me.is_some_and(|me| {
        me.role == Role::Primary
            && !me.shutting_down
            && me.age <= settings.lease
            && settings.system_identifier.is_none_or(|known| known == me.system_identifier)
    });
    match manual.rw(now) {
        _ if !primary || settings.is_witness() || veto.is_some() => Want::Nothing,
        Some(order) if order.open => Want::OperatorAck,
        Some(_) => Want::Nothing,
        None if sources.iter().any(|source| matches!(source.says, Topology::Others { .. })) => Want::Nothing,
        None if previous.is_some_and(migration::is_in_doubt) => Want::Nothing,
        None => Want::Ack,
    }
}

/// What both doors need to know.
pub(super) struct Known<'a> {
    pub settings: &'a Settings,
    pub view: &'a View<'a>,
    pub round: Round<'a>,
    pub system_identifier: Option<SystemId>,
}

impl Known<'_> {
    /// Until when this node's facts may be relied on.
    pub fn facts_until(&self, me: &NodeFacts) -> Micros {
        let age = Micros::try_from(me.age.as_micros()).unwrap_or(Micros::MAX);
        after(self.view.now.saturating_sub(age), self.settings.lease)
    }

    /// Until when a verdict of this round may count at most.
    pub fn round_until(&self) -> Micros {
        after(self.view.round.asked, self.settings.lease)
    }

    /// What keeps either door closed, whoever asks.
    fn common(&self) -> Result<&NodeFacts, Reason> {
        if self.settings.is_witness() {
            return Err(Reason::Witness);
        }
        let me = self.view.me.ok_or(Reason::DatabaseDown)?;
        if me.age > self.settings.lease {
            return Err(Reason::FactsOld { age: me.age });
        }
        if me.shutting_down {
            return Err(Reason::ShuttingDown);
        }
        if let Some(known) = self.system_identifier.filter(|known| *known != me.system_identifier) {
            return Err(Reason::OtherCluster { mine: me.system_identifier, known });
        }
        if let Some(why) = self.view.veto {
            return Err(Reason::Veto { why: why.to_owned() });
        }
        Ok(me)
    }
}

/// Decides how the doors are to stand, and until when.
///
/// A verdict says nothing about how a door stands; who applies one opens only while [`Verdict::may_begin`], reports the
/// door open before it begins, and closes when [`Verdict::is_live`] ends.
pub fn decide(settings: &Settings, view: &View<'_>) -> Verdict {
    let previous = view.own_previous();
    let mine = view.me.filter(|_| !settings.is_witness()).map(|me| me.system_identifier);
    let known = settings.system_identifier.or(previous.and_then(|p| p.system_identifier)).or(mine);
    let known = Known { settings, view, round: Round::new(settings, view, previous), system_identifier: known };

    let (write, read) = match known.common() {
        Ok(me) => {
            let write = rw::judge(&known, me);
            let read = ro::judge(&known, me, write.as_ref().is_ok_and(|open| view.now < open.until));
            (write, read)
        }
        Err(reason) => (Err(vec![reason.clone()]), Err(vec![reason])),
    };
    let mut warnings = known.round.warnings.clone();
    warnings.extend(sources_say(view));
    warnings.extend(known.system_identifier.into_iter().flat_map(|ours| strangers(&known, ours)));
    if write.as_ref().is_ok_and(|open| open.rw != Rw::Operator) || wants_nothing(&known) {
        warnings.extend(known.round.missing.iter().cloned());
    }

    let expires = match (&write, &read) {
        (Ok(write), _) => write.until,
        (Err(_), Ok((until, _))) => *until,
        (Err(_), Err(_)) => known.round_until(),
    };
    let open_by = after(view.round.asked, settings.round).min(expires);
    let primary = known.primary(write.is_ok());
    let mut verdict = Verdict {
        incarnation: view.round.incarnation,
        round: view.round.number,
        rw: write.as_ref().map_or(Rw::Closed, |open| open.rw),
        ro: read.is_ok(),
        asked: view.round.asked,
        decided: view.now,
        expires,
        open_by,
        rw_reasons: write.map_or_else(|closed| closed, |open| vec![open.why]),
        ro_reasons: read.map_or_else(|closed| closed, |(_, why)| vec![why]),
        warnings,
        acks: known.round.acks,
        primary,
        system_identifier: known.system_identifier,
        named_since: known.round.named_since,
        contradicted: migration::contradicted(settings, view),
    };
    verdict.close_if_late(settings);
    verdict
}

impl Verdict {
    /// A decision that came so late that its lease has ended opens nothing.
    fn close_if_late(&mut self, settings: &Settings) {
        if self.is_live(self.decided) {
            return;
        }
        let reason = Reason::Late { took: between(self.asked, self.decided), lease: settings.lease };
        for (open, reasons) in [(self.rw != Rw::Closed, &mut self.rw_reasons), (self.ro, &mut self.ro_reasons)] {
            if open {
                *reasons = vec![reason.clone()];
            }
        }
        (self.rw, self.ro) = (Rw::Closed, false);
    }
}

impl Known<'_> {
    fn primary(&self, open: bool) -> Option<String> {
        let heard = self.system_identifier.and_then(|known| self.round.primary(known)).map(|(node, _)| node.to_owned());
        if open { Some(self.settings.node.clone()) } else { heard }
    }
}

fn wants_nothing(known: &Known<'_>) -> bool {
    known.view.me.is_none_or(|me| me.role == Role::Standby) || known.settings.is_witness()
}

fn sources_say(view: &View<'_>) -> Vec<Reason> {
    let standby = view.me.is_some_and(|me| me.role == Role::Standby);
    let say = |source: &SourceSays| match &source.says {
        Topology::Unreadable { why } => {
            Some(Reason::SourceUnreadable { source_name: source.source.clone(), why: why.clone() })
        }
        Topology::Nobody => Some(Reason::SourceEmpty { source_name: source.source.clone() }),
        Topology::Us if standby => Some(Reason::SourceDisagrees { source_name: source.source.clone() }),
        Topology::Us | Topology::Others { .. } => None,
    };
    view.sources.iter().filter_map(say).collect()
}

fn strangers(known: &Known<'_>, ours: SystemId) -> Vec<Reason> {
    let other = |(node, facts): (&str, &NodeFacts)| {
        (facts.system_identifier != ours).then(|| Reason::PeerOfOtherCluster {
            node: node.to_owned(),
            theirs: facts.system_identifier,
            known: ours,
        })
    };
    known.round.others().filter_map(other).collect()
}
