//! The router as callers meet it, with a database that cannot be reached: whatever needs none must not ask it.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

use super::{Options, State, router};
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

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

fn app(options: Options) -> (axum::Router, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let address = Address::local(Path::new("/nonexistent"), 1, "nobody", "nothing");
    let connector = Connector::new(address).expect("no certificates to read");
    let db = Database::new(&connector, metrics.clone());
    let closing = watch::channel(false).1;
    let probes = Probes::new(Prober::new(Allow::default(), EACH), None);
    let state = State {
        rendezvous: Rendezvous::new(db.clone(), metrics.clone(), probes, closing.clone()),
        db,
        metrics: metrics.clone(),
        checks: Checks::new(checks::Options::default()),
        options,
        closing,
    };
    (router(state), metrics)
}

async fn send(options: Options, request: Request<Body>) -> Got {
    let response = app(options).0.oneshot(request).await.expect("routers do not fail");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    Got { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "127.0.0.1:8443")
}

async fn call(method: &str, path: &str, body: &str) -> Got {
    send(Options::default(), request(method, path).body(Body::from(body.to_owned())).expect("a request")).await
}

#[tokio::test]
async fn health_answers_any_method_without_a_database() {
    for path in ["/", "/health", "/v1/", "/v1/health"] {
        for method in ["GET", "POST", "DELETE", "PROPFIND"] {
            let got = call(method, path, "").await;
            assert_eq!((got.status, got.header("content-type")), (200, "application/json"), "{method} {path}");
            let json = got.json();
            assert_eq!(json["message"], "HealthHandler!");
            assert_eq!(json["unknown_host"], true);
            let id = json["request_id"].as_str().unwrap_or_default();
            assert!(id.len() == 8 && id.bytes().all(|b| b.is_ascii_alphabetic()), "{id}");
        }
    }
}

