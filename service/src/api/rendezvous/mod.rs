//! The rendezvous listener: web-rendezvous at its own paths, where any path is a key.
//!
//! No router: thousands of requests wait here at once, and what each of them keeps while it waits is what a service with
//! ten thousand waiters consists of. A request is therefore read to its end first, and only what it waits for stays.

pub mod answer;
mod page;
pub mod request;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tower::Service;
use tower_http::catch_panic::CatchPanic;

use self::request::{Ask, Until};
use super::auth::{self, Caller};
use super::error::Refusal;
use super::goahead::wants_html;
use super::payload::{self, Rest};
use super::{App, State, native, panicked};
use crate::db::{Meeting, RendezvousOutcome};
use crate::peer::Peer;
use crate::rendezvous::{Goal, Key, Met, Waited};

/// What the requests of this listener share.
struct Room {
    app: App,
    /// How long a request waits that does not say
    usual: Duration,
}

/// The service of `--rendezvous-listen`. A request that does not say how long waits as long as `usual`.
pub fn service(
    state: State,
    usual: Duration,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let app = App::new(state, 0);
    let room = Arc::new(Room { app, usual });
    let answer = tower::service_fn(move |request| {
        let room = Arc::clone(&room);
        async move { Ok::<_, Infallible>(answer(room, request).await) }
    });
    let caught = CatchPanic::custom(answer, panicked as fn(_) -> _);
    tower::ServiceExt::map_response(caught, |response: axum::http::Response<_>| response.map(Body::new))
}

/// What is left to do once a request was read.
enum Step {
    Answer(Response),
    Wait(Goal),
    WaitForSeveral(Vec<(String, Goal)>, Until),
    Meet { key: Key, parties: u32, member: String },
}

/// A request that was read.
struct Read {
    route: &'static str,
    step: Step,
    who: SocketAddr,
    deadline: Instant,
}

async fn answer(room: Arc<Room>, request: Request) -> Response {
    let started = Instant::now();
    let Read { route, step, who, deadline } = Box::pin(read(&room, request)).await;
    let rendezvous = &room.app.state.rendezvous;
    let response = match step {
        Step::Answer(response) => response,
        Step::Wait(goal) => answer::waited(&Box::pin(rendezvous.wait(goal, who, deadline)).await),
        Step::WaitForSeveral(goals, until) => Box::pin(several(&room, goals, until, who, deadline)).await,
        Step::Meet { key, parties, member } => Box::pin(meet(&room, key, parties, member, deadline)).await,
    };
    let metrics = &room.app.state.metrics;
    metrics.http_requests.with_label_values(&[route, response.status().as_str()]).inc();
    metrics.http_duration.with_label_values(&[route]).observe(started.elapsed().as_secs_f64());
    response
}

/// Reads a request to its end, and answers it if it need not wait.
async fn read(room: &Room, request: Request) -> Read {
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let who = parts.extensions.get::<Peer>().map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |peer| peer.address);
    let (body, rest) = Rest::of(body);
    let mut read = Read { route: "other", step: Step::Answer(answer::done()), who, deadline: arrived };
    match step(room, &parts, body, &mut read).await {
        Ok(step) => read.step = step,
        Err(refusal) => read.step = Step::Answer(answer::failed(&refusal)),
    }
    rest.discard().await;
    read
}

async fn step(room: &Room, parts: &Parts, body: Body, read: &mut Read) -> Result<Step, Refusal> {
    let Room { app, usual } = room;
    let rendezvous = &app.state.rendezvous;
    let caller = auth::admit(app, parts).await?;
    let ask = Ask::parse(parts.method.as_str(), &parts.uri, rendezvous.probes(), *usual)?;
    read.route = ask.route();
    let outcome = match ask {
        Ask::Wait(mut wait) => {
            read.deadline += wait.timeout;
            return Ok(match (wait.until, wait.goals.pop()) {
                (Until::One, Some((_, goal))) => Step::Wait(goal),
                (until, last) => {
                    wait.goals.extend(last);
                    Step::WaitForSeveral(wait.goals, until)
                }
            });
        }
        Ask::Meet { key, parties, member, timeout } => {
            read.deadline += timeout;
            let member = member_of(&caller, member, app)?;
            return Ok(Step::Meet { key, parties, member });
        }
        Ask::List if wants_html(&parts.headers) => return Ok(Step::Answer(page::answer(app, parts).await)),
        Ask::List => return list(app).await.map(Step::Answer),
        Ask::Icon => return Err(Refusal::not_found("There is no icon")),
        Ask::Signal { key, ttl } => {
            let payload = request::payload(payload::read(body).await?)?;
            rendezvous.signal(&key, payload, ttl).await?
        }
        Ask::Reset(key) => rendezvous.reset(&key).await?,
        Ask::Look(key) => match valid(rendezvous.read(&key).await?)?.outcome {
            Meeting::Signalled => return Ok(Step::Answer(answer::done())),
            _ => return Err(Refusal::not_found("Not signalled")),
        },
    };
    valid(outcome)?;
    Ok(Step::Answer(answer::done()))
}

