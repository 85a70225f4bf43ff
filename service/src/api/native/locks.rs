//! Locks: ask, wait, renew, give back.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use goahead_rules::duration;
use goahead_rules::hostname::Fqdn;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{List, Page, Params, Segment, change, fetch};
use crate::api::auth::{self, Admin, Caller, Operator, Reader};
use crate::api::error::{Problem, Refusal};
use crate::api::{App, Shared, payload};
use crate::db::LockOutcome;

/// What operators call.
pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, set))
        .routes(routes!(queue))
        .routes(routes!(take_away))
}

/// What users of locks call: anybody, unless the operator asks for credentials.
pub fn open_router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(acquire))
        .routes(routes!(renew))
        .routes(routes!(release))
        .routes(routes!(withdraw))
}

/// The longest that one request waits; a client that wants more asks again and keeps its place.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often a waiting request looks without having been woken.
pub const FLOOR: Duration = Duration::from_secs(5);

/// How a slot of a lock is asked for.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Acquire {
    /// Who asks: 1 to 255 bytes without control characters. A holder has one request for a lock.
    holder: String,
    /// How long the hold lasts unless it is renewed; null: until it is released. 60s unless told.
    #[serde(default = "usual_ttl")]
    ttl: Option<String>,
    /// How many may hold the lock at once. Counts when this call makes the lock; later another number is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<i32>,
    /// What others may see of this request, an object of at most 4096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// How long the place in the queue lasts without being repeated; the ttl unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_ttl: Option<String>,
    /// How long a slot is kept when the turn comes while nobody waits, for callers that come back minutes later.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_within: Option<String>,
    /// How long to wait for a grant before the answer is 202, at most 5m. Not at all unless told.
    #[serde(skip_serializing)]
    wait: Option<String>,
}

fn usual_ttl() -> Option<String> {
    Some("60s".to_owned())
}

/// A hold, as its holder names it.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Hold {
    /// The holder.
    holder: String,
    /// The token that came with the grant.
    token: i64,
}

/// A hold that is to last longer.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Renew {
    /// The holder.
    holder: String,
    /// The token that came with the grant.
    token: i64,
    /// How long it lasts from now; null: until it is released. 60s unless told.
    #[serde(default = "usual_ttl")]
    ttl: Option<String>,
}

/// A place in the queue.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Place {
    /// Who leaves the queue.
    holder: String,
}

/// A hold that is taken away.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Break {
    /// Who loses it.
    holder: String,
    /// Why; kept as an event.
    reason: String,
}

/// What became of a call.
#[derive(Serialize, ToSchema)]
pub struct Grant {
    /// granted, queued, renewed, released, withdrawn, broken, lost, other_token, not_queued, held or guarded.
    outcome: String,
    /// Whether the caller holds a slot now.
    granted: bool,
    /// The fencing token: grows with every grant; `goahead.check_fence` knows whether it still counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<i64>,
    /// The place in the queue, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
    /// When it was first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_at: Option<String>,
    /// When it was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    granted_at: Option<String>,
    /// When the hold ends unless it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// The grant ended a wait and goes to the next unless it is renewed before then: the caller may have gone away.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_by: Option<String>,
}

/// The one table from outcomes to statuses.
fn status_of(outcome: &str) -> StatusCode {
    match outcome {
        "queued" => StatusCode::ACCEPTED,
        "other_token" | "held" | "guarded" => StatusCode::CONFLICT,
        "lost" | "not_queued" => StatusCode::GONE,
        _ => StatusCode::OK,
    }
}

fn answer(app: &App, op: &str, outcome: LockOutcome) -> Result<Response, Refusal> {
    app.count_lock(op, &outcome.outcome);
    if outcome.outcome == "invalid" {
        let refusal = Refusal::bad_request(outcome.message.unwrap_or_default());
        return Err(Refusal { hint: outcome.hint, ..refusal });
    }
    let status = status_of(&outcome.outcome);
    let grant = Grant {
        granted: outcome.token.is_some(),
        outcome: outcome.outcome,
        token: outcome.token,
        position: outcome.position,
        requested_at: outcome.requested_at,
        granted_at: outcome.granted_at,
        expires_at: outcome.expires_at,
        confirm_by: outcome.confirm_by,
    };
    Ok((status, Json(grant)).into_response())
}

/// One call for the set form.
fn item(op: &str, lock: &str, input: &impl Serialize, more: &[(&str, bool)]) -> Result<String, Refusal> {
    let mut item = serde_json::to_value(input).map_err(Refusal::internal)?;
    item["op"] = op.into();
    item["lock"] = lock.into();
    for (name, value) in more {
        item[*name] = (*value).into();
    }
    Ok(item.to_string())
}

