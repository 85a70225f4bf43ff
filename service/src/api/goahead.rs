//! goahead's own API at its own paths, as its installed clients know it.
//!
//! Every method is accepted and paths match exactly, as in the original. A denial is an answer with status 200;
//! errors are `{"error": "…"}`.

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use goahead_rules::duration;
use jiff::Timestamp;
use rand::Rng;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::error::Refusal;
use super::payload::{self, Ask};
use super::{App, Shared, auth, page};
use crate::checks::{CheckResult, CheckSpec};
use crate::db::{Kind, Outcome};

/// The routes of the original; each answers any method, the document shows the usual one.
pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(restart_os).map(|_| any(restart_os)))
        .routes(routes!(restart).map(|_| any(restart)))
        .routes(routes!(restart_unversioned).map(|_| any(restart_unversioned)))
        .routes(routes!(inquire).map(|_| any(inquire)))
        .routes(routes!(inquire_unversioned).map(|_| any(inquire_unversioned)))
        .routes(routes!(root).map(|_| any(root)))
        .routes(routes!(health).map(|_| any(health)))
        .routes(routes!(health_unversioned).map(|_| any(health_unversioned)))
        .routes(routes!(health_v1).map(|_| any(health_v1)))
}

/// What a host sends.
#[derive(ToSchema)]
#[schema(as = RestartAsk)]
#[expect(dead_code, reason = "describes the body for the OpenAPI document; payload::Ask reads it")]
pub struct AskSchema {
    /// The host's name.
    fqdn: String,
    /// Its uptime in Go's format, for example `2255h27m43s`.
    uptime: String,
    /// The id from the first answer, on the second call.
    request_id: Option<String>,
    /// Why it wants to restart.
    restart_reason: Option<String>,
    /// The kernel's boot id.
    boot_id: Option<String>,
}

/// The answer to every request, inquiry and health call.
#[derive(Serialize, ToSchema)]
pub struct Answer {
    /// RFC 3339 with nanoseconds.
    timestamp: String,
    /// Whether the host may restart now.
    go_ahead: bool,
    /// Whether no cluster matches the host.
    unknown_host: bool,
    /// How long to wait before asking again, 0s to 29s.
    #[serde(skip_serializing_if = "str::is_empty")]
    ask_again_in: &'static str,
    /// Eight letters, to be sent with the second call.
    request_id: String,
    /// The cluster that the host belongs to, or `unknown`.
    found_cluster: &'static str,
    /// The name as the host sent it.
    requesting_fqdn: &'static str,
    /// Why not, or what an inquiry found.
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'static str,
    /// The uptime as the host sent it.
    reported_uptime: &'static str,
}

/// An error of this API.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong.
    error: String,
}

/// Ask for permission to restart the operating system
///
/// The first call hands out a request_id; the second call, with it, may be granted.
#[utoipa::path(post, path = "/v1/request/restart/os", tag = "goahead", request_body = AskSchema, responses(
    (status = 200, description = "The answer, also when it is no", body = Answer),
    (status = 400, description = "The request cannot be read", body = ErrorBody),
    (status = 503, description = "The database does not answer", body = ErrorBody),
))]
async fn restart_os(State(app): State<Shared>, request: Request) -> Response {
    reply(ask(&app, request).await)
}

/// Ask for permission to restart
#[utoipa::path(post, path = "/v1/request/restart/", tag = "goahead", request_body = AskSchema,
    responses((status = 200, body = Answer), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn restart(State(app): State<Shared>, request: Request) -> Response {
    reply(ask(&app, request).await)
}

/// Ask for permission to restart (unversioned)
#[utoipa::path(post, path = "/request/restart/", tag = "goahead", request_body = AskSchema,
    responses((status = 200, body = Answer), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn restart_unversioned(State(app): State<Shared>, request: Request) -> Response {
    reply(ask(&app, request).await)
}

/// Ask whether there is a reason to restart
///
/// There is one when the message begins with `YesInquireToRestart`.
#[utoipa::path(post, path = "/v1/inquire/restart/", tag = "goahead", request_body = AskSchema,
    responses((status = 200, body = Answer), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn inquire(State(app): State<Shared>, request: Request) -> Response {
    reply(inquiry(&app, request).await)
}

/// Ask whether there is a reason to restart (unversioned)
#[utoipa::path(post, path = "/inquire/restart/", tag = "goahead", request_body = AskSchema,
    responses((status = 200, body = Answer), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn inquire_unversioned(State(app): State<Shared>, request: Request) -> Response {
    reply(inquiry(&app, request).await)
}

/// Health, or the status page for browsers
#[utoipa::path(get, path = "/", tag = "goahead", responses((status = 200, content(
    (Answer = "application/json"), (String = "text/html")
))))]
async fn root(State(app): State<Shared>, request: Request) -> Response {
    if wants_html(request.headers()) { page::answer(&app, request).await } else { healthy() }
}

/// Health
#[utoipa::path(get, path = "/v1/", tag = "goahead", responses((status = 200, body = Answer)))]
async fn health() -> Response {
    healthy()
}

