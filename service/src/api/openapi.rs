//! The OpenAPI document: what is said about the whole; the paths come from the routes themselves.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::Shared;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "goahead",
        description = "Who may restart now: goahead's own API, FleetLock, and the API of operators. Operators send a bearer token (`goahead token create`), or the same token as the password of Basic credentials, or a client certificate that --cert-role maps to a role.",
    ),
    modifiers(&Credentials),
    tags(
        (name = "goahead", description = "Hosts ask and inquire; any method is accepted, as in the original"),
        (name = "fleetlock", description = "Zincati and Flatcar hosts; a path prefix is accepted"),
        (name = "clusters", description = "Settings and freezes; reading needs the role reader, freezing operator, writing admin"),
        (name = "hosts", description = "What is known of hosts"),
        (name = "restarts", description = "Restarts and their history"),
        (name = "rollouts", description = "Restarts of whole clusters"),
        (name = "events", description = "What happened"),
    ),
)]
struct Api;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let scheme = |kind| SecurityScheme::Http(HttpBuilder::new().scheme(kind).build());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", scheme(HttpAuthScheme::Bearer));
        components.add_security_scheme("password", scheme(HttpAuthScheme::Basic));
    }
}

/// A router without routes whose document says what holds for all of them.
pub fn document() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Api::openapi())
}

/// The document as JSON.
pub fn render(document: &Document) -> String {
    serde_json::to_string_pretty(document).expect("a document has only text keys")
}

/// `GET /openapi.json`.
pub async fn answer(document: Arc<str>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
