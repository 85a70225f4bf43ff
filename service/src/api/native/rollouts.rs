//! Rollouts: restarts of whole clusters, started under their cluster and stopped by number.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{List, Page, Params, Segment, change, fetch};
use crate::api::Shared;
use crate::api::auth::{Operator, Reader};
use crate::api::error::{Problem, Refusal};

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(stop))
}

/// List rollouts, newest first, with hosts done, running and left
#[utoipa::path(get, path = "/v1/rollouts",
    operation_id = "list_rollouts", tag = "rollouts", params(Page), responses(
    (status = 200, body = List)))]
async fn list(State(app): State<Shared>, _: Reader, Params(page): Params<Page>) -> Result<Json<Value>, Refusal> {
    let (limit, before) = (page.limit()?, page.number()?);
    fetch(&app, "SELECT goahead.list_rollouts($1, $2)", &[&limit, &before]).await.map(Json)
}

/// Stop a rollout; hosts that restart already go on
#[utoipa::path(post, path = "/v1/rollouts/{id}/stop",
    operation_id = "stop_rollout", tag = "rollouts", params(("id" = i64, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
async fn stop(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(id): Segment<i64>,
) -> Result<StatusCode, Refusal> {
    change(&app, &caller, "SELECT goahead.stop_rollout($1)", &[&id]).await?;
    Ok(StatusCode::NO_CONTENT)
}
