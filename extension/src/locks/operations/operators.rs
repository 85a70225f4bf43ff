//! The SQL functions of operators: unblock, let go on, drop.

use super::conclude::event;
use super::rows;
use super::turn::Turn;
use crate::clock;
use crate::events::{self, Event};
use crate::sets::plain;
use crate::store::{self, Store};
use goahead_rules::lease::Clock;
use goahead_rules::operation::State;
use pgrx::prelude::*;
use serde_json::json;

const WHY: &str = "say in a few words why; it is kept as an event";

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn resume_unit(unit: Option<&str>, note: Option<&str>) -> &'static str {
    let (unit, note) = (plain(unit, "unit"), store::said(note, "the note", WHY));
    store::decide(|store| {
        let clock = rows::enter(store, unit);
        let Some(known) = rows::unit(store, unit) else { return "unknown" };
        let Some(failed) = known.blocked_by else { return "not_blocked" };
        store.durable();
        rows::block(store, unit, None);
        let detail = json!({ "operation": failed, "note": note });
        events::write(store, &[Event { kind: "unit_resumed", cluster: None, subject: Some(unit.to_owned()), detail }]);
        rows::wake(store, &known);
        // Judged under the lock's own lock: of two units that are resumed at once the second finds nobody else blocked.
        if let Some(lock) = rows::lock_of(store, failed)
            && is_halted(store, &lock) == Some(true)
            && !rows::is_another_blocked(store, &lock, unit)
        {
            go_on(store, clock, &lock, note);
        }
        "resumed"
    })
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn resume_lock(lock: Option<&str>, note: Option<&str>) -> &'static str {
    let (lock, note) = (plain(lock, "lock"), store::said(note, "the note", WHY));
    store::decide(|store| {
        let clock = clock::settled(store);
        match is_halted(store, lock) {
            None => "unknown",
            Some(false) => "not_halted",
            Some(true) => {
                go_on(store, clock, lock, note);
                "resumed"
            }
        }
    })
}

/// Waits for the lock's own lock; none if there is no such lock.
fn is_halted(store: &mut Store<'_, '_>, lock: &str) -> Option<bool> {
    store.lock(store::LOCK_LOCK, store::name_key(lock));
    store
        .first("SELECT halted FROM goahead._lock WHERE name = $1", &[lock.into()], |row| row.opt::<String>(1).is_some())
}

fn go_on(store: &mut Store<'_, '_>, clock: Clock, lock: &str, note: &str) {
    store.durable();
    let mut turn = Turn::take(store, clock, lock, "", false);
    let detail = json!({ "halted": turn.halted(), "note": note });
    events::write(store, &[Event { kind: "lock_resumed", cluster: None, subject: Some(lock.to_owned()), detail }]);
    turn.resume(store);
    turn.write(store);
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn drop_operation(id: Option<i64>, reason: Option<&str>) -> &'static str {
    let reason = store::said(reason, "the reason", WHY);
    let id = id.unwrap_or_else(|| {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the id is null",
            "goahead.operations lists what has not ended",
        )
    });
    store::decide(|store| {
        let Some(unit) = rows::unit_of(store, id) else { return "unknown" };
        let clock = rows::enter(store, &unit);
        let Some(entry) = rows::open(store, id) else { return "ended" };
        let mut turn = Turn::take(store, clock, &entry.operation.work.lock, &unit, true);
        let is_first = rows::first(store, &unit).is_some_and(|first| first.operation.id == id);
        let runs = entry.operation.state != State::Queued;
        if runs && entry.operation.token.is_some_and(|token| turn.holds(&unit, token)) {
            if turn.is_guarded(&unit) {
                return "guarded";
            }
            turn.take_away(store, &unit, reason);
        } else if is_first {
            turn.withdraw(store, &unit);
        }
        rows::save(store, &entry, Some("dropped"), Some(reason));
        events::write(store, &[event("operation_dropped", &unit, &entry, json!({ "reason": reason }))]);
        turn.write(store);
        "dropped"
    })
}

/// The unit is gone: what it has not done is dropped.
pub fn forget(store: &mut Store<'_, '_>, unit: &str) {
    rows::enter(store, unit);
    if rows::forget(store, unit) > 0 {
        let event =
            Event { kind: "operations_dropped", cluster: None, subject: Some(unit.to_owned()), detail: json!({}) };
        events::write(store, &[event]);
    }
}
