//! Rendezvous from psql alone: sessions wait for each other without any service.

use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::{SOON, eventually};

/// What a session that waits for a key gets.
fn wait(database: &Database<'_>, timeout: &str) -> (bool, Option<serde_json::Value>) {
    let row = database.connect().query_one(&format!("CALL goahead.await('k', '{timeout}')"), &[]).expect("it waits");
    (row.get(0), row.get(1))
}

/// What a session that meets two others gets.
fn meet(database: &Database<'_>, member: &str, timeout: &str) -> (bool, i64) {
    let call = format!("CALL goahead.await_barrier('b', 3, '{member}', '{timeout}')");
    let row = database.connect().query_one(&call, &[]).expect("it waits");
    (row.get(0), row.get(1))
}

#[test]
fn a_session_waits_for_the_signal_of_another() {
    let server = Postgres::start();
    let database = server.database("fleet");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(&database, "60 s"));
        let state = "SELECT count(*) FROM goahead.rendezvous WHERE key = 'k' AND state = 'waiting' AND waiting = 1";
        eventually("the session is seen to wait", SOON, || (database.count(state) == 1).then_some(()));
        // A pulse: it is over before the waiter looks again.
        let mut other = database.connect();
        other
            .batch_execute("BEGIN; SELECT goahead.signal('k', '{\"n\": 1}'); SELECT goahead.unsignal('k'); COMMIT")
            .expect("it signals");
        assert_eq!(waiter.join().expect("it ends"), (true, Some(serde_json::json!({ "n": 1 }))));
    });
    assert_eq!(wait(&database, "50 ms"), (false, None));
    assert_eq!(database.count("SELECT count(*) FROM goahead.rendezvous WHERE key = 'k' AND state = 'timed out'"), 1);
}

#[test]
fn three_sessions_meet_at_a_barrier_or_none_does() {
    let server = Postgres::start();
    let database = server.database("fleet");
    assert_eq!(meet(&database, "early", "50 ms"), (false, 1));
    std::thread::scope(|scope| {
        let others: Vec<_> = ["a", "b"].map(|member| scope.spawn(|| meet(&database, member, "60 s"))).into();
        let here = "SELECT count(*) FROM goahead.barriers WHERE arrived = 2";
        eventually("two have arrived", SOON, || (database.count(here) == 1).then_some(()));
        assert!(others.iter().all(|other| !other.is_finished()), "one is missing");
        assert_eq!(meet(&database, "c", "60 s"), (true, 1));
        for other in others {
            assert_eq!(other.join().expect("it ends"), (true, 1));
        }
    });
    assert_eq!(meet(&database, "a", "50 ms"), (false, 2), "the next generation");
}

#[test]
fn a_dump_keeps_what_is_signalled() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut client = database.connect();
    client
        .batch_execute(
            "SELECT goahead.signal('k', '[1]'); SELECT goahead.arrive('b', 2, 'm'); SELECT goahead.acquire('l', 'h')",
        )
        .expect("it runs");
    let file = server.socket().join("dump");
    let path = file.to_str().expect("a path");
    server.program("pg_dump", &["-Fc", "-f", path, "fleet"]);
    client = server.connect("postgres");
    client.batch_execute("CREATE DATABASE copy").expect("create database");
    server.program("pg_restore", &["-d", "copy", path]);
    let mut copy = server.connect("copy");
    let row = copy.query_one("SELECT ok, payload FROM goahead.is_signalled('k')", &[]).expect("it runs");
    assert_eq!((row.get(0), row.get(1)), (true, Some(serde_json::json!([1]))));
    let released: bool = copy.query_one("SELECT ok FROM goahead.arrive('b', 2, 'n')", &[]).expect("it runs").get(0);
    assert!(released);
    let holder: String = copy.query_one("SELECT holders[1] FROM goahead.locks", &[]).expect("it runs").get(0);
    assert_eq!(holder, "h");
}