#[tokio::test]
async fn other_paths_are_the_originals_404() {
    for path in
        ["/v1/request/restart/other", "/request/restart/os", "/v1/inquire/restart", "/v1/request/restart/os/", "/v1"]
    {
        let got = call("POST", path, "{}").await;
        assert_eq!((got.status, got.body.as_str()), (404, "404 page not found\n"), "{path}");
        assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn bad_payloads_are_refused_in_the_originals_words() {
    let need = "Invalid request payload. Need at least fqdn and uptime fields!";
    let uptime = "Can not convert value 9 days of your uptime to a golang Duration. \
                  Valid time units are 300ms, 1.5h or 2h45m.";
    for (method, body, error) in [
        ("POST", "not json", "Invalid request payload"),
        ("GET", "", "Invalid request payload"),
        ("POST", "{}", need),
        ("PUT", r#"{"fqdn":"a.domain.tld"}"#, need),
        ("POST", r#"{"uptime":"1h"}"#, need),
        ("POST", r#"{"fqdn":"a.domain.tld","uptime":"9 days"}"#, uptime),
    ] {
        for path in [
            "/v1/request/restart/os",
            "/v1/request/restart/",
            "/request/restart/",
            "/v1/inquire/restart/",
            "/inquire/restart/",
        ] {
            let got = call(method, path, body).await;
            assert_eq!((got.status, got.header("content-type")), (400, "application/json"), "{path} {body}");
            assert_eq!(got.json(), serde_json::json!({ "error": error }), "{path} {body}");
        }
    }
    let got = call("POST", "/v1/request/restart/os", &"x".repeat(70_000)).await;
    assert_eq!(got.status, 413);
    assert!(got.json()["error"].is_string());
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503() {
    let ask = r#"{"fqdn":"a.domain.tld","uptime":"1h"}"#;
    for path in ["/v1/request/restart/os", "/v1/inquire/restart/"] {
        let got = call("POST", path, ask).await;
        assert_eq!((got.status, got.header("retry-after")), (503, "1"), "{}", got.body);
        assert!(got.json()["error"].is_string());
    }
    let lock = request("POST", "/v1/pre-reboot").header("fleet-lock-protocol", "true");
    let body = r#"{"client_params":{"id":"a","group":"default"}}"#;
    let got = send(Options::default(), lock.body(Body::from(body)).expect("a request")).await;
    assert_eq!((got.status, got.header("retry-after")), (503, "1"));
    assert_eq!(got.json()["kind"], "database_unavailable");
    let page = request("GET", "/").header("accept", "text/html").body(Body::empty()).expect("a request");
    let got = send(Options::default(), page).await;
    assert_eq!(got.status, 503);
    assert!(got.body.contains("cannot be reached") && got.header("content-security-policy").contains("'sha256-"));
}

#[tokio::test]
async fn fleetlock_is_found_under_prefixes_and_never_redirects() {
    for path in
        ["/v1/pre-reboot", "//v1/pre-reboot", "/fleet/web/v1/pre-reboot", "/v1/steady-state", "//v1/steady-state"]
    {
        let got = call("GET", path, "").await;
        assert_eq!((got.status, got.header("allow")), (405, "POST"), "{path}");
        assert_eq!(got.json()["kind"], "method_not_allowed");
        let got = call("POST", path, "{}").await;
        assert_eq!(got.status, 400);
        assert_eq!(got.json()["kind"], "missing_header");
    }
}

#[tokio::test]
async fn operators_need_credentials_everywhere() {
    let document = call("GET", "/openapi.json", "").await.json();
    let mut names = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
            assert!(names.insert(name.clone()), "{name} names two operations");
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            // What hosts, units and users of locks and keys call is open unless the operator says --require-auth.
            let open = ["acquire_lock", "renew_lock", "release_lock", "withdraw_lock"];
            let open = [&open[..], &["request_operation", "next_operation", "finish_operation"]].concat();
            let open = [&open[..], &["wait_for_key", "signal_key", "reset_key"]].concat();
            if tag == "goahead" || tag == "fleetlock" || open.contains(&name.as_str()) {
                continue;
            }
            assert!(operation["security"].is_array(), "{name} is documented as open to all");
            let path = path.replace("{name}", "a").replace("{fqdn}", "a").replace("{id}", "1").replace("{lock}", "a");
            let path = path.replace("{unit}", "a");
            let got = call(&method.to_uppercase(), &path, r#"{"reason":"x"}"#).await;
            assert_eq!(got.status, 401, "{method} {path}: {}", got.body);
            assert_eq!(got.header("content-type"), "application/problem+json");
            assert!(got.header("www-authenticate").starts_with("Bearer"));
        }
    }
    assert!(names.contains("list_events") && names.contains("set_cluster"), "{names:?}");
}

#[tokio::test]
async fn the_document_names_every_route() {
    let document = call("GET", "/openapi.json", "").await.json();
    for path in [
        "/",
        "/health",
        "/v1/",
        "/v1/health",
        "/v1/request/restart/os",
        "/v1/request/restart/",
        "/v1/inquire/restart/",
        "/request/restart/",
        "/inquire/restart/",
        "/v1/pre-reboot",
        "/v1/steady-state",
        "/v1/rendezvous",
        "/v1/rendezvous/{key}",
        "/v1/clusters",
        "/v1/clusters/{name}",
        "/v1/clusters/{name}/freeze",
        "/v1/clusters/{name}/thaw",
        "/v1/clusters/{name}/rollouts",
        "/v1/rollouts",
        "/v1/rollouts/{id}/stop",
        "/v1/hosts",
        "/v1/hosts/{fqdn}",
        "/v1/unknown-hosts",
        "/v1/restarts",
        "/v1/restarts/{fqdn}/complete",
        "/v1/restarts/{fqdn}/fail",
        "/v1/restarts/{fqdn}/cancel",
        "/v1/locks/{lock}/events",
        "/v1/events",
    ] {
        assert!(document["paths"][path].is_object(), "{path} is not documented");
    }
}

#[tokio::test]
async fn other_methods_on_native_paths_are_problems() {
    let got = call("PATCH", "/v1/clusters", "").await;
    assert_eq!((got.status, got.header("content-type")), (405, "application/problem+json"));
}

#[tokio::test]
async fn foreign_pages_and_rebound_names_are_refused() {
    let from = |path: &str, host: &str, origin: Option<&str>| {
        let request = Request::builder().method("POST").uri(path).header("host", host);
        let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
        request.body(Body::from("{}")).expect("a request")
    };
    let local = || Options { loopback_only: true, ..Options::default() };
    let ask = "/v1/request/restart/os";
    assert_eq!(send(Options::default(), from(ask, "restarts.example", None)).await.status, 400);
    assert_eq!(send(local(), from(ask, "restarts.example", None)).await.status, 403);
    assert_eq!(send(local(), from(ask, "localhost:8443", None)).await.status, 400);
    assert_eq!(send(Options::default(), from(ask, "127.0.0.1", Some("https://evil.example"))).await.status, 403);
    assert_eq!(send(Options::default(), from("/v1/clusters/a/thaw", "evil.example", None)).await.status, 403);
    let lock = send(local(), from("/v1/pre-reboot", "evil.example", None)).await;
    assert_eq!(lock.status, 400, "the header is missing before anything else");
}

#[tokio::test]
async fn credentials_are_asked_for_when_the_operator_says_so() {
    let strict = || Options { require_auth: true, ..Options::default() };
    let ask = request("POST", "/v1/request/restart/os").body(Body::from("{}")).expect("a request");
    let got = send(strict(), ask).await;
    assert_eq!((got.status, got.json()["error"].is_string()), (401, true));
    let lock = request("POST", "/v1/pre-reboot").header("fleet-lock-protocol", "true").body(Body::from("{}"));
    assert_eq!(send(strict(), lock.expect("a request")).await.json()["kind"], "unauthorized");
    let lock = request("POST", "/v1/locks/a/acquire").body(Body::from(r#"{"holder":"a"}"#)).expect("a request");
    assert_eq!(send(strict(), lock).await.status, 401);
    let page = request("GET", "/").header("accept", "text/html").body(Body::empty()).expect("a request");
    assert_eq!(send(strict(), page).await.status, 401);
    assert_eq!(send(strict(), request("GET", "/").body(Body::empty()).expect("a request")).await.status, 200);
}

#[tokio::test]
async fn metrics_know_routes_and_not_paths() {
    let (router, metrics) = app(Options::default());
    for path in ["/health", "/secret-name", "/fleet/secret-name/v1/pre-reboot", "/v1/hosts/secret-name"] {
        let request = request("GET", path).body(Body::empty()).expect("a request");
        let _ = router.clone().oneshot(request).await.expect("routers do not fail");
    }
    let text = metrics.render();
    for series in [
        r#"goahead_http_requests_total{code="200",route="/health"} 1"#,
        r#"goahead_http_requests_total{code="404",route="other"} 1"#,
        r#"goahead_http_requests_total{code="405",route="/v1/pre-reboot"} 1"#,
        r#"goahead_http_requests_total{code="401",route="/v1/hosts/{fqdn}"} 1"#,
    ] {
        assert!(text.contains(series), "{series} is not in {text}");
    }
    assert!(!text.contains("secret-name"));
}
