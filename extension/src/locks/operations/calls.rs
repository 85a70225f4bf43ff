//! The SQL functions of units: request, what is next, how it ended.

use super::conclude::conclude;
use super::rows;
use super::turn::{Terms, Turn};
use crate::locks::calls::{given, timestamp};
use crate::locks::engine;
use crate::locks::wire::Outcome;
use crate::sets::{plain, span};
use crate::store::{self, Store};
use goahead_rules::duration::GoDuration;
use goahead_rules::lock;
use goahead_rules::operation::{self, Finish, Operation, Report, Verdict, Work};
use pgrx::JsonB;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;

fn invalid(message: impl Into<String>, hint: &str) -> ! {
    store::fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, hint)
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn request_operation(
    lock: Option<&str>,
    unit: Option<&str>,
    action: default!(Option<&str>, "'restart'"),
    services: default!(Option<Vec<Option<String>>>, "'{}'"),
    context: default!(Option<JsonB>, "'{}'"),
    max_retry: default!(Option<i32>, "NULL"),
) -> i64 {
    let unit = plain(unit, "unit");
    let services: Option<Vec<String>> = services.unwrap_or_default().into_iter().collect();
    let work = Work {
        lock: plain(lock, "lock").to_owned(),
        action: plain(action, "action").to_owned(),
        services: services.unwrap_or_else(|| invalid("a service is null", "leave it out")),
        context: context.map_or_else(|| serde_json::json!({}), |json| json.0),
        max_retry,
    };
    if let Err(problem) = work.check() {
        invalid(
            problem,
            "names have 1 to 255 bytes without control characters, max_retry is 0 or more, or null for ever",
        );
    }
    store::decide(|store| {
        let clock = rows::enter(store, unit);
        let last = rows::last(store, unit).map(|entry| entry.operation);
        if let Some(last) = last.filter(|last| operation::joins(last, &work)) {
            return last.id;
        }
        store.durable();
        let mut turn = Turn::take(store, clock, &work.lock, unit, false);
        let ticket = turn.draw();
        turn.write(store);
        let known = rows::made_unit(store, unit);
        let id = rows::insert(store, unit, &work, ticket);
        rows::wake(store, &known);
        id
    })
}

/// The answer to a unit that asks what is next.
struct Next {
    outcome: &'static str,
    operation: Option<Operation>,
    of_lock: Outcome,
    halted: Option<String>,
    wake: Option<String>,
}

impl Next {
    /// There is nothing that the unit may do; one that waits is woken when that may have changed.
    fn none(store: &mut Store<'_, '_>, outcome: &'static str, unit: &str, waits: bool) -> Self {
        let wake = waits.then(|| {
            let unit = rows::made_unit(store, unit);
            rows::note_waiter(store, &unit);
            rows::wake_key(&unit)
        });
        Self { outcome, operation: None, of_lock: Outcome::plain(outcome), halted: None, wake }
    }
}

