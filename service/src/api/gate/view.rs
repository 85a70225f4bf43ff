//! A snapshot as Patroni's table and Patroni's status document want it.

use std::collections::BTreeMap;

use goahead_rules::gate::{self, Program, Replication, Status, Xlog};
use jiff::Timestamp;

use crate::gate::Gate;
use crate::gate::clock;
use crate::gate::settings::Settings;
use crate::gate::snapshot::{Local, Snapshot};

/// The version of Patroni whose paths and keys these are.
const PATRONI: &str = "4.1.0";
/// Patroni's own `maximum_lag_on_failover`, in bytes.
const READINESS_LAG: u64 = 1 << 20;

/// What paths are judged by.
pub fn judged(settings: &Settings, snapshot: &Snapshot) -> gate::Snapshot {
    let local = snapshot.local.as_ref();
    gate::Snapshot {
        live: snapshot.is_live(clock::now()),
        rw_open: snapshot.rw_open(),
        ro_open: snapshot.ro_open(),
        running: is_running(snapshot),
        in_recovery: local.map(|local| local.in_recovery),
        replication_state: local.and_then(replication_state),
        replay_lag: lag(snapshot, local.and_then(|local| local.replayed_lsn)),
        receive_lag: lag(snapshot, local.and_then(|local| local.received_lsn)),
        sync: sync_state(snapshot) == Some("sync"),
        quorum: sync_state(snapshot) == Some("quorum"),
        readiness_lag: settings.read_only.max_lag.unwrap_or(READINESS_LAG),
        tags: BTreeMap::new(),
        paused: is_paused(snapshot),
        loop_age: (snapshot.round > 0).then(|| snapshot.age()),
        ttl: settings.timings.lease,
    }
}

/// `/patroni`, and the body of health paths.
pub fn status(gate: &Gate, snapshot: &Snapshot, scope: &str) -> Status {
    let local = snapshot.local.as_ref();
    let in_recovery = local.is_some_and(|local| local.in_recovery);
    Status {
        state: state(snapshot),
        postmaster_start_time: local.and_then(|local| time(local.postmaster_start_us)),
        role: if local.is_some() && !in_recovery { "primary" } else { "replica" },
        server_version: local.map(|local| local.server_version),
        xlog: local.and_then(xlog),
        timeline: local.and_then(|local| local.timeline),
        replication: local.map(replication).unwrap_or_default(),
        replication_state: local.and_then(replication_state),
        sync_standby: sync_state(snapshot) == Some("sync"),
        quorum_standby: sync_state(snapshot) == Some("quorum"),
        cluster_unlocked: snapshot.leader.is_none(),
        pause: is_paused(snapshot),
        dcs_last_seen: last_seen(snapshot),
        database_system_identifier: local.map(|local| local.system_identifier),
        tags: BTreeMap::new(),
        patroni: Program { version: PATRONI.to_owned(), scope: scope.to_owned(), name: gate.settings().node.clone() },
    }
}

/// The local database answers and is not about to end.
pub fn is_running(snapshot: &Snapshot) -> bool {
    snapshot.local.as_ref().is_some_and(|local| !local.stopping)
}

/// As Patroni names it.
pub fn state(snapshot: &Snapshot) -> &'static str {
    match &snapshot.local {
        Some(local) if local.stopping => "stopping",
        Some(_) => "running",
        None if snapshot.round == 0 => "starting",
        None => "stopped",
    }
}

/// An operator's order has not run out.
pub fn is_paused(snapshot: &Snapshot) -> bool {
    snapshot.order.as_ref().is_some_and(|order| order.until_us > clock::wall())
}

/// Seconds since 1970 of the round, where a majority was heard in it.
pub fn last_seen(snapshot: &Snapshot) -> Option<i64> {
    let heard = 1 + snapshot.peers.iter().filter(|peer| peer.heard).count();
    let majority = u32::try_from(heard).is_ok_and(|heard| snapshot.round > 0 && heard >= snapshot.votes.needed);
    majority.then_some(snapshot.wall_us / 1_000_000)
}

/// How the node that leads lists this standby among those that stream from it, by its `application_name`; none where
/// nothing tells.
pub fn sync_state(snapshot: &Snapshot) -> Option<&str> {
    let leader = snapshot.leader.as_ref()?;
    let peer = snapshot.peers.iter().find(|peer| peer.heard && peer.label == leader.node)?;
    let facts = peer.report.as_ref()?.facts.as_ref()?;
    let names = [Some(snapshot.node.as_str()), snapshot.local.as_ref().map(|local| local.cluster_name.as_str())];
    let this =
        |standby: &&gate::Downstream| names.contains(&Some(standby.name.as_str())) && standby.state == "streaming";
    facts.downstream.iter().find(this).map(|standby| standby.sync_state.as_str())
}

/// Bytes behind the node that leads; none where that is unknown or this node is no standby.
pub fn lag(snapshot: &Snapshot, position: Option<u64>) -> Option<u64> {
    let local = snapshot.local.as_ref().filter(|local| local.in_recovery)?;
    let sent = local.receiver.as_ref().and_then(|receiver| receiver.latest_end_lsn);
    let leader = snapshot.leader.as_ref().and_then(|leader| leader.lsn).max(sent);
    Some(leader?.saturating_sub(position?))
}

/// As Patroni names it.
fn replication_state(local: &Local) -> Option<String> {
    if !local.in_recovery {
        return None;
    }
    match &local.receiver {
        Some(receiver) if receiver.status == "streaming" => Some("streaming".to_owned()),
        None if local.archive_recovery => Some("in archive recovery".to_owned()),
        _ => None,
    }
}

fn xlog(local: &Local) -> Option<Xlog> {
    if !local.in_recovery {
        return local.current_lsn.map(|location| Xlog::Primary { location });
    }
    let replayed_location = local.replayed_lsn?;
    Some(Xlog::Standby {
        received_location: local.received_lsn.unwrap_or(replayed_location),
        replayed_location,
        replayed_timestamp: local.replayed_us.and_then(time),
        paused: local.replay_paused,
    })
}

fn replication(local: &Local) -> Vec<Replication> {
    let one = |standby: &crate::gate::snapshot::Downstream| Replication {
        usename: standby.usename.clone(),
        application_name: standby.application_name.clone(),
        client_addr: standby.client_addr.clone(),
        state: standby.state.clone().unwrap_or_default(),
        sync_state: standby.sync_state.clone().unwrap_or_default(),
        sync_priority: standby.sync_priority,
    };
    local.downstream.iter().map(one).collect()
}

/// Microseconds since 1970 as Patroni prints a time: `2026-01-02 03:04:05.000006+00:00`.
fn time(us: i64) -> Option<String> {
    let time = Timestamp::from_microsecond(us).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S%.6f+00:00").to_string())
}
