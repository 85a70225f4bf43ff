//! Many hosts that ask at once never hold more slots than the limit, whichever service they ask.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use goahead_tests::fleet::{self, REQUEST};
use goahead_tests::http::Http;
use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use serde_json::json;

const HOSTS: usize = 200;
const LIMIT: i64 = 3;

#[test]
fn two_hundred_hosts_share_three_slots_through_two_services() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("web", json!({ "allowed_parallel_restarts": LIMIT }));
    let services = [Setup::over(&database).start(), Setup::over(&database).start()];

    let most_at_once = while_watching(&database, || {
        std::thread::scope(|scope| {
            for number in 0..HOSTS {
                // The handshake and the return go through different services.
                let (first, second) = (&services[number % 2].http, &services[(number + 1) % 2].http);
                scope.spawn(move || restart_once(first, second, &format!("web-{number}.example.org")));
            }
        });
    });

    assert!(most_at_once <= LIMIT, "{most_at_once} slots were held at once");
    let hosts = i64::try_from(HOSTS).expect("small");
    assert_eq!(database.count("SELECT count(*) FROM goahead._restart"), hosts);
    assert_eq!(database.count("SELECT count(DISTINCT holder) FROM goahead._restart WHERE state = 'completed'"), hosts);
    assert_eq!(held_at_most(&database), LIMIT, "by the history");
}

#[test]
fn fleetlock_clients_share_the_slots_of_their_group_the_same_way() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("coreos", json!({ "allowed_parallel_restarts": LIMIT }));
    let services = [Setup::over(&database).start(), Setup::over(&database).start()];

    let most_at_once = while_watching(&database, || {
        std::thread::scope(|scope| {
            for number in 0..50 {
                let service = services[number % 2].http.header("fleet-lock-protocol", "true");
                scope.spawn(move || {
                    let body = json!({ "client_params": { "id": format!("{number:032x}"), "group": "coreos" } });
                    eventually("the slot", 4 * SOON, || {
                        (service.post("/v1/pre-reboot", &body).status == 200).then_some(())
                    });
                    eventually("the end", SOON, || {
                        (service.post("/v1/steady-state", &body).status == 200).then_some(())
                    });
                });
            }
        });
    });

    assert!(most_at_once <= LIMIT, "{most_at_once} slots were held at once");
    assert_eq!(database.count("SELECT count(*) FROM goahead._restart WHERE state = 'completed'"), 50);
    assert_eq!(held_at_most(&database), LIMIT, "by the history");
}

/// Asks until allowed, then comes back rebooted.
fn restart_once(first: &Http, second: &Http, fqdn: &str) {
    let mut id: Option<String> = None;
    eventually("the go-ahead", 4 * SOON, || {
        let reply = first.post(REQUEST, &fleet::ask(fqdn, "100h", id.as_deref()));
        // The lock of the cluster is wanted by many.
        if reply.status == 503 {
            return None;
        }
        assert_eq!(reply.status, 200, "{}", reply.body);
        let answer = reply.json();
        id = answer["request_id"].as_str().map(ToOwned::to_owned);
        (answer["go_ahead"] == true).then_some(())
    });
    eventually("the return", SOON, || {
        (second.post(fleet::INQUIRE, &fleet::ask(fqdn, "1s", None)).status == 200).then_some(())
    });
}

/// Runs `work` while another connection counts the held slots; gives the highest count.
fn while_watching(database: &Database<'_>, work: impl FnOnce()) -> i64 {
    let (done, most) = (AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = database.connect();
            let query =
                client.prepare("SELECT count(*) FROM goahead._restart WHERE ended_at IS NULL").expect("prepare");
            let start = Instant::now();
            // The time is for a `work` that panics.
            while !done.load(Ordering::Relaxed) && start.elapsed() < 5 * SOON {
                let held: i64 = client.query_one(&query, &[]).expect("count").get(0);
                most.fetch_max(held, Ordering::Relaxed);
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    most.into_inner()
}

/// The highest number of slots held at once by the history, whose ids are drawn under the lock of the cluster.
fn held_at_most(database: &Database<'_>) -> i64 {
    database.count(
        "SELECT max(held)::bigint FROM (
            SELECT sum(CASE kind WHEN 'granted' THEN 1 WHEN 'completed' THEN -1 ELSE 0 END) OVER (ORDER BY id) AS held
            FROM goahead._event) AS history",
    )
}
