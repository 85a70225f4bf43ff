//! The admin listener: liveness, readiness, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::timeout;

use crate::db::Database;
use crate::metrics::Metrics;

/// How long a probe waits for the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the handlers share.
#[derive(Clone)]
pub struct Admin {
    /// The database
    pub db: Database,
    /// What is counted
    pub metrics: Arc<Metrics>,
}

/// `/live`, `/ready` and `/metrics`.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn ready(State(admin): State<Admin>) -> Response {
    let asked = admin.db.call("SELECT pg_catalog.pg_is_in_recovery(), goahead.version()", &[]);
    let unready = |why: String| {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], format!("not ready: {why}\n")).into_response()
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(rows)) => match rows.first().map(|row| row.try_get::<_, bool>(0)) {
            Some(Ok(false)) => "ready\n".into_response(),
            Some(Ok(true)) => unready("the database is a standby; only a primary decides".into()),
            _ => unready("the database gave no answer to a simple question".into()),
        },
        Ok(Err(error)) => unready(error.to_string()),
        Err(_) => unready(format!("the database does not answer within {PATIENCE:?}")),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.db.observe_pool();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render()).into_response()
}
