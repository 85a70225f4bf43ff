//! Clusters: settings, freeze, thaw and the start of rollouts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Input, List, Page, Params, Segment, change, fetch};
use crate::api::auth::{Admin, Operator, Reader};
use crate::api::error::{Problem, Refusal};
use crate::api::{App, Shared};

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
        .routes(routes!(freeze))
        .routes(routes!(thaw))
        .routes(routes!(start_rollout))
}

/// List clusters
#[utoipa::path(get, path = "/v1/clusters",
    operation_id = "list_clusters", tag = "clusters", params(Page), responses(
    (status = 200, body = List)))]
async fn list(State(app): State<Shared>, _: Reader, Params(page): Params<Page>) -> Result<Json<Value>, Refusal> {
    let limit = page.limit()?;
    fetch(&app, "SELECT goahead.list_clusters($1, $2)", &[&limit, &page.after]).await.map(Json)
}

/// One cluster with its settings
#[utoipa::path(get, path = "/v1/clusters/{name}",
    operation_id = "get_cluster", tag = "clusters", params(("name" = String, Path)), responses(
    (status = 200, body = Map<String, Value>), (status = 404, body = Problem)))]
async fn get(State(app): State<Shared>, _: Reader, Segment(name): Segment<String>) -> Result<Json<Value>, Refusal> {
    cluster(&app, &name).await.map(Json)
}

/// Create a cluster or replace its settings
///
/// Commands and checks are refused unless the service runs with --allow-commands-over-http; those that the cluster
/// has already may be sent back unchanged.
#[utoipa::path(put, path = "/v1/clusters/{name}",
    operation_id = "set_cluster", tag = "clusters", params(("name" = String, Path)),
    request_body = Map<String, Value>, responses(
    (status = 200, description = "The cluster as it is now", body = Map<String, Value>)))]
async fn put(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Segment(name): Segment<String>,
    Input(settings): Input<Map<String, Value>>,
) -> Result<Json<Value>, Refusal> {
    if !app.state.options.allow_commands_over_http {
        refuse_new_commands(&app, &name, &settings).await?;
    }
    let settings = Value::Object(settings).to_string();
    change(&app, &caller, "SELECT goahead.set_cluster($1, $2::text::jsonb)", &[&name, &settings]).await?;
    cluster(&app, &name).await.map(Json)
}

/// Remove a cluster
#[utoipa::path(delete, path = "/v1/clusters/{name}",
    operation_id = "drop_cluster", tag = "clusters", params(("name" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn delete(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Segment(name): Segment<String>,
) -> Result<StatusCode, Refusal> {
    change(&app, &caller, "SELECT goahead.drop_cluster($1)", &[&name]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why and how long a cluster is frozen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Freeze {
    /// Shown to everybody who is denied.
    reason: String,
    /// When it thaws by itself, RFC 3339; until thawed when absent.
    until: Option<String>,
}

/// Deny every restart of a cluster
#[utoipa::path(post, path = "/v1/clusters/{name}/freeze",
    operation_id = "freeze", tag = "clusters", params(("name" = String, Path)),
    request_body = Freeze, responses(
    (status = 200, description = "The cluster as it is now", body = Map<String, Value>),
    (status = 404, body = Problem)))]
async fn freeze(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(name): Segment<String>,
    Input(Freeze { reason, until }): Input<Freeze>,
) -> Result<Json<Value>, Refusal> {
    let sql = "SELECT goahead.freeze($1, $2, $3::text::timestamptz)";
    change(&app, &caller, sql, &[&name, &reason, &until]).await?;
    cluster(&app, &name).await.map(Json)
}

/// End a freeze
#[utoipa::path(post, path = "/v1/clusters/{name}/thaw",
    operation_id = "thaw", tag = "clusters", params(("name" = String, Path)), responses(
    (status = 200, description = "The cluster as it is now", body = Map<String, Value>),
    (status = 404, body = Problem)))]
async fn thaw(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(name): Segment<String>,
) -> Result<Json<Value>, Refusal> {
    change(&app, &caller, "SELECT goahead.thaw($1)", &[&name]).await?;
    cluster(&app, &name).await.map(Json)
}

/// Why a rollout is started.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollout {
    /// Part of the answer that tells the hosts to restart.
    reason: String,
}

/// Restart every host of a cluster, within its limits
#[utoipa::path(post, path = "/v1/clusters/{name}/rollouts",
    operation_id = "start_rollout", tag = "rollouts", params(("name" = String, Path)),
    request_body = Rollout, responses(
    (status = 201, description = "`{\"id\": n}`", body = Map<String, Value>),
    (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn start_rollout(
    State(app): State<Shared>,
    Operator(caller): Operator,
    Segment(name): Segment<String>,
    Input(Rollout { reason }): Input<Rollout>,
) -> Result<impl IntoResponse, Refusal> {
    let sql = "SELECT pg_catalog.to_jsonb(goahead.start_rollout($1, $2))";
    let id = change(&app, &caller, sql, &[&name, &reason]).await?;
    Ok((StatusCode::CREATED, [(LOCATION, "/v1/rollouts")], Json(json!({ "id": id }))))
}

async fn cluster(app: &App, name: &str) -> Result<Value, Refusal> {
    match fetch(app, "SELECT goahead.get_cluster($1)", &[&name]).await? {
        Value::Null => Err(Refusal::not_found(format!("There is no cluster {name:?}"))),
        cluster => Ok(cluster),
    }
}

/// The `reboot_…` settings that hold no command. Whatever else begins so counts as one, so that a new kind of command
/// is refused before anybody thinks of this list.
const HARMLESS: [&str; 5] = [
    "reboot_completion_check_interval",
    "reboot_completion_check_consecutive_successes",
    "reboot_completion_check_offset",
    "reboot_completion_panic_threshold",
    "reboot_goahead_checks_exit_code_for_reboot",
];

/// The commands among settings.
fn commands(settings: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    settings.iter().filter(|(key, value)| {
        let key = key.trim().to_ascii_lowercase();
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        !empty && key.starts_with("reboot_") && !HARMLESS.contains(&key.as_str())
    })
}

async fn refuse_new_commands(app: &App, name: &str, settings: &Map<String, Value>) -> Result<(), Refusal> {
    if commands(settings).next().is_none() {
        return Ok(());
    }
    let now: Value = fetch(app, "SELECT goahead.get_cluster($1)", &[&name]).await?;
    match commands(settings).find(|(key, value)| now["settings"].get(key.as_str()) != Some(value)) {
        Some((key, _)) => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!("{key} holds a command, and commands are not accepted over HTTP"),
        )
        .hint("Set it by SQL (goahead.set_cluster) or `goahead clusters import`, or start the service with --allow-commands-over-http")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_numbers() {
        let found = |settings: Value| {
            let settings = settings.as_object().cloned().unwrap_or_default();
            commands(&settings).map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            found(json!({
                "name_pattern": "x", "reboot_completion_check_interval": "1s", "reboot_completion_panic_threshold": "3h",
                "reboot_goahead_checks": [], "reboot_completion_check": "",
            })),
            Vec::<String>::new()
        );
        assert_eq!(found(json!({ "reboot_completion_check": "/bin/true" })), ["reboot_completion_check"]);
        assert_eq!(
            found(json!({ "reboot_completion_panic_actions": { "scripts": ["x"] } })),
            ["reboot_completion_panic_actions"]
        );
        assert_eq!(found(json!({ " Reboot_Goahead_Actions": ["x"] })), [" Reboot_Goahead_Actions"]);
        assert_eq!(found(json!({ "reboot_new_thing": "x" })), ["reboot_new_thing"]);
    }
}
