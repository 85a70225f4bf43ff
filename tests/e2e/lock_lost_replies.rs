//! Whoever goes away without its answer takes nothing from the others, and finds its grant or its place when it asks
//! again.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use goahead_tests::locks::{acquire, begin_acquire, post, queued, release, renew, token};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use serde_json::json;

#[test]
fn a_grant_whose_answer_was_lost_is_given_again() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut services = [Setup::over(&database).start(), Setup::over(&database).start()];

    // The answer has come back and nobody reads it.
    let stream = begin_acquire(&services[0], "etl", &json!({ "holder": "a" }));
    assert!(stream.peek(&mut [0]).expect("an answer") > 0);
    drop(stream);
    let first = database.count("SELECT token FROM goahead.lock_queue WHERE state = 'held' AND holder = 'a'");
    assert_eq!(token(&acquire(&services[1].http, "etl", "a", "0s")), first);
    assert_eq!(token(&acquire(&services[0].http, "etl", "a", "0s")), first);

    // A waiter's answer is lost, and then its service: the grant still has to be confirmed, and can be.
    let mut stream = begin_acquire(&services[0], "etl", &json!({ "holder": "b", "wait": "60s" }));
    eventually("it waits", SOON, || (queued(&database) == ["b"]).then_some(()));
    assert_eq!(release(&services[1].http, "etl", "a", first).status, 200);
    assert!(stream.peek(&mut [0]).expect("an answer") > 0);
    services[0].kill();
    let again = acquire(&services[1].http, "etl", "b", "0s");
    let second = token(&again);
    assert_eq!(second, first + 1, "granted once");
    assert!(again.json()["confirm_by"].is_string(), "{}", again.body);
    assert_eq!(renew(&services[1].http, "etl", "b", second).status, 200);
    // What was lost was this grant.
    let mut lost = String::new();
    let _ = stream.read_to_string(&mut lost);
    assert!(lost.contains(&format!("\"token\":{second}")), "{lost}");
}

#[test]
fn waiters_that_have_gone_are_passed_over() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let first = token(&acquire(http, "etl", "a", "0s"));
    let wait = |holder: &str| -> TcpStream {
        let stream = begin_acquire(&service, "etl", &json!({ "holder": holder, "wait": "60s" }));
        eventually("it waits", SOON, || queued(&database).contains(&holder.to_owned()).then_some(()));
        stream
    };
    std::thread::scope(|scope| {
        let before = scope.spawn(|| acquire(http, "etl", "b", "60s"));
        eventually("it waits", SOON, || (queued(&database) == ["b"]).then_some(()));
        let gone = [wait("gone-1"), wait("gone-2")];
        let after = scope.spawn(|| acquire(http, "etl", "c", "60s"));
        eventually("it waits", SOON, || (queued(&database).len() == 4).then_some(()));
        drop(gone);

        assert_eq!(release(http, "etl", "a", first).status, 200);
        let second = token(&before.join().expect("an answer"));
        let start = Instant::now();
        assert_eq!(release(http, "etl", "b", second).status, 200);
        let third = token(&after.join().expect("an answer"));
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        // No token in between: nobody was granted behind their back.
        assert_eq!((second, third), (first + 1, first + 2));
        assert_eq!(queued(&database), ["gone-1", "gone-2"]);

        // One that comes back has kept its place.
        assert_eq!(renew(http, "etl", "c", third).status, 200);
        let back = scope.spawn(|| acquire(http, "etl", "gone-2", "60s"));
        let waited = "SELECT count(*) FROM goahead.lock_queue WHERE holder = 'gone-2' AND waited";
        eventually("it waits again", SOON, || (database.count(waited) == 1).then_some(()));
        assert_eq!(acquire(http, "etl", "new", "0s").json()["position"], 3);
        assert_eq!(release(http, "etl", "c", third).status, 200);
        assert_eq!(token(&back.join().expect("an answer")), third + 1);
    });
}

#[test]
fn a_lock_whose_last_holder_is_gone_for_good_is_free_for_new_ones() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let mut psql = database.connect();
    let for_ever =
        |holder: &str| post(http, "etl", "acquire", &json!({ "holder": holder, "ttl": null, "wait": "60s" }));
    let mut last = token(&for_ever("a"));
    for (gone, next, end) in [
        ("a", "b", "SELECT goahead.forget_holder('a')"),
        ("b", "c", "SELECT goahead.break_lock('etl', 'b', 'its machine is scrap')"),
    ] {
        psql.batch_execute(end).expect("it is taken away");
        assert_eq!(renew(http, "etl", gone, last).status, 410);
        let new = token(&for_ever(next));
        assert!(new > last);
        last = new;
    }
    // The same while somebody waits.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| for_ever("d"));
        eventually("it waits", SOON, || (queued(&database) == ["d"]).then_some(()));
        psql.batch_execute("SELECT goahead.forget_holder('c')").expect("it is forgotten");
        let new = token(&waiter.join().expect("an answer"));
        assert!(new > last);
        assert_eq!(renew(http, "etl", "d", new).status, 200);
    });
}
