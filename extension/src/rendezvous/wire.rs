//! What the set form takes and gives: one JSON object per call.

use crate::sets::{self, Invalid, Wall, invalid, time};
use goahead_rules::duration::GoDuration;
use goahead_rules::rendezvous::MOST_PARTIES;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Longest payload, in bytes.
const PAYLOAD: usize = 64 * 1024;
/// Most waiters of one service that are named.
const NAMED: usize = 16;

/// One call as it comes.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Raw {
    Signal {
        key: String,
        payload: Option<Value>,
        ttl: Option<String>,
        #[serde(default)]
        probe: bool,
    },
    Unsignal {
        key: String,
    },
    Read {
        key: String,
    },
    Watch {
        key: String,
        service: String,
        waiting: i32,
        since: Option<String>,
        #[serde(default)]
        who: Vec<String>,
    },
    Leave {
        key: String,
        service: String,
        #[serde(default)]
        timed_out: bool,
    },
    Arrive {
        key: String,
        parties: i32,
        member: String,
        generation: Option<i64>,
    },
    Depart {
        key: String,
        member: String,
    },
}

/// One call, validated.
pub struct Call {
    /// The key, or the barrier's name.
    pub key: String,
    /// What is to be done.
    pub op: Op,
}

/// What is to be done.
pub enum Op {
    /// The point is reached.
    Signal(Option<Value>, Option<GoDuration>),
    /// It is not reached any more.
    Unsignal,
    /// Whether it is reached.
    Read,
    /// The same, and somebody waits for it.
    Watch(Watch),
    /// Nobody waits any more: the service, and whether its last waiter gave up.
    Leave(String, bool),
    /// A member is at the barrier.
    Arrive {
        /// How many release it.
        parties: i32,
        /// Who.
        member: String,
        /// The generation that it was told before.
        generation: Option<i64>,
    },
    /// A member goes away.
    Depart(String),
}

/// Those of one service who wait for a key.
pub struct Watch {
    /// The service, or a session.
    pub service: String,
    /// How many.
    pub waiting: i32,
    /// Since when the first of them does, in microseconds since 1970.
    pub since: Option<i64>,
    /// Some of them.
    pub who: Vec<String>,
}

impl Call {
    /// Reads a call of a set.
    pub fn read(json: &RawValue) -> Result<Self, Invalid> {
        let raw: Raw = serde_json::from_str(json.get()).map_err(|problem| Invalid {
            message: format!("the call cannot be read: {problem}"),
            hint: "give op (signal, unsignal, read, watch, leave, arrive or depart), key, and what the op takes",
        })?;
        let (key, op) = match raw {
            Raw::Signal { key, payload, ttl, probe } => {
                if !probe {
                    check_reserved(&key)?;
                }
                let ttl = ttl.as_deref().map(|text| time("ttl", text)).transpose()?;
                (key, Op::Signal(payload, ttl))
            }
            Raw::Unsignal { key } => (key, Op::Unsignal),
            Raw::Read { key } => (key, Op::Read),
            Raw::Watch { key, service, waiting, since, who } => {
                let since = since.as_deref().map(point).transpose()?;
                (key, Op::Watch(Watch { service, waiting, since, who }))
            }
            Raw::Leave { key, service, timed_out } => (key, Op::Leave(service, timed_out)),
            Raw::Arrive { key, parties, member, generation } => (key, Op::Arrive { parties, member, generation }),
            Raw::Depart { key, member } => (key, Op::Depart(member)),
        };
        Self { key, op }.check()
    }

    /// Judges the names and numbers of a call.
    pub fn check(mut self) -> Result<Self, Invalid> {
        sets::check_name("key", &self.key)?;
        match &mut self.op {
            Op::Signal(Some(payload), _) => check_payload(payload)?,
            Op::Signal(None, _) | Op::Unsignal | Op::Read => {}
            Op::Watch(watch) => {
                sets::check_name("service", &watch.service)?;
                if watch.waiting < 1 {
                    return invalid("waiting is out of range", "say how many wait, 1 or more");
                }
                watch.who.truncate(NAMED);
                for peer in &watch.who {
                    sets::check_name("waiter", peer)?;
                }
            }
            Op::Leave(service, _) => sets::check_name("service", service)?,
            Op::Arrive { parties, member, .. } => {
                sets::check_name("member", member)?;
                if !(1..=MOST_PARTIES).contains(parties) {
                    return invalid("parties is out of range", "a barrier has 1 to 10000 parties");
                }
            }
            Op::Depart(member) => sets::check_name("member", member)?,
        }
        Ok(self)
    }

    /// Whether it is about a barrier, which has nothing to do with the key of that name.
    pub fn is_of_a_barrier(&self) -> bool {
        matches!(self.op, Op::Arrive { .. } | Op::Depart(_))
    }
}

/// Keys beginning with an underscore say what the service has probed; nobody else signals them.
pub fn check_reserved(key: &str) -> Result<(), Invalid> {
    if key.starts_with('_') {
        return invalid("Keys starting with '_' are reserved", "choose a key that begins with another character");
    }
    Ok(())
}

fn check_payload(payload: &Value) -> Result<(), Invalid> {
    let length = match payload {
        // What was sent as plain text, without the quotes and escapes that it has as JSON.
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    };
    if length > PAYLOAD {
        return invalid("the payload is longer than 64 KiB", "send where the data is instead of the data");
    }
    if holds_nul(payload) {
        return invalid("the payload holds the character U+0000", "PostgreSQL cannot store it; leave it out");
    }
    Ok(())
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn point(text: &str) -> Result<i64, Invalid> {
    let since = humantime::parse_rfc3339(text).ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    match since.and_then(|since| i64::try_from(since.as_micros()).ok()) {
        Some(us) => Ok(us),
        None => invalid("since is no time", "write it as 2026-01-31T12:00:00Z"),
    }
}

/// What became of one call.
#[derive(Serialize, Default)]
pub struct Outcome {
    /// One of the outcomes of the interface, see the comment on the function.
    pub outcome: &'static str,
    /// What came with the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// When it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signalled_at: Option<Wall>,
    /// When it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
    /// The generation of a barrier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// How many of it have arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived: Option<usize>,
    /// How many release it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parties: Option<i32>,
    /// Why the call cannot be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
    /// The key of a call that is busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Outcome {
    /// An outcome without particulars.
    pub fn plain(outcome: &'static str) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// A call that is to be made again, by somebody who waits.
    pub fn busy(call: &Call) -> Self {
        Self { group: Some(call.key.clone()), ..Self::plain("busy") }
    }

    /// A call that cannot be judged.
    pub fn invalid(invalid: Invalid) -> Self {
        Self { message: Some(invalid.message), hint: Some(invalid.hint), ..Self::plain("invalid") }
    }
}
