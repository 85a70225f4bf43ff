//! What the set form is asked, as JSON.

use std::net::SocketAddr;
use std::time::Duration;

use goahead_rules::duration::GoDuration;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Key;

/// One call to `goahead.judge_rendezvous`.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Call<'a> {
    /// The key is signalled from now on
    Signal {
        key: &'a Key,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
        ttl: Option<Duration>,
        /// A probe did it, which alone may signal reserved keys
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        probe: bool,
    },
    /// The key is not signalled any more
    Unsignal { key: &'a Key },
    /// Is it signalled?
    Read { key: &'a Key },
    /// The same, and if not: tell this service when it is
    Watch { key: &'a Key, service: &'a str, waiting: usize, since: String, who: Vec<SocketAddr> },
    /// Nobody waits at this service any more
    Leave { key: &'a Key, service: &'a str, timed_out: bool },
    /// A member is at the barrier
    Arrive {
        key: &'a Key,
        parties: u32,
        member: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        generation: Option<i64>,
    },
    /// A member goes away before the others have come
    Depart { key: &'a Key, member: &'a str },
}

impl Call<'_> {
    /// The call as an element of the set.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and JSON are JSON")
    }
}

fn time<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| GoDuration::from_std(time).to_string()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_written_as_agreed() {
        let key = Key::parse("a\"b").unwrap();
        let payload = RawValue::from_string("{\"n\": 1}".into()).unwrap();
        let ttl = Some(Duration::from_secs(60));
        for (call, json) in [
            (Call::Signal { key: &key, payload: None, ttl: None, probe: false }, r#"{"op":"signal","key":"a\"b"}"#),
            (
                Call::Signal { key: &key, payload: Some(&payload), ttl, probe: true },
                r#"{"op":"signal","key":"a\"b","payload":{"n": 1},"ttl":"1m0s","probe":true}"#,
            ),
            (
                Call::Watch {
                    key: &key,
                    service: "s",
                    waiting: 2,
                    since: "2026-11-21T00:00:00Z".into(),
                    who: vec!["10.0.0.7:4242".parse().unwrap()],
                },
                r#"{"op":"watch","key":"a\"b","service":"s","waiting":2,"since":"2026-11-21T00:00:00Z","who":["10.0.0.7:4242"]}"#,
            ),
            (
                Call::Arrive { key: &key, parties: 3, member: "m", generation: None },
                r#"{"op":"arrive","key":"a\"b","parties":3,"member":"m"}"#,
            ),
        ] {
            assert_eq!(call.to_json(), json);
        }
    }
}
