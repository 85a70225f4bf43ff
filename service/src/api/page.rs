//! The status page at `/` for browsers: one look at the fleet, read-only, without anything from elsewhere.
//!
//! The page works without scripts; a few lines of script only replace its content every five seconds. The policy
//! names style and script by their hash, so that nothing else runs whatever a host calls itself.

pub mod view;

use std::sync::LazyLock;

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::Refusal;
use super::native::fetch;
use super::{App, auth};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::from_str(&policy).expect("base64 and fixed text fit a header")
});

/// The list function goes forward from a cursor; a page wants the other end.
const NEWEST_EVENTS: &str = "SELECT coalesce(pg_catalog.jsonb_agg(e ORDER BY e.id DESC), '[]') \
                             FROM (SELECT * FROM goahead.events ORDER BY id DESC LIMIT 50) e";

/// One part of a list.
#[derive(Deserialize)]
struct Items {
    items: Vec<Value>,
}

/// What the page shows.
pub struct Fleet {
    stats: Value,
    clusters: Vec<Value>,
    restarts: Vec<Value>,
    events: Vec<Value>,
    unknown: Vec<Value>,
}

/// The page, or a page that says why there is none.
pub async fn answer(app: &App, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let now = Timestamp::now();
    match look(app, &parts).await {
        Ok(fleet) => dress(StatusCode::OK, view::fleet(&fleet, now).into_string()),
        Err(refusal) => {
            let mut response = dress(refusal.status, view::refusal(&refusal, now).into_string());
            refusal.decorate(&mut response);
            response
        }
    }
}

async fn look(app: &App, parts: &axum::http::request::Parts) -> Result<Fleet, Refusal> {
    auth::admit_reader(app, parts).await?;
    let list = async |sql| fetch::<Items>(app, sql, &[]).await.map(|list| list.items);
    Ok(Fleet {
        stats: fetch(app, "SELECT goahead.stats()", &[]).await?,
        clusters: list("SELECT goahead.list_clusters(1000)").await?,
        restarts: list("SELECT goahead.list_restarts(200)").await?,
        events: fetch(app, NEWEST_EVENTS, &[]).await?,
        unknown: list("SELECT goahead.list_unknown_hosts(50)").await?,
    })
}

/// A page with its headers.
pub fn dress(status: StatusCode, html: String) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, html).into_response()
}
