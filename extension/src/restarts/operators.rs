//! What operators do by hand: end a restart, freeze and thaw a cluster, forget a host, name FleetLock ids.

use super::clusters;
use super::effects::Effects;
use super::world::World;
use crate::clock;
use crate::events::{self, Event};
use crate::jobs;
use crate::store::{self, Store};
use goahead_rules::hostname::{Fqdn, HolderId};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use serde_json::json;

/// The restart in force of a host, or of a FleetLock id; an error if there is none.
fn in_force(store: &mut Store<'_, '_>, name: &str, cluster: Option<&str>) -> (i64, i32, String, String) {
    let fqdn = Fqdn::parse(name).map(|fqdn| fqdn.as_str().to_owned()).unwrap_or_default();
    let found = store.rows(
        "SELECT id, cluster_id, cluster, holder FROM goahead._restart
          WHERE ended_at IS NULL AND cluster = coalesce($3, cluster)
            AND (kind = 'goahead' AND holder = $1 OR kind = 'fleetlock' AND (holder = $2 OR holder IN
                 (SELECT n.holder FROM goahead._fleetlock_name n WHERE n.fqdn = $1)))
          ORDER BY id",
        &[fqdn.into(), name.into(), cluster.into()],
        |row| (row.get(1), row.get(2), row.get(3), row.get(4)),
    );
    match <[_; 1]>::try_from(found) {
        Ok([one]) => one,
        Err(none) if none.is_empty() => store::fail(
            PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
            format!("{name:?} has no restart in force"),
            "SELECT * FROM goahead.restarts WHERE ended_at IS NULL lists them",
        ),
        Err(_) => store::fail(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("{name:?} holds slots of several clusters"),
            "name the cluster as the third argument, as in goahead.complete_restart(id, note, cluster)",
        ),
    }
}

