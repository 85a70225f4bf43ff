//! Operations: what a unit does under a lock, one thing after another.

use std::time::Instant;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::locks::{FLOOR, patience, receive_from};
use super::{Input, List, Page, Params, Segment, change, fetch};
use crate::api::auth::{self, Caller, Operator, Reader};
use crate::api::error::{Problem, Refusal};
use crate::api::{App, Shared};
use crate::db::{self, Json as Text};

/// What operators call.
pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(resume))
        .routes(routes!(resume_lock))
        .routes(routes!(forgo))
}

/// What units call: anybody, unless the operator asks for credentials.
pub fn open_router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(request)).routes(routes!(next)).routes(routes!(finish))
}

/// Something that a unit is to do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Work {
    /// The lock under which.
    lock: String,
    /// The unit: 1 to 255 bytes without control characters. It is the holder of the lock.
    unit: String,
    /// What the unit is to do, in words of its own.
    #[serde(default = "restart")]
    action: String,
    /// Services to restart, in this order; at most 100.
    #[serde(default)]
    services: Vec<String>,
    /// What the unit needs to know for it, any JSON of at most 32768 bytes; it is kept as the unit's context once it
    /// was done.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    context: Option<Value>,
    /// Attempts after the first; null: any number.
    max_retry: Option<i32>,
}

fn restart() -> String {
    "restart".to_owned()
}

/// What was requested.
#[derive(Serialize, ToSchema)]
struct Requested {
    /// The operation: a new one, or the unit's last if that is equal and has not begun.
    id: i64,
}

/// Request an operation: it joins the unit's queue
#[utoipa::path(post, path = "/v1/operations",
    operation_id = "request_operation", tag = "operations", request_body = Work,
    responses((status = 200, description = "It is queued", body = Requested)))]
async fn request(State(app): State<Shared>, request: Request) -> Result<Json<Requested>, Refusal> {
    let (caller, work) = receive_from::<Work>(&app, request).await?;
    auth::check_name(&caller, &work.unit, &app.state.options)?;
    let Work { lock, unit, action, services, context, max_retry } = work;
    let context = context.unwrap_or_else(|| Value::Object(Map::new())).to_string();
    let sql = "SELECT pg_catalog.to_jsonb(goahead.request_operation($1, $2, $3, $4, $5, $6))";
    let id = change(&app, &caller, sql, &[&lock, &unit, &action, &services, &Text(&context), &max_retry]).await?;
    read(id).map(|id| Json(Requested { id }))
}

/// How a unit asks what is next.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// How long to wait for it before the answer is 202, at most 5m. Not at all unless told.
    wait: Option<String>,
    /// How long the lock is held unless it is renewed (as any lock, by the unit's name); null: until the attempt is
    /// reported. 5m unless told.
    #[serde(default = "usual_ttl")]
    ttl: Option<String>,
    /// How long the place in the lock's queue lasts without being repeated. 1h unless told.
    #[serde(default = "usual_place")]
    request_ttl: String,
    /// How long the lock is kept for the unit when its turn comes while nobody waits. 10m unless told, for units that
    /// come back every few minutes; nothing if it waits.
    claim_within: Option<String>,
}

fn usual_ttl() -> Option<String> {
    Some("5m".to_owned())
}

fn usual_place() -> String {
    "1h".to_owned()
}

/// What a unit is to do.
#[derive(Deserialize, Serialize, ToSchema)]
struct Next {
    /// granted: do it; queued: its turn has not come; nothing; blocked: an operation failed.
    outcome: String,
    /// The operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    /// Its lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    /// What is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    /// Services to restart, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<String>>,
    /// What came with the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    context: Option<Box<RawValue>>,
    /// The number of this attempt, from 1; how many have begun if none has.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<i32>,
    /// Attempts after the first, if there is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_retry: Option<i32>,
    /// The fencing token of the hold, which the report names.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<i64>,
    /// The place in the lock's queue, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
    /// When the hold ends unless it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// The grant ended a wait and goes to the next unless the unit asks again before then, without a wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_by: Option<String>,
    /// Why nobody is granted the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    halted: Option<String>,
    #[serde(skip_serializing)]
    wake: Option<String>,
}

impl IntoResponse for Next {
    fn into_response(self) -> Response {
        let status = match self.outcome.as_str() {
            "granted" => StatusCode::OK,
            "blocked" => StatusCode::CONFLICT,
            _ => StatusCode::ACCEPTED,
        };
        (status, Json(self)).into_response()
    }
}

