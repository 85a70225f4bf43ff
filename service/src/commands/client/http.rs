//! Talking to the service: one JSON body there, one back, tried again while that can help.
//!
//! Trying again is safe: a repeated request gets the answer it had, and a host that was told to go ahead keeps that.

use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::log::{Log, Stop};
use crate::http_client::{Answer, Client, Failure, excerpt, go};

/// How long after the first try another one may begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest pause that a service's Retry-After can ask for between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The service, and how it is spoken to.
pub struct Service {
    /// Its address, with a slash at the end
    pub url: String,
    /// Who speaks to it
    pub client: Client,
    /// How long one try may take in all
    pub timeout: Duration,
    /// How often a request is tried
    pub tries: u32,
    /// Where it is told
    pub log: Log,
}

impl Service {
    /// Sends `payload` to `path` below the service's address.
    ///
    /// # Errors
    /// When no try was answered; says what the last one met.
    pub async fn post(&self, path: &str, payload: &str) -> Result<Answer, Stop> {
        let url = format!("{}{path}", self.url);
        self.log.debug("doRequest", &format!("sending HTTP request {url}"));
        self.log.debug("getPayload", &format!("Trying to send payload: {payload}"));
        let started = Instant::now();
        let mut number = 1;
        loop {
            let pause = rand::random_range(0.5..1.5) * f64::from(1 << (number - 1).min(3));
            let pause = Duration::from_secs_f64(pause);
            let answer = self.client.send(Method::POST, path, Some(payload), self.timeout).await;
            let (why, asked) = match answer.map(judge) {
                Ok(Verdict::Final(answer)) => {
                    self.log.debug("doRequest", &format!("Received response: {}", answer.body));
                    return Ok(answer);
                }
                Ok(Verdict::Passing(why, asked)) => (why, asked),
                Err(Failure::Passing(why)) => (why, None),
                Ok(Verdict::Lasting(why)) | Err(Failure::Lasting(why)) => return Err(failed(&url, &why)),
            };
            let pause = pause.max(asked.unwrap_or_default().min(LONGEST_PAUSE));
            if number >= self.tries || started.elapsed() + pause > PATIENCE {
                return Err(failed(&url, &format!("{why} (tried {number} times)")));
            }
            let rounded = go(Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)));
            number += 1;
            self.log.info(&format!(
                "Error while issuing request to {url} Error: {why}; trying again in {rounded} ({number} of {})",
                self.tries
            ));
            sleep(pause).await;
        }
    }
}

/// What an answer is worth.
enum Verdict {
    /// The service has spoken
    Final(Answer),
    /// Another try may bring one, after the pause that was asked for
    Passing(String, Option<Duration>),
    /// No other try will
    Lasting(String),
}

fn judge(answer: Answer) -> Verdict {
    let status = StatusCode::from_u16(answer.status).unwrap_or_default();
    match status {
        // A proxy in between speaks these when it cannot reach the service.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Verdict::Passing(format!("HTTP {status}: {}", excerpt(&answer.body)), answer.retry_after)
        }
        // A redirected POST would arrive as a GET without its body.
        status if status.is_redirection() => {
            let place = answer.location.as_deref().unwrap_or("nowhere");
            Verdict::Lasting(format!("HTTP {status} to {place}; set service_url to where the service is"))
        }
        _ => Verdict::Final(answer),
    }
}

fn failed(url: &str, why: &str) -> Stop {
    Stop::fatal(format!("Error while issuing request to {url} Error: {why}"))
}
