//! The SQL functions of those who use locks, singly for psql and in sets for the service.

use super::engine;
use super::facts;
use super::operations;
use super::wire::{Call, Op, Outcome};
use crate::clock;
use crate::sets::{self, Invalid, Wall, plain, span};
use crate::store;
use goahead_rules::duration::GoDuration;
use goahead_rules::lock;
use pgrx::JsonB;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn judge_locks(calls: &str, wait: default!(bool, "true")) -> String {
    let items = sets::items(calls, r#"{"op": "acquire", "lock": …, "holder": …}"#);
    let calls: Vec<Result<Call, Invalid>> = items.into_iter().map(Call::read).collect();
    let outcomes = store::decide(|store| engine::run(store, &calls, wait));
    serde_json::to_string(&outcomes).expect("outcomes are plain data")
}

/// Runs one call for psql: an invalid one is an error.
fn one(call: Call) -> Outcome {
    let call = call.check().unwrap_or_else(|invalid| invalid.raise());
    let outcomes = store::decide(|store| engine::run(store, &[Ok(call)], true));
    match outcomes.into_iter().next().expect("one call, one outcome") {
        Outcome { outcome: "invalid", message, hint, .. } => {
            Invalid { message: message.unwrap_or_default(), hint: hint.unwrap_or_default() }.raise()
        }
        outcome => outcome,
    }
}

pub fn given(token: Option<i64>) -> i64 {
    token.unwrap_or_else(|| {
        store::fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the token is null",
            "give the token that came with the grant",
        )
    })
}

fn call(op: Op, lock: Option<&str>, holder: Option<&str>) -> Call {
    Call::new(op, plain(lock, "lock"), plain(holder, "holder"))
}

type Grant = (
    String,
    bool,
    Option<i64>,
    Option<i64>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
);

/// A point of the wall clock as PostgreSQL has it; none beyond its calendar.
pub fn timestamp(wall: Option<Wall>) -> Option<TimestampWithTimeZone> {
    wall.and_then(Wall::timestamp)
}

fn grant(outcome: &Outcome) -> Grant {
    (
        outcome.outcome.to_owned(),
        outcome.granted,
        outcome.token,
        outcome.position,
        timestamp(outcome.requested_at),
        timestamp(outcome.granted_at),
        timestamp(outcome.expires_at),
        timestamp(outcome.confirm_by),
    )
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
#[expect(
    clippy::too_many_arguments,
    clippy::type_complexity,
    reason = "SQL calls it with names; pgrx reads the columns here"
)]
fn acquire(
    lock: Option<&str>,
    holder: Option<&str>,
    ttl: default!(Option<Interval>, "'60 s'"),
    slots: default!(Option<i32>, "NULL"),
    metadata: default!(Option<JsonB>, "'{}'"),
    request_ttl: default!(Option<Interval>, "NULL"),
    claim_within: default!(Option<Interval>, "NULL"),
    waits: default!(bool, "false"),
    waited: default!(bool, "false"),
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(granted, bool),
        name!(token, Option<i64>),
        name!(position, Option<i64>),
        name!(requested_at, Option<TimestampWithTimeZone>),
        name!(granted_at, Option<TimestampWithTimeZone>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(confirm_by, Option<TimestampWithTimeZone>),
    ),
> {
    let ttl = ttl.map(|ttl| span(&ttl, "ttl", 1_000));
    let call = Call {
        ttl,
        place: request_ttl.map_or(ttl.unwrap_or(lock::PLACE), |place| span(&place, "request_ttl", 1_000)),
        claim: claim_within.map_or(GoDuration(0), |claim| span(&claim, "claim_within", 0)),
        slots,
        metadata: metadata.map_or_else(|| "{}".to_owned(), |json| json.0.to_string()),
        waits,
        waited,
        ..call(Op::Acquire, lock, holder)
    };
    TableIterator::once(grant(&one(call)))
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
#[expect(clippy::type_complexity, reason = "pgrx reads the columns here")]
fn renew(
    lock: Option<&str>,
    holder: Option<&str>,
    token: Option<i64>,
    ttl: default!(Option<Interval>, "'60 s'"),
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(granted, bool),
        name!(token, Option<i64>),
        name!(position, Option<i64>),
        name!(requested_at, Option<TimestampWithTimeZone>),
        name!(granted_at, Option<TimestampWithTimeZone>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(confirm_by, Option<TimestampWithTimeZone>),
    ),
> {
    let ttl = ttl.map(|ttl| span(&ttl, "ttl", 1_000));
    let call = Call { token: given(token), ttl, ..call(Op::Renew, lock, holder) };
    TableIterator::once(grant(&one(call)))
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn release(lock: Option<&str>, holder: Option<&str>, token: Option<i64>) -> &'static str {
    one(Call { token: given(token), ..call(Op::Release, lock, holder) }).outcome
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn withdraw(lock: Option<&str>, holder: Option<&str>) -> &'static str {
    one(call(Op::Withdraw, lock, holder)).outcome
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn break_lock(lock: Option<&str>, holder: Option<&str>, reason: Option<&str>) -> &'static str {
    one(Call { reason: reason.map(str::to_owned), ..call(Op::Break, lock, holder) }).outcome
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn forget_holder(holder: Option<&str>) -> i64 {
    let holder = plain(holder, "holder");
    let outcomes = store::decide(|store| {
        operations::forget(store, holder);
        let locks = store.rows(
            "SELECT l.name FROM goahead._lock_request r JOIN goahead._lock l ON l.id = r.lock_id WHERE r.holder = $1",
            &[holder.into()],
            |row| row.get::<String>(1),
        );
        let calls: Vec<Result<Call, Invalid>> =
            locks.iter().map(|lock| Ok(Call::new(Op::Forget, lock, holder))).collect();
        engine::run(store, &calls, true)
    });
    let forgotten = outcomes.iter().filter(|outcome| outcome.outcome == "forgotten").count();
    i64::try_from(forgotten).unwrap_or(i64::MAX)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn check_fence(lock: Option<&str>, token: Option<i64>) -> bool {
    let (name, token) = (plain(lock, "lock"), given(token));
    store::decide(|store| {
        let clock = clock::settled(store);
        facts::fence(store, name, token).is_some_and(|hold| !hold.is_over(clock))
    })
}
