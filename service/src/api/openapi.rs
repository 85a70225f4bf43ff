//! The OpenAPI document: what is said about the whole; the paths come from the routes themselves.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};
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

/// Says of every operation of operators what all of them have in common: credentials, and the errors around them.
pub fn with_credentials(mut router: OpenApiRouter<Shared>) -> OpenApiRouter<Shared> {
    let problem = |description: &str| {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new().description(description).content("application/problem+json", content).build()
    };
    let either = ["token", "password"].map(|scheme| SecurityRequirement::new(scheme, [""; 0]));
    for item in router.get_openapi_mut().paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.security = Some(either.to_vec());
            for (status, description) in [
                ("401", "No credentials, or unknown ones"),
                ("403", "The role of the credentials is too low, or the request comes from a foreign page"),
                ("503", "The database does not answer"),
            ] {
                operation.responses.responses.insert(status.to_owned(), RefOr::T(problem(description)));
            }
        }
    }
    router
}

/// The document as JSON.
pub fn render(document: &Document) -> String {
    serde_json::to_string_pretty(document).expect("a document has only text keys")
}

/// `GET /openapi.json`.
pub async fn answer(document: Arc<str>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
