//! The OpenAPI document: what is said about the whole; the paths come from the routes themselves.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder};
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
        (name = "locks", description = "Locks with a queue, fencing tokens and leases; asking needs no credentials unless --require-auth"),
        (name = "operations", description = "What units do under a lock, such as a restart of services; asking needs no credentials unless --require-auth"),
        (name = "rendezvous", description = "Keys that one caller signals and others wait for; needs no credentials unless --require-auth"),
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

/// Says of every operation of operators what all of them have in common: credentials, and errors as problem documents.
pub fn with_credentials(mut router: OpenApiRouter<Shared>) -> OpenApiRouter<Shared> {
    let either = ["token", "password"].map(|scheme| SecurityRequirement::new(scheme, [""; 0]));
    for operation in operations(router.get_openapi_mut()) {
        operation.security = Some(either.to_vec());
        let responses = &mut operation.responses.responses;
        for (status, response) in responses.iter_mut().filter(|(status, _)| status.starts_with('4')) {
            if let RefOr::T(response) = response {
                let description = std::mem::take(&mut response.description);
                *response = problem(if description.is_empty() { title(status) } else { &description });
            }
        }
        for (status, description) in [
            ("400", "What was sent cannot be read"),
            ("401", "No credentials, or unknown ones"),
            ("403", "The role of the credentials is too low, or the request comes from a foreign page"),
            ("503", "The database does not answer"),
        ] {
            responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(description)));
        }
    }
    router
}

fn operations(document: &mut Document) -> impl Iterator<Item = &mut Operation> {
    document
        .paths
        .paths
        .values_mut()
        .flat_map(|item| [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten())
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

/// The title of a status, as the description that the specification demands.
fn title(status: &str) -> &'static str {
    status.parse().ok().and_then(|status: StatusCode| status.canonical_reason()).unwrap_or("An error")
}

/// The document as JSON.
pub fn render(mut document: Document) -> String {
    // The router's mark of a segment that may contain slashes means nothing to the specification.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for operation in operations(&mut document) {
        for (status, response) in &mut operation.responses.responses {
            match response {
                RefOr::T(response) if response.description.is_empty() => {
                    response.description = title(status).to_owned()
                }
                _ => {}
            }
        }
    }
    serde_json::to_string_pretty(&document).expect("a document has only text keys")
}

/// `GET /openapi.json`.
pub async fn answer(document: Arc<str>) -> axum::response::Response {
    ([(CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
