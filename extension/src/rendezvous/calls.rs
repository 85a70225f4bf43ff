//! The SQL functions of the rendezvous, singly for psql and in sets for the service.

use super::engine;
use super::points::Points;
use super::wire::{self, Call, Op, Outcome, Watch};
use crate::clock;
use crate::events::{self, Event};
use crate::sets::{self, Invalid, plain, span};
use crate::store;
use pgrx::JsonB;
use pgrx::datum::Interval;
use pgrx::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn judge_rendezvous(calls: &str, wait: default!(bool, "true")) -> String {
    let items = sets::items(calls, r#"{"op": "signal", "key": …}"#);
    let calls: Vec<Result<Call, Invalid>> = items.into_iter().map(Call::read).collect();
    let outcomes = store::decide(|store| engine::run(store, &calls, wait));
    serde_json::to_string(&outcomes).expect("outcomes are plain data")
}

/// Runs one call for psql: an invalid one is an error.
fn one(key: &str, op: Op) -> Outcome {
    let call = Call { key: key.to_owned(), op }.check().unwrap_or_else(|invalid| invalid.raise());
    let outcomes = store::decide(|store| engine::run(store, &[Ok(call)], true));
    match outcomes.into_iter().next().expect("one call, one outcome") {
        Outcome { outcome: "invalid", message, hint, .. } => {
            Invalid { message: message.unwrap_or_default(), hint: hint.unwrap_or_default() }.raise()
        }
        outcome => outcome,
    }
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn signal(key: Option<&str>, payload: default!(Option<JsonB>, "NULL"), ttl: default!(Option<Interval>, "NULL")) {
    let key = plain(key, "key");
    wire::check_reserved(key).unwrap_or_else(|invalid| invalid.raise());
    one(key, Op::Signal(payload.map(|json| json.0), ttl.map(|ttl| span(&ttl, "ttl", 1_000))));
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn unsignal(key: Option<&str>) -> bool {
    one(plain(key, "key"), Op::Unsignal).outcome == "unsignalled"
}

#[pg_extern(stable, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn is_signalled(key: Option<&str>) -> TableIterator<'static, (name!(ok, bool), name!(payload, Option<JsonB>))> {
    let key = plain(key, "key");
    let outcome = store::read(|store| {
        let clock = clock::glimpsed(store);
        Points::read(store, &BTreeSet::from([key]), clock).signalled(key)
    });
    TableIterator::once((outcome.is_some(), outcome.and_then(|outcome| outcome.payload).map(JsonB)))
}

/// This session among the services.
fn session() -> String {
    // SAFETY: a plain global of this backend.
    format!("session {}", unsafe { pg_sys::MyProcPid })
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn _watch(key: Option<&str>) -> TableIterator<'static, (name!(ok, bool), name!(payload, Option<JsonB>))> {
    let watch = Watch { service: session(), waiting: 1, since: None, who: vec![session()] };
    let outcome = one(plain(key, "key"), Op::Watch(watch));
    TableIterator::once((outcome.outcome == "signalled", outcome.payload.map(JsonB)))
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn _leave(key: Option<&str>, timed_out: bool) {
    one(plain(key, "key"), Op::Leave(session(), timed_out));
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn arrive(
    barrier: Option<&str>,
    parties: Option<i32>,
    member: Option<&str>,
    generation: default!(Option<i64>, "NULL"),
) -> TableIterator<'static, (name!(ok, bool), name!(generation, Option<i64>), name!(arrived, Option<i32>))> {
    let member = plain(member, "member").to_owned();
    let outcome = one(plain(barrier, "barrier"), Op::Arrive { parties: parties.unwrap_or(0), member, generation });
    let arrived = outcome.arrived.and_then(|count| i32::try_from(count).ok()).or(outcome.parties);
    TableIterator::once((outcome.outcome == "released", outcome.generation, arrived))
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn depart(barrier: Option<&str>, member: Option<&str>) -> bool {
    let member = plain(member, "member").to_owned();
    one(plain(barrier, "barrier"), Op::Depart(member)).outcome == "departed"
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn forget_rendezvous() -> i64 {
    store::decide(|store| {
        store.begin();
        store.durable();
        let signals = store.run("DELETE FROM goahead._signal RETURNING key", &[]);
        let waits = store.run("DELETE FROM goahead._wait RETURNING key", &[]);
        let barriers = store.run("DELETE FROM goahead._barrier RETURNING key", &[]);
        let detail = json!({ "signals": signals, "barriers": barriers });
        events::write(store, &[Event { kind: "rendezvous_forgotten", cluster: None, subject: None, detail }]);
        i64::try_from(signals + waits + barriers).unwrap_or(i64::MAX)
    })
}
