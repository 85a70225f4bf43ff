//! What time brings about when nobody calls: deadlines, ended rollouts, refreshed counts, retention.

use super::effects::Effects;
use super::world::World;
use crate::events::{self, Event};
use crate::store::{self, Store};
use goahead_rules::lease::Clock;
use serde_json::json;

/// Names of unknown hosts that are kept.
const UNKNOWN: i64 = 10_000;
/// Restarts that one round drops at most.
const TRIMMED: i64 = 10_000;

/// Judges the deadlines of every cluster with restarts in force; one that is busy is judged by whoever holds it.
pub fn deadlines(store: &mut Store<'_, '_>, clock: Clock) -> usize {
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

/// Counts, ended rollouts, retention. Gives how many rows were dropped.
pub fn housekeeping(store: &mut Store<'_, '_>) -> usize {
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
    // The newest of a cluster tells when it granted last.
    trimmed += store.run(
        "DELETE FROM goahead._restart WHERE id IN (
             SELECT r.id FROM goahead._restart r
              WHERE r.ended_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(mins => $1)
                AND r.id < (SELECT max(n.id) FROM goahead._restart n WHERE n.cluster_id = r.cluster_id)
              LIMIT $2)",
        &[crate::config::restart_retention().into(), TRIMMED.into()],
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