/// Ask what is next, and for its lock; repeated, it also keeps the hold
#[utoipa::path(post, path = "/v1/units/{unit}/next",
    operation_id = "next_operation", tag = "operations", params(("unit" = String, Path)), request_body = Ask, responses(
    (status = 200, description = "It is granted: do it and report", body = Next),
    (status = 202, description = "There is nothing to do, or it is not the unit's turn: ask again, or with `wait`", body = Next),
    (status = 409, description = "The unit is blocked until an operator resumes it", body = Next)))]
async fn next(
    State(app): State<Shared>,
    Segment(unit): Segment<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (caller, ask) = receive_from::<Ask>(&app, request).await?;
    auth::check_name(&caller, &unit, &app.state.options)?;
    let wait = patience(ask.wait.as_deref())?;
    let deadline = Instant::now() + wait;
    let mut waits = !wait.is_zero();
    let mut next = look(&app, &caller, &unit, &ask, (waits, false)).await?;
    while let Some(key) = next.wake.take().filter(|_| waits) {
        let turn = app.state.db.subscribe(format!("goahead_lock:{key}"));
        let left = deadline.saturating_duration_since(Instant::now());
        turn.changed(left.min(FLOOR)).await;
        waits = Instant::now() < deadline;
        next = look(&app, &caller, &unit, &ask, (waits, true)).await?;
    }
    Ok(next.into_response())
}

/// One look; `waits` and `waited` as in `goahead.acquire`.
async fn look(
    app: &App,
    caller: &Caller,
    unit: &str,
    ask: &Ask,
    (waits, waited): (bool, bool),
) -> Result<Next, Refusal> {
    // Who waits is there when it is woken; nobody else is to wait for one that has died.
    let claim = ask.claim_within.as_deref().unwrap_or(if ask.wait.is_some() { "0s" } else { "10m" });
    let sql = "SELECT pg_catalog.to_jsonb(goahead.next_operation($1, goahead.go_duration($2), goahead.go_duration($3),
                                                                 goahead.go_duration($4), $5, $6))";
    let args: db::Params<'_> = &[&unit, &ask.ttl, &ask.request_ttl, &claim, &waits, &waited];
    read(change(app, caller, sql, args).await?)
}

/// How an attempt ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Report {
    /// The unit.
    unit: String,
    /// The token that came with the grant.
    token: i64,
    /// release: it is done; retry_release: again later; retry_hold: again at once; failed.
    outcome: String,
    /// More about it, such as the end of a log; kept.
    detail: Option<String>,
}

/// What came of a report.
#[derive(Serialize, ToSchema)]
struct Settled {
    /// done, retry, hold, failed (the unit is blocked), lost (the hold had ended before), guarded or unknown.
    outcome: String,
}

/// Report how an attempt ended, and give the lock back
#[utoipa::path(post, path = "/v1/operations/{id}/finish",
    operation_id = "finish_operation", tag = "operations", params(("id" = i64, Path)), request_body = Report, responses(
    (status = 200, body = Settled),
    (status = 404, description = "The unit has no such operation", body = Settled),
    (status = 409, description = "A transaction relies on the hold: report again", body = Settled),
    (status = 410, description = "The hold of this token is lost: the attempt does not count", body = Settled)))]
async fn finish(State(app): State<Shared>, Segment(id): Segment<i64>, request: Request) -> Result<Response, Refusal> {
    let (caller, report) = receive_from::<Report>(&app, request).await?;
    auth::check_name(&caller, &report.unit, &app.state.options)?;
    let Report { unit, token, outcome, detail } = report;
    let sql = "SELECT pg_catalog.to_jsonb(goahead.finish_operation($1, $2, $3, $4, $5))";
    let outcome: String = read(change(&app, &caller, sql, &[&id, &unit, &token, &outcome, &detail]).await?)?;
    app.state.metrics.operations.with_label_values(&[outcome.as_str()]).inc();
    let status = match outcome.as_str() {
        "unknown" => StatusCode::NOT_FOUND,
        "guarded" => StatusCode::CONFLICT,
        "lost" => StatusCode::GONE,
        _ => StatusCode::OK,
    };
    Ok((status, Json(Settled { outcome })).into_response())
}

/// Why an operator does something.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    /// Why; kept as an event.
    note: String,
}

