//! The changes of one lock as a stream.
//!
//! Whoever decides about locks tells nobody but those whose turn it is: a notification for every change would take a
//! database-wide lock at each commit. So a lock that somebody follows is looked at once a second, by one task however
//! many follow it at this service, and one that nobody follows costs nothing.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Segment, events, fetch};
use crate::api::Shared;
use crate::api::auth::Reader;
use crate::api::error::{Problem, Refusal};

/// The pause between two looks at a lock.
const PAUSE: Duration = Duration::from_secs(1);

pub fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// What is known of a lock; none when there is no such lock any more.
type Seen = Option<Arc<str>>;

/// The locks that are followed at this service. The task that looks at a lock ends when nobody follows it.
#[derive(Default)]
pub struct Followed(Mutex<HashMap<String, watch::Sender<Seen>>>);

impl Followed {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Seen>>> {
        // Nothing that could panic runs under this lock; if it did, the map is still a map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to follow a lock of which `seen` is known just now.
    fn follow(&self, app: &Shared, lock: &str, seen: &Value) -> watch::Receiver<Seen> {
        let mut followed = self.lock();
        let sender = followed.entry(lock.to_owned()).or_insert_with(|| {
            let sender = watch::Sender::new(text(seen));
            tokio::spawn(look(app.clone(), lock.to_owned(), sender.clone()));
            sender
        });
        let mut receiver = sender.subscribe();
        // The first thing that a follower is told is how it stands.
        if receiver.borrow().is_some() {
            receiver.mark_changed();
        }
        receiver
    }

    /// Whether nobody follows a lock any more; its task is to end then, as the next follower starts another.
    fn forgets(&self, lock: &str, sender: &watch::Sender<Seen>) -> bool {
        let mut followed = self.lock();
        let idle = sender.receiver_count() == 0;
        if idle {
            followed.remove(lock);
        }
        idle
    }
}

fn text(seen: &Value) -> Seen {
    (!seen.is_null()).then(|| seen.to_string().into())
}

/// Looks at a lock as long as somebody follows it; a database that is away only makes changes late.
async fn look(app: Shared, lock: String, sender: watch::Sender<Seen>) {
    let mut closing = app.state.closing.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            // The sender gone means the same: nobody is left to end this task later.
            _ = closing.wait_for(|closing| *closing) => return,
        }
        if app.followed.forgets(&lock, &sender) {
            return;
        }
        if let Ok(seen) = fetch::<Value>(&app, "SELECT goahead.get_lock($1)", &[&lock]).await {
            let seen = text(&seen);
            sender.send_if_modified(|last| {
                let changed = *last != seen;
                *last = seen;
                changed
            });
        }
    }
}

/// Follow one lock
///
/// The first event says how the lock stands, and each one after it how it stands since it changed: events named `lock`
/// with what `GET /v1/locks/{lock}` gives, and `dropped` when there is no such lock any more. It is looked at once a
/// second; how often it was granted in between shows in `last_token`.
#[utoipa::path(get, path = "/v1/locks/{lock}/events",
    operation_id = "follow_lock", tag = "locks", params(("lock" = String, Path)), responses(
    (status = 200, content((String = "text/event-stream"))), (status = 404, body = Problem),
    (status = 503, description = "The database does not answer, or too many streams are open", body = Problem)))]
async fn follow(State(app): State<Shared>, _: Reader, Segment(lock): Segment<String>) -> Result<Response, Refusal> {
    let permit = events::permit(&app)?;
    let seen = super::locks::find(&app, &lock).await?;
    let receiver = app.followed.follow(&app, &lock, &seen);
    let stream = changes(app, lock, receiver, permit);
    let mut response = Sse::new(stream).keep_alive(KeepAlive::default()).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Follower {
    app: Shared,
    lock: String,
    receiver: watch::Receiver<Seen>,
    _permit: OwnedSemaphorePermit,
}

fn changes(
    app: Shared,
    lock: String,
    receiver: watch::Receiver<Seen>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let follower = Follower { app, lock, receiver, _permit: permit };
    stream::unfold(follower, |mut follower| async move {
        let mut closing = follower.app.state.closing.clone();
        tokio::select! {
            changed = follower.receiver.changed() => changed.ok()?,
            _ = closing.wait_for(|closing| *closing) => return None,
        }
        let seen = follower.receiver.borrow_and_update().clone();
        let event = match seen {
            Some(seen) => Event::default().event("lock").data(&*seen),
            None => Event::default().event("dropped").data(serde_json::json!({ "name": follower.lock }).to_string()),
        };
        Some((Ok(event), follower))
    })
}
