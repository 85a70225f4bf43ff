//! What a request to the rendezvous listener asks for, read from its method, path and query.

use std::time::Duration;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::error::Refusal;
use crate::api::payload::LIMIT;
use crate::rendezvous::{Goal, Key, LONGEST_WAIT, Probes, Unprobed, time};

/// The methods that a key takes.
pub const ALLOWED: &str = "GET, HEAD, PUT, POST, DELETE";
/// The most keys that one request waits for.
const MOST_KEYS: usize = 64;

/// What is asked.
#[derive(Debug)]
pub enum Ask {
    /// The keys there are
    List,
    /// To wait
    Wait(Wait),
    /// To wait at a barrier
    Meet {
        /// Its name
        key: Key,
        /// How many meet
        parties: u32,
        /// Who arrives; none: somebody unlike all others
        member: Option<String>,
        /// How long
        timeout: Duration,
    },
    /// Whether the key is signalled
    Look(Key),
    /// The key is signalled from now on
    Signal {
        /// The key
        key: Key,
        /// Until it ends by itself
        ttl: Option<Duration>,
    },
    /// The key is not signalled any more
    Reset(Key),
    /// What browsers ask for unbidden
    Icon,
}

/// A wait for keys.
#[derive(Debug)]
pub struct Wait {
    /// What for, under the name the caller gave it
    pub goals: Vec<(String, Goal)>,
    /// When it ends
    pub until: Until,
    /// How long
    pub timeout: Duration,
}

/// When a wait for keys ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The one key is signalled
    One,
    /// All are
    All,
    /// One of them is
    Any,
}

impl Ask {
    /// The label in metrics.
    pub fn route(&self) -> &'static str {
        match self {
            Self::List => "rendezvous:/",
            Self::Wait(Wait { until: Until::One, goals, .. })
                if goals.iter().any(|(_, goal)| goal.target.is_some()) =>
            {
                "rendezvous:/_{probe}"
            }
            Self::Wait(Wait { until: Until::One, .. }) | Self::Look(_) | Self::Signal { .. } | Self::Reset(_) => {
                "rendezvous:/{key}"
            }
            Self::Wait(_) => "rendezvous:/?keys",
            Self::Meet { .. } => "rendezvous:/{barrier}",
            Self::Icon => "other",
        }
    }

    /// Reads a request. `usual` is how long it waits when it does not say.
    pub fn parse(method: &str, uri: &Uri, probes: &Probes, usual: Duration) -> Result<Self, Refusal> {
        let method = method.to_ascii_uppercase();
        if !["GET", "HEAD", "PUT", "POST", "DELETE"].contains(&method.as_str()) {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("A key takes {ALLOWED}")));
        }
        let raw = uri.path().strip_prefix('/').unwrap_or(uri.path());
        let query = Params::of(uri)?;
        match (method.as_str(), raw) {
            ("GET" | "HEAD", "favicon.ico") => return Ok(Self::Icon),
            ("GET" | "HEAD", "") if !query.names_keys() && query.get("parties").is_none() => return Ok(Self::List),
            _ => {}
        }
        if method == "GET" {
            return wait(raw, &query, probes, usual);
        }
        let key = if method == "HEAD" { key_in(raw)? } else { open_key(raw)? };
        Ok(match method.as_str() {
            "HEAD" => Self::Look(key),
            "DELETE" => Self::Reset(key),
            _ => Self::Signal { key, ttl: query.get("ttl").map(ttl).transpose()? },
        })
    }
}

fn wait(raw: &str, query: &Params, probes: &Probes, usual: Duration) -> Result<Ask, Refusal> {
    let timeout = timeout_of(query.get("timeout"))?.unwrap_or(usual);
    if let Some(parties) = query.get("parties") {
        let parties = match parties.parse() {
            Ok(parties @ 1..) => parties,
            _ => return Err(Refusal::bad_request(format!("parties={parties:?} is no number from 1"))),
        };
        let member = query.get("member").map(str::to_owned);
        return Ok(Ask::Meet { key: open_key(raw)?, parties, member, timeout });
    }
    if !query.names_keys() {
        let key = key_in(raw)?;
        let goals = vec![(key.to_string(), goal(key, raw, probes)?)];
        return Ok(Ask::Wait(Wait { goals, until: Until::One, timeout }));
    }
    let (all, any) = (query.all("all"), query.all("any"));
    let (names, until) = match (all.is_empty(), any.is_empty()) {
        (false, true) => (all, Until::All),
        (true, false) => (any, Until::Any),
        _ => return Err(Refusal::bad_request("Wait for all of some keys or for any of them, not for both at once")),
    };
    if !raw.is_empty() || names.len() > MOST_KEYS {
        let detail = format!("Several keys are waited for at /?all=a&all=b or /?any=a&any=b, {MOST_KEYS} at most");
        return Err(Refusal::bad_request(detail));
    }
    let goals = names.into_iter().map(|name| {
        let text = name.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(name);
        Ok((name.to_owned(), goal(checked(text)?, text, probes)?))
    });
    Ok(Ask::Wait(Wait { goals: goals.collect::<Result<_, Refusal>>()?, until, timeout }))
}