/// The name of who arrives at a barrier: its own, or one unlike all others.
pub fn member_of(caller: &Caller, member: Option<String>, app: &App) -> Result<String, Refusal> {
    match member {
        Some(member) => {
            Key::parse(&member).map_err(|error| Refusal::bad_request(format!("member: {error}")))?;
            auth::check_name(caller, &member, &app.state.options)?;
            Ok(member)
        }
        None => Ok(format!("{:032x}", rand::random::<u128>())),
    }
}

/// The outcome, unless it says that the call was wrong.
pub fn valid(outcome: RendezvousOutcome) -> Result<RendezvousOutcome, Refusal> {
    if outcome.outcome == Meeting::Invalid {
        let refusal = Refusal::bad_request(outcome.message.unwrap_or_default());
        return Err(Refusal { hint: outcome.hint, ..refusal });
    }
    Ok(outcome)
}

async fn several(
    room: &Room,
    goals: Vec<(String, Goal)>,
    until: Until,
    who: SocketAddr,
    deadline: Instant,
) -> Response {
    let rendezvous = &room.app.state.rendezvous;
    let (names, goals): (Vec<String>, Vec<Goal>) = goals.into_iter().unzip();
    let waited = match until {
        Until::Any => rendezvous
            .wait_for_any(goals, who, deadline)
            .await
            .map(|(number, mark)| answer::all_signalled(std::iter::once((names[number].as_str(), &*mark)))),
        Until::One | Until::All => rendezvous
            .wait_for_all(goals, who, deadline)
            .await
            .map(|marks| answer::all_signalled(names.iter().map(String::as_str).zip(marks.iter().map(|mark| &**mark)))),
    };
    waited.unwrap_or_else(|ended: Waited| answer::waited(&ended))
}

async fn meet(room: &Room, key: Key, parties: u32, member: String, deadline: Instant) -> Response {
    let refusal = match room.app.state.rendezvous.meet(key, parties, member, deadline).await {
        Ok(Met::Released { generation }) => {
            return answer::json(
                StatusCode::OK,
                format!(r#"{{"ok":true,"generation":{generation},"parties":{parties}}}"#),
            );
        }
        Ok(Met::TimedOut) => return answer::timed_out(),
        Ok(Met::Invalid(message, hint)) => Refusal { hint, ..Refusal::bad_request(message) },
        Ok(Met::Stopping) => answer::stopping(),
        Err(error) => error.into(),
    };
    answer::failed(&refusal)
}

/// The keys that somebody waits for or waited in vain for, and those that are signalled.
#[derive(Deserialize)]
struct Keys {
    waiting_and_failed: Vec<String>,
    marked: Vec<String>,
}

async fn list(app: &App) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct Body {
        ok: bool,
        waiting_and_failed: Vec<String>,
        marked: Vec<String>,
    }
    let keys: Keys = native::fetch(app, "SELECT goahead.rendezvous_keys()", &[]).await?;
    let paths = |keys: Vec<String>| keys.iter().map(|key| path_of(key)).collect();
    let body = Body { ok: true, waiting_and_failed: paths(keys.waiting_and_failed), marked: paths(keys.marked) };
    let body = serde_json::to_vec(&body).map_err(Refusal::internal)?;
    Ok(answer::json(StatusCode::OK, body))
}

/// A key as the path that names it.
fn path_of(key: &str) -> String {
    if key == "/" { key.to_owned() } else { format!("/{key}") }
}

#[cfg(test)]
mod tests;
