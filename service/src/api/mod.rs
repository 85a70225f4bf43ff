//! HTTP to SQL: the router of everything that callers reach on `--listen`.
//!
//! A handler reads a request, calls one SQL function and writes its answer in the words of its API; what may happen is
//! decided in the database. The drop-in APIs (`goahead`, `fleetlock`) speak as their originals do, `native` in JSON and
//! problem documents.

mod auth;
mod error;
mod fleetlock;
pub mod gate;
mod goahead;
mod native;
mod openapi;
mod origin;
mod page;
mod payload;
mod rendezvous;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;

pub use auth::CertRole;
pub use rendezvous::service as rendezvous;

use self::payload::Rest;
use crate::checks::Checks;
use crate::db::{Database, Outcome};
use crate::metrics::Metrics;
use crate::rendezvous::Rendezvous;

/// What every handler shares.
#[derive(Clone)]
pub struct State {
    /// The database
    pub db: Database,
    /// What is counted
    pub metrics: Arc<Metrics>,
    /// Runs the checks that inquiries want
    pub checks: Checks,
    /// Who waits for what
    pub rendezvous: Rendezvous,
    /// What the operator chose
    pub options: Options,
    /// Becomes true when the service ends, so that streams end too
    pub closing: watch::Receiver<bool>,
}

/// What the operator chose on the command line about who may call what.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The drop-in APIs ask for a token or a client certificate too
    pub require_auth: bool,
    /// A host speaks only for the names in its client certificate or token
    pub bind_names: bool,
    /// Settings that hold commands are accepted over HTTP
    pub allow_commands_over_http: bool,
    /// Host names, beside addresses and localhost, that requests may be addressed to: `--public-host` and the names of
    /// the TLS certificate, where `*.` stands for one label
    pub host_names: Vec<String>,
    /// Client certificates that carry a role
    pub cert_roles: Vec<CertRole>,
    /// The listener is bound to a loopback address, so that only programs of this machine reach it, browsers among them
    pub loopback_only: bool,
    /// Names without dots are ours too: the names of a network of containers, which no page on the Internet can have
    pub dotless_hosts: bool,
}

/// [`State`] and what the API itself remembers.
struct App {
    state: State,
    tokens: auth::Tokens,
    streams: Arc<Semaphore>,
    followed: native::Followed,
}

type Shared = Arc<App>;

impl App {
    /// At most so many `streams` are open at once.
    fn new(state: State, streams: usize) -> Self {
        Self {
            state,
            tokens: auth::Tokens::default(),
            streams: Arc::new(Semaphore::new(streams)),
            followed: native::Followed::default(),
        }
    }

    /// Counts an answer about restarts.
    fn count(&self, kind: &str, outcome: &Outcome) {
        let condition = outcome.condition.as_deref().unwrap_or_default();
        self.state.metrics.outcomes.with_label_values(&[kind, outcome.kind.as_str(), condition]).inc();
    }

    /// Counts an answer about locks.
    fn count_lock(&self, op: &str, outcome: &str) {
        self.state.metrics.lock_outcomes.with_label_values(&[op, outcome]).inc();
    }
}

/// The routes of `--listen`.
pub fn router(state: State) -> axum::Router {
    let app = Arc::new(App::new(state, native::STREAMS));
    let (routes, document) = openapi::document()
        .merge(goahead::router())
        .merge(fleetlock::router())
        .merge(native::locks())
        .merge(native::rendezvous())
        .merge(openapi::with_credentials(native::router()))
        .split_for_parts();
    let document: Arc<str> = openapi::render(document).into();
    routes
        .route("/openapi.json", get(move || openapi::answer(document.clone())))
        .method_not_allowed_fallback(native::method_not_allowed)
        .fallback(fallback)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), measure))
        .with_state(app)
}

/// Paths without a route: FleetLock under a prefix, else the original's 404.
async fn fallback(axum::extract::State(app): axum::extract::State<Shared>, request: Request) -> Response {
    match fleetlock::route_of(request.uri().path()) {
        Some(route) => {
            let mut response = fleetlock::answer(&app, route, request).await;
            response.extensions_mut().insert(Route(route));
            response
        }
        None => (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain; charset=utf-8")], "404 page not found\n")
            .into_response(),
    }
}

/// The route's label when the router did not match one.
#[derive(Clone, Copy)]
struct Route(&'static str);

/// Counts and times every request under its route, never under its path: paths are anybody's to invent.
async fn measure(
    axum::extract::State(app): axum::extract::State<Shared>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let (body, rest) = Rest::of(body);
    let response = next.run(Request::from_parts(parts, body)).await;
    rest.discard().await;
    let named = response.extensions().get::<Route>().map(|route| route.0);
    let route = matched.as_ref().map(MatchedPath::as_str).or(named).unwrap_or("other");
    let metrics = &app.state.metrics;
    metrics.http_requests.with_label_values(&[route, response.status().as_str()]).inc();
    metrics.http_duration.with_label_values(&[route]).observe(started.elapsed().as_secs_f64());
    response
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without text");
    error::Refusal::internal(text).into_response()
}

#[cfg(test)]
mod tests;
