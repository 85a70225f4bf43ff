//! JSON documents: `/gate`, and Patroni's `/cluster`, `/history` and `/config`.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::view;
use crate::gate::Gate;
use crate::gate::clock;
use crate::gate::settings::{Isolated, Settings};
use crate::gate::snapshot::Snapshot;

/// `/gate`: the verdict with every reason, the peers, the votes, and the settings without secrets.
#[derive(Serialize)]
pub struct Document<'a> {
    /// Whether the verdict counts; an old one is closed
    live: bool,
    /// Whether read-write traffic is let in now
    rw: bool,
    /// Whether read-only traffic is let in now
    ro: bool,
    /// How old the verdict is
    age_ms: u64,
    /// For how long it still counts
    expires_in_ms: u64,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    settings: Value,
    version: &'static str,
}

/// The document of this moment.
pub fn gate<'a>(gate: &Gate, snapshot: &'a Snapshot) -> Document<'a> {
    let left = u64::try_from(snapshot.expires_us.saturating_sub(clock::now())).unwrap_or(0) / 1000;
    Document {
        live: snapshot.is_live(clock::now()),
        rw: snapshot.rw_open(),
        ro: snapshot.ro_open(),
        age_ms: if snapshot.round == 0 { 0 } else { millis(snapshot.age()) },
        expires_in_ms: left,
        snapshot,
        settings: settings(gate.settings()),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Not the connection string, which may hold a password, nor the veto's arguments.
fn settings(settings: &Settings) -> Value {
    let timings = &settings.timings;
    let peers: Vec<Value> = settings
        .peers
        .iter()
        .map(|peer| json!({"name": peer.name, "address": peer.authority(), "witness": peer.witness}))
        .collect();
    json!({
        "listen": settings.listen,
        "peer_listen": settings.peer_listen,
        "agent_check_listen": settings.agent_check_listen,
        "peers": peers,
        "hba_file": settings.hba_file,
        "repmgr_database": settings.repmgr_database,
        "system_identifier": settings.system_identifier.map(|id| id.to_string()),
        "round_ms": millis(timings.round),
        "lease_ms": millis(timings.lease),
        "deadline_ms": millis(timings.deadline),
        "watchdog_ms": millis(timings.watchdog),
        "detection_ms": millis(timings.detection),
        "hold_down_ms": timings.hold_down.map(millis),
        "max_lag_bytes": settings.read_only.max_lag,
        "max_lag_time_ms": settings.read_only.max_lag_time.map(millis),
        "ro_on_primary": settings.read_only.on_primary,
        "isolated": match settings.isolated {
            Isolated::Close => "close",
            Isolated::KeepIfSync => "keep_if_sync",
        },
        "veto": settings.veto.first(),
        "tls": settings.trust.tls.is_some(),
        "secret": settings.trust.secret_file.is_some(),
        "verify_source": settings.trust.verify_source,
        "grpc": settings.grpc,
        "migrate_from_harepd": settings.migrate_from_harepd,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Patroni's `/cluster`: the nodes with data.
pub fn cluster(snapshot: &Snapshot, scope: &str) -> Value {
    let leader = snapshot.leader.as_ref();
    let position = leader.and_then(|leader| leader.lsn);
    let member = |name: &str, state: &str, timeline: Option<u32>, lag: Option<u64>| {
        let leads = leader.is_some_and(|leader| leader.node == name);
        let mut member = json!({"name": name, "role": if leads { "leader" } else { "replica" }, "state": state});
        if let Some(timeline) = timeline {
            member["timeline"] = json!(timeline);
        }
        if !leads {
            member["lag"] = lag.map_or(json!("unknown"), |lag| json!(lag));
        }
        member
    };
    let mut members = Vec::new();
    if !snapshot.witness {
        let local = snapshot.local.as_ref();
        let streams = local.is_some_and(|local| local.receiver.as_ref().is_some_and(|r| r.status == "streaming"));
        let state = if streams { "streaming" } else { view::state(snapshot) };
        let lag = view::lag(snapshot, local.and_then(|local| local.replayed_lsn));
        members.push(member(&snapshot.node, state, local.and_then(|local| local.timeline), lag));
    }
    for peer in snapshot.peers.iter().filter(|peer| !peer.witness) {
        let facts = peer.report.as_ref().and_then(|report| report.facts.as_ref());
        let streams = facts.and_then(|facts| facts.upstream.as_ref()).is_some_and(|upstream| upstream.streaming);
        let state = match (peer.heard, peer.primary, streams) {
            (true, Some(false), true) => "streaming",
            (true, Some(_), _) => "running",
            _ => "unknown",
        };
        let lag = position.zip(peer.lsn).map(|(leader, lsn)| leader.saturating_sub(lsn));
        members.push(member(&peer.label, state, peer.timeline, lag));
    }
    let mut document = json!({"members": members, "scope": scope});
    if view::is_paused(snapshot) {
        document["pause"] = json!(true);
    }
    document
}

/// Patroni's `/history`. The gate promotes nobody; what it saw is in the view `goahead.switchovers`.
pub fn history() -> Value {
    json!([])
}

/// Patroni's `/config`, as far as the gate has such settings; seconds and bytes.
pub fn config(settings: &Settings) -> Value {
    json!({
        "ttl": settings.timings.lease.as_secs_f64(),
        "loop_wait": settings.timings.round.as_secs_f64(),
        "retry_timeout": settings.timings.deadline.as_secs_f64(),
        "maximum_lag_on_failover": settings.read_only.max_lag,
    })
}
