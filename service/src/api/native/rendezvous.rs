//! Rendezvous: wait for a key, signal it, take that back.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{List, Page, Params, Segment, fetch};
use crate::api::auth::{self, Reader};
use crate::api::error::{Problem, Refusal};
use crate::api::rendezvous::request::{check_storable, timeout_of, ttl};
use crate::api::rendezvous::{answer, valid};
use crate::api::{App, Shared, payload};
use crate::db::Meeting;
use crate::peer::Peer;
use crate::rendezvous::{Goal, Key, Waited};

/// What readers call.
pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list))
}

/// What everybody calls, unless the operator asks for credentials.
pub fn open_router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(wait, signal, reset))
}

/// How long to wait.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Patience {
    /// How long to wait for the signal, such as 30s; an hour at most. Not at all unless told.
    wait: Option<String>,
    /// The same, as the rendezvous listener calls it.
    timeout: Option<String>,
}

/// A key that is signalled.
#[derive(Serialize, ToSchema)]
struct Signalled {
    /// The key.
    key: String,
    /// What came with the signal; null for nothing.
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
}

/// A signal.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Signal {
    /// What those who wait get: any JSON.
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
    /// How long it lasts, such as 60s; until it is taken back unless told.
    ttl: Option<String>,
}

fn open_key(text: &str) -> Result<Key, Refusal> {
    let key = Key::parse(text).map_err(|error| Refusal::bad_request(format!("This cannot be a key: {error}")))?;
    if key.is_reserved() {
        return Err(Refusal::not_found("Keys starting with '_' are reserved")
            .hint("What they stand for is waited for at the rendezvous listener"));
    }
    Ok(key)
}

async fn admit(app: &App, request: Request) -> Result<(SocketAddr, Vec<u8>), Refusal> {
    let (parts, body) = request.into_parts();
    auth::admit(app, &parts).await?;
    let who = parts.extensions.get::<Peer>().map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |peer| peer.address);
    Ok((who, payload::read(body).await?))
}

/// Wait until a key is signalled; slashes in a key may stand as they are
#[utoipa::path(get, path = "/v1/rendezvous/{*key}",
    operation_id = "wait_for_key", tag = "rendezvous", params(("key" = String, Path), Patience), responses(
    (status = 200, description = "It is signalled", body = Signalled),
    (status = 404, description = "It is not, and the time is up", body = Problem)))]
async fn wait(
    State(app): State<Shared>,
    Segment(key): Segment<String>,
    Params(patience): Params<Patience>,
    request: Request,
) -> Result<Json<Signalled>, Refusal> {
    let (who, _) = admit(&app, request).await?;
    let key = open_key(&key)?;
    let wanted = timeout_of(patience.wait.as_deref().or(patience.timeout.as_deref()))?.unwrap_or_default();
    let signalled = |payload: Option<Box<RawValue>>| Json(Signalled { key: key.to_string(), payload });
    if wanted.is_zero() {
        let outcome = valid(app.state.rendezvous.read(&key).await?)?;
        return match outcome.outcome {
            Meeting::Signalled => Ok(signalled(outcome.payload)),
            _ => Err(not_signalled(&key).hint("Wait for it with ?wait=30s")),
        };
    }
    let goal = Goal { key: key.clone(), target: None };
    match app.state.rendezvous.wait(goal, who, Instant::now() + wanted).await {
        Waited::Signalled(mark) => Ok(signalled(mark.payload.clone())),
        Waited::TimedOut => Err(not_signalled(&key)),
        other => Err(answer::refusal(&other)),
    }
}

fn not_signalled(key: &Key) -> Refusal {
    Refusal::not_found(format!("{:?} is not signalled", key.as_str()))
}

/// Signal a key, which wakes those who wait for it
#[utoipa::path(put, path = "/v1/rendezvous/{*key}",
    operation_id = "signal_key", tag = "rendezvous", params(("key" = String, Path)), request_body = Signal,
    responses((status = 204)))]
async fn signal(
    State(app): State<Shared>,
    Segment(key): Segment<String>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (_, body) = admit(&app, request).await?;
    let key = open_key(&key)?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let signal: Signal = serde_json::from_slice(text)
        .map_err(|error| Refusal::bad_request(format!("The body is not what this call takes: {error}")))?;
    if let Some(payload) = &signal.payload {
        // Kept as it was written: a number may have more digits than a Value holds.
        let value: Value = serde_json::from_str(payload.get())
            .map_err(|error| Refusal::bad_request(format!("The payload cannot be read: {error}")))?;
        check_storable(&value)?;
    }
    let ttl = signal.ttl.as_deref().map(ttl).transpose()?;
    valid(app.state.rendezvous.signal(&key, signal.payload, ttl).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a signal back; a key that was not signalled is none the worse
#[utoipa::path(delete, path = "/v1/rendezvous/{*key}",
    operation_id = "reset_key", tag = "rendezvous", params(("key" = String, Path)), responses((status = 204)))]
async fn reset(
    State(app): State<Shared>,
    Segment(key): Segment<String>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    admit(&app, request).await?;
    valid(app.state.rendezvous.reset(&open_key(&key)?).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// List keys: signalled, waited for, waited for in vain
#[utoipa::path(get, path = "/v1/rendezvous",
    operation_id = "list_keys", tag = "rendezvous", params(Page), responses((status = 200, body = List)))]
async fn list(State(app): State<Shared>, _: Reader, Params(page): Params<Page>) -> Result<Json<Value>, Refusal> {
    let limit = page.limit()?;
    fetch(&app, "SELECT goahead.list_rendezvous($1, $2)", &[&limit, &page.after]).await.map(Json)
}
