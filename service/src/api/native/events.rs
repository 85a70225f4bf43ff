//! Events: what happened, as pages of a list or as a stream that goes on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{List, Page, Params, fetch};
use crate::api::auth::Reader;
use crate::api::error::Refusal;
use crate::api::{App, Shared};

/// The pause between two looks for new events.
const PAUSE: Duration = Duration::from_secs(1);

/// The most streams of one service, as each asks the database once a second.
pub const STREAMS: usize = 64;

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list))
}

/// List events, oldest first, or follow them
///
/// With `Accept: text/event-stream` the answer goes on with each new event. `Last-Event-ID` or `after` says where it
/// begins, else it begins with the oldest event that is kept.
#[utoipa::path(get, path = "/v1/events",
    operation_id = "list_events", tag = "events",
    params(Page, ("Last-Event-ID" = Option<String>, Header, description = "The cursor of the last event seen")),
    responses(
        (status = 200, content((List = "application/json"), (String = "text/event-stream"))),
    ))]
async fn list(
    State(app): State<Shared>,
    _: Reader,
    Params(page): Params<Page>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let limit = page.limit()?;
    let after = page.after.filter(|after| !after.is_empty());
    if after.as_deref().is_some_and(|after| !is_cursor(after)) {
        return Err(Refusal::bad_request("after is not a cursor of events").hint("Send `next` of the previous answer"));
    }
    if !wants_stream(&headers) {
        let events: Value = fetch(&app, "SELECT goahead.list_events($1, $2)", &[&after, &limit]).await?;
        return Ok(Json(events).into_response());
    }
    let permit = permit(&app)?;
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| is_cursor(id));
    let stream = follow(app, seen.map(str::to_owned).or(after), permit);
    let mut response = Sse::new(stream).keep_alive(KeepAlive::default()).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The right to keep a stream open.
///
/// # Errors
/// 503 when too many are.
pub fn permit(app: &App) -> Result<OwnedSemaphorePermit, Refusal> {
    app.streams
        .clone()
        .try_acquire_owned()
        .map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("{STREAMS} streams are open already")))
}

/// Whether a text is a transaction id and an event id, the form of cursors of events.
fn is_cursor(text: &str) -> bool {
    let number = |part: &str| part.parse::<u64>().is_ok();
    text.split_once('.').is_some_and(|(transaction, event)| number(transaction) && number(event))
}

fn wants_stream(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// A part of the list of events.
#[derive(Deserialize)]
struct Part {
    items: Vec<Value>,
}

struct Follower {
    app: Shared,
    after: Option<String>,
    ready: VecDeque<Value>,
    _permit: OwnedSemaphorePermit,
}

/// Events from a cursor on, for ever; a database that is away only makes them late.
fn follow(
    app: Shared,
    after: Option<String>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let follower = Follower { app, after, ready: VecDeque::new(), _permit: permit };
    stream::unfold(follower, |mut follower| async move {
        while follower.ready.is_empty() {
            let sql = "SELECT goahead.list_events($1, $2)";
            if let Ok(part) = fetch::<Part>(&follower.app, sql, &[&follower.after, &100_i32]).await {
                follower.ready.extend(part.items);
            }
            if follower.ready.is_empty() {
                let mut closing = follower.app.state.closing.clone();
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    // The sender gone means the same: nobody is left to end this stream later.
                    _ = closing.wait_for(|closing| *closing) => return None,
                }
            }
        }
        let event = follower.ready.pop_front()?;
        if let Some(cursor) = event["cursor"].as_str() {
            follower.after = Some(cursor.to_owned());
        }
        Some((Ok(render(&event)), follower))
    })
}

fn render(event: &Value) -> Event {
    let rendered = Event::default().data(event.to_string());
    let rendered = match event["cursor"].as_str() {
        Some(cursor) if is_cursor(cursor) => rendered.id(cursor),
        _ => rendered,
    };
    match event["kind"].as_str() {
        // A line break in the name of an event would end the field.
        Some(kind) if !kind.contains(['\r', '\n']) => rendered.event(kind),
        _ => rendered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_asked_for_by_name() {
        let wants = |text| wants_stream(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(text))]));
        assert!(wants("text/event-stream"));
        assert!(!wants("*/*"));
        assert!(!wants("application/json"));
    }

    #[test]
    fn cursors_have_a_form() {
        assert!(is_cursor("740.7") && is_cursor("0.0"));
        for text in ["7", "a.7", "7.", ".7", "7.7.7", "-1.0", "7.1\n"] {
            assert!(!is_cursor(text), "{text:?}");
        }
    }

    #[tokio::test]
    async fn events_carry_their_cursor() {
        let event = serde_json::json!({ "id": 7, "cursor": "740.7", "kind": "granted", "fqdn": "a\nb" });
        let stream = stream::iter([Ok::<_, Infallible>(render(&event))]);
        let body = axum::body::to_bytes(Sse::new(stream).into_response().into_body(), 1000).await.expect("a body");
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("id: 740.7\n") && text.contains("event: granted\n"), "{text}");
        assert!(text.contains(r#""fqdn":"a\nb""#), "{text}");
    }
}
