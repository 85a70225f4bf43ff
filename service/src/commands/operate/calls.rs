//! The calls of the operations API, each tried once.

use std::time::Duration;

use goahead_rules::operation::Work;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http_client::{Answer, Client, Failure, excerpt, go, problem, segment};

/// How long an answer may take beyond what was asked for.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the place in a lock's queue lasts without being repeated.
const PLACE: Duration = Duration::from_secs(120);

/// An operation that is this unit's to do now.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Operation {
    /// Its number
    pub id: i64,
    /// Its lock
    pub lock: String,
    /// The token of the hold
    pub token: i64,
    /// What is to be done
    pub action: String,
    /// Services to restart
    pub services: Vec<String>,
    /// What there is to know about it
    pub context: Value,
    /// The number of this attempt, from 1
    pub attempt: i32,
    /// It is to be confirmed by then
    confirm_by: Option<String>,
}

/// What a unit is to do.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// This
    Granted(Operation),
    /// It is not its turn: the place in the queue, from 1, and of which lock
    Queued(i64, String),
    /// Nothing
    Nothing,
    /// An operation failed, and nobody has looked at it
    Blocked,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The service cannot be reached, or cannot answer now
    Away(String),
    /// It refuses, and says why
    Refused(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Away(why) | Self::Refused(why)) = self;
        f.write_str(why)
    }
}

/// Speaks to the service for one unit.
pub struct Calls<'a> {
    /// Who speaks
    pub client: &'a Client,
    /// For whom
    pub unit: &'a str,
}

impl Calls<'_> {
    /// Requests an operation; gives its number.
    ///
    /// # Errors
    /// When there is no answer. Whether it was requested is unknown then.
    pub async fn request(&self, work: &Work) -> Result<i64, Trouble> {
        let body = json!({
            "unit": self.unit, "lock": work.lock, "action": work.action, "services": work.services,
            "context": work.context, "max_retry": work.max_retry,
        });
        let answer = self.post("v1/operations", &body, ANSWER, &[200]).await?;
        field(&answer, "id", Value::as_i64)
    }

    /// Asks what is next and waits for it. `first`: an answer that says more than that there is nothing comes at once,
    /// and with `once` that one too. A grant that has to be confirmed is.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn next(&self, wait: Duration, ttl: Duration, first: bool, once: bool) -> Result<Next, Trouble> {
        let mut body =
            json!({ "ttl": go(ttl).to_string(), "request_ttl": go(PLACE).to_string(), "claim_within": "0s" });
        let path = format!("v1/units/{}/next", segment(self.unit));
        if first {
            let next = self.look(&path, &body, ANSWER).await?;
            if once || next != Next::Nothing {
                return Ok(next);
            }
        }
        body["wait"] = go(wait).to_string().into();
        match self.look(&path, &body, wait + ANSWER).await? {
            Next::Granted(operation) if operation.confirm_by.is_some() => {
                body["wait"] = Value::Null;
                self.look(&path, &body, ANSWER).await
            }
            next => Ok(next),
        }
    }

    async fn look(&self, path: &str, body: &Value, limit: Duration) -> Result<Next, Trouble> {
        let answer = self.post(path, body, limit, &[200, 202, 409]).await?;
        let outcome = field(&answer, "outcome", |outcome| outcome.as_str().map(str::to_owned))?;
        match outcome.as_str() {
            "granted" => serde_json::from_str(&answer.body)
                .map(Next::Granted)
                .map_err(|error| Trouble::Refused(format!("the answer is no operation: {error}"))),
            "queued" => Ok(Next::Queued(
                field(&answer, "position", Value::as_i64)?,
                field(&answer, "lock", |lock| lock.as_str().map(str::to_owned))?,
            )),
            "blocked" => Ok(Next::Blocked),
            _ => Ok(Next::Nothing),
        }
    }

    /// Keeps the hold of an operation; false: it is lost.
    ///
    /// # Errors
    /// When there is no answer within `limit`.
    pub async fn renew(&self, operation: &Operation, ttl: Duration, limit: Duration) -> Result<bool, Trouble> {
        let path = format!("v1/locks/{}/renew", segment(&operation.lock));
        let body = json!({ "holder": self.unit, "token": operation.token, "ttl": go(ttl).to_string() });
        Ok(self.post(&path, &body, limit, &[200, 409, 410]).await?.status == 200)
    }

    /// Reports how an attempt ended; gives what came of it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn finish(&self, operation: &Operation, outcome: &str, detail: &str) -> Result<String, Trouble> {
        let path = format!("v1/operations/{}/finish", operation.id);
        let body = json!({ "unit": self.unit, "token": operation.token, "outcome": outcome, "detail": detail });
        let answer = self.post(&path, &body, ANSWER, &[200, 404, 409, 410]).await?;
        field(&answer, "outcome", |outcome| outcome.as_str().map(str::to_owned))
    }

    /// Gives up the place in a lock's queue, so that nobody waits for a unit that has ended.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn leave(&self, lock: &str) -> Result<(), Trouble> {
        let path = format!("v1/locks/{}/withdraw", segment(lock));
        self.post(&path, &json!({ "holder": self.unit }), ANSWER, &[200, 409, 410]).await.map(drop)
    }

    async fn post(&self, path: &str, body: &Value, limit: Duration, good: &[u16]) -> Result<Answer, Trouble> {
        let answer = self.client.send(Method::POST, path, Some(&body.to_string()), limit).await;
        let answer = answer.map_err(|failure| match failure {
            Failure::Passing(why) => Trouble::Away(why),
            Failure::Lasting(why) => Trouble::Refused(why),
        })?;
        match answer.status {
            429 | 500.. => Err(Trouble::Away(problem(&answer))),
            status if good.contains(&status) => Ok(answer),
            _ => Err(Trouble::Refused(problem(&answer))),
        }
    }
}

fn field<T>(answer: &Answer, name: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T, Trouble> {
    let value = serde_json::from_str::<Value>(&answer.body).ok().and_then(|value| read(value.get(name)?));
    value.ok_or_else(|| {
        Trouble::Refused(format!("the answer has no {name}; is --url that of a goahead? {:?}", excerpt(&answer.body)))
    })
}