/// A call that is answered at once.
async fn call(app: &App, op: &str, lock: &str, input: &impl Serialize) -> Result<Response, Refusal> {
    answer(app, op, app.state.db.lock(item(op, lock, input, &[])?).await?)
}

/// How long a request waits; not at all unless it says so.
pub fn patience(wait: Option<&str>) -> Result<Duration, Refusal> {
    match wait.map(|text| (text, duration::parse(text))) {
        None => Ok(Duration::ZERO),
        Some((_, Ok(span))) if span.as_micros() >= 0 => {
            Ok(Duration::from_micros(span.as_micros().unsigned_abs()).min(LONGEST_WAIT))
        }
        Some((text, _)) => {
            Err(Refusal::bad_request(format!("wait={text:?} is not a time")).hint("Write it as 30s or 1m"))
        }
    }
}

/// Lets a caller in and reads what it sends: it speaks for `holder`.
async fn receive<T: DeserializeOwned>(app: &App, request: Request, holder: impl Fn(&T) -> &str) -> Result<T, Refusal> {
    let (caller, input) = receive_from(app, request).await?;
    let holder = holder(&input);
    // Whatever runs on a host may ask as HOST:ANYTHING, so that two programs of a host are two holders.
    let host = holder.split_once(':').map(|(host, _)| host).filter(|host| Fqdn::parse(host).is_ok());
    let judge = |name: &str| auth::check_name(&caller, name, &app.state.options);
    if host.is_none_or(|host| judge(host).is_err()) {
        judge(holder)?;
    }
    Ok(input)
}

/// Lets a caller in and reads what it sends, no body as `{}`; whom it speaks for is yet to be checked.
pub async fn receive_from<T: DeserializeOwned>(app: &App, request: Request) -> Result<(Caller, T), Refusal> {
    let (parts, body) = request.into_parts();
    let caller = auth::admit(app, &parts).await?;
    let body = payload::read(body).await?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let input = serde_json::from_slice(text)
        .map_err(|error| Refusal::bad_request(format!("The body is not what this call takes: {error}")))?;
    Ok((caller, input))
}

/// Ask for a slot of a lock, or repeat that; the lock is made if it is not there
#[utoipa::path(post, path = "/v1/locks/{lock}/acquire",
    operation_id = "acquire_lock", tag = "locks", params(("lock" = String, Path)), request_body = Acquire, responses(
    (status = 200, description = "It is granted", body = Grant),
    (status = 202, description = "It is queued: ask again, or with `wait`", body = Grant)))]
async fn acquire(
    State(app): State<Shared>,
    Segment(lock): Segment<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let ask: Acquire = receive(&app, request, |ask: &Acquire| &ask.holder).await?;
    let wait = patience(ask.wait.as_deref())?;
    let deadline = Instant::now() + wait;
    let waits = !wait.is_zero();
    let mut outcome = app.state.db.lock(item("acquire", &lock, &ask, &[("waits", waits)])?).await?;
    let Some(ticket) = outcome.ticket.filter(|_| waits) else { return answer(&app, "acquire", outcome) };
    let turn = app.state.db.subscribe(format!("goahead_lock:{}:{ticket}", outcome.lock_id));
    while outcome.ticket.is_some() {
        let left = deadline.saturating_duration_since(Instant::now());
        turn.changed(left.min(FLOOR)).await;
        let waits = Instant::now() < deadline;
        outcome = app.state.db.lock(item("acquire", &lock, &ask, &[("waits", waits), ("waited", true)])?).await?;
        if !waits {
            break;
        }
    }
    answer(&app, "acquire", outcome)
}

/// Keep a hold, and confirm one that ended a wait
#[utoipa::path(post, path = "/v1/locks/{lock}/renew",
    operation_id = "renew_lock", tag = "locks", params(("lock" = String, Path)), request_body = Renew, responses(
    (status = 200, body = Grant), (status = 409, description = "The token is of another hold", body = Grant),
    (status = 410, description = "The hold is lost", body = Grant)))]
async fn renew(
    State(app): State<Shared>,
    Segment(lock): Segment<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let input: Renew = receive(&app, request, |input: &Renew| &input.holder).await?;
    call(&app, "renew", &lock, &input).await
}

/// Give a slot back
#[utoipa::path(post, path = "/v1/locks/{lock}/release",
    operation_id = "release_lock", tag = "locks", params(("lock" = String, Path)), request_body = Hold, responses(
    (status = 200, body = Grant),
    (status = 409, description = "The token is of another hold, or a transaction relies on it", body = Grant),
    (status = 410, description = "The hold was lost before", body = Grant)))]
async fn release(
    State(app): State<Shared>,
    Segment(lock): Segment<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let input: Hold = receive(&app, request, |input: &Hold| &input.holder).await?;
    call(&app, "release", &lock, &input).await
}

