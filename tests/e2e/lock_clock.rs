//! When the wall clock of the database's machine jumps by an hour no hold ends early, and none lasts longer.

use std::time::{Duration, Instant};

use goahead_tests::clock::Clock;
use goahead_tests::locks::{acquire, post, token};
use goahead_tests::postgres::Database;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use serde_json::json;

const TTL: Duration = Duration::from_secs(4);

#[test]
fn an_hour_forward_and_back_changes_no_hold() {
    let clock = Clock::new();
    let server = clock.server();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;

    for (lock, step, next_step) in [("forward", "+3600", "-3600"), ("back", "-3600", "+3600")] {
        clock.step("+0");
        let held = token(&post(http, lock, "acquire", &json!({ "holder": "a", "ttl": "60s" })));
        let before = wall(&database);
        clock.step(step);
        assert!((wall(&database) - before).abs() > 3500, "the wall clock did not jump");
        database.connect().query("SELECT goahead.sweep()", &[]).expect("sweep");
        assert_eq!(acquire(http, lock, "b", "0s").status, 202, "{step}: it ended early");

        // Its time begins anew, and is 4 s however the hands move on.
        let renewed_from = Instant::now();
        let body = json!({ "holder": "a", "token": held, "ttl": "4s" });
        assert_eq!(post(http, lock, "renew", &body).status, 200, "{step}: it ended early");
        let renewed_until = Instant::now();
        clock.step(next_step);
        let next = eventually("it ends", SOON, || {
            let reply = acquire(http, lock, "b", "0s");
            (reply.status != 202).then(|| token(&reply))
        });
        assert!(next > held);
        assert!(renewed_from.elapsed() >= TTL, "{step}: it ended after {:?}", renewed_from.elapsed());
        let late = renewed_until.elapsed().saturating_sub(TTL);
        assert!(late < Duration::from_secs(8), "{step}: it ended {late:?} late");
    }
}

fn wall(database: &Database<'_>) -> i64 {
    database.count("SELECT extract(epoch FROM clock_timestamp())::bigint")
}