/// Let a unit go on after a failed operation
#[utoipa::path(post, path = "/v1/units/{unit}/resume",
    operation_id = "resume_unit", tag = "operations", params(("unit" = String, Path)), request_body = Note, responses(
    (status = 204), (status = 404, body = Problem), (status = 409, description = "It is not blocked", body = Problem)))]
async fn resume(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(unit): Segment<String>,
    Input(Note { note }): Input<Note>,
) -> Result<StatusCode, Refusal> {
    let sql = "SELECT pg_catalog.to_jsonb(goahead.resume_unit($1, $2))";
    let outcome = read(change(&app, &caller, sql, &[&unit, &note]).await?)?;
    settled(outcome, &format!("unit {unit:?}"), "blocked")
}

/// Let units go on under a lock that was halted
#[utoipa::path(post, path = "/v1/locks/{lock}/resume",
    operation_id = "resume_lock", tag = "operations", params(("lock" = String, Path)), request_body = Note, responses(
    (status = 204), (status = 404, body = Problem), (status = 409, description = "It is not halted", body = Problem)))]
async fn resume_lock(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(lock): Segment<String>,
    Input(Note { note }): Input<Note>,
) -> Result<StatusCode, Refusal> {
    let sql = "SELECT pg_catalog.to_jsonb(goahead.resume_lock($1, $2))";
    let outcome = read(change(&app, &caller, sql, &[&lock, &note]).await?)?;
    settled(outcome, &format!("lock {lock:?}"), "halted")
}

fn settled(outcome: String, what: &str, state: &str) -> Result<StatusCode, Refusal> {
    match outcome.as_str() {
        "resumed" => Ok(StatusCode::NO_CONTENT),
        "unknown" => Err(Refusal::not_found(format!("There is no {what}"))),
        _ => Err(Refusal::new(StatusCode::CONFLICT, format!("The {what} is not {state}"))),
    }
}

/// Why an operation is dropped.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Why; kept as an event.
    reason: String,
}

/// Drop an operation that has not ended
#[utoipa::path(post, path = "/v1/operations/{id}/drop",
    operation_id = "drop_operation", tag = "operations", params(("id" = i64, Path)), request_body = Reason, responses(
    (status = 204), (status = 404, body = Problem),
    (status = 409, description = "It has ended, or a transaction relies on its hold", body = Problem)))]
async fn forgo(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(id): Segment<i64>,
    Input(Reason { reason }): Input<Reason>,
) -> Result<StatusCode, Refusal> {
    let sql = "SELECT pg_catalog.to_jsonb(goahead.drop_operation($1, $2))";
    match read::<String>(change(&app, &caller, sql, &[&id, &reason]).await?)?.as_str() {
        "dropped" => Ok(StatusCode::NO_CONTENT),
        "unknown" => Err(Refusal::not_found(format!("There is no operation {id}"))),
        "guarded" => Err(Refusal::new(StatusCode::CONFLICT, "A transaction relies on its hold")
            .hint("Wait for its end; pg_stat_activity shows transactions that are open")),
        _ => Err(Refusal::new(StatusCode::CONFLICT, format!("Operation {id} has ended"))),
    }
}

/// List operations, newest first
#[utoipa::path(get, path = "/v1/operations",
    operation_id = "list_operations", tag = "operations", params(Page), responses((status = 200, body = List)))]
async fn list(State(app): State<Shared>, _: Reader, Params(page): Params<Page>) -> Result<Json<Value>, Refusal> {
    let (limit, after) = (page.limit()?, page.number()?);
    fetch(&app, "SELECT goahead.list_operations($1, $2)", &[&limit, &after]).await.map(Json)
}

/// One unit: what it runs with, what it is to do, what blocks it
#[utoipa::path(get, path = "/v1/units/{unit}",
    operation_id = "get_unit", tag = "operations", params(("unit" = String, Path)), responses(
    (status = 200, body = Map<String, Value>), (status = 404, body = Problem)))]
async fn get(State(app): State<Shared>, _: Reader, Segment(unit): Segment<String>) -> Result<Json<Value>, Refusal> {
    match fetch(&app, "SELECT goahead.get_unit($1)", &[&unit]).await? {
        Value::Null => Err(Refusal::not_found(format!("Unit {unit:?} has never asked for anything"))),
        unit => Ok(Json(unit)),
    }
}

/// The value that a function gave.
fn read<T: serde::de::DeserializeOwned>(json: Option<Box<RawValue>>) -> Result<T, Refusal> {
    let text = json.as_deref().map_or("null", RawValue::get);
    serde_json::from_str(text).map_err(Refusal::internal)
}
