//! What web-rendezvous did not have: payloads, several keys, HEAD, any case of a method, the native API, the page.

use goahead_tests::http::Http;
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::wire;
use goahead_tests::{SOON, eventually};
use serde_json::{Value, json};

use super::{lists, ok, put, waiter};

#[test]
fn what_was_put_is_given_to_those_who_wait_and_to_those_who_come_later() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.rendezvous;
    for (path, body, payload) in [
        ("/json", r#"{"url": "http://db", "n": [1, null]}"#, json!({ "url": "http://db", "n": [1, null] })),
        ("/text", "ready when you are\n", json!("ready when you are\n")),
        ("/number", "5", json!(5)),
        ("/large", &format!("\"{}\"", "x".repeat(65_534)), json!("x".repeat(65_534))),
    ] {
        let early = waiter(&service, path);
        assert_eq!(put(http, path, body).status, 200);
        assert_eq!(ok(early), json!({ "ok": true, "payload": payload }), "{path}");
        assert_eq!(http.get(path).json(), json!({ "ok": true, "payload": payload }), "{path}");
    }
    assert_eq!(put(http, "/json", "").status, 200);
    assert_eq!(http.get("/json").body, r#"{"ok":true}"#, "the last value counts");

    for (body, status) in [(vec![b'x'; 65_537], 413), (b"\xff\xfe".to_vec(), 400), (b"[\"\\u0000\"]".to_vec(), 400)] {
        assert_eq!(http.send("PUT", "/bad", Some(&body)).status, status);
    }
    assert_eq!(http.send("HEAD", "/bad", None).status, 404, "what was refused changed nothing");
}

#[test]
fn head_answers_at_once_and_methods_come_in_any_case() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let url = &service.rendezvous_url;
    let answer = |request: &str| wire::send(url, request).answer(SOON).expect("an answer");
    assert_eq!(answer("HEAD /abc").0, 404);
    assert_eq!(answer("get /abc?timeout=0").0, 404);
    assert_eq!(answer("pUt /abc").0, 200);
    assert_eq!(answer("get /abc").1, r#"{"ok":true}"#);
    assert_eq!(answer("HEAD /abc").0, 200);
    assert_eq!(answer("Delete /abc").0, 200);
    assert_eq!(answer("head /abc").0, 404);
    let (status, body) = answer("PROPFIND /abc");
    assert_eq!(status, 405);
    assert!(body.starts_with(r#"{"ok":false,"error":"#), "{body}");
    assert_eq!(answer("GET /favicon.ico").0, 404);
    assert_eq!(answer("PUT /").0, 200);
    assert_eq!(lists(&service.rendezvous).1, ["/"], "the path / names the key /");
}

#[test]
fn several_keys_are_waited_for_at_once() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.rendezvous;
    let all = wire::send(&service.rendezvous_url, "GET /?all=a&all=b%2F1&timeout=60");
    let any = wire::send(&service.rendezvous_url, "GET /?any=/a&any=never&timeout=60");
    eventually("they wait", SOON, || (lists(http).0 == ["/a", "/b/1", "/never"]).then_some(()));
    assert_eq!(put(http, "/a", "1").status, 200);
    assert_eq!(ok(any), json!({ "ok": true, "payloads": { "/a": 1 } }));
    eventually("who waits no more is off the list", SOON, || (lists(http).0 == ["/b/1"]).then_some(()));
    assert!(!all.is_answered());
    assert_eq!(put(http, "/b/1", "").status, 200);
    assert_eq!(ok(all), json!({ "ok": true, "payloads": { "a": 1, "b/1": null } }));
    let late = http.get("/?all=a&all=c&timeout=0.3");
    assert_eq!((late.status, late.body.as_str()), (404, r#"{"ok":false,"error":"Timeout"}"#));
    assert_eq!(lists(http).0, ["/c"], "the key that was missing is the one that failed");
}

#[test]
fn a_barrier_takes_named_members_once_and_one_number_of_parties() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let (http, url) = (&service.rendezvous, &service.rendezvous_url);
    let a = wire::send(url, "GET /deploy?parties=2&member=a&timeout=60");
    let arrived =
        || database.count("SELECT coalesce(sum(arrived), 0)::bigint FROM goahead.barriers WHERE key = 'deploy'");
    eventually("one has arrived", SOON, || (arrived() == 1).then_some(()));
    assert_eq!(http.get("/deploy?parties=2&member=a&timeout=0.3").status, 404, "the same member is no second one");
    let other = http.get("/deploy?parties=3&member=b&timeout=0.3");
    assert_eq!(other.status, 400, "{}", other.body);
    a.hang_up();
    eventually("who goes away does not count", SOON, || (arrived() == 0).then_some(()));
    let a = wire::send(url, "GET /deploy?parties=2&member=a&timeout=60");
    assert_eq!(http.get("/deploy?parties=2&member=b").json(), json!({ "ok": true, "generation": 1, "parties": 2 }));
    assert_eq!(ok(a)["generation"], 1);
}

fn admin(database: &goahead_tests::postgres::Database<'_>, http: &Http) -> Http {
    let token = "SELECT goahead.create_token('admin')";
    http.token(&database.connect().query_one(token, &[]).expect("a token").get::<_, String>(0))
}

#[test]
fn one_key_whatever_the_door() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let (native, http) = (&service.http, &service.rendezvous);

    let missing = native.get("/v1/rendezvous/a/b");
    assert_eq!((missing.status, missing.content_type.as_str()), (404, "application/problem+json"));
    let early = waiter(&service, "/a/b");
    let set = native.send("PUT", "/v1/rendezvous/a/b", Some(br#"{"payload": {"n": 1}, "ttl": "1h"}"#));
    assert_eq!(set.status, 204, "{}", set.body);
    assert_eq!(ok(early)["payload"]["n"], 1);
    assert_eq!(native.get("/v1/rendezvous/a/b?wait=5s").json(), json!({ "key": "a/b", "payload": { "n": 1 } }));
    assert_eq!(native.send("DELETE", "/v1/rendezvous/a/b", None).status, 204);
    assert_eq!(http.send("HEAD", "/a/b", None).status, 404);

    let early = waiter(&service, "/sql");
    database.connect().execute("SELECT goahead.signal('sql', '[1]')", &[]).expect("a signal");
    assert_eq!(ok(early)["payload"], json!([1]));
    assert_eq!(native.get("/v1/rendezvous/sql").status, 200);

    assert_eq!(native.send("PUT", "/v1/rendezvous/_x", None).status, 404);
    assert_eq!(native.send("PUT", "/v1/rendezvous/x", Some(b"{\"nonsense\": 1}")).status, 400);
    assert_eq!(native.get("/v1/rendezvous/x?wait=soon").status, 400);
    assert_eq!(native.get("/v1/rendezvous").status, 401);
    let listed = admin(&database, native).get("/v1/rendezvous?limit=1").json();
    assert_eq!((&listed["items"][0]["key"], &listed["items"][0]["state"]), (&json!("sql"), &json!("signalled")));
}

#[test]
fn browsers_get_a_page_and_pages_of_others_get_nothing() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.rendezvous;
    let _waiter = waiter(&service, "/%3Cscript%3E".replace("%3C", "x").replace("%3E", "y").as_str());
    put(http, "/done", r#"{"url": "http://db"}"#);
    let page = http.header("accept", "text/html,*/*").get("/");
    assert!(page.content_type.starts_with("text/html"), "{}", page.content_type);
    for part in ["/xscripty", "127.0.0.1:", "/done", "http://db"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    for (name, value) in [("origin", "https://evil.example"), ("host", "evil.example:8080")] {
        let reply = http.header(name, value).send("PUT", "/evil", None);
        assert_eq!(reply.status, 403, "{name}: {}", reply.body);
    }
    assert_eq!(http.header("host", "webrendezvous:8080").send("HEAD", "/evil", None).status, 404);

    let strict = Setup::over(&database).switch("--require-auth").start();
    for path in ["/", "/done"] {
        let refused = strict.rendezvous.get(path);
        assert_eq!((refused.status, &refused.json()["ok"]), (401, &Value::Bool(false)), "{}", refused.body);
    }
    assert_eq!(admin(&database, &strict.rendezvous).get("/done").status, 200);
}
