//! While the database is away every request is answered within two seconds, and it comes back by itself.

use std::time::{Duration, Instant};

use goahead_tests::fleet::{self, INQUIRE, REQUEST};
use goahead_tests::http::Http;
use goahead_tests::postgres::Postgres;
use goahead_tests::process::signal_pid;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use rustix::process::Signal;
use serde_json::json;

const HOST: &str = "web-1.example.org";

#[test]
fn a_dead_database_means_503_and_comes_back() {
    let mut server = Postgres::start();
    let url = {
        let database = server.database("fleet");
        database.cluster("web", json!({ "allowed_parallel_restarts": 5 }));
        database.url()
    };
    let service = Setup::over_url(&url).start();
    fleet::grant(&service.http, HOST, "100h");

    server.kill();
    unavailable(&service.http);
    eventually("/ready notices", SOON, || (service.admin.get("/ready").status == 503).then_some(()));
    assert_eq!(service.admin.get("/live").status, 200);

    server.launch();
    recovers(&service.http);
    eventually("/ready notices", SOON, || (service.admin.get("/ready").status == 200).then_some(()));
}

#[test]
fn a_database_that_hangs_means_503_and_comes_back() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.cluster("web", json!({ "allowed_parallel_restarts": 5 }));
    let service = Setup::over(&database).start();
    fleet::grant(&service.http, HOST, "100h");

    let processes = server.processes();
    processes.iter().for_each(|pid| signal_pid(*pid, Signal::STOP));
    unavailable(&service.http);
    processes.iter().for_each(|pid| signal_pid(*pid, Signal::CONT));
    recovers(&service.http);
}

#[test]
fn a_service_that_starts_before_its_database_waits_for_it() {
    let mut server = Postgres::start();
    let url = {
        let database = server.database("fleet");
        database.cluster("web", json!({}));
        database.url()
    };
    server.kill();
    let service = Setup::over_url(&url).launch();
    unavailable(&service.http);
    assert_eq!(service.admin.get("/ready").status, 503);
    server.launch();
    recovers(&service.http);
}

/// Every kind of request is answered 503 with Retry-After within two seconds, also when many come at once.
fn unavailable(service: &Http) {
    std::thread::scope(|scope| {
        for number in 0..20 {
            scope.spawn(move || {
                let path = if number % 2 == 0 { REQUEST } else { INQUIRE };
                let start = Instant::now();
                let reply = service.post(path, &fleet::ask(HOST, "100h", None));
                let took = start.elapsed();
                assert_eq!(reply.status, 503, "{}", reply.body);
                assert!(reply.retry_after.is_some(), "no Retry-After");
                // Half a second for the scheduler of a loaded machine.
                assert!(took < Duration::from_millis(2500), "took {took:?}");
            });
        }
    });
}

fn recovers(service: &Http) {
    let answer = eventually("the service answers again", SOON, || {
        let reply = service.post(REQUEST, &fleet::ask(HOST, "100h", None));
        (reply.status == 200).then(|| reply.json())
    });
    assert_eq!(answer["found_cluster"], "web", "{answer}");
}
