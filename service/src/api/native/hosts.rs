//! Hosts: what is known of them, and why one may or may not restart now.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{List, Page, Params, Segment, change, fetch};
use crate::api::Shared;
use crate::api::auth::{Operator, Reader};
use crate::api::error::{Problem, Refusal};

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, forget)).routes(routes!(unknown))
}

/// Which hosts are wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct OfCluster {
    /// The cluster whose hosts are wanted.
    cluster: String,
}

/// List the hosts of a cluster
#[utoipa::path(get, path = "/v1/hosts",
    operation_id = "list_hosts", tag = "hosts", params(OfCluster, Page), responses(
    (status = 200, body = List)))]
async fn list(
    State(app): State<Shared>,
    _: Reader,
    Params(of): Params<OfCluster>,
    Params(page): Params<Page>,
) -> Result<Json<Value>, Refusal> {
    let limit = page.limit()?;
    fetch(&app, "SELECT goahead.list_hosts($1, $2, $3)", &[&of.cluster, &limit, &page.after]).await.map(Json)
}

/// One host, with each condition of a restart and its verdict now
#[utoipa::path(get, path = "/v1/hosts/{fqdn}",
    operation_id = "get_host", tag = "hosts", params(("fqdn" = String, Path)), responses(
    (status = 200, body = Map<String, Value>), (status = 404, body = Problem)))]
async fn get(State(app): State<Shared>, _: Reader, Segment(fqdn): Segment<String>) -> Result<Json<Value>, Refusal> {
    match fetch(&app, "SELECT goahead.get_host($1)", &[&fqdn]).await? {
        Value::Null => Err(Refusal::not_found(format!("The host {fqdn:?} has never asked"))
            .hint("/v1/unknown-hosts lists hosts that match no cluster")),
        host => Ok(Json(host)),
    }
}

/// Forget a scrapped host
#[utoipa::path(delete, path = "/v1/hosts/{fqdn}",
    operation_id = "forget_host", tag = "hosts", params(("fqdn" = String, Path)), responses(
    (status = 204, description = "It is forgotten, or was never known"),
    (status = 409, description = "It holds a go-ahead", body = Problem)))]
async fn forget(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(fqdn): Segment<String>,
) -> Result<StatusCode, Refusal> {
    change(&app, &caller, "SELECT goahead.forget_host($1)", &[&fqdn]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List hosts that asked and match no cluster, newest first
#[utoipa::path(get, path = "/v1/unknown-hosts",
    operation_id = "list_unknown_hosts", tag = "hosts",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "How many; 100 unless told")),
    responses((status = 200, body = List)))]
async fn unknown(State(app): State<Shared>, _: Reader, Params(page): Params<Page>) -> Result<Json<Value>, Refusal> {
    let limit = page.limit()?;
    fetch(&app, "SELECT goahead.list_unknown_hosts($1)", &[&limit]).await.map(Json)
}
