//! How a lock is set up: slots, lock-delay, policy, halting.

use super::{operations, sweep};
use crate::clock;
use crate::events::{self, Event};
use crate::sets::{plain, span};
use crate::store::{self, Store};
use goahead_rules::duration::GoDuration;
use goahead_rules::operation::OnFailure;
use pgrx::datum::Interval;
use pgrx::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn set_lock(
    lock: Option<&str>,
    slots: default!(Option<i32>, "NULL"),
    lock_delay: default!(Option<Interval>, "NULL"),
    policy: default!(Option<&str>, "NULL"),
    on_failure: default!(Option<&str>, "NULL"),
) {
    let name = plain(lock, "lock");
    if slots.is_some_and(|slots| !(1..=1_000_000).contains(&slots)) {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "slots is out of range",
            "a lock has 1 to 1000000 slots",
        );
    }
    let on_failure = on_failure.map(|text| {
        text.parse::<OnFailure>().unwrap_or_else(|problem| {
            store::fail(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                problem,
                "on_failure is 'continue', or 'halt': nobody is granted the lock after a failed operation until goahead.resume_unit or goahead.resume_lock",
            )
        })
    });
    let delay = lock_delay.map(|delay| span(&delay, "lock_delay", 0));
    store::decide(|store| {
        if let Some(policy) = policy.filter(|policy| !policy.is_empty()) {
            check_policy(store, policy);
        }
        store.lock(store::LOCK_LOCK, store::name_key(name));
        store.run(
            "INSERT INTO goahead._lock (name, slots, configured, last_token)
             VALUES ($1, coalesce($2, 1), true, coalesce((SELECT f.token FROM goahead._lock_floor f), 0)) ON CONFLICT (name) DO NOTHING",
            &[name.into(), slots.into()],
        );
        store.durable();
        store.run(
            "UPDATE goahead._lock SET slots = coalesce($2, slots), delay_us = coalesce($3, delay_us), configured = true, policy_error = NULL,
                    policy = CASE WHEN $4 IS NULL THEN policy ELSE nullif($4, '') END, on_failure = coalesce($5, on_failure)
              WHERE name = $1",
            &[
                name.into(),
                slots.into(),
                delay.map(GoDuration::as_micros).into(),
                policy.into(),
                on_failure.map(OnFailure::as_str).into(),
            ],
        );
        store.run(
            "DELETE FROM goahead._lock_rest s USING goahead._lock l WHERE l.name = $1 AND l.delay_us = 0 AND s.lock_id = l.id",
            &[name.into()],
        );
        let detail = json!({
            "slots": slots, "lock_delay": delay.map(|delay| delay.to_string()), "policy": policy,
            "on_failure": on_failure.map(OnFailure::as_str),
        });
        events::write(store, &[Event { kind: "lock_set", cluster: None, subject: Some(name.to_owned()), detail }]);
        // There may be more slots for those who wait.
        let clock = clock::settled(store);
        sweep::tick(store, &BTreeSet::from([name]), clock);
    });
}

fn check_policy(store: &mut Store<'_, '_>, policy: &str) {
    let valid = store.first("SELECT goahead._is_policy($1)", &[policy.into()], |row| row.get::<bool>(1));
    if valid != Some(true) {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("{policy:?} is no policy"),
            "name a function as in 'ops.two_at_a_time(text, text, text[], text[])' that returns boolean, and grant EXECUTE on it to goahead_policy",
        );
    }
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn drop_lock(lock: Option<&str>) -> bool {
    let name = plain(lock, "lock");
    store::decide(|store| {
        store.lock(store::LOCK_LOCK, store::name_key(name));
        let found =
            store.first("SELECT id FROM goahead._lock WHERE name = $1", &[name.into()], |row| row.get::<i32>(1));
        let Some(id) = found else { return false };
        let used =
            store.first("SELECT true FROM goahead._lock_request WHERE lock_id = $1 LIMIT 1", &[id.into()], |_| ());
        if used.is_some() {
            store::fail(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("lock {name} is held or waited for"),
                "see goahead.locks and goahead.lock_queue; goahead.break_lock takes a hold away",
            );
        }
        if operations::wait_for(store, name) {
            store::fail(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("operations wait for lock {name}"),
                "see goahead.operations; goahead.drop_operation drops one",
            );
        }
        forget(store, id);
        let event = Event { kind: "lock_dropped", cluster: None, subject: Some(name.to_owned()), detail: json!({}) };
        events::write(store, &[event]);
        true
    })
}

/// Deletes an idle lock; its tokens are never drawn again.
pub fn forget(store: &mut Store<'_, '_>, id: i32) {
    store.run(
        "INSERT INTO goahead._lock_floor AS f (token) SELECT l.last_token FROM goahead._lock l WHERE l.id = $1
         ON CONFLICT (singleton) DO UPDATE SET token = greatest(f.token, EXCLUDED.token)",
        &[id.into()],
    );
    store.run("DELETE FROM goahead._lock WHERE id = $1", &[id.into()]);
}
