//! The vectors of web-rendezvous' own tests (W1 to W8), and those of what its users asked for (W9 to W12).

use std::time::{Duration, Instant};

use goahead_tests::SOON;
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::wire;

use super::{lasted, lists, ok, put, waiter};

const OK: &str = r#"{"ok":true}"#;
const TIMEOUT: &str = r#"{"ok":false,"error":"Timeout"}"#;

#[test]
fn w1_to_w6_wait_mark_and_list() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).flag("--rendezvous-timeout", "1").start();
    let http = &service.rendezvous;

    // W1
    let empty = http.get("/");
    assert_eq!((empty.status, empty.body.as_str()), (200, r#"{"ok":true,"waiting_and_failed":[],"marked":[]}"#));
    // W2
    let start = Instant::now();
    let reply = http.get("/abc");
    assert_eq!((reply.status, reply.body.as_str(), reply.content_type.as_str()), (404, TIMEOUT, "application/json"));
    lasted(start, Duration::from_secs(1));
    // W3
    assert_eq!(http.get("/").body, r#"{"ok":true,"waiting_and_failed":["/abc"],"marked":[]}"#);
    // W4
    let reply = http.send("POST", "/abc", None);
    assert_eq!((reply.status, reply.body.as_str()), (200, OK));
    // W5
    assert_eq!(http.get("/").body, r#"{"ok":true,"waiting_and_failed":[],"marked":["/abc"]}"#);
    // W6
    let reply = http.send("POST", "/_abc", None);
    let reserved = r#"{"ok":false,"error":"Keys starting with '_' are reserved"}"#;
    assert_eq!((reply.status, reply.body.as_str()), (404, reserved));
}

#[test]
fn w7_a_database_that_answers_is_marked_and_one_that_is_not_there_fails() {
    let server = Postgres::start();
    let database = server.database("fleet");
    server.connect("postgres").batch_execute("CREATE DATABASE my_db").expect("a database");
    let template = format!("postgres:///{{{{.}}}}?host={}&user=postgres&sslmode=disable", server.socket().display());
    let service = Setup::over(&database).flag("--postgres-url", template).start();
    let http = &service.rendezvous;
    let found = http.get("/_postgres/my_db");
    assert_eq!((found.status, found.body.as_str()), (200, OK));
    let missing = http.get("/_postgres/no_such_db?timeout=1");
    assert_eq!((missing.status, missing.body.as_str()), (404, TIMEOUT));
    assert_eq!(lists(http), (vec!["/_postgres/no_such_db".into()], vec!["/_postgres/my_db".into()]));
}

#[test]
fn w8_a_port_that_listens_is_marked_and_one_that_does_not_fails() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.rendezvous;
    let listening = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let path = format!("/_port/localhost/{}", listening.local_addr().expect("an address").port());
    let found = http.get(&path);
    assert_eq!((found.status, found.body.as_str()), (200, OK));
    let missing = http.get("/_port/localhost/1?timeout=1");
    assert_eq!((missing.status, missing.body.as_str()), (404, TIMEOUT));
    assert_eq!(lists(http), (vec!["/_port/localhost/1".into()], vec![path]));
}

#[test]
fn w9_a_hundred_waiters_are_woken_by_one_put() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let waiters: Vec<_> = (0..100).map(|_| waiter(&service, "/abc")).collect();
    let start = Instant::now();
    assert_eq!(put(&service.rendezvous, "/abc", "").status, 200);
    for waiter in waiters {
        assert_eq!(waiter.answer(SOON).expect("an answer"), (200, OK.to_owned()));
    }
    println!("100 waiters and their PUT: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn w10_a_mark_that_was_there_first_answers_at_once() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    assert_eq!(put(&service.rendezvous, "/abc", "").status, 200);
    for timeout in ["60", "0"] {
        let start = Instant::now();
        let reply = service.rendezvous.get(&format!("/abc?timeout={timeout}"));
        assert_eq!((reply.status, reply.body.as_str()), (200, OK), "timeout={timeout}");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

#[test]
fn w11_a_client_that_goes_away_leaves_the_list() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let gone = waiter(&service, "/gone?timeout=600");
    let stays = waiter(&service, "/stays?timeout=600");
    gone.hang_up();
    goahead_tests::eventually("it leaves the list", SOON, || {
        (lists(&service.rendezvous).0 == ["/stays"]).then_some(())
    });
    let metrics = service.admin.get("/metrics").body;
    assert!(metrics.contains("goahead_rendezvous_waits_total{outcome=\"gone\"} 1"), "{metrics}");
    assert!(metrics.contains("goahead_rendezvous_waiting 1"), "{metrics}");
    put(&service.rendezvous, "/stays", "");
    ok(stays);
}

#[test]
fn w12_marks_end_by_delete_and_by_time_and_barriers_release_all() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.rendezvous;

    assert_eq!(put(http, "/abc", "").status, 200);
    assert_eq!(http.get("/abc").status, 200);
    for _ in 0..2 {
        let reset = http.send("DELETE", "/abc", None);
        assert_eq!((reset.status, reset.body.as_str()), (200, OK), "also when it was not marked");
    }
    assert_eq!(http.get("/abc?timeout=0.2").status, 404);

    assert_eq!(put(http, "/brief?ttl=1s", "").status, 200);
    assert_eq!(http.get("/brief?timeout=0").status, 200);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(http.get("/brief?timeout=0.2").status, 404);

    let url = &service.rendezvous_url;
    let mut first: Vec<_> = (0..2).map(|_| wire::send(url, "GET /b?parties=3&timeout=60")).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert!(first.iter().all(|waiter| !waiter.is_answered()));
    first.push(wire::send(url, "GET /b?parties=3&timeout=60"));
    for waiter in first {
        assert_eq!(ok(waiter)["generation"], 1);
    }
    let start = Instant::now();
    let fourth = http.get("/b?parties=3&timeout=0.5");
    assert_eq!((fourth.status, fourth.body.as_str()), (404, TIMEOUT), "the fourth waits for two more");
    lasted(start, Duration::from_millis(500));
    let second: Vec<_> = (0..3).map(|_| wire::send(url, "GET /b?parties=3&timeout=60")).collect();
    for waiter in second {
        assert_eq!(ok(waiter)["generation"], 2);
    }
}
