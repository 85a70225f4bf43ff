//! Restarts: their history, and the operator's word on one that is open.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Input, List, Page, Params, Segment, change, fetch};
use crate::api::Shared;
use crate::api::auth::{Operator, Reader};
use crate::api::error::{Problem, Refusal};

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(complete)).routes(routes!(fail)).routes(routes!(cancel))
}

/// List restarts, newest first
#[utoipa::path(get, path = "/v1/restarts",
    operation_id = "list_restarts", tag = "restarts", params(Page), responses(
    (status = 200, body = List)))]
async fn list(State(app): State<Shared>, _: Reader, Params(page): Params<Page>) -> Result<Json<Value>, Refusal> {
    let (limit, before) = (page.limit()?, page.number()?);
    fetch(&app, "SELECT goahead.list_restarts($1, $2)", &[&limit, &before]).await.map(Json)
}

/// Why an operator ends a restart.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    /// A few words that are kept with the restart.
    note: String,
}

/// Count the open restart of a host as completed
#[utoipa::path(post, path = "/v1/restarts/{fqdn}/complete",
    operation_id = "complete_restart", tag = "restarts", params(("fqdn" = String, Path)),
    request_body = Note, responses(
    (status = 204), (status = 404, description = "None is open", body = Problem)))]
async fn complete(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(fqdn): Segment<String>,
    Input(Note { note }): Input<Note>,
) -> Result<StatusCode, Refusal> {
    change(&app, &caller, "SELECT goahead.complete_restart($1, $2)", &[&fqdn, &note]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Count the open restart of a host as failed
#[utoipa::path(post, path = "/v1/restarts/{fqdn}/fail",
    operation_id = "fail_restart", tag = "restarts", params(("fqdn" = String, Path)),
    request_body = Note, responses(
    (status = 204), (status = 404, description = "None is open", body = Problem)))]
async fn fail(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(fqdn): Segment<String>,
    Input(Note { note }): Input<Note>,
) -> Result<StatusCode, Refusal> {
    change(&app, &caller, "SELECT goahead.fail_restart($1, $2)", &[&fqdn, &note]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take the permission of a host back; it must not restart any more
#[utoipa::path(post, path = "/v1/restarts/{fqdn}/cancel",
    operation_id = "cancel_restart", tag = "restarts", params(("fqdn" = String, Path)),
    request_body = Note, responses(
    (status = 204), (status = 404, description = "None is open", body = Problem)))]
async fn cancel(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(fqdn): Segment<String>,
    Input(Note { note }): Input<Note>,
) -> Result<StatusCode, Refusal> {
    change(&app, &caller, "SELECT goahead.cancel_restart($1, $2)", &[&fqdn, &note]).await?;
    Ok(StatusCode::NO_CONTENT)
}
