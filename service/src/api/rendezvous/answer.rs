//! What the rendezvous listener answers: web-rendezvous' bodies.

use axum::body::{Body, Bytes};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::request::ALLOWED;
use crate::api::error::Refusal;
use crate::rendezvous::{Mark, Waited};

/// `{"ok":true}`.
const OK: &[u8] = br#"{"ok":true}"#;

/// A body of JSON.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 200 `{"ok":true}`.
pub fn done() -> Response {
    json(StatusCode::OK, OK)
}

/// 404 `{"ok":false,"error":"Timeout"}`.
pub fn timed_out() -> Response {
    failed(&Refusal::not_found("Timeout"))
}

/// `{"ok":false,"error":…}`.
pub fn failed(refusal: &Refusal) -> Response {
    #[derive(Serialize)]
    struct Failed {
        ok: bool,
        error: String,
    }
    let body = serde_json::to_vec(&Failed { ok: false, error: refusal.sentence() });
    let mut response = json(refusal.status, body.unwrap_or_default());
    refusal.decorate(&mut response);
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    }
    response
}

/// 200 with what came with a signal.
pub fn signalled(mark: &Mark) -> Response {
    json(StatusCode::OK, mark.rendered(|payload| payload.map_or(Bytes::from_static(OK), with_payload)))
}

fn with_payload(payload: &RawValue) -> Bytes {
    format!(r#"{{"ok":true,"payload":{}}}"#, payload.get()).into()
}

/// 200 with what came with several signals, each under the name that the caller has for it.
pub fn all_signalled<'a>(marks: impl Iterator<Item = (&'a str, &'a Mark)>) -> Response {
    let mut body = String::from(r#"{"ok":true,"payloads":{"#);
    for (number, (name, mark)) in marks.enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let payload = mark.payload.as_deref().map_or("null", RawValue::get);
        body.push_str(&format!("{comma}{}:{payload}", Value::from(name)));
    }
    body.push_str("}}");
    json(StatusCode::OK, body)
}

/// The answer to a wait that has ended.
pub fn waited(waited: &Waited) -> Response {
    match waited {
        Waited::Signalled(mark) => signalled(mark),
        Waited::TimedOut => timed_out(),
        other => failed(&refusal(other)),
    }
}

/// The refusal that a wait ended with.
pub fn refusal(waited: &Waited) -> Refusal {
    match waited {
        Waited::Refused(why) => Refusal::new(StatusCode::FORBIDDEN, why.to_string()),
        Waited::Wrong(why) => Refusal::bad_request(why.to_string()),
        Waited::Stopping => stopping(),
        Waited::TimedOut | Waited::Signalled(_) => Refusal::not_found("Timeout"),
    }
}

/// 503: the service ends.
pub fn stopping() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "The service is stopping").hint("Ask again")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn mark(json: &str) -> Mark {
        Mark::new(Some(RawValue::from_string(json.to_owned()).unwrap()))
    }

    #[tokio::test]
    async fn bodies_are_the_original_s() {
        assert_eq!(body(done()).await, r#"{"ok":true}"#);
        assert_eq!(body(timed_out()).await, r#"{"ok":false,"error":"Timeout"}"#);
        assert_eq!(body(signalled(&Mark::default())).await, r#"{"ok":true}"#);
        assert_eq!(body(signalled(&mark("[1]"))).await, r#"{"ok":true,"payload":[1]}"#);
        let marks = [mark("5"), Mark::default()];
        let named = ["a\"", "b"].into_iter().zip(&marks);
        assert_eq!(body(all_signalled(named)).await, r#"{"ok":true,"payloads":{"a\"":5,"b":null}}"#);
    }

    #[tokio::test]
    async fn refusals_have_their_headers() {
        let response = failed(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no"));
        assert_eq!(response.headers()[ALLOW], ALLOWED);
        assert_eq!(failed(&stopping()).headers()["retry-after"], "1");
        assert_eq!(waited(&Waited::Refused("x --probe-allow".into())).status(), 403);
        assert_eq!(waited(&Waited::Wrong("x".into())).status(), 400);
    }
}