/// Leave the queue
#[utoipa::path(post, path = "/v1/locks/{lock}/withdraw",
    operation_id = "withdraw_lock", tag = "locks", params(("lock" = String, Path)), request_body = Place, responses(
    (status = 200, body = Grant), (status = 409, description = "It is held: release it", body = Grant),
    (status = 410, description = "It was not queued", body = Grant)))]
async fn withdraw(
    State(app): State<Shared>,
    Segment(lock): Segment<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let input: Place = receive(&app, request, |input: &Place| &input.holder).await?;
    call(&app, "withdraw", &lock, &input).await
}

/// Take a lock away from its holder
#[utoipa::path(post, path = "/v1/locks/{lock}/break",
    operation_id = "break_lock", tag = "locks", params(("lock" = String, Path)), request_body = Break, responses(
    (status = 204), (status = 404, description = "It is not held", body = Problem),
    (status = 409, description = "A transaction relies on it", body = Problem)))]
async fn take_away(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(lock): Segment<String>,
    super::Input(Break { holder, reason }): super::Input<Break>,
) -> Result<StatusCode, Refusal> {
    let sql = "SELECT pg_catalog.to_jsonb(goahead.break_lock($1, $2, $3))";
    let outcome = change(&app, &caller, sql, &[&lock, &holder, &reason]).await?;
    let outcome = outcome.as_deref().map_or("", RawValue::get).trim_matches('"');
    app.count_lock("break", outcome);
    match outcome {
        "broken" => Ok(StatusCode::NO_CONTENT),
        "guarded" => Err(Refusal::new(StatusCode::CONFLICT, "A transaction relies on this hold")
            .hint("Wait for its end; pg_stat_activity shows transactions that are open")),
        _ => Err(Refusal::not_found(format!("{holder:?} does not hold {lock:?}"))),
    }
}

/// List locks
#[utoipa::path(get, path = "/v1/locks",
    operation_id = "list_locks", tag = "locks", params(Page), responses((status = 200, body = List)))]
async fn list(State(app): State<Shared>, _: Reader, Params(page): Params<Page>) -> Result<Json<Value>, Refusal> {
    let limit = page.limit()?;
    fetch(&app, "SELECT goahead.list_locks($1, $2)", &[&limit, &page.after]).await.map(Json)
}

/// One lock with its holders
#[utoipa::path(get, path = "/v1/locks/{lock}",
    operation_id = "get_lock", tag = "locks", params(("lock" = String, Path)), responses(
    (status = 200, body = Map<String, Value>), (status = 404, body = Problem)))]
async fn get(State(app): State<Shared>, _: Reader, Segment(lock): Segment<String>) -> Result<Json<Value>, Refusal> {
    find(&app, &lock).await.map(Json)
}

/// What readers may see of a lock.
///
/// # Errors
/// 404 when there is none.
pub async fn find(app: &App, lock: &str) -> Result<Value, Refusal> {
    match fetch(app, "SELECT goahead.get_lock($1)", &[&lock]).await? {
        Value::Null => Err(Refusal::not_found(format!("There is no lock {lock:?}"))
            .hint("The first acquire makes it, or PUT its settings")),
        lock => Ok(lock),
    }
}

/// Who holds a lock and who waits for it, in order
#[utoipa::path(get, path = "/v1/locks/{lock}/queue",
    operation_id = "lock_queue", tag = "locks", params(("lock" = String, Path), Page), responses((status = 200, body = List)))]
async fn queue(
    State(app): State<Shared>,
    _: Reader,
    Segment(lock): Segment<String>,
    Params(page): Params<Page>,
) -> Result<Json<Value>, Refusal> {
    let (limit, after) = (page.limit()?, page.number()?);
    fetch(&app, "SELECT goahead.list_lock_queue($1, $2, $3)", &[&lock, &limit, &after]).await.map(Json)
}

/// What an admin sets of a lock; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// How many may hold it at once.
    slots: Option<i32>,
    /// How long a slot rests that was not given back properly, such as 15s.
    lock_delay: Option<String>,
    /// What a failed operation means for the others: continue, or halt until an operator resumes the unit or the lock.
    on_failure: Option<String>,
}

/// Make a lock or change it
#[utoipa::path(put, path = "/v1/locks/{lock}",
    operation_id = "set_lock", tag = "locks", params(("lock" = String, Path)), request_body = Settings,
    responses((status = 204)))]
async fn set(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Segment(lock): Segment<String>,
    super::Input(Settings { slots, lock_delay, on_failure }): super::Input<Settings>,
) -> Result<StatusCode, Refusal> {
    let sql = "SELECT goahead.set_lock($1, $2, goahead.go_duration($3), on_failure => $4)";
    change(&app, &caller, sql, &[&lock, &slots, &lock_delay, &on_failure]).await?;
    Ok(StatusCode::NO_CONTENT)
}