fn next(store: &mut Store<'_, '_>, unit: &str, terms: &Terms) -> Next {
    let clock = rows::enter(store, unit);
    if rows::unit(store, unit).is_some_and(|unit| unit.blocked_by.is_some()) {
        return Next::none(store, "blocked", unit, terms.waits);
    }
    let Some(mut entry) = rows::first(store, unit) else { return Next::none(store, "nothing", unit, terms.waits) };
    let mut turn = Turn::take(store, clock, &entry.operation.work.lock, unit, false);
    let held = turn.token_of(unit);
    if held != entry.operation.token
        && let Some(verdict) = entry.operation.lose()
    {
        conclude(store, &mut turn, unit, &mut entry, verdict, Some("the hold was lost"));
        if verdict == Verdict::Failed {
            turn.write(store);
            return Next::none(store, "blocked", unit, terms.waits);
        }
    }
    let of_lock = match held {
        Some(token) => turn.renew(store, unit, token, terms),
        None => turn.ask(store, unit, (entry.operation.rank, entry.ticket), terms),
    };
    let before = entry.operation.clone();
    // A unit that waited may have gone away. It asks again when it has not, and that is when it begins.
    if let Some(token) = of_lock.token.filter(|_| of_lock.confirm_by.is_none()) {
        entry.operation.begin(token);
    }
    if entry.operation != before {
        rows::save(store, &entry, None, None);
    }
    let halted = turn.halted().filter(|_| of_lock.token.is_none());
    turn.write(store);
    let of_lock = engine::positions(store, vec![of_lock]).remove(0);
    let wake = of_lock.ticket.map(|ticket| format!("{}:{ticket}", of_lock.lock_id));
    Next { outcome: of_lock.outcome, operation: Some(entry.operation), of_lock, halted, wake }
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
#[expect(clippy::type_complexity, reason = "pgrx reads the columns here")]
fn next_operation(
    unit: Option<&str>,
    ttl: default!(Option<Interval>, "'5 min'"),
    request_ttl: default!(Option<Interval>, "'1 h'"),
    claim_within: default!(Option<Interval>, "'10 min'"),
    waits: default!(bool, "false"),
    waited: default!(bool, "false"),
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(id, Option<i64>),
        name!(lock, Option<String>),
        name!(action, Option<String>),
        name!(services, Option<Vec<String>>),
        name!(context, Option<JsonB>),
        name!(attempt, Option<i32>),
        name!(max_retry, Option<i32>),
        name!(token, Option<i64>),
        name!(position, Option<i64>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(confirm_by, Option<TimestampWithTimeZone>),
        name!(halted, Option<String>),
        name!(wake, Option<String>),
    ),
> {
    let unit = plain(unit, "unit");
    let terms = Terms {
        ttl: ttl.map(|ttl| span(&ttl, "ttl", 1_000)),
        place: request_ttl.map_or(lock::PLACE, |place| span(&place, "request_ttl", 1_000)),
        claim: claim_within.map_or(GoDuration(0), |claim| span(&claim, "claim_within", 0)),
        waits,
        waited,
    };
    let Next { outcome, operation, of_lock, halted, wake } = store::decide(|store| next(store, unit, &terms));
    let (id, attempt) = operation.as_ref().map(|operation| (operation.id, operation.attempt)).unzip();
    let work = operation.map(|operation| operation.work);
    let of_work = work.as_ref();
    TableIterator::once((
        outcome.to_owned(),
        id,
        of_work.map(|work| work.lock.clone()),
        of_work.map(|work| work.action.clone()),
        of_work.map(|work| work.services.clone()),
        of_work.map(|work| JsonB(work.context.clone())),
        attempt,
        of_work.and_then(|work| work.max_retry),
        of_lock.token,
        of_lock.position,
        timestamp(of_lock.expires_at),
        timestamp(of_lock.confirm_by),
        halted,
        wake,
    ))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "done",
        Verdict::Retry => "retry",
        Verdict::Hold => "hold",
        Verdict::Failed => "failed",
    }
}

fn finish(
    store: &mut Store<'_, '_>,
    (id, unit, token): (i64, &str, i64),
    report: Report,
    said: Option<&str>,
) -> &'static str {
    if rows::unit_of(store, id).as_deref() != Some(unit) {
        return "unknown";
    }
    let clock = rows::enter(store, unit);
    let Some(mut entry) = rows::open(store, id) else {
        return match rows::ended_as(store, id, token, report).as_deref() {
            Some("done") => "done",
            Some(_) => "failed",
            None => "lost",
        };
    };
    let mut turn = Turn::take(store, clock, &entry.operation.work.lock, unit, true);
    let is_first = rows::first(store, unit).is_some_and(|first| first.operation.id == id);
    let holds = is_first && turn.holds(unit, token);
    match entry.operation.finish(token, report, holds) {
        Finish::Ended(verdict) => {
            if verdict != Verdict::Hold && turn.is_guarded(unit) {
                return "guarded";
            }
            conclude(store, &mut turn, unit, &mut entry, verdict, said);
            if verdict != Verdict::Hold {
                turn.release(store, unit, token);
            }
            turn.write(store);
            word(verdict)
        }
        Finish::Repeated(verdict) => word(verdict),
        Finish::Lost(verdict) => {
            if let Some(verdict) = verdict {
                conclude(store, &mut turn, unit, &mut entry, verdict, Some("the hold was lost"));
                turn.write(store);
            }
            "lost"
        }
    }
}

#[pg_extern(volatile, parallel_unsafe, security_definer, schema = "goahead")]
#[search_path(pg_catalog, pg_temp)]
fn finish_operation(
    id: Option<i64>,
    unit: Option<&str>,
    token: Option<i64>,
    outcome: Option<&str>,
    detail: default!(Option<&str>, "NULL"),
) -> &'static str {
    let hint = "use release, retry_release, retry_hold or failed";
    let report =
        store::said(outcome, "the outcome", hint).parse().unwrap_or_else(|problem: String| invalid(problem, hint));
    let id = id.unwrap_or_else(|| invalid("the id is null", "give the id that next_operation gave"));
    let (unit, token) = (plain(unit, "unit"), given(token));
    if detail.is_some_and(|detail| detail.len() > operation::CONTEXT) {
        invalid("the detail is too long", "give at most 32768 bytes, such as the end of a log");
    }
    store::decide(|store| finish(store, (id, unit, token), report, detail))
}
