//! What a node knows of itself: everything that a gate asks, in one call that works on a standby.

use super::server;
use crate::{config, store};
use goahead_hba_file::{Stamp, boottime};
use goahead_rules::hba;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn node_state() -> JsonB {
    let mut state = native();
    state["extension"] = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "gate": config::gate(),
        "watchdog_ms": config::gate().then(config::gate_watchdog),
        "rules": rules(),
    });
    JsonB(state)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn topology() -> JsonB {
    let native = native();
    let path = server::hba_file();
    let stamp = Stamp::read(&path).ok().flatten();
    let live = Stamp::live(&path).ok().flatten().is_some();
    let gate = stamp.map(|stamp| {
        json!({
            "node": stamp.node, "live": live, "rw": live && stamp.rw, "ro": live && stamp.ro, "pid": stamp.pid,
            "expires_in_ms": live.then(|| (stamp.expires_us - boottime()) / 1_000),
        })
    });
    let open = goahead_hba_file::read(&path).map(|text| hba::open_gated(&text)).unwrap_or_default();
    let primary = native["in_recovery"] == json!(false);
    JsonB(json!({
        "role": if primary { "primary" } else { "standby" },
        "system_identifier": native["system_identifier"],
        "timeline": native["timeline"],
        "upstream": native["wal_receiver"],
        "downstream": native["replication"],
        "gate": gate,
        "open_rules": open,
        "stand_in": goahead_hba_file::is_shut(&path),
    }))
}

/// How many rules there are, and how many of them are gated.
fn rules() -> Value {
    let (all, gated) = store::read(|store| {
        let row = store.first(
            "SELECT count(*), count(*) FILTER (WHERE r.applies <> 'any') FROM goahead._hba_rule r",
            &[],
            |row| (row.get::<i64>(1), row.get::<i64>(2)),
        );
        row.expect("a SELECT of aggregates gives one row")
    });
    json!({ "all": all, "gated": gated })
}

/// Facts that the server itself tells, none of them from a replicated table.
fn native() -> Value {
    let text: String = store::read(|store| {
        server::as_superuser(store, |store| store.first(NATIVE, &[], |row| row.get(1)).expect("one row"))
    });
    serde_json::from_str(&text).expect("the server writes JSON")
}

// pg_walfile_name and pg_current_wal_lsn are errors on a standby, hence the CASE. Identifiers are text: JSON numbers lose
// their last digits in many readers.
const NATIVE: &str = "SELECT pg_catalog.jsonb_build_object(
    'in_recovery', r.it,
    'system_identifier', c.system_identifier::pg_catalog.text,
    'timeline', CASE WHEN r.it THEN coalesce((SELECT w.received_tli FROM pg_catalog.pg_stat_wal_receiver w), (SELECT k.timeline_id FROM pg_catalog.pg_control_checkpoint() k))
                     ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::pg_catalog.bit(32)::int END,
    'current_lsn', CASE WHEN NOT r.it THEN pg_catalog.pg_current_wal_lsn()::pg_catalog.text END,
    'received_lsn', pg_catalog.pg_last_wal_receive_lsn()::pg_catalog.text,
    'replayed_lsn', pg_catalog.pg_last_wal_replay_lsn()::pg_catalog.text,
    'replayed_at', pg_catalog.pg_last_xact_replay_timestamp(),
    'replay_paused', CASE WHEN r.it THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,
    'server_version', pg_catalog.current_setting('server_version_num')::int,
    'postmaster_start', pg_catalog.pg_postmaster_start_time(),
    'now', pg_catalog.clock_timestamp(),
    'hba_file', pg_catalog.current_setting('hba_file'),
    'data_directory', pg_catalog.current_setting('data_directory'),
    'port', pg_catalog.current_setting('port')::int,
    'listen_addresses', pg_catalog.current_setting('listen_addresses'),
    'unix_socket_directories', pg_catalog.current_setting('unix_socket_directories'),
    'ssl', pg_catalog.current_setting('ssl')::boolean,
    'cluster_name', pg_catalog.current_setting('cluster_name'),
    'synchronous_standby_names', pg_catalog.current_setting('synchronous_standby_names'),
    'synchronous_commit', pg_catalog.current_setting('synchronous_commit'),
    'archive_recovery', pg_catalog.current_setting('restore_command') <> '',
    'wal_receiver', (SELECT pg_catalog.jsonb_build_object(
            'status', w.status, 'sender_host', w.sender_host, 'sender_port', w.sender_port, 'slot', w.slot_name,
            'timeline', w.received_tli, 'flushed_lsn', w.flushed_lsn::pg_catalog.text, 'latest_end_lsn', w.latest_end_lsn::pg_catalog.text,
            'receipt_age_us', (extract(epoch FROM pg_catalog.clock_timestamp() - w.last_msg_receipt_time) * 1000000)::bigint)
        FROM pg_catalog.pg_stat_wal_receiver w),
    'replication', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'usename', s.usename, 'application_name', s.application_name, 'client_addr', pg_catalog.host(s.client_addr), 'state', s.state,
            'sync_state', s.sync_state, 'sync_priority', s.sync_priority, 'replay_lsn', s.replay_lsn::pg_catalog.text,
            'reply_age_us', (extract(epoch FROM pg_catalog.clock_timestamp() - s.reply_time) * 1000000)::bigint)
            ORDER BY s.application_name, s.pid), '[]') FROM pg_catalog.pg_stat_replication s)
)::pg_catalog.text
  FROM (SELECT pg_catalog.pg_is_in_recovery() AS it) r, pg_catalog.pg_control_system() c";
