//! Request bodies: bounded, and read the way the original's JSON decoder reads them.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::Refusal;

/// The longest body that is read, in bytes.
pub const LIMIT: usize = 64 * 1024;

/// How much of a body that nobody wants is read and thrown away, and for how long: a client that is still sending when
/// it is answered sees a broken pipe or a reset stream instead of the answer.
const DISCARDED: (usize, Duration) = (4 * 1024 * 1024, Duration::from_secs(2));

/// How long a caller may take to send its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a body of at most [`LIMIT`] bytes: 413 beyond, 408 when it does not arrive in ten seconds.
pub async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    tokio::time::timeout(PATIENCE, collect(body))
        .await
        .unwrap_or_else(|_| Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "The request body did not arrive in time")))
}

async fn collect(body: Body) -> Result<Vec<u8>, Refusal> {
    let mut whole = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::bad_request("The request body ended early"))?;
        if whole.len() + chunk.len() > LIMIT {
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

/// A body that outlives its reader: what the handler leaves of it can be thrown away before the answer is sent.
#[derive(Clone)]
pub struct Rest(Arc<Mutex<Body>>);

impl Rest {
    /// Splits a body into one for the handler and what that will leave.
    pub fn of(body: Body) -> (Body, Self) {
        let rest = Self(Arc::new(Mutex::new(body)));
        (Body::new(rest.clone()), rest)
    }

    /// Reads and drops what is left, within bounds.
    pub async fn discard(self) {
        if self.is_end_stream() {
            return;
        }
        let discard = async {
            let mut length = 0;
            let mut chunks = Body::new(self).into_data_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                length += chunk.len();
                if length > DISCARDED.0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(DISCARDED.1, discard).await;
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The request body is larger than {LIMIT} bytes"))
}

/// What a host says of itself when it asks or inquires.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Ask {
    /// The host's name as it sent it; may be empty.
    pub fqdn: String,
    /// A Go duration; may be empty.
    pub uptime: String,
    /// The id of the first answer, when this is the second call.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Why the host wants to restart (`restart_reason` on the wire).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The kernel's boot id, from clients that send one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub boot_id: String,
}

impl Ask {
    /// Reads the first JSON value as Go's `json.Decoder` reads it into the original's struct: bytes after that value
    /// are ignored, field names match in any case, null leaves a field as it is, the last of equal fields wins, bytes
    /// that are not UTF-8 become U+FFFD. `None` is the original's "Invalid request payload".
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(body);
        let mut json = serde_json::Deserializer::from_str(&text);
        Option::<Self>::deserialize(&mut json).ok().map(Option::unwrap_or_default)
    }
}

impl<'de> Deserialize<'de> for Ask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AskVisitor)
    }
}

struct AskVisitor;

impl<'de> Visitor<'de> for AskVisitor {
    type Value = Ask;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ask, A::Error> {
        let mut ask = Ask::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.to_ascii_lowercase().as_str() {
                "fqdn" => set(&mut ask.fqdn, map.next_value()?),
                "uptime" => set(&mut ask.uptime, map.next_value()?),
                "request_id" => set(&mut ask.request_id, map.next_value()?),
                // The original reads neither, so their type must not fail a request that it would have answered.
                "restart_reason" => set(&mut ask.reason, map.next_value::<Text>()?.0),
                "boot_id" => set(&mut ask.boot_id, map.next_value::<Text>()?.0),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(ask)
    }
}

fn set(field: &mut String, value: Option<String>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A string, or nothing of any other type.
#[derive(Deserialize)]
#[serde(from = "serde_json::Value")]
struct Text(Option<String>);

impl From<serde_json::Value> for Text {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::String(text) => Self(Some(text)),
            _ => Self(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(fqdn: &str, uptime: &str) -> Option<Ask> {
        Some(Ask { fqdn: fqdn.into(), uptime: uptime.into(), ..Ask::default() })
    }

    #[test]
    fn only_the_first_value_counts() {
        assert_eq!(Ask::parse(br#"{"fqdn":"a","uptime":"1h"} trailing {"#), ask("a", "1h"));
        assert_eq!(Ask::parse(br#"{"fqdn":"a","uptime":"1h"}{"fqdn":"b"}"#), ask("a", "1h"));
        assert_eq!(Ask::parse(b"\n null x"), ask("", ""));
    }

    #[test]
    fn names_match_in_any_case_and_the_last_wins() {
        assert_eq!(Ask::parse(br#"{"FQDN":"a","Uptime":"1h","fqdn":"b"}"#), ask("b", "1h"));
        assert_eq!(Ask::parse(br#"{"fqdn":"a","fqdn":null,"uptime":null}"#), ask("a", ""));
    }

    #[test]
    fn wrong_types_and_broken_json_are_refused() {
        for body in ["", "not json", "[]", "5", "\"x\"", r#"{"fqdn":5}"#, r#"{"uptime":["1h"]}"#, r#"{"fqdn":"a""#] {
            assert_eq!(Ask::parse(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn what_the_original_never_read_cannot_fail() {
        assert_eq!(
            Ask::parse(br#"{"fqdn":"a","uptime":"1h","restart_reason":5,"x":[{}],"boot_id":{}}"#),
            ask("a", "1h")
        );
        assert_eq!(Ask::parse(br#"{"restart_reason":"kernel"}"#).map(|a| a.reason), Some("kernel".into()));
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        assert_eq!(Ask::parse(b"{\"fqdn\":\"a\xff\",\"uptime\":\"1h\"}"), ask("a\u{fffd}", "1h"));
    }

    #[tokio::test]
    async fn what_a_handler_leaves_of_a_body_is_read() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        let (body, rest) = Rest::of(Body::from_stream(stream));
        drop(body);
        let sending = tokio::spawn(async move {
            for _ in 0..3 {
                sender.send(Ok(Bytes::from_static(b"x"))).await?;
            }
            Ok::<_, tokio::sync::mpsc::error::SendError<_>>(())
        });
        rest.discard().await;
        assert!(matches!(sending.await, Ok(Ok(()))));
    }

    #[tokio::test]
    async fn a_body_is_bounded() {
        let exact = read(Body::from(vec![b'x'; LIMIT])).await;
        assert_eq!(exact.map(|b| b.len()), Ok(LIMIT));
        let more = read(Body::from(vec![b'x'; LIMIT + 1])).await;
        assert_eq!(more.map_err(|r| r.status.as_u16()), Err(413));
    }
}
