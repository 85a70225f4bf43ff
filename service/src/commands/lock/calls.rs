//! The calls of the lock API, each tried once.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http_client::{Client, Failure, excerpt, go, problem, segment};

/// How long an answer may take beyond what was asked for.
const ANSWER: Duration = Duration::from_secs(10);
/// The shortest time that a place in the queue is kept without being repeated. A waiting request is repeated by the
/// service every five seconds, and a service that restarts is back within this.
const PLACE: Duration = Duration::from_secs(30);

/// A lock, asked for by one holder.
#[derive(Debug)]
pub struct Slot<'a> {
    /// The name of the lock
    pub lock: &'a str,
    /// Who asks
    pub holder: &'a str,
    /// How long a hold lasts unless it is renewed
    pub ttl: Duration,
    /// How many may hold the lock, for when this call makes it
    pub slots: Option<u32>,
    /// What others see of this holder, an object
    pub metadata: Value,
}

/// What the service says of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done; with the token where a hold is spoken of, and whether that has to be confirmed
    Done { token: Option<i64>, confirm: bool },
    /// Not yet: the place in the queue, from 1
    Queued(i64),
    /// 409: there is a hold, but not the one that was spoken of, or it cannot end now
    Conflict(String),
    /// 410: what was spoken of is no more
    Gone(String),
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The service cannot be reached or cannot answer now; another try may succeed, after this pause if one is given
    Away(String, Option<Duration>),
    /// It cannot be reached, and no other try will
    Unusable(String),
    /// It refuses, and says why
    Refused(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Away(why, _) | Self::Unusable(why) | Self::Refused(why)) = self;
        f.write_str(why)
    }
}

/// What the service answers to every call.
#[derive(Deserialize)]
struct Grant {
    outcome: String,
    token: Option<i64>,
    position: Option<i64>,
    confirm_by: Option<String>,
}

/// Speaks to the service about one slot.
pub struct Calls<'a> {
    /// Who speaks
    pub client: &'a Client,
    /// About what
    pub slot: Slot<'a>,
}

impl Calls<'_> {
    /// Asks for the lock, or repeats that; the answer may take `wait`, at most 5 minutes.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn acquire(&self, wait: Duration) -> Result<Reply, Trouble> {
        let Slot { holder, ttl, slots, metadata, .. } = &self.slot;
        let mut body = json!({
            "holder": holder,
            "ttl": go(*ttl).to_string(),
            "request_ttl": go(PLACE.max(*ttl)).to_string(),
            "metadata": metadata,
        });
        if let Some(slots) = slots {
            body["slots"] = (*slots).into();
        }
        if !wait.is_zero() {
            body["wait"] = go(wait).to_string().into();
        }
        self.call("acquire", &body, wait + ANSWER).await
    }

    /// Keeps the hold, and confirms it.
    ///
    /// # Errors
    /// When there is no answer within `limit`.
    pub async fn renew(&self, token: i64, limit: Duration) -> Result<Reply, Trouble> {
        let Slot { holder, ttl, .. } = &self.slot;
        self.call("renew", &json!({ "holder": holder, "token": token, "ttl": go(*ttl).to_string() }), limit).await
    }

    /// Gives the slot back.
    ///
    /// # Errors
    /// When there is no answer within `limit`.
    pub async fn release(&self, token: i64, limit: Duration) -> Result<Reply, Trouble> {
        self.call("release", &json!({ "holder": self.slot.holder, "token": token }), limit).await
    }

    /// Leaves the queue.
    ///
    /// # Errors
    /// When there is no answer within `limit`.
    pub async fn withdraw(&self, limit: Duration) -> Result<Reply, Trouble> {
        self.call("withdraw", &json!({ "holder": self.slot.holder }), limit).await
    }

    async fn call(&self, what: &str, body: &Value, limit: Duration) -> Result<Reply, Trouble> {
        let path = format!("v1/locks/{}/{what}", segment(self.slot.lock));
        let answer = self.client.send(Method::POST, &path, Some(&body.to_string()), limit).await;
        let answer = answer.map_err(|failure| match failure {
            Failure::Passing(why) => Trouble::Away(why, None),
            Failure::Lasting(why) => Trouble::Unusable(why),
        })?;
        match answer.status {
            200 | 202 | 409 | 410 => {
                let grant: Grant = serde_json::from_str(&answer.body).map_err(|error| {
                    let body = excerpt(&answer.body);
                    Trouble::Refused(format!("the answer is no grant; is --url that of a goahead? {error}: {body:?}"))
                })?;
                Ok(reply(answer.status, grant))
            }
            429 | 500.. => Err(Trouble::Away(problem(&answer), answer.retry_after)),
            300..400 => {
                let place = answer.location.as_deref().unwrap_or("nowhere");
                Err(Trouble::Refused(format!("redirected to {place}; set --url to where the service is")))
            }
            _ => Err(Trouble::Refused(problem(&answer))),
        }
    }
}

fn reply(status: u16, grant: Grant) -> Reply {
    match status {
        202 => Reply::Queued(grant.position.unwrap_or(0)),
        409 => Reply::Conflict(grant.outcome),
        410 => Reply::Gone(grant.outcome),
        _ => Reply::Done { token: grant.token, confirm: grant.confirm_by.is_some() },
    }
}
