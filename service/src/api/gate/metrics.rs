//! `/metrics` of the gate, taken from the snapshot at each scrape: Patroni's names, which dashboards know, and our own.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Encoder, GaugeVec, IntCounter, Opts, Registry, TextEncoder};

use super::view;
use crate::gate::Gate;
use crate::gate::clock;
use crate::gate::snapshot::{Local, Snapshot, Why};

/// Labels of Patroni's metrics.
const PATRONI: [&str; 2] = ["scope", "name"];

/// Everything in Prometheus' text format.
pub fn render(gate: &Gate, snapshot: &Snapshot, scope: &str) -> String {
    let page = Page { registry: Registry::new(), scope, name: &gate.settings().node };
    patroni(&page, snapshot);
    own(&page, gate, snapshot);
    peers(&page, snapshot);
    let mut text = Vec::new();
    // Writing to memory cannot fail.
    let _ = TextEncoder::new().encode(&page.registry.gather(), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

struct Page<'a> {
    registry: Registry,
    scope: &'a str,
    name: &'a str,
}

impl Page<'_> {
    fn family(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let family = GaugeVec::new(Opts::new(name, help), labels).expect("the name is a literal that fits");
        self.registry.register(Box::new(family.clone())).expect("every name is registered once");
        family
    }

    fn patroni(&self, name: &str, help: &str, value: f64) {
        self.family(name, help, &PATRONI).with_label_values(&[self.scope, self.name]).set(value);
    }

    fn own(&self, name: &str, help: &str, value: f64) {
        self.family(name, help, &[]).with_label_values::<&str>(&[]).set(value);
    }

    fn counter(&self, name: &str, help: &str, value: &AtomicU64) {
        let counter = IntCounter::new(name, help).expect("the name is a literal that fits");
        counter.inc_by(value.load(Ordering::Relaxed));
        self.registry.register(Box::new(counter)).expect("every name is registered once");
    }
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Positions and times fit exactly up to 2^53.
fn large(value: u64) -> f64 {
    value as f64
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

/// Names and meanings of Patroni's own `/metrics`.
fn patroni(page: &Page<'_>, snapshot: &Snapshot) {
    let local = snapshot.local.as_ref();
    let running = view::is_running(snapshot);
    let standby = local.filter(|local| local.in_recovery);
    let receiver = standby.and_then(|local| local.receiver.as_ref());
    let position = |of: Option<&Local>, at: fn(&Local) -> Option<u64>| of.and_then(at).map(large).unwrap_or_default();
    page.patroni("patroni_postgres_running", "Value is 1 if Postgres is running, 0 otherwise.", flag(running));
    page.patroni(
        "patroni_postmaster_start_time",
        "Epoch seconds since Postgres started.",
        local.map(|local| seconds(local.postmaster_start_us)).unwrap_or_default(),
    );
    page.patroni(
        "patroni_primary",
        "Value is 1 if this node takes read-write traffic, 0 otherwise.",
        flag(snapshot.rw_open()),
    );
    page.patroni("patroni_standby_leader", "Value is 1 if this node is a standby leader, 0 otherwise.", 0.0);
    page.patroni("patroni_replica", "Value is 1 if this node is a replica, 0 otherwise.", flag(standby.is_some()));
    page.patroni(
        "patroni_sync_standby",
        "Value is 1 if this node is a sync standby, 0 otherwise.",
        flag(view::sync_state(snapshot) == Some("sync")),
    );
    page.patroni(
        "patroni_xlog_location",
        "Current location of the Postgres transaction log, 0 if this node is a replica.",
        position(local.filter(|local| !local.in_recovery), |local| local.current_lsn),
    );
    page.patroni(
        "patroni_xlog_received_location",
        "Current location of the received Postgres transaction log, 0 if this node is the primary.",
        position(standby, |local| local.received_lsn),
    );
    page.patroni(
        "patroni_xlog_replayed_location",
        "Current location of the replayed Postgres transaction log, 0 if this node is the primary.",
        position(standby, |local| local.replayed_lsn),
    );
    page.patroni(
        "patroni_xlog_replayed_timestamp",
        "Current timestamp of the replayed Postgres transaction log, 0 if null.",
        standby.and_then(|local| local.replayed_us).map(seconds).unwrap_or_default(),
    );
    page.patroni(
        "patroni_xlog_paused",
        "Value is 1 if the Postgres xlog is paused, 0 otherwise.",
        flag(standby.is_some_and(|local| local.replay_paused)),
    );
    page.patroni(
        "patroni_postgres_streaming",
        "Value is 1 if Postgres is streaming, 0 otherwise.",
        flag(receiver.is_some_and(|receiver| receiver.status == "streaming")),
    );
    page.patroni(
        "patroni_postgres_in_archive_recovery",
        "Value is 1 if Postgres is replicating from archive, 0 otherwise.",
        flag(receiver.is_none() && standby.is_some_and(|local| local.archive_recovery)),
    );
    page.patroni(
        "patroni_postgres_server_version",
        "Version of Postgres (if running), 0 otherwise.",
        local.map(|local| f64::from(local.server_version)).unwrap_or_default(),
    );
    page.patroni(
        "patroni_cluster_unlocked",
        "Value is 1 if no node is known to lead, 0 if one does.",
        flag(snapshot.leader.is_none()),
    );
    page.patroni(
        "patroni_postgres_timeline",
        "Postgres timeline of this node (if running), 0 otherwise.",
        local.and_then(|local| local.timeline).map(f64::from).unwrap_or_default(),
    );
    page.patroni(
        "patroni_dcs_last_seen",
        "Epoch timestamp of the round in which a majority of voters was last heard, 0 if none was in the last one.",
        view::last_seen(snapshot).map(|seconds| seconds as f64).unwrap_or_default(),
    );
    page.patroni(
        "patroni_is_paused",
        "Value is 1 while an operator's order is in force, 0 otherwise.",
        flag(view::is_paused(snapshot)),
    );
}

fn own(page: &Page<'_>, gate: &Gate, snapshot: &Snapshot) {
    let live = snapshot.is_live(clock::now());
    page.own("goahead_gate_rw_open", "1 while read-write traffic is let in.", flag(snapshot.rw_open()));
    page.own("goahead_gate_ro_open", "1 while read-only traffic is let in.", flag(snapshot.ro_open()));
    page.own("goahead_gate_live", "1 while the verdict counts; 0: everything is closed.", flag(live));
    let age = if snapshot.round == 0 { -1.0 } else { snapshot.age().as_secs_f64() };
    page.own("goahead_gate_verdict_age_seconds", "Age of the verdict; -1 before the first.", age);
    let lease = snapshot.votes.lease_us.map(|until| seconds(until.saturating_sub(clock::now()))).unwrap_or_default();
    page.own("goahead_gate_lease_seconds", "For how long the majority's votes still count; 0: none.", lease.max(0.0));
    page.own("goahead_gate_voters", "Voters in all.", f64::from(snapshot.votes.voters));
    page.own("goahead_gate_votes_needed", "How many votes decide.", f64::from(snapshot.votes.needed));
    page.own("goahead_gate_votes", "Votes for this node in the last round.", f64::from(snapshot.votes.got));
    page.own(
        "goahead_gate_votes_migrated",
        "Answers of harepds that count as votes in the last round.",
        f64::from(snapshot.votes.migrated),
    );
    page.own("goahead_gate_database_up", "1 while the local database answers.", flag(snapshot.local.is_some()));
    page.own(
        "goahead_gate_file_error",
        "1 while pg_hba.conf cannot be written as decided, or would not load.",
        flag(snapshot.applied.error.is_some() || snapshot.applied.mistake.is_some()),
    );
    page.own("goahead_gate_order", "1 while an operator's order is in force.", flag(view::is_paused(snapshot)));
    let reasons = page.family("goahead_gate_reason", "Why a door stands as it does, by code.", &["door", "code"]);
    let doors: [(&str, &[Why]); 2] = [("rw", &snapshot.verdict.rw_reasons), ("ro", &snapshot.verdict.ro_reasons)];
    for (door, whys) in doors {
        for why in whys {
            reasons.with_label_values(&[door, why.code.as_str()]).set(1.0);
        }
    }
    let counters = gate.counters();
    page.counter("goahead_gate_rounds_total", "Rounds that were finished.", &counters.rounds);
    page.counter("goahead_gate_late_rounds_total", "Rounds that began late.", &counters.late_rounds);
    page.counter("goahead_gate_changes_total", "Changes of the verdict.", &counters.changes);
    page.counter("goahead_gate_writes_total", "Writes of pg_hba.conf.", &counters.writes);
    page.counter("goahead_gate_unanswered_total", "Asks of peers without an answer.", &counters.unanswered);
    page.counter("goahead_gate_refused_total", "Asks of peers that were refused.", &counters.refused);
}

fn peers(page: &Page<'_>, snapshot: &Snapshot) {
    let heard = page.family("goahead_gate_peer_heard", "1 when the peer answered in the last round.", &["peer"]);
    let ack = page.family("goahead_gate_peer_ack", "1 when the peer votes for this node.", &["peer"]);
    let took = page.family("goahead_gate_peer_answer_seconds", "How long the peer's last answer took.", &["peer"]);
    for peer in &snapshot.peers {
        let label = [peer.label.as_str()];
        heard.with_label_values(&label).set(flag(peer.heard));
        ack.with_label_values(&label).set(flag(peer.ack));
        if let Some(us) = peer.took_us {
            took.with_label_values(&label).set(large(us) / 1e6);
        }
    }
}
