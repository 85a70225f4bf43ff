//! FleetLock, by which Fedora CoreOS (Zincati) and Flatcar hosts ask for their slot.
//!
//! Protocol: Zincati's docs/development/fleetlock/protocol.md. Clients take any 2xx as success and ignore its body,
//! post without a Content-Type, may double the leading slash or keep a path prefix from their base URL, and turn a
//! redirected POST into a GET; so nothing here redirects.

use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use goahead_rules::hostname::{GroupName, HolderId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::error::Refusal;
use super::{App, Shared, auth, payload};
use crate::db::{DbError, Kind, Outcome};

/// Takes the slot (RecursiveLock); also the route's label in metrics.
pub const PRE_REBOOT: &str = "/v1/pre-reboot";
/// Gives the slot back (UnlockIfHeld); also the route's label in metrics.
pub const STEADY_STATE: &str = "/v1/steady-state";

/// The two routes at their plain paths; [`route_of`] finds them under prefixes.
pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(pre_reboot).map(|_| any(pre_reboot)))
        .routes(routes!(steady_state).map(|_| any(steady_state)))
}

/// Which of the two a path means that no route of ours has.
pub fn route_of(path: &str) -> Option<&'static str> {
    [PRE_REBOOT, STEADY_STATE].into_iter().find(|route| path.ends_with(route))
}

/// What a client sends; other fields are ignored.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct FleetLockRequest {
    client_params: ClientParams,
}

/// Who asks.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct ClientParams {
    /// The holder, 1 to 128 of `[A-Za-z0-9._:-]`, compared byte by byte.
    id: String,
    /// Names the cluster.
    group: String,
}

/// An error; `kind` is one of a small fixed set, as clients count by it.
#[derive(Debug, Serialize, ToSchema)]
pub struct FleetLockError {
    /// One of a fixed set.
    kind: &'static str,
    /// For a person.
    value: String,
}

/// Take a slot before a restart
///
/// Repeats by the holder succeed and hold one slot.
#[utoipa::path(post, path = "/v1/pre-reboot", tag = "fleetlock", request_body = FleetLockRequest,
    params(("fleet-lock-protocol" = String, Header, description = "`true`")),
    responses(
        (status = 200, description = "The slot is held; the host may restart"),
        (status = 400, description = "missing_header, decode_error, invalid_client_identity, unknown_group", body = FleetLockError),
        (status = 409, description = "The kind names the condition that said no", body = FleetLockError),
        (status = 503, description = "database_unavailable, failed_lock_busy", body = FleetLockError),
    ))]
async fn pre_reboot(State(app): State<Shared>, request: Request) -> Response {
    answer(&app, PRE_REBOOT, request).await
}

/// Give the slot back after a restart
///
/// Succeeds also when none is held.
#[utoipa::path(post, path = "/v1/steady-state", tag = "fleetlock", request_body = FleetLockRequest,
    params(("fleet-lock-protocol" = String, Header, description = "`true`")),
    responses(
        (status = 200, description = "No slot is held any more"),
        (status = 400, description = "missing_header, decode_error, invalid_client_identity, unknown_group", body = FleetLockError),
        (status = 503, description = "database_unavailable, failed_lock_busy", body = FleetLockError),
    ))]
async fn steady_state(State(app): State<Shared>, request: Request) -> Response {
    answer(&app, STEADY_STATE, request).await
}

/// Answers either route, whatever prefix the path had.
pub async fn answer(app: &App, route: &'static str, request: Request) -> Response {
    match judge(app, route, request).await {
        Ok(()) => reply(StatusCode::OK, "{}".to_owned()),
        Err(failure) => failure.into_response(),
    }
}

/// An error with its kind.
#[derive(Debug)]
struct Failure {
    kind: &'static str,
    refusal: Refusal,
}

