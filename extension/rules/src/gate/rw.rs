//! The read-write door.

use super::decide::Known;
use super::facts::{Downstream, NodeFacts, Role};
use super::migration;
use super::reason::Reason;
use super::settings::Isolated;
use super::verdict::{Rw, Topology};
use super::voter::after;
use super::wire::{Micros, Refusal, Report, RwDoor};

/// An open door.
pub(super) struct Open {
    pub rw: Rw,
    pub until: Micros,
    pub why: Reason,
}

/// Opens, or every reason not to.
pub(super) fn judge(known: &Known<'_>, me: &NodeFacts) -> Result<Open, Vec<Reason>> {
    if me.role != Role::Primary {
        return Err(vec![Reason::InRecovery]);
    }
    let order = known.view.manual.rw(known.view.now);
    if let Some(order) = order.filter(|order| !order.open) {
        return Err(vec![Reason::OperatorClose { why: order.reason.clone() }]);
    }
    let facts_until = known.facts_until(me);
    let closed = match by_lease(known, me) {
        Ok(mut open) => {
            open.until = open.until.min(facts_until);
            return Ok(open);
        }
        Err(closed) => closed,
    };
    let Some(order) = order else { return Err(closed) };
    let live = live_elsewhere(known);
    if !live.is_empty() {
        return Err(live);
    }
    let until = known.round_until().min(facts_until).min(order.until);
    Ok(Open { rw: Rw::Operator, until, why: Reason::OperatorOpen { why: order.reason.clone() } })
}

/// What a majority allows, or a synchronous standby.
fn by_lease(known: &Known<'_>, me: &NodeFacts) -> Result<Open, Vec<Reason>> {
    let mut closed = sources(known);
    closed.extend(rivals(known, me));
    let settings = known.settings;
    let (voters, need) = (settings.members.len(), settings.majority());
    let continuous = known.view.is_continuous();
    // Only who is open already may live on acks of earlier rounds: that a closed door does not open on an old ack is
    // what `others_have_closed` relies on.
    let acks: Vec<String> = if continuous {
        known.round.acks.keys().cloned().collect()
    } else {
        known.round.fresh.iter().map(|voter| (*voter).to_owned()).collect()
    };
    if !continuous {
        closed.extend(open_elsewhere(known));
    }
    if known.view.witness_names_us != Some(true) {
        closed.extend(migration::doubts(settings, known.view));
    }
    match known.round.majority_until() {
        Some(until) if acks.len() >= need => {
            if !continuous && let Err(left) = known.round.hold_down(known.view) {
                closed.push(Reason::HoldDown { left });
            }
            // The last ack of the other ends before the next round is decided, and who is closed then is kept no more.
            let kept = kept_by_sync(known, me).filter(|kept| kept.until > until);
            let open = kept.unwrap_or(Open { rw: Rw::Lease, until, why: Reason::Majority { acks, voters, need } });
            if closed.is_empty() { Ok(open) } else { Err(closed) }
        }
        _ => {
            if let Some(open) = kept_by_sync(known, me).filter(|_| closed.is_empty()) {
                return Ok(open);
            }
            closed.push(Reason::NoMajority { acks, voters, need });
            closed.extend(known.round.missing.iter().cloned());
            Err(closed)
        }
    }
}

fn sources(known: &Known<'_>) -> Vec<Reason> {
    let names_other = |says: &Topology| match says {
        Topology::Others { nodes } => Some(nodes.clone()),
        _ => None,
    };
    let sources = known.view.sources.iter();
    sources
        .filter_map(|source| {
            Some(Reason::SourceNamesOther { source_name: source.source.clone(), nodes: names_other(&source.says)? })
        })
        .collect()
}

/// Nodes that are ahead of this one, or beside it.
fn rivals(known: &Known<'_>, me: &NodeFacts) -> Vec<Reason> {
    let rival = |(node, facts): (&str, &NodeFacts)| {
        let node = node.to_owned();
        if facts.timeline > me.timeline {
            Some(Reason::OldTimeline { node, theirs: facts.timeline, mine: me.timeline })
        } else if facts.timeline == me.timeline && facts.role == Role::Primary {
            (!known.round.is_chosen(me.timeline)).then_some(Reason::Conflict { node, timeline: me.timeline })
        } else {
            None
        }
    };
    known.round.cluster(me.system_identifier).filter_map(rival).collect()
}

/// Peers whose read-write door is open, by their own word.
fn open_elsewhere(known: &Known<'_>) -> Vec<Reason> {
    let others = known.round.answers.iter().filter(|(node, _)| **node != known.settings.node);
    // An order that its node cannot follow, being a standby or down, holds up nobody.
    let ordered = |report: &Report| {
        report.operator_open && report.facts.as_ref().is_some_and(|facts| facts.role == Role::Primary)
    };
    others
        .filter(|(_, answer)| answer.report.rw == RwDoor::Open || ordered(&answer.report))
        .map(|(node, answer)| Reason::PeerOpen { node: (*node).to_owned(), operator: answer.report.operator_open })
        .collect()
}

/// The same, and those that a voter has acked: an operator's open must not stand beside a lease.
fn live_elsewhere(known: &Known<'_>) -> Vec<Reason> {
    let mut live = open_elsewhere(known);
    for (voter, answer) in &known.round.answers {
        if let Some(held) = answer.vote.held.as_ref().filter(|held| held.node != known.settings.node) {
            let (voter, node) = ((*voter).to_owned(), held.node.clone());
            live.push(Reason::AckedOther { voter, node, left: held.left });
        }
    }
    live
}

/// With two nodes nobody opens without this node's own vote, which it holds; the standby that still streams shows that
/// no operator promoted and opened it either. It keeps a door open and opens none.
fn kept_by_sync(known: &Known<'_>, me: &NodeFacts) -> Option<Open> {
    let settings = known.settings;
    if settings.isolated != Isolated::KeepIfSync || settings.members.len() != 2 || !known.view.is_continuous() {
        return None;
    }
    let unanswered = known.round.missing.iter().all(|missing| {
        matches!(
            missing,
            Reason::Silent { .. } | Reason::Stale { .. } | Reason::Refused { why: Refusal::Abstains { .. }, .. }
        )
    });
    let own = known.round.acks.get(&settings.node).copied().filter(|_| unanswered)?;
    let now = known.view.now;
    let sync = me.downstream.iter().filter(|d| d.state == "streaming" && is_sync(d));
    let (reply_age, standby) = sync.filter_map(|d| Some((d.reply_age?, d))).min_by_key(|(age, _)| *age)?;
    let replied = now.saturating_sub(Micros::try_from((me.age + reply_age).as_micros()).ok()?);
    let until = own.min(after(replied, settings.lease));
    let why = Reason::KeptBySync { standby: standby.name.clone() };
    (now < until).then_some(Open { rw: Rw::KeptBySync, until, why })
}

fn is_sync(downstream: &Downstream) -> bool {
    matches!(downstream.sync_state.as_str(), "sync" | "quorum")
}
