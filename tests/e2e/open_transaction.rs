//! One transaction left open in psql stalls its own cluster, and nothing else.

use std::time::{Duration, Instant};

use goahead_tests::fleet::{self, REQUEST};
use goahead_tests::http::{Http, Reply};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use serde_json::json;

const STUCK: &str = "db-0.example.org";

#[test]
fn a_go_ahead_left_uncommitted_stalls_only_its_own_cluster() {
    let server = Postgres::start();
    let database = server.database("fleet");
    for name in ["db", "web"] {
        database.cluster(name, json!({ "allowed_parallel_restarts": 100 }));
    }
    let service = Setup::over(&database).start();
    let first = fleet::request(&service.http, STUCK, "100h", None);
    let others: Vec<(String, Option<String>)> = (1..10)
        .map(|number| {
            let fqdn = format!("db-{number}.example.org");
            let answer = fleet::request(&service.http, &fqdn, "100h", None);
            (fqdn, answer["request_id"].as_str().map(ToOwned::to_owned))
        })
        .collect();

    let mut psql = database.connect();
    let mut transaction = psql.transaction().expect("begin");
    let granted = "SELECT goahead.request_restart($1, '100h', $2) ->> 'go_ahead'";
    let granted: String =
        transaction.query_one(granted, &[&STUCK, &first["request_id"].as_str()]).expect("request_restart").get(0);
    assert_eq!(granted, "true");

    std::thread::scope(|scope| {
        for (fqdn, id) in &others {
            let http = &service.http;
            scope.spawn(move || told_to_come_again(|| http.post(REQUEST, &fleet::ask(fqdn, "100h", id.as_deref()))));
        }
        let flatcar = service.http.header("fleet-lock-protocol", "true");
        let ask = json!({ "client_params": { "group": "db", "id": "a" } });
        scope.spawn(move || {
            let reply = flatcar.post("/v1/pre-reboot", &ask);
            assert_eq!(
                (reply.status, reply.json()["kind"].as_str()),
                (503, Some("failed_lock_busy")),
                "{}",
                reply.body
            );
        });
        others_go_on(&service.http);
    });
    transaction.commit().expect("commit");
    for (fqdn, id) in &others {
        let reply = service.http.post(REQUEST, &fleet::ask(fqdn, "100h", id.as_deref()));
        assert_eq!(reply.json()["go_ahead"], true, "{}", reply.body);
    }
}

#[test]
fn a_handshake_left_uncommitted_stalls_only_its_own_host() {
    let server = Postgres::start();
    let database = server.database("fleet");
    for name in ["db", "web"] {
        database.cluster(name, json!({ "allowed_parallel_restarts": 100 }));
    }
    let service = Setup::over(&database).start();
    let mut psql = database.connect();
    let mut transaction = psql.transaction().expect("begin");
    transaction.query_one("SELECT goahead.request_restart($1, '100h')", &[&STUCK]).expect("request_restart");

    std::thread::scope(|scope| {
        for _ in 0..5 {
            let http = &service.http;
            scope.spawn(move || told_to_come_again(|| http.post(REQUEST, &fleet::ask(STUCK, "100h", None))));
        }
        others_go_on(&service.http);
    });
    transaction.commit().expect("commit");
    eventually("the host is served", SOON, || {
        (service.http.post(REQUEST, &fleet::ask(STUCK, "100h", None)).status == 200).then_some(())
    });
}

/// The other cluster is served as if nothing were.
fn others_go_on(service: &Http) {
    let start = Instant::now();
    for number in 0..50 {
        fleet::grant(service, &format!("web-{number}.example.org"), "100h");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "the other cluster took {:?}", start.elapsed());
}

fn told_to_come_again(ask: impl FnOnce() -> Reply) {
    let start = Instant::now();
    let reply = ask();
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(reply.retry_after.is_some(), "no Retry-After");
    assert!(start.elapsed() < Duration::from_secs(15), "took {:?}", start.elapsed());
}
