//! A notification is a hint: who waits for a lock gets it although nothing can be heard.

use std::time::{Duration, Instant};

use goahead_tests::locks::{acquire, queued, release, token};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};

/// How often a waiting request looks by itself.
const FLOOR: Duration = Duration::from_secs(5);

#[test]
fn a_waiter_is_granted_by_its_own_looking_while_nothing_can_be_heard() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let mut psql = database.connect();
    let listeners = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    let first = token(&acquire(http, "etl", "a", "0s"));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| acquire(http, "etl", "b", "60s"));
        eventually("it listens", SOON, || {
            (queued(&database) == ["b"] && database.count(&format!("SELECT count(*) {listeners}")) == 1).then_some(())
        });
        // Connections that are open stay, and the service decides over those; a new one to listen on is refused. So no
        // reconnect can wake the waiter instead.
        psql.batch_execute("ALTER ROLE service CONNECTION LIMIT 0").expect("alter role");
        psql.execute(&format!("SELECT pg_terminate_backend(pid, 5000) {listeners}"), &[]).expect("terminate");
        assert_eq!(database.count(&format!("SELECT count(*) {listeners}")), 0);

        let start = Instant::now();
        assert_eq!(release(http, "etl", "a", first).status, 200);
        let second = token(&waiter.join().expect("an answer"));
        let took = start.elapsed();
        assert!(second > first);
        assert!(took < FLOOR + Duration::from_secs(5), "{took:?}");
        assert_eq!(database.count(&format!("SELECT count(*) {listeners}")), 0, "somebody has listened again");
    });
    psql.batch_execute("ALTER ROLE service CONNECTION LIMIT -1").expect("alter role");
}

#[test]
fn a_waiter_is_woken_long_before_it_would_look_by_itself() {
    const TURNS: u32 = 8;
    let server = Postgres::start();
    let database = server.database("fleet");
    let services = [Setup::over(&database).start(), Setup::over(&database).start()];
    let mut held = token(&acquire(&services[0].http, "etl", "0", "0s"));
    let mut waited = Duration::ZERO;
    for turn in 1..=TURNS {
        let (here, there) = (&services[turn as usize % 2].http, &services[(turn as usize + 1) % 2].http);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| acquire(here, "etl", &turn.to_string(), "60s"));
            eventually("it waits", SOON, || (!queued(&database).is_empty()).then_some(()));
            let start = Instant::now();
            assert_eq!(release(there, "etl", &(turn - 1).to_string(), held).status, 200);
            held = token(&waiter.join().expect("an answer"));
            waited += start.elapsed();
        });
    }
    // Without notifications it would be half the floor on average.
    assert!(waited < FLOOR * TURNS / 4, "{:?} on average", waited / TURNS);
}