impl Failure {
    fn new(kind: &'static str, status: StatusCode, value: impl Into<String>) -> Self {
        Self { kind, refusal: Refusal::new(status, value) }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::SERVICE_UNAVAILABLE => "database_unavailable",
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => "decode_error",
            _ => "internal_error",
        };
        Self { kind, refusal }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = FleetLockError { kind: self.kind, value: self.refusal.sentence() };
        // Two strings always serialize.
        let mut response = reply(self.refusal.status, serde_json::to_string(&body).unwrap_or_default());
        self.refusal.decorate(&mut response);
        if self.refusal.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

fn reply(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

async fn judge(app: &App, route: &'static str, request: Request) -> Result<(), Failure> {
    let (parts, body) = request.into_parts();
    check_form(&parts.method, &parts.headers)?;
    let caller = auth::admit(app, &parts).await?;
    let params = read(&payload::read(body).await?)?;
    auth::check_name(&caller, &params.id, &app.state.options)?;
    let op = if route == PRE_REBOOT { "lock" } else { "unlock" };
    let item = serde_json::json!({ "op": op, "group": params.group, "id": params.id });
    let outcome = app.state.db.decide(item.to_string()).await.map_err(unanswered)?;
    app.count(op, &outcome);
    settle(outcome)
}

fn check_form(method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
    if method != Method::POST {
        return Err(Failure::new("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "Use POST"));
    }
    if headers.get("fleet-lock-protocol").is_none_or(|value| value != "true") {
        return Err(Failure::new(
            "missing_header",
            StatusCode::BAD_REQUEST,
            "Send the header fleet-lock-protocol: true",
        ));
    }
    Ok(())
}

fn read(body: &[u8]) -> Result<ClientParams, Failure> {
    let params = serde_json::from_slice::<FleetLockRequest>(body)
        .map_err(|error| {
            let value = format!("The body is not {{\"client_params\": {{\"id\", \"group\"}}}}: {error}");
            Failure::new("decode_error", StatusCode::BAD_REQUEST, value)
        })?
        .client_params;
    HolderId::parse(&params.id).map_err(|error| bad_identity(format!("id: {error}")))?;
    GroupName::parse(&params.group).map_err(|error| bad_identity(format!("group: {error}")))?;
    Ok(params)
}

fn bad_identity(value: impl Into<String>) -> Failure {
    Failure::new("invalid_client_identity", StatusCode::BAD_REQUEST, value)
}

/// Why there is no outcome.
fn unanswered(error: DbError) -> Failure {
    match error.code() {
        Some("55P03") => Failure { kind: "failed_lock_busy", refusal: Refusal::busy() },
        _ => Refusal::from(error).into(),
    }
}

fn settle(outcome: Outcome) -> Result<(), Failure> {
    let text = |otherwise: &str| outcome.message.clone().unwrap_or_else(|| otherwise.to_owned());
    Err(match outcome.kind {
        Kind::Granted | Kind::Released => return Ok(()),
        Kind::Denied => {
            let condition = outcome.condition.as_deref().unwrap_or_default();
            Failure::new(kind_of(condition), StatusCode::CONFLICT, text(&format!("Denied: {condition}")))
        }
        Kind::UnknownGroup | Kind::Unknown => {
            Failure::new("unknown_group", StatusCode::BAD_REQUEST, text("No cluster has the name of this group"))
        }
        Kind::Invalid => {
            let mut failure = bad_identity(text("The id or the group is not valid"));
            failure.refusal.hint = outcome.hint;
            failure
        }
        kind => Refusal::internal(format_args!("outcome {} of a FleetLock call", kind.as_str())).into(),
    })
}

/// The error kind of a condition that said no. The first is the protocol's own example; clients count by kind, so an
/// unexpected condition must not make a new one.
fn kind_of(condition: &str) -> &'static str {
    match condition {
        "limit" => "failed_lock_semaphore_full",
        "enabled" => "failed_lock_disabled",
        "frozen" => "failed_lock_frozen",
        "window" => "failed_lock_outside_window",
        "overdue" => "failed_lock_overdue",
        "minimum_interval" => "failed_lock_minimum_interval",
        "blocker" => "failed_lock_blocked",
        _ => "failed_lock",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(json: &str) -> (Option<&'static str>, u16) {
        match settle(serde_json::from_str(json).expect("an outcome")) {
            Ok(()) => (None, 200),
            Err(failure) => (Some(failure.kind), failure.refusal.status.as_u16()),
        }
    }

    #[test]
    fn paths_with_a_prefix_are_found() {
        assert_eq!(route_of("//v1/pre-reboot"), Some(PRE_REBOOT));
        assert_eq!(route_of("/fleet/default/v1/steady-state"), Some(STEADY_STATE));
        assert_eq!(route_of("/v1/pre-reboot/"), None);
        assert_eq!(route_of("/xv1/pre-reboot"), None);
    }

    #[test]
    fn outcomes_become_statuses_and_kinds() {
        assert_eq!(outcome(r#"{"outcome":"granted"}"#), (None, 200));
        assert_eq!(outcome(r#"{"outcome":"released"}"#), (None, 200));
        assert_eq!(outcome(r#"{"outcome":"denied","condition":"limit"}"#), (Some("failed_lock_semaphore_full"), 409));
        assert_eq!(outcome(r#"{"outcome":"denied","condition":"moon"}"#), (Some("failed_lock"), 409));
        assert_eq!(outcome(r#"{"outcome":"unknown_group"}"#), (Some("unknown_group"), 400));
        assert_eq!(outcome(r#"{"outcome":"invalid","message":"x"}"#), (Some("invalid_client_identity"), 400));
        assert_eq!(outcome(r#"{"outcome":"yes"}"#), (Some("internal_error"), 500));
    }

    #[test]
    fn bodies_are_read_as_the_protocol_says() {
        let kind = |body: &str| read(body.as_bytes()).map(|params| params.id).map_err(|failure| failure.kind);
        assert_eq!(kind(r#"{"client_params":{"id":"A:1","group":"default","x":1},"y":2}"#), Ok("A:1".into()));
        assert_eq!(kind("nonsense"), Err("decode_error"));
        assert_eq!(kind(r#"{"client_params":{"id":5,"group":"default"}}"#), Err("decode_error"));
        for body in ["{}", r#"{"client_params":{"id":"a"}}"#, r#"{"client_params":{"id":"../a","group":"default"}}"#] {
            assert_eq!(kind(body), Err("invalid_client_identity"), "{body}");
        }
    }

    #[test]
    fn method_and_header_come_first() {
        let kind = |method: Method, value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("fleet-lock-protocol", HeaderValue::from_static(value));
            }
            check_form(&method, &headers).map_err(|failure| failure.kind)
        };
        assert_eq!(kind(Method::POST, Some("true")), Ok(()));
        assert_eq!(kind(Method::GET, Some("true")), Err("method_not_allowed"));
        assert_eq!(kind(Method::POST, Some("false")), Err("missing_header"));
        assert_eq!(kind(Method::POST, None), Err("missing_header"));
    }
}
