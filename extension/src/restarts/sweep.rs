//! What time brings about when nobody calls: deadlines, ended rollouts, refreshed counts, retention.

use super::effects::Effects;
use super::world::World;
use crate::clock;
use crate::events::{self, Event};
use crate::store::{self, Store};
use goahead_rules::lease::Clock;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

/// Names of unknown hosts that are kept.
const UNKNOWN: i64 = 10_000;

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn sweep() -> JsonB {
    store::decide(|store| {
        // Notes a new epoch in a transaction that is short, before one that somebody left open has to.
        let clock = clock::settled(store);
        let clusters = deadlines(store, clock);
        let trimmed = housekeeping(store);
        JsonB(json!({ "clusters": clusters, "trimmed": trimmed, "next_ms": 1_000 }))
    })
}

/// Judges the deadlines of every cluster with restarts in force; one that is busy is judged by whoever holds it.
fn deadlines(store: &mut Store<'_, '_>, clock: Clock) -> usize {
    let running = store.rows(
        "SELECT DISTINCT cluster_id FROM goahead._restart WHERE ended_at IS NULL ORDER BY cluster_id",
        &[],
        |row| row.get::<i32>(1),
    );
    if running.is_empty() {
        return 0;
    }
    let mut world = World::new(clock);
    world.load_clusters(store, &running);
    world.load_open(store, &running);
    // Only where something is due is the lock taken, and judged again under it.
    let due: Vec<i32> = world
        .clusters
        .values()
        .filter(|cluster| {
            cluster.open.iter().any(|open| {
                let deadline = goahead_rules::restart::deadline(open, &cluster.settings, clock);
                deadline.start_checks || deadline.panic.is_some()
            })
        })
        .map(|cluster| cluster.id)
        .collect();
    let locked: Vec<i32> = due.into_iter().filter(|id| store.try_lock(store::CLUSTER_LOCK, *id)).collect();
    if locked.is_empty() {
        return 0;
    }
    world.load_clusters(store, &locked);
    world.load_open(store, &locked);
    let mut effects = Effects::default();
    for id in &locked {
        effects.deadlines(&mut world, *id);
    }
    effects.write(store, &world);
    locked.len()
}

/// Once a minute, by one sweep at a time: counts, ended rollouts, retention.
fn housekeeping(store: &mut Store<'_, '_>) -> usize {
    let due = store.first(
        "SELECT true FROM goahead._housekeeping WHERE at > pg_catalog.clock_timestamp() - interval '60 s'",
        &[],
        |_| (),
    );
    if due.is_some() || !store.try_lock(store::SINGLE_LOCK, store::SWEEP) {
        return 0;
    }
    store.run(
        "INSERT INTO goahead._housekeeping (at) VALUES (pg_catalog.clock_timestamp()) ON CONFLICT (singleton) DO UPDATE SET at = EXCLUDED.at",
        &[],
    );
    store.run(
        "UPDATE goahead._cluster c SET known_hosts = n.hosts
           FROM (SELECT k.id, count(h.fqdn)::int AS hosts FROM goahead._cluster k LEFT JOIN goahead._host h ON h.cluster_id = k.id GROUP BY k.id) n
          WHERE c.id = n.id AND c.known_hosts <> n.hosts",
        &[],
    );
    let mut trimmed = store.run(
        "DELETE FROM goahead._unknown_host WHERE name IN (SELECT name FROM goahead._unknown_host ORDER BY last_seen DESC OFFSET $1)",
        &[UNKNOWN.into()],
    );
    trimmed += store.run(
        "DELETE FROM goahead._event WHERE at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(mins => $1)",
        &[crate::config::event_retention().into()],
    );
    trimmed += store.run(
        "DELETE FROM goahead._job WHERE state IN ('done', 'failed', 'dropped') AND finished_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(mins => $1)
            AND NOT EXISTS (SELECT FROM goahead._restart r WHERE r.id = restart_id AND r.ended_at IS NULL)",
        &[crate::config::job_retention().into()],
    );
    let ended = store.rows(
        "UPDATE goahead._rollout SET ended_at = pg_catalog.clock_timestamp(), outcome = 'done'
          WHERE ended_at IS NULL AND id IN (SELECT r.id FROM goahead.rollouts r WHERE r.remaining = 0 AND r.running = 0 AND r.done > 0)
         RETURNING id, cluster",
        &[],
        |row| Event {
            kind: "rollout_done",
            cluster: Some(row.get(2)),
            subject: None,
            detail: json!({ "rollout": row.get::<i64>(1) }),
        },
    );
    events::write(store, &ended);
    trimmed
}
