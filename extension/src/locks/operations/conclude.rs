//! What follows when an attempt has ended: for the operation, for its unit, for the lock.

use super::rows::{self, Entry};
use super::turn::Turn;
use crate::events::{self, Event};
use crate::store::Store;
use goahead_rules::operation::{OnFailure, Verdict};
use serde_json::{Value, json};

/// What an operator would want to know of an operation later.
pub fn event(kind: &'static str, unit: &str, entry: &Entry, more: Value) -> Event {
    let operation = &entry.operation;
    let mut detail = json!({
        "operation": operation.id, "lock": operation.work.lock, "action": operation.work.action,
        "attempt": operation.attempt,
    });
    if let (Some(detail), Value::Object(more)) = (detail.as_object_mut(), more) {
        detail.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Event { kind, cluster: None, subject: Some(unit.to_owned()), detail }
}

/// Writes the end of an attempt. A lock that is to be halted is halted before anything is given back, so that nobody
/// is granted it in between.
pub fn conclude(
    store: &mut Store<'_, '_>,
    turn: &mut Turn,
    unit: &str,
    entry: &mut Entry,
    verdict: Verdict,
    said: Option<&str>,
) {
    let more = json!({ "detail": said });
    match verdict {
        Verdict::Hold => rows::save(store, entry, None, said),
        Verdict::Retry => {
            entry.ticket = turn.draw();
            rows::save(store, entry, None, said);
            events::write(store, &[event("operation_retried", unit, entry, more)]);
        }
        Verdict::Done => {
            rows::save(store, entry, Some("done"), said);
            rows::apply(store, unit, &entry.operation);
            events::write(store, &[event("operation_done", unit, entry, more)]);
        }
        Verdict::Failed => {
            rows::save(store, entry, Some("failed"), said);
            rows::block(store, unit, Some(entry.operation.id));
            let mut told =
                vec![event("operation_failed", unit, entry, more), event("unit_blocked", unit, entry, json!({}))];
            let facts = turn.facts();
            if facts.on_failure == OnFailure::Halt && facts.halted.is_none() {
                let reason = format!("operation {} of {unit} failed", entry.operation.id);
                let detail = json!({ "operation": entry.operation.id, "unit": unit });
                told.push(Event { kind: "lock_halted", cluster: None, subject: Some(facts.name.clone()), detail });
                facts.halt(Some(reason));
            }
            events::write(store, &told);
        }
    }
}
