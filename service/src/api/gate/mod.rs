//! What the gate tells load balancers and people: Patroni's health paths, `/gate`, `/metrics`, and HAProxy's
//! agent-check.
//!
//! Everything is answered from the newest snapshot; no request reaches a database. Paths are judged by the table in
//! `goahead_rules::gate`.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method as HttpMethod, StatusCode, header};
use axum::response::{IntoResponse, Response};
use goahead_rules::gate::{Body, Method, patroni};
use tower_http::catch_panic::CatchPanicLayer;

use crate::gate::Gate;
use crate::gate::snapshot::{Snapshot, Why};

pub mod agent;
mod documents;
mod metrics;
mod view;

/// Says on a 503 why.
const REASON: &str = "goahead-reason";
/// The longest such header, in bytes.
const LONGEST_REASON: usize = 500;

/// What the handlers share.
struct Face {
    gate: Gate,
    /// The cluster's name as the database first told it: it stays in labels while the database is down
    scope: OnceLock<String>,
}

impl Face {
    fn scope(&self, snapshot: &Snapshot) -> &str {
        let told = snapshot.local.as_ref().map(|local| &local.cluster_name).filter(|name| !name.is_empty());
        match (self.scope.get(), told) {
            (Some(known), _) => known,
            (None, Some(told)) => self.scope.get_or_init(|| told.clone()),
            (None, None) => "goahead",
        }
    }
}

/// Every path of the gate's listener.
pub fn router(gate: Gate) -> Router {
    let face = Arc::new(Face { gate, scope: OnceLock::new() });
    Router::new().fallback(answer).layer(CatchPanicLayer::new()).with_state(face)
}

async fn answer(State(face): State<Arc<Face>>, request: Request) -> Response {
    let method = match *request.method() {
        HttpMethod::GET => Method::Get,
        HttpMethod::HEAD => Method::Head,
        HttpMethod::OPTIONS => Method::Options,
        _ => {
            let allowed = [(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))];
            return (StatusCode::METHOD_NOT_ALLOWED, allowed).into_response();
        }
    };
    let snapshot = face.gate.snapshot();
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    if path == "/gate" {
        if method != Method::Get {
            return ().into_response();
        }
        return json(&documents::gate(&face.gate, &face.gate.shown()));
    }
    let (status, body) = patroni(method, path, query, &view::judged(face.gate.settings(), &snapshot));
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let scope = face.scope(&snapshot);
    let mut response = match body {
        Body::Empty => ().into_response(),
        Body::Status => json(&view::status(&face.gate, &snapshot, scope)),
        Body::Cluster => json(&documents::cluster(&snapshot, scope)),
        Body::History => json(&documents::history()),
        Body::Config => json(&documents::config(face.gate.settings())),
        Body::Metrics => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (kind, metrics::render(&face.gate, &snapshot, scope)).into_response()
        }
    };
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(REASON, reason(path, &snapshot));
    }
    response
}

fn json(value: &impl serde::Serialize) -> Response {
    axum::Json(value).into_response()
}

/// Why a path says no, as one line of ASCII.
fn reason(path: &str, snapshot: &Snapshot) -> HeaderValue {
    let verdict = &snapshot.verdict;
    let whys: Vec<&Why> = match path {
        _ if !snapshot.is_live(crate::gate::clock::now()) => Vec::new(),
        _ if ["replica", "sync", "quorum"].iter().any(|word| path.contains(word)) => {
            verdict.ro_reasons.iter().collect()
        }
        _ if path.contains("read-only") => verdict.ro_reasons.iter().chain(&verdict.rw_reasons).collect(),
        _ => verdict.rw_reasons.iter().collect(),
    };
    let text = if snapshot.is_live(crate::gate::clock::now()) {
        whys.iter().map(|why| format!("{}: {}", why.code, why.text)).collect::<Vec<_>>().join("; ")
    } else {
        "verdict_old: the gate has not decided lately, so everything counts as closed".to_owned()
    };
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let text: String = text.chars().map(plain).take(LONGEST_REASON).collect();
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("closed"))
}

#[cfg(test)]
mod tests;