fn end(name: Option<&str>, note: Option<&str>, cluster: Option<&str>, state: &'static str) {
    let name = store::said(name, "the host", "give the host's name, or the id of a FleetLock client");
    let note =
        store::said(note, "the note", "say in a few words why the restart ends by hand; it is kept in its history");
    store::decide(|store| {
        let clock = clock::settled(store);
        let (id, cluster_id, ..) = in_force(store, name, cluster);
        store.lock(store::CLUSTER_LOCK, cluster_id);
        // It may have ended while the lock was waited for.
        let (id, cluster_id, cluster, holder) = match in_force(store, name, cluster) {
            found if found.0 == id => found,
            _ => store::fail(
                PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "the restart has just changed",
                "try again",
            ),
        };
        store.durable();
        if state == "completed" {
            let mut world = World::new(clock);
            world.load_clusters(store, &[cluster_id]);
            world.load_open(store, &[cluster_id]);
            let open =
                world.clusters.get(&cluster_id).and_then(|row| row.open.iter().find(|open| open.id == id).cloned());
            if let Some(open) = open {
                world.load_hosts(store, vec![holder]);
                let mut effects = Effects::default();
                effects.complete(&mut world, cluster_id, &open, Some(note));
                effects.write(store, &world);
            }
        } else {
            store.run(
                "UPDATE goahead._restart SET state = $2, ended_at = pg_catalog.clock_timestamp(), checking = false WHERE id = $1",
                &[id.into(), state.into()],
            );
            jobs::drop_checks(store, &[id]);
            store.run(
                "UPDATE goahead._host SET request_id = NULL, request_epoch = NULL, request_us = NULL, request_at = NULL WHERE fqdn = $1",
                &[holder.as_str().into()],
            );
            let event = Event {
                kind: state,
                cluster: Some(cluster),
                subject: Some(holder),
                detail: json!({ "restart": id, "note": note }),
            };
            events::write(store, &[event]);
        }
        let actor = store::actor(store);
        store.run(
            "UPDATE goahead._restart SET ended_by = $2, note = $3 WHERE id = $1",
            &[id.into(), actor.into(), note.into()],
        );
    });
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn complete_restart(fqdn: Option<&str>, note: Option<&str>, cluster: default!(Option<&str>, "NULL")) {
    end(fqdn, note, cluster, "completed");
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn fail_restart(fqdn: Option<&str>, note: Option<&str>, cluster: default!(Option<&str>, "NULL")) {
    end(fqdn, note, cluster, "failed");
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn cancel_restart(fqdn: Option<&str>, note: Option<&str>, cluster: default!(Option<&str>, "NULL")) {
    end(fqdn, note, cluster, "cancelled");
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn freeze(cluster: Option<&str>, reason: Option<&str>, until: default!(Option<TimestampWithTimeZone>, "NULL")) {
    let cluster = store::said(cluster, "the cluster", clusters::WHICH);
    let reason = store::said(reason, "the reason of a freeze", "hosts that are denied are told it, so write one");
    store::decide(|store| {
        let id = clusters::id_of(store, cluster);
        store.lock(store::CLUSTER_LOCK, id);
        store.durable();
        let actor = store::actor(store);
        let past = store.first(
            "UPDATE goahead._cluster SET frozen_reason = $2, frozen_until = $3, frozen_at = pg_catalog.clock_timestamp(), frozen_by = $4
              WHERE id = $1 RETURNING coalesce($3 <= pg_catalog.clock_timestamp(), false), frozen_until::pg_catalog.text",
            &[id.into(), reason.into(), until.into(), actor.into()],
            |row| (row.get::<bool>(1), row.opt::<String>(2)),
        );
        let Some((past, until)) = past else {
            clusters::id_of(store, cluster);
            return;
        };
        if past {
            store::fail(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "the end of the freeze is in the past",
                "give a later time, or none for a freeze until goahead.thaw",
            );
        }
        let detail = json!({ "reason": reason, "until": until });
        events::write(store, &[Event { kind: "frozen", cluster: Some(cluster.to_owned()), subject: None, detail }]);
    });
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn thaw(cluster: Option<&str>) {
    let cluster = store::said(cluster, "the cluster", clusters::WHICH);
    store::decide(|store| {
        let id = clusters::id_of(store, cluster);
        store.lock(store::CLUSTER_LOCK, id);
        store.durable();
        let thawed = store.run(
            "UPDATE goahead._cluster SET frozen_reason = NULL, frozen_until = NULL, frozen_at = NULL, frozen_by = NULL
              WHERE id = $1 AND frozen_reason IS NOT NULL",
            &[id.into()],
        );
        if thawed > 0 {
            events::write(
                store,
                &[Event { kind: "thawed", cluster: Some(cluster.to_owned()), subject: None, detail: json!({}) }],
            );
        }
    });
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn forget_host(fqdn: Option<&str>) -> bool {
    let name = store::said(fqdn, "the host", "give the host's fully qualified domain name");
    let name = match Fqdn::parse(name) {
        Ok(fqdn) => fqdn.as_str().to_owned(),
        Err(problem) => store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("fqdn is not a host name: {problem}"),
            "give the host's fully qualified domain name",
        ),
    };
    store::decide(|store| {
        store.lock(store::HOST_LOCK, store::name_key(&name));
        let held = store.first(
            "SELECT cluster FROM goahead._restart WHERE holder = $1 AND kind = 'goahead' AND ended_at IS NULL",
            &[name.as_str().into()],
            |row| row.get::<String>(1),
        );
        if let Some(cluster) = held {
            store::fail(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{name} holds a go-ahead of cluster {cluster}"),
                "end it first, with goahead.fail_restart(fqdn, note)",
            );
        }
        let cluster = store.first(
            "DELETE FROM goahead._host h USING goahead._cluster c WHERE h.fqdn = $1 AND c.id = h.cluster_id RETURNING c.name",
            &[name.as_str().into()],
            |row| row.get::<String>(1),
        );
        let unknown = store.run("DELETE FROM goahead._unknown_host WHERE name = $1", &[name.as_str().into()]);
        if cluster.is_none() && unknown == 0 {
            return false;
        }
        let event = Event { kind: "host_forgotten", cluster, subject: Some(name), detail: json!({}) };
        events::write(store, &[event]);
        true
    })
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn name_fleetlock_id(id: Option<&str>, fqdn: Option<&str>) {
    let id = store::said(id, "the id", "give the id that the FleetLock client sends");
    let fqdn = store::said(fqdn, "the host", "give the host's fully qualified domain name");
    let (id, fqdn) = match (HolderId::parse(id), Fqdn::parse(fqdn)) {
        (Ok(id), Ok(fqdn)) => (id.as_str().to_owned(), fqdn.as_str().to_owned()),
        (Err(problem), _) | (_, Err(problem)) => store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            problem.to_string(),
            "give the id that the FleetLock client sends and the host's fully qualified domain name",
        ),
    };
    store::decide(|store| {
        store.begin();
        store.run(
            "INSERT INTO goahead._fleetlock_name (holder, fqdn) VALUES ($1, $2) ON CONFLICT (holder) DO UPDATE SET fqdn = EXCLUDED.fqdn",
            &[id.into(), fqdn.into()],
        );
    });
}
