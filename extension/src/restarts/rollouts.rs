//! Rollouts: one call has every host of a cluster restart once, within the cluster's limits.

use super::clusters;
use crate::clock;
use crate::events::{self, Event};
use crate::store;
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn start_rollout(cluster: Option<&str>, reason: Option<&str>) -> i64 {
    let cluster = store::said(cluster, "the cluster", clusters::WHICH);
    let reason =
        store::said(reason, "the reason of a rollout", "every host is told it as the reason to restart, so write one");
    store::decide(|store| {
        let clock = clock::settled(store);
        let id = clusters::id_of(store, cluster);
        store.lock(store::CLUSTER_LOCK, id);
        store.durable();
        let running = store.first(
            "SELECT id, reason FROM goahead._rollout WHERE cluster_id = $1 AND ended_at IS NULL",
            &[id.into()],
            |row| format!("rollout {} ({})", row.get::<i64>(1), row.get::<String>(2)),
        );
        if let Some(running) = running {
            store::fail(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{running} of cluster {cluster} is still running"),
                "wait for its end or stop it with goahead.stop_rollout",
            );
        }
        let actor = store::actor(store);
        let rollout: i64 = store
            .first(
                "INSERT INTO goahead._rollout (cluster_id, cluster, reason, boundary, started_epoch, started_us, started_by)
                 VALUES ($1, $2, $3, pg_catalog.nextval('goahead._restart_id_seq'), $4, $5, $6) RETURNING id",
                &[id.into(), cluster.into(), reason.into(), clock.now.epoch.into(), clock.now.us.into(), actor.into()],
                |row| row.get(1),
            )
            .expect("INSERT RETURNING gives its row");
        let detail = json!({ "rollout": rollout, "reason": reason });
        events::write(
            store,
            &[Event { kind: "rollout_started", cluster: Some(cluster.to_owned()), subject: None, detail }],
        );
        rollout
    })
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn stop_rollout(id: i64) {
    store::decide(|store| {
        store.begin();
        store.durable();
        let cluster = store.first(
            "UPDATE goahead._rollout SET ended_at = pg_catalog.clock_timestamp(), outcome = 'stopped'
              WHERE id = $1 AND ended_at IS NULL RETURNING cluster",
            &[id.into()],
            |row| row.get::<String>(1),
        );
        let Some(cluster) = cluster else {
            store::fail(
                PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
                format!("no rollout {id} is running"),
                "SELECT * FROM goahead.rollouts lists them",
            )
        };
        let detail = json!({ "rollout": id });
        events::write(store, &[Event { kind: "rollout_stopped", cluster: Some(cluster), subject: None, detail }]);
    });
}
