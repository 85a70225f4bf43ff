//! The native API: JSON for operators and their tools, problem documents on error.
//!
//! A handler names the least role in its arguments ([`Reader`](super::auth::Reader) and so on) and calls one SQL
//! function; what may happen is decided there.

mod clusters;
mod events;
mod hosts;
mod lock_events;
mod locks;
mod operations;
mod rendezvous;
mod restarts;
mod rollouts;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::auth::Caller;
use super::error::Refusal;
use super::{App, Shared, payload};
use crate::db;

pub use events::STREAMS;
pub use lock_events::Followed;
pub use rendezvous::open_router as rendezvous;

/// What users of locks call, and units that work under them.
pub fn locks() -> OpenApiRouter<Shared> {
    locks::open_router().merge(operations::open_router())
}

/// All routes of the native API.
pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(clusters::router())
        .merge(hosts::router())
        .merge(locks::router())
        .merge(lock_events::router())
        .merge(operations::router())
        .merge(rendezvous::router())
        .merge(restarts::router())
        .merge(rollouts::router())
        .merge(events::router())
}

/// The one value that a function gives, read as `T`; SQL null reads as JSON null.
pub async fn fetch<T: DeserializeOwned>(app: &App, sql: &str, args: db::Params<'_>) -> Result<T, Refusal> {
    let json = app.state.db.json(sql, args).await?;
    serde_json::from_str(json.as_deref().map_or("null", RawValue::get)).map_err(Refusal::internal)
}

/// Calls a function that changes something, with the caller as the actor of its events.
async fn change(app: &App, caller: &Caller, sql: &str, args: db::Params<'_>) -> Result<Option<Box<RawValue>>, Refusal> {
    Ok(app.state.db.json_as(&caller.actor, sql, args).await?)
}

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// How many items, 1 to 1000; 100 unless told.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next` of the previous part.
    after: Option<String>,
}

impl Page {
    /// The number of items to ask for.
    fn limit(&self) -> Result<i32, Refusal> {
        match self.limit.unwrap_or(100) {
            limit @ 1..=1000 => Ok(i32::from(limit)),
            limit => Err(Refusal::bad_request(format!("limit={limit} is not between 1 and 1000"))),
        }
    }

    /// The cursor of a list that is ordered by number.
    fn number(&self) -> Result<Option<i64>, Refusal> {
        let Some(text) = &self.after else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Refusal::bad_request(format!("after={text:?} is not a cursor")).hint("Send `next` of the previous answer")
        })
    }
}

/// A part of a list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what SQL gives for the OpenAPI document")]
pub struct List {
    /// Alphabetical, or newest first.
    items: Vec<serde_json::Map<String, Value>>,
    /// The cursor of the next part; null at the end.
    next: Option<Value>,
}

/// Query parameters, refused with a problem document.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|e: QueryRejection| Refusal::bad_request(e.body_text()))
    }
}

/// The variable segments of a path, refused with a problem document.
pub struct Segment<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(segment)| Self(segment)).map_err(|e: PathRejection| Refusal::bad_request(e.body_text()))
    }
}

/// A JSON body, whatever its Content-Type; no body counts as `{}`.
pub struct Input<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let body = payload::read(request.into_body()).await?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| Refusal::bad_request(format!("The body is not what this call takes: {error}")))
    }
}

/// The answer to a call on a path that exists, with another method.
pub async fn method_not_allowed() -> Response {
    Refusal::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "This path does not take that method")
        .hint("/openapi.json lists what each path takes")
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_cursors_are_checked() {
        let page = |limit, after: Option<&str>| Page { limit, after: after.map(str::to_owned) };
        assert_eq!(page(None, None).limit(), Ok(100));
        assert_eq!(page(Some(1000), None).limit(), Ok(1000));
        assert!(page(Some(0), None).limit().is_err() && page(Some(1001), None).limit().is_err());
        assert_eq!(page(None, Some("7")).number(), Ok(Some(7)));
        assert!(page(None, Some("x")).number().is_err());
    }
}
