//! Rendezvous keys as commands use them: over the paths of web-rendezvous, so that they work with one too.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::Failure;
use super::service::Credentials;
use crate::http_client::{self, Answer, Client, go, problem, segment};
use crate::probe::Miss;

/// The longest that the service is asked to wait; a longer wait asks again, so that a lost connection is noticed.
const LONGEST: Duration = Duration::from_secs(60);
/// How much longer than asked for an answer may take.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a request may take that the service need not wait for.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Pauses before a request is repeated: the first, and what they grow to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The longest key, in bytes.
const KEY: usize = 255;

/// Flags that say where rendezvous keys are.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Service")]
pub struct RendezvousArgs {
    /// The address of the service's rendezvous listener
    #[arg(
        long,
        alias = "url",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        env = "GOAHEAD_RENDEZVOUS_URL"
    )]
    rendezvous_url: String,
    #[command(flatten)]
    credentials: Credentials,
}

impl RendezvousArgs {
    /// A client of that service. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none, or a file cannot be read; says which.
    pub fn client(&self) -> Result<Rendezvous, Failure> {
        Ok(Rendezvous(self.credentials.client("--rendezvous-url", &self.rendezvous_url)?))
    }
}

/// The key that a user wrote, with or without the slash of its path.
///
/// # Errors
/// When it is none.
pub fn key(text: &str) -> Result<&str, String> {
    let key = text.strip_prefix('/').unwrap_or(text);
    if key.is_empty() {
        return Err("a key is wanted, such as migrations-done".into());
    }
    if key.len() > KEY {
        return Err(format!("a key has at most {KEY} bytes"));
    }
    if key.chars().any(char::is_control) {
        return Err(format!("the key {key:?} has control characters in it"));
    }
    Ok(key)
}

/// The path of a key; its slashes stay, so that `_port/db/5432` still names a probe of the service.
fn path(key: &str) -> String {
    let segments: Vec<String> = key.split('/').map(segment).collect();
    let path = segments.join("/");
    // A slash that begins the key itself would be taken for the path's.
    path.strip_prefix('/').map_or_else(|| path.clone(), |rest| format!("%2F{rest}"))
}

/// A service with rendezvous keys.
pub struct Rendezvous(Client);

/// What the listener answers.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    error: Option<String>,
}

impl Rendezvous {
    /// Waits until `key` is marked, at least one try long; gives its payload as JSON, if it has one. A service that
    /// cannot be reached is waited for too.
    ///
    /// # Errors
    /// `NotYet` at the deadline; `Refused` and `Wrong` as soon as the service says that it will never be.
    pub async fn wait(&self, key: &str, deadline: Instant) -> Result<Option<String>, Miss> {
        self.again(deadline, |left| {
            let ask = left.min(LONGEST);
            let limit = if ask.is_zero() { AT_ONCE } else { ask + MARGIN };
            async move {
                let path = format!("{}?timeout={}", path(key), go(ask));
                judge_wait(&self.0.send(Method::GET, &path, None, limit).await?)
            }
        })
        .await
    }

