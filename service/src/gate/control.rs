//! The socket on which an operator asks this gate what it thinks and gives orders; only its own user may.

use std::path::Path;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::Gate;
use super::snapshot::{Order, Snapshot};
use super::unix;

/// The socket of a gate that decides, in the state directory.
pub const CONTROL: &str = "control.sock";
/// Where the newest round is.
pub const STATUS: &str = "/v1/gate/status";
const ORDER: &str = "/v1/gate/order";
const CLEAR: &str = "/v1/gate/clear";
/// How long an answer may take: an order waits for the round that it begins.
const LIMIT: Duration = Duration::from_secs(10);

/// The paths of the socket.
pub fn router(gate: Gate) -> Router {
    Router::new()
        .route(STATUS, post(async |State(gate): State<Gate>| Json(gate.shown())))
        .route(ORDER, post(async |State(gate): State<Gate>, Json(order): Json<Order>| told(gate.order(order).await)))
        .route(CLEAR, post(async |State(gate): State<Gate>, Json(actor): Json<String>| told(gate.clear(actor).await)))
        .with_state(gate)
}

/// Only the status: for a server that does not decide.
pub fn status_router(gate: Gate) -> Router {
    Router::new().route(STATUS, post(async |State(gate): State<Gate>| Json(gate.shown()))).with_state(gate)
}

fn told(done: Result<(), String>) -> Response {
    match done {
        Ok(()) => Json(()).into_response(),
        Err(why) => (StatusCode::CONFLICT, why).into_response(),
    }
}

/// The newest round of the gate with this state directory.
///
/// # Errors
/// When none answers.
pub async fn status(state_dir: &Path) -> Result<Snapshot, String> {
    match unix::call(&state_dir.join(CONTROL), STATUS, &(), LIMIT).await {
        Ok(snapshot) => Ok(snapshot),
        Err(why) => unix::call(&state_dir.join(super::own::SERVER), STATUS, &(), LIMIT).await.map_err(|_| why),
    }
}

/// Gives the gate with this state directory an order.
///
/// # Errors
/// Why it is refused, or that none answers.
pub async fn order(state_dir: &Path, order: &Order) -> Result<(), String> {
    unix::call(&state_dir.join(CONTROL), ORDER, order, LIMIT).await
}

/// Has the gate with this state directory forget its order.
///
/// # Errors
/// As [`order`].
pub async fn clear(state_dir: &Path, actor: &str) -> Result<(), String> {
    unix::call(&state_dir.join(CONTROL), CLEAR, &actor, LIMIT).await
}
