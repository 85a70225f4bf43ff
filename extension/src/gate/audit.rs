//! What gates report of themselves: each entry once, however often it is sent.

use crate::config;
use crate::events::{self, Event};
use crate::store::{self, Store};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};

/// Most entries of one call.
const MOST: usize = 1_024;
/// Longest entry, in bytes.
const LONGEST: usize = 64 * 1024;
const HINT: &str = "give one object or an array of them: id, node, at (RFC 3339), kind (gate_verdict or gate_override), rw, ro, \
                    reasons, actor";

struct Entry {
    id: String,
    node: String,
    at: String,
    kind: &'static str,
    rw: Option<bool>,
    ro: Option<bool>,
    reasons: Value,
    actor: Option<String>,
    whole: Value,
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn record_gate(entries: Option<JsonB>) -> i64 {
    let entries = match entries.map(|entries| entries.0) {
        Some(Value::Array(entries)) if entries.len() <= MOST => entries,
        Some(entry @ Value::Object(_)) => vec![entry],
        _ => refuse("the entries are neither an object nor an array of at most 1024"),
    };
    let entries: Vec<Entry> = entries.into_iter().map(read).collect();
    store::decide(|store| record(store, &entries))
}

fn read(whole: Value) -> Entry {
    let text = |name: &str, longest: usize| match whole.get(name) {
        Some(Value::String(text)) if (1..=longest).contains(&text.len()) && !text.chars().any(char::is_control) => {
            text.clone()
        }
        _ => refuse(&format!("{name} is missing, empty, longer than {longest} bytes, or has control characters")),
    };
    let yes = |name: &str| match whole.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::Bool(yes)) => Some(*yes),
        Some(_) => refuse(&format!("{name} is neither true nor false")),
    };
    let kind = match whole.get("kind").and_then(Value::as_str) {
        Some("gate_verdict") => "gate_verdict",
        Some("gate_override") => "gate_override",
        _ => refuse("the kind is not known"),
    };
    if whole.to_string().len() > LONGEST {
        refuse("an entry is longer than 64 KiB");
    }
    Entry {
        id: text("id", 255),
        node: text("node", 255),
        at: text("at", 64),
        kind,
        rw: yes("rw"),
        ro: yes("ro"),
        reasons: whole.get("reasons").cloned().unwrap_or_else(|| json!([])),
        actor: whole.get("actor").filter(|actor| !actor.is_null()).map(|_| text("actor", 255)),
        whole,
    }
}

fn refuse(message: &str) -> ! {
    store::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, HINT)
}

fn record(store: &mut Store<'_, '_>, entries: &[Entry]) -> i64 {
    store.begin();
    let mut events = Vec::new();
    for entry in entries {
        let new = store.run(
            "INSERT INTO goahead._gate_entry (id, node, at, kind, rw, ro, reasons, actor)
             VALUES ($1, $2, $3::timestamptz, $4, $5, $6, $7::jsonb, $8) ON CONFLICT (id) DO NOTHING RETURNING id",
            &[
                entry.id.as_str().into(),
                entry.node.as_str().into(),
                entry.at.as_str().into(),
                entry.kind.into(),
                entry.rw.into(),
                entry.ro.into(),
                entry.reasons.to_string().into(),
                entry.actor.as_deref().into(),
            ],
        );
        if new > 0 {
            let (subject, detail) = (Some(entry.node.clone()), entry.whole.clone());
            events.push(Event { kind: entry.kind, cluster: None, subject, detail });
        }
    }
    events::write(store, &events);
    i64::try_from(events.len()).unwrap_or(i64::MAX)
}

/// Trims what is older than events are kept; the newest verdict of a node stays, since it still holds.
pub fn housekeeping(store: &mut Store<'_, '_>) -> usize {
    store.run(
        "DELETE FROM goahead._gate_entry e
          WHERE e.at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(mins => $1)
            AND EXISTS (SELECT FROM goahead._gate_entry n WHERE n.node = e.node AND n.kind = 'gate_verdict' AND (n.at, n.id) > (e.at, e.id))
         RETURNING e.id",
        &[config::event_retention().into()],
    )
}