    /// Marks `key`, for `ttl` or for ever, with a payload: JSON, or text that becomes a JSON string. Repeated until the
    /// deadline while the service cannot be reached, at least one try long.
    ///
    /// # Errors
    /// `NotYet` at the deadline: whether the key is marked is unknown. `Refused` and `Wrong`: it is not.
    pub async fn signal(
        &self,
        key: &str,
        payload: Option<&str>,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Result<(), Miss> {
        let ttl = ttl.map_or_else(String::new, |ttl| format!("?ttl={}", go(ttl)));
        let path = format!("{}{ttl}", path(key));
        self.told(Method::PUT, &path, payload, deadline).await
    }

    /// Takes the mark of `key` back, if it has one; repeated as [`Self::signal`] is.
    ///
    /// # Errors
    /// As [`Self::signal`].
    pub async fn reset(&self, key: &str, deadline: Instant) -> Result<(), Miss> {
        self.told(Method::DELETE, &path(key), None, deadline).await
    }

    async fn told(&self, method: Method, path: &str, body: Option<&str>, deadline: Instant) -> Result<(), Miss> {
        self.again(deadline, |_| async {
            let answer = self.0.send(method.clone(), path, body, AT_ONCE).await?;
            if (200..300).contains(&answer.status) { Ok(()) } else { Err(judge_failure(&answer)) }
        })
        .await
    }

    /// Asks until there is an answer; `ask` is told how much time is left.
    async fn again<T, F>(&self, deadline: Instant, ask: impl Fn(Duration) -> F) -> Result<T, Miss>
    where
        F: Future<Output = Result<T, Miss>>,
    {
        let mut pause = PAUSE.0;
        loop {
            let begun = Instant::now();
            let last = match ask(deadline.saturating_duration_since(begun)).await {
                Err(Miss::NotYet(why)) => why,
                done => return done,
            };
            // An answer that came at once is not asked for again at once.
            let next = begun + pause;
            if next.max(Instant::now()) >= deadline {
                sleep_until(deadline).await;
                return Err(Miss::NotYet(last));
            }
            sleep_until(next).await;
            pause = (pause * 3 / 2).min(PAUSE.1);
        }
    }
}

/// Without an answer it is unknown what happened; both waiting and marking can be repeated.
impl From<http_client::Failure> for Miss {
    fn from(failure: http_client::Failure) -> Self {
        match failure {
            http_client::Failure::Passing(why) => Self::NotYet(format!("the service: {why}")),
            http_client::Failure::Lasting(why) => Self::Wrong(format!("the service: {why}")),
        }
    }
}

fn judge_wait(answer: &Answer) -> Result<Option<String>, Miss> {
    let reply: Option<Reply<'_>> = serde_json::from_str(&answer.body).ok();
    match (answer.status, reply) {
        (200..300, Some(reply)) => Ok(reply.payload.map(|payload| payload.get().to_owned())),
        (200..300, None) => Err(Miss::Wrong(format!(
            "the answer is none of a rendezvous service: {}; is --rendezvous-url right?",
            http_client::excerpt(&answer.body)
        ))),
        (404, Some(Reply { error: Some(error), .. })) if error == "Timeout" => {
            Err(Miss::NotYet("not marked yet".into()))
        }
        _ => Err(judge_failure(answer)),
    }
}

/// What an answer other than 2xx means.
fn judge_failure(answer: &Answer) -> Miss {
    let why = problem(answer);
    let known = serde_json::from_str::<Reply<'_>>(&answer.body).is_ok_and(|reply| reply.error.is_some());
    match answer.status {
        401 => Miss::Refused(format!("{why}; give a token with --token-file")),
        403 => Miss::Refused(why),
        // A proxy in front of a service that is not up yet answers so too, in words of its own.
        404 if !known => Miss::NotYet(why),
        300..=399 => Miss::Wrong(format!(
            "{why}: it points to {}; is --rendezvous-url right?",
            answer.location.as_deref().unwrap_or("nowhere")
        )),
        408 | 425 | 429 | 500.. => Miss::NotYet(why),
        _ => Miss::Wrong(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.to_owned(), ..Answer::default() }
    }

    #[test]
    fn keys_become_paths_that_are_read_as_the_same_key() {
        for (key, wanted) in
            [("abc", "abc"), ("a/b", "a/b"), ("a b?x=1#y", "a%20b%3Fx%3D1%23y"), ("/abc", "%2Fabc"), ("ü", "%C3%BC")]
        {
            assert_eq!(path(key), wanted);
        }
        assert_eq!(key("/abc"), Ok("abc"));
        assert_eq!(key("//abc"), Ok("/abc"));
        for wrong in ["", "/", "a\0b", &"x".repeat(256)] {
            key(wrong).unwrap_err();
        }
    }

    #[test]
    fn an_answer_is_there_not_yet_or_never() {
        assert_eq!(judge_wait(&answer(200, r#"{"ok":true}"#)), Ok(None));
        let payload = judge_wait(&answer(200, r#"{"ok":true,"payload":{"a": [1]}}"#));
        assert_eq!(payload, Ok(Some(r#"{"a": [1]}"#.to_owned())));
        for (status, body) in [
            (404, r#"{"ok":false,"error":"Timeout"}"#),
            (404, "<html>no such host</html>"),
            (503, r#"{"ok":false,"error":"the database does not answer"}"#),
            (502, "Bad Gateway"),
            (429, ""),
        ] {
            assert!(matches!(judge_wait(&answer(status, body)), Err(Miss::NotYet(_))), "{status} {body}");
        }
        for (status, body) in [
            (200, "<html>welcome to nginx</html>"),
            (404, r#"{"ok":false,"error":"Keys starting with '_' are reserved"}"#),
            (400, r#"{"ok":false,"error":"no such timeout"}"#),
            (302, ""),
            (405, ""),
        ] {
            assert!(matches!(judge_wait(&answer(status, body)), Err(Miss::Wrong(_))), "{status} {body}");
        }
        for (status, named) in [(401, "--token-file"), (403, "--probe-allow")] {
            let refused = judge_wait(&answer(status, r#"{"ok":false,"error":"see --probe-allow"}"#));
            assert!(matches!(&refused, Err(Miss::Refused(why)) if why.contains(named)), "{refused:?}");
        }
    }
}
