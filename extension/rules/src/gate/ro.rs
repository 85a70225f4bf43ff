//! The read-only door.

use super::decide::Known;
use super::facts::{NodeFacts, Role, Upstream};
use super::reason::Reason;
use super::wire::Micros;
use std::time::Duration;

/// Opens until then and why, or every reason not to.
pub(super) fn judge(known: &Known<'_>, me: &NodeFacts, rw_open: bool) -> Result<(Micros, Reason), Vec<Reason>> {
    let until = known.facts_until(me).min(known.round_until());
    let order = known.view.manual.ro(known.view.now);
    if let Some(order) = order.filter(|order| !order.open) {
        return Err(vec![Reason::OperatorClose { why: order.reason.clone() }]);
    }
    match me.role {
        // The reads of a primary that is not open may be of a history that is lost: not even an operator opens for those alone.
        Role::Primary if !rw_open => {
            let told = known.settings.ro_on_primary || order.is_some();
            Err(vec![if told { Reason::PrimaryClosed } else { Reason::NotInRecovery }])
        }
        Role::Primary => match order {
            Some(order) => Ok((until.min(order.until), Reason::OperatorOpen { why: order.reason.clone() })),
            None if known.settings.ro_on_primary => Ok((until, Reason::RoOnPrimary)),
            None => Err(vec![Reason::NotInRecovery]),
        },
        Role::Standby => match (order, behind(known, me)) {
            (_, closed) if closed.is_empty() => Ok((until, Reason::Follows)),
            (Some(order), _) => Ok((until.min(order.until), Reason::OperatorOpen { why: order.reason.clone() })),
            (None, closed) => Err(closed),
        },
    }
}

/// Why a standby is not to be read from.
fn behind(known: &Known<'_>, me: &NodeFacts) -> Vec<Reason> {
    let settings = known.settings;
    let mut closed = vec![];
    let streaming = me.upstream.as_ref().filter(|upstream| upstream.streaming);
    if streaming.is_none() && !settings.archive_only {
        closed.push(Reason::NotStreaming);
    }
    if me.replay_paused {
        closed.push(Reason::ReplayPaused);
    }
    let primary = known.round.primary(me.system_identifier);
    if let Some((node, theirs)) = primary.filter(|(_, theirs)| theirs.timeline > me.timeline) {
        closed.push(Reason::FollowsOther { node: node.to_owned(), theirs: theirs.timeline, mine: me.timeline });
    }

    // The sender's word of its end is as good as a primary that is heard, and is there when no gate is.
    let of_sender = streaming.and_then(|upstream| upstream.latest_end_lsn);
    let of_primary = primary.filter(|(_, theirs)| theirs.timeline == me.timeline).map(|(_, theirs)| theirs.lsn);
    let end = of_sender.max(of_primary);
    let received = me.received_lsn.unwrap_or(me.lsn);
    let all_here = match of_primary {
        Some(end) => end <= received,
        None => streaming.is_some_and(|upstream| is_idle(known, me, upstream)),
    };
    let waited = match streaming {
        Some(_) if all_here => Some(me.replay_lag.unwrap_or_default() + me.age),
        Some(upstream) => upstream.receipt_age.max(me.replay_lag).map(|age| age + me.age),
        None => me.replay_age.map(|age| age + me.age),
    };
    match (end, settings.max_lag) {
        (Some(end), Some(limit)) if end.saturating_sub(me.lsn) > limit => {
            closed.push(Reason::LagBytes { bytes: end.saturating_sub(me.lsn), limit });
        }
        _ => {}
    }
    match (waited, settings.max_lag_time) {
        (Some(lag), Some(limit)) if lag > limit => closed.push(Reason::LagTime { lag, limit }),
        _ => {}
    }
    // Nobody can be far behind unseen: one of the two measures must be known, and be limited.
    let by_bytes = end.is_some() && settings.max_lag.is_some() && streaming.is_some();
    let by_time = waited.is_some() && settings.max_lag_time.is_some();
    let unlimited = settings.max_lag.is_none() && settings.max_lag_time.is_none() && streaming.is_some();
    if !by_bytes && !by_time && !unlimited && closed.is_empty() {
        closed.push(Reason::LagUnknown);
    }
    closed
}

/// Whether the silence of the sender is that of one that has nothing to send, all of which is replayed here. A sender that
/// is idle answers when it is asked, and no sooner; one that does not answer may have anything.
fn is_idle(known: &Known<'_>, me: &NodeFacts, upstream: &Upstream) -> bool {
    // The question goes out when it has been silent for that long, and may take as long to be answered as a verdict counts.
    let answered = |quiet: Duration, age: Duration| age + me.age <= quiet + known.settings.lease;
    upstream.latest_end_lsn.is_some_and(|end| end <= me.lsn)
        && upstream.quiet.zip(upstream.receipt_age).is_some_and(|(quiet, age)| answered(quiet, age))
}