/// The key that a path names, as it was before percent-encoding; `/` alone names the key `/`.
fn key_in(raw: &str) -> Result<Key, Refusal> {
    let raw = if raw.is_empty() { "/" } else { raw };
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| Refusal::bad_request("The path is not UTF-8"))?;
    checked(&text)
}

fn checked(text: &str) -> Result<Key, Refusal> {
    Key::parse(text).map_err(|error| Refusal::bad_request(format!("This cannot be a key: {error}")))
}

/// A key that callers may signal.
fn open_key(raw: &str) -> Result<Key, Refusal> {
    let key = key_in(raw)?;
    if key.is_reserved() { Err(reserved()) } else { Ok(key) }
}

/// 404 in the original's words.
pub fn reserved() -> Refusal {
    Refusal::not_found("Keys starting with '_' are reserved")
}

/// What is waited for under `key`; `raw` is its text in the request, whose escapes belong to the path of a web page.
fn goal(key: Key, raw: &str, probes: &Probes) -> Result<Goal, Refusal> {
    if !key.is_reserved() {
        return Ok(Goal { key, target: None });
    }
    let (text, key) = match raw.starts_with("_http") {
        true => (raw, checked(raw)?),
        false => (key.as_str(), key.clone()),
    };
    match probes.target(text) {
        Ok(target) => Ok(Goal { key, target: Some(target) }),
        Err(Unprobed::Unknown) => Err(reserved()),
        Err(Unprobed::NoTemplate) => Err(Refusal::not_found("This service was not told where databases are")
            .hint("Start it with --postgres-url, as in postgres://user:password@host:5432/{{.}}")),
        Err(Unprobed::Wrong(why)) => Err(Refusal::bad_request(why)),
    }
}

/// How long a request wants to wait; an hour at most.
pub fn timeout_of(text: Option<&str>) -> Result<Option<Duration>, Refusal> {
    let timeout = text.map(time).transpose().map_err(|error| Refusal::bad_request(format!("timeout={error}")))?;
    Ok(timeout.map(|timeout| timeout.min(LONGEST_WAIT)))
}

/// How long a signal lasts.
pub fn ttl(text: &str) -> Result<Duration, Refusal> {
    match time(text) {
        Ok(ttl) if !ttl.is_zero() => Ok(ttl),
        Ok(_) => Err(Refusal::bad_request("ttl=0 would signal nothing").hint("DELETE the key instead")),
        Err(error) => Err(Refusal::bad_request(format!("ttl={error}"))),
    }
}

/// The query of a request.
struct Params(Vec<(String, String)>);

impl Params {
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
        query.map(|Query(pairs)| Self(pairs)).map_err(|error| Refusal::bad_request(error.body_text()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str()).collect()
    }

    fn names_keys(&self) -> bool {
        self.get("all").is_some() || self.get("any").is_some()
    }
}

/// What a body stands for: JSON as it is, other text as a JSON string, nothing for an empty one.
pub fn payload(body: Vec<u8>) -> Result<Option<Box<RawValue>>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    let text =
        String::from_utf8(body).map_err(|_| Refusal::bad_request("The payload is neither JSON nor UTF-8 text"))?;
    let json = match serde_json::from_str::<Value>(&text) {
        Ok(value) => {
            check_storable(&value)?;
            // Kept as it was written: a number may have more digits than a Value holds.
            RawValue::from_string(text).map_err(|error| Refusal::bad_request(error.to_string()))?
        }
        Err(_) => {
            let value = Value::String(text);
            check_storable(&value)?;
            serde_json::value::to_raw_value(&value).map_err(Refusal::internal)?
        }
    };
    if json.get().len() > LIMIT {
        let detail = format!("The payload is larger than {LIMIT} bytes once it is written as JSON");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(Some(json))
}

/// Refuses what PostgreSQL's jsonb cannot hold.
pub fn check_storable(value: &Value) -> Result<(), Refusal> {
    let fits = |text: &str| !text.contains('\0');
    let storable = match value {
        Value::String(text) => fits(text),
        Value::Array(items) => return items.iter().try_for_each(check_storable),
        Value::Object(fields) => {
            fields.values().try_for_each(check_storable)?;
            fields.keys().all(|key| fits(key))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    };
    if storable { Ok(()) } else { Err(Refusal::bad_request("The payload contains the character NUL")) }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
