//! What may die while somebody waits.

use std::time::{Duration, Instant};

use goahead_tests::postgres::Postgres;
use goahead_tests::process::signal_pid;
use goahead_tests::service::{DataDirectory, Setup};
use goahead_tests::wire;
use goahead_tests::{SOON, eventually};
use rustix::process::Signal;

use super::{lists, ok, put, waiter};

#[test]
fn waiters_of_one_service_are_woken_by_a_put_to_another() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let services = [Setup::over(&database).start(), Setup::over(&database).start()];
    for round in 0..5 {
        let path = format!("/round/{round}");
        let waiters: Vec<_> = services.iter().map(|service| waiter(service, &path)).collect();
        let start = Instant::now();
        assert_eq!(put(&services[round % 2].rendezvous, &path, "\"x\"").status, 200);
        for waiter in waiters {
            assert_eq!(ok(waiter)["payload"], "x");
        }
        // By far below the floor interval: they heard of it.
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

#[test]
fn a_put_and_a_reset_right_after_it_still_wake_who_waited() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let services = [Setup::over(&database).start(), Setup::over(&database).start()];
    for round in 0..20 {
        let path = format!("/pulse/{round}");
        let waiters: Vec<_> = services.iter().map(|service| waiter(service, &path)).collect();
        let known = format!("SELECT sum(waiting)::bigint FROM goahead._wait WHERE key = 'pulse/{round}'");
        eventually("both services wait", SOON, || (database.count(&known) == 2).then_some(()));
        assert_eq!(put(&services[0].rendezvous, &path, "").status, 200);
        assert_eq!(services[0].rendezvous.send("DELETE", &path, None).status, 200);
        for waiter in waiters {
            ok(waiter);
        }
        for service in &services {
            let late = service.rendezvous.get(&format!("{path}?timeout=0.05"));
            assert_eq!(late.status, 404, "who comes after the reset waits: {}", late.body);
        }
    }
}

#[test]
fn a_waiter_is_woken_although_nobody_hears_the_notification() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let pending = waiter(&service, "/abc?timeout=60");
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    let cut = || database.connect().query(cut, &[]).expect("it runs").len();
    eventually("somebody listens", SOON, || (cut() > 0).then_some(()));
    // In SQL, so that the service can learn of it only from the database.
    database.connect().execute("SELECT goahead.signal('abc')", &[]).expect("a signal");
    let start = Instant::now();
    ok(pending);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn a_key_survives_the_death_of_service_and_postgres() {
    let data = DataDirectory::new();
    let mut service = Setup::embedded(&data).start();
    assert_eq!(put(&service.rendezvous, "/abc", "{\"n\": 1}").status, 200);
    let postmaster = data.postmaster().expect("a postmaster");
    service.kill();
    signal_pid(postmaster, Signal::KILL);
    let service = Setup::embedded(&data).start();
    let reply = service.rendezvous.get("/abc");
    assert_eq!((reply.status, &reply.json()["payload"]["n"]), (200, &1.into()), "{}", reply.body);
    drop(service);
    let fresh = Setup::embedded(&data).switch("--keep-marks=false").start();
    assert_eq!(fresh.rendezvous.send("HEAD", "/abc", None).status, 404);
}

#[test]
fn waiters_outlast_a_restart_of_the_database() {
    let mut server = Postgres::start();
    let url = server.database("fleet").url();
    let service = Setup::over_url(&url).start();
    let pending = waiter(&service, "/abc?timeout=120");
    server.kill();
    let refused = put(&service.rendezvous, "/abc", "");
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")), "{}", refused.body);
    assert!(!pending.is_answered());
    server.launch();
    eventually("a signal is taken again", SOON, || (put(&service.rendezvous, "/abc", "").status == 200).then_some(()));
    ok(pending);
}

#[test]
fn the_end_of_the_service_sends_waiters_away_at_once() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let stays = Setup::over(&database).start();
    let mut service = Setup::over(&database).start();
    let paths =
        ["/a?timeout=600", "/?all=b&all=c&timeout=600", "/d?parties=2&timeout=600", "/_port/127.0.0.1/1?timeout=600"];
    let pending: Vec<_> =
        paths.iter().map(|path| wire::send(&service.rendezvous_url, &format!("GET {path}"))).collect();
    let waiting = || service.admin.get("/metrics").body.contains("goahead_rendezvous_waiting 5");
    eventually("all wait", SOON, || waiting().then_some(()));
    let start = Instant::now();
    assert!(service.terminate().success());
    let took = start.elapsed();
    println!("the service ended after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    for (path, pending) in paths.iter().zip(pending) {
        let (status, body) = pending.answer(SOON).expect("an answer");
        assert!(status == 503 && body.contains("stopping"), "{path}: {status} {body}");
    }
    eventually("nobody is on the list any more", SOON, || lists(&stays.rendezvous).0.is_empty().then_some(()));
}
