//! The status page at `/` for browsers.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::App;

/// The page.
pub async fn answer(app: &App, request: Request) -> Response {
    let _ = (app, request);
    "".into_response()
}