/// Health
#[utoipa::path(get, path = "/health", tag = "goahead", responses((status = 200, body = Answer)))]
async fn health_unversioned() -> Response {
    healthy()
}

/// Health
#[utoipa::path(get, path = "/v1/health", tag = "goahead", responses((status = 200, body = Answer)))]
async fn health_v1() -> Response {
    healthy()
}

/// The original answers health without looking at anything; `/ready` on the admin listener looks.
fn healthy() -> Response {
    let mut random = rand::rng();
    axum::Json(Answer {
        timestamp: Timestamp::now().to_string(),
        go_ahead: false,
        unknown_host: true,
        ask_again_in: "",
        request_id: (0..8).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect(),
        found_cluster: "",
        requesting_fqdn: "",
        message: "HealthHandler!",
        reported_uptime: "",
    })
    .into_response()
}

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Whether `Accept` names HTML outright; `*/*` is what programs send and gets JSON.
pub fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html")))
}

async fn ask(app: &App, request: Request) -> Result<Box<RawValue>, Refusal> {
    let ask = receive(app, request).await?;
    let item = item("request", &ask, None)?;
    let first = ask.request_id.is_empty();
    let outcome = if first { app.state.db.contact(item).await? } else { app.state.db.decide(item).await? };
    app.count("request", &outcome);
    settle(outcome)
}

async fn inquiry(app: &App, request: Request) -> Result<Box<RawValue>, Refusal> {
    let ask = receive(app, request).await?;
    let mut outcome = app.state.db.inquire(item("inquire", &ask, None)?).await?;
    if outcome.kind == Kind::Checks {
        let wanted = outcome.checks.as_deref().map_or("[]", RawValue::get);
        let wanted: Vec<CheckSpec> = serde_json::from_str(wanted).map_err(Refusal::internal)?;
        let results = app.state.checks.run(wanted).await;
        outcome = app.state.db.inquire(item("inquire", &ask, Some(&results))?).await?;
    }
    app.count("inquiry", &outcome);
    settle(outcome)
}

/// Reads and checks what the original checks, in its order and words.
async fn receive(app: &App, request: Request) -> Result<Ask, Refusal> {
    let (parts, body) = request.into_parts();
    let caller = auth::admit(app, &parts).await?;
    let body = payload::read(body).await?;
    let ask = Ask::parse(&body).ok_or_else(|| Refusal::bad_request("Invalid request payload"))?;
    if ask.fqdn.is_empty() || ask.uptime.is_empty() {
        return Err(Refusal::bad_request("Invalid request payload. Need at least fqdn and uptime fields!"));
    }
    if duration::parse(&ask.uptime).is_err() {
        return Err(Refusal::bad_request(format!(
            "Can not convert value {} of your uptime to a golang Duration. Valid time units are 300ms, 1.5h or 2h45m.",
            ask.uptime
        )));
    }
    auth::check_name(&caller, &ask.fqdn, &app.state.options)?;
    Ok(ask)
}

/// One item for the set form.
fn item(op: &str, ask: &Ask, checks: Option<&[CheckResult]>) -> Result<String, Refusal> {
    #[derive(Serialize)]
    struct Item<'a> {
        op: &'a str,
        #[serde(flatten)]
        ask: &'a Ask,
        #[serde(skip_serializing_if = "Option::is_none")]
        checks: Option<&'a [CheckResult]>,
    }
    serde_json::to_string(&Item { op, ask, checks }).map_err(Refusal::internal)
}

fn settle(outcome: Outcome) -> Result<Box<RawValue>, Refusal> {
    match (outcome.kind, outcome.answer) {
        (Kind::Invalid, _) => {
            let refusal = Refusal::bad_request(outcome.message.unwrap_or_else(|| "Invalid request payload".into()));
            Err(Refusal { hint: outcome.hint, ..refusal })
        }
        (Kind::Busy, _) => Err(Refusal::busy()),
        (_, Some(answer)) => Ok(answer),
        (kind, None) => Err(Refusal::internal(format_args!("no answer came with outcome {}", kind.as_str()))),
    }
}

fn reply(result: Result<Box<RawValue>, Refusal>) -> Response {
    match result {
        Ok(answer) => json(StatusCode::OK, Box::<str>::from(answer).into_string()),
        Err(refusal) => {
            let body = serde_json::json!({ "error": refusal.sentence() });
            let mut response = json(refusal.status, body.to_string());
            refusal.decorate(&mut response);
            response
        }
    }
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_browsers_get_html() {
        let accepts = |text| wants_html(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(text))]));
        assert!(accepts("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"));
        assert!(accepts("application/json, text/HTML;q=0.5"));
        assert!(!accepts("*/*"));
        assert!(!accepts("application/json"));
        assert!(!wants_html(&HeaderMap::new()));
    }

    #[test]
    fn items_carry_only_what_was_sent() {
        let ask = Ask::parse(br#"{"fqdn":"a","uptime":"1h","restart_reason":"kernel"}"#).expect("a payload");
        assert_eq!(
            item("request", &ask, None).ok().as_deref(),
            Some(r#"{"op":"request","fqdn":"a","uptime":"1h","reason":"kernel"}"#)
        );
    }
}
