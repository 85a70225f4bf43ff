//! The rendezvous listener as callers meet it, with a database that cannot be reached: whatever needs none must not ask
//! it, and whoever waits goes on waiting.

use std::path::Path;
use std::time::Instant;

use axum::body::to_bytes;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::api::Options;
use crate::checks::{self, Checks};
use crate::db::{Address, Connector, Database};
use crate::metrics::Metrics;
use crate::probe::{Allow, EACH, Prober};
use crate::rendezvous::{Probes, Rendezvous};

struct Got {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

async fn send(request: Request) -> Got {
    let (closing, closed) = watch::channel(false);
    let got = send_until(request, closed).await;
    drop(closing);
    got
}

async fn send_until(request: Request, closing: watch::Receiver<bool>) -> Got {
    let metrics = Arc::new(Metrics::new());
    let connector = Connector::new(Address::local(Path::new("/nonexistent"), 1, "nobody", "nothing")).unwrap();
    let db = Database::new(&connector, metrics.clone());
    let probes = Probes::new(Prober::new(Allow::default(), EACH), None);
    let options = Options { loopback_only: true, dotless_hosts: true, ..Options::default() };
    let state = State {
        rendezvous: Rendezvous::new(db.clone(), metrics.clone(), probes, closing.clone()),
        db,
        metrics,
        checks: Checks::new(checks::Options::default()),
        options,
        closing,
    };
    let response = service(state, Duration::from_millis(300)).oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    Got { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

fn request(method: &str, path: &str, body: &'static str) -> Request {
    let request = axum::http::Request::builder().method(method).uri(path).header("host", "webrendezvous:8080");
    request.body(Body::from(body)).unwrap()
}

async fn call(method: &str, path: &str, body: &'static str) -> Got {
    send(request(method, path, body)).await
}

#[tokio::test]
async fn reserved_keys_are_refused_in_the_original_s_words() {
    for (method, path) in [("POST", "/_abc"), ("put", "/_abc"), ("GET", "/_abc"), ("DELETE", "/_port/h/1")] {
        let got = call(method, path, "").await;
        assert_eq!(got.status, 404, "{method} {path}");
        assert_eq!(got.body, r#"{"ok":false,"error":"Keys starting with '_' are reserved"}"#);
        assert_eq!(got.headers[CONTENT_TYPE], "application/json");
    }
}

#[tokio::test]
async fn unknown_methods_are_told_the_known_ones() {
    for method in ["PROPFIND", "OPTIONS", "gets", "PATCH"] {
        let got = call(method, "/abc", "").await;
        assert_eq!((got.status, &got.headers[ALLOW]), (405, &"GET, HEAD, PUT, POST, DELETE".parse().unwrap()));
        assert!(got.body.starts_with(r#"{"ok":false,"error":"#), "{}", got.body);
    }
}

#[tokio::test]
async fn icons_bad_keys_and_bad_bodies_need_no_database() {
    let start = Instant::now();
    assert_eq!(call("GET", "/favicon.ico", "").await.status, 404);
    assert_eq!(call("GET", "/a%00", "").await.status, 400);
    assert_eq!(call("PUT", "/a", "\"\\u0000\"").await.status, 400);
    assert_eq!(call("PUT", "/a", Box::leak("x".repeat(70_000).into_boxed_str())).await.status, 413);
    assert_eq!(call("GET", "/_port/8.8.8.8/53", "").await.status, 403);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_wait_lasts_its_time_while_the_database_is_away() {
    for path in ["/abc", "/abc?timeout=0.3", "/?all=a&all=b", "/?any=a&any=b", "/b?parties=2", "/_port/127.0.0.1/1"] {
        let start = Instant::now();
        let got = call("GET", path, "").await;
        let took = start.elapsed();
        assert_eq!((got.status, got.body.as_str()), (404, r#"{"ok":false,"error":"Timeout"}"#), "{path}");
        assert!(took >= Duration::from_millis(299) && took < Duration::from_millis(2500), "{path}: {took:?}");
    }
}

#[tokio::test]
async fn a_signal_that_cannot_be_kept_is_a_503() {
    let calls = [("PUT", "/abc"), ("DELETE", "/abc"), ("HEAD", "/abc"), ("GET", "/")];
    let answers = futures_util::future::join_all(calls.map(|(method, path)| call(method, path, ""))).await;
    for (got, (method, _)) in answers.into_iter().zip(calls) {
        assert_eq!((got.status, &got.headers["retry-after"]), (503, &"1".parse().unwrap()), "{method}");
        assert!(got.body.starts_with(r#"{"ok":false,"error":"#), "{}", got.body);
    }
}

#[tokio::test]
async fn whoever_waits_is_sent_away_when_the_service_ends() {
    for path in
        ["/abc?timeout=60", "/?all=a&all=b&timeout=60", "/b?parties=2&timeout=60", "/_port/127.0.0.1/1?timeout=60"]
    {
        let (closing, closed) = watch::channel(false);
        let start = Instant::now();
        let end = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            closing.send(true).unwrap();
        };
        let (got, ()) = tokio::join!(send_until(request("GET", path, ""), closed), end);
        assert_eq!(got.status, 503, "{path}");
        assert!(start.elapsed() < Duration::from_secs(5), "{path}");
    }
}

#[tokio::test]
async fn pages_of_others_are_kept_out() {
    let foreign = |name: &'static str, value: &'static str| {
        let mut request = request("PUT", "/abc", "");
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    assert_eq!(send(foreign("origin", "https://evil.example")).await.status, 403);
    let rebound = send(foreign("host", "evil.example:8080")).await;
    assert!(rebound.status == 403 && rebound.body.contains("--public-host"), "{}", rebound.body);
    assert_eq!(send(foreign("origin", "http://webrendezvous:8080")).await.status, 503);
}
