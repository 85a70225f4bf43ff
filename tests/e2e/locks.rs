//! Locks: one holder at a time, in the order of asking, through any service, whatever dies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goahead_tests::locks::{acquire, post, queued, release, token};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use serde_json::json;

#[test]
fn waiters_are_granted_one_at_a_time_in_the_order_of_their_tickets() {
    const WAITERS: usize = 200;
    let server = Postgres::start();
    let database = server.database("fleet");
    let services = [Setup::over(&database).start(), Setup::over(&database).start()];
    let first = token(&acquire(&services[0].http, "etl", "first", "0s"));
    let inside = AtomicUsize::new(0);
    let mut granted: Vec<(i64, String)> = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..WAITERS)
            .map(|number| {
                let (http, inside) = (&services[number % 2].http, &inside);
                scope.spawn(move || {
                    let holder = format!("waiter-{number}");
                    let mut reply = acquire(http, "etl", &holder, "60s");
                    while reply.status == 202 || reply.status == 503 {
                        reply = acquire(http, "etl", &holder, "60s");
                    }
                    let token = token(&reply);
                    assert!(reply.json()["confirm_by"].is_string(), "{}", reply.body);
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders at once");
                    let renewed = post(http, "etl", "renew", &json!({ "holder": holder, "token": token }));
                    assert_eq!(renewed.status, 200, "{}", renewed.body);
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1, "two holders at once");
                    assert_eq!(release(http, "etl", &holder, token).status, 200);
                    (token, holder)
                })
            })
            .collect();
        let order = eventually("all wait", SOON, || Some(queued(&database)).filter(|queue| queue.len() == WAITERS));
        assert_eq!(release(&services[1].http, "etl", "first", first).status, 200);
        let mut granted: Vec<(i64, String)> = tasks.into_iter().map(|task| task.join().expect("granted")).collect();
        granted.sort();
        let holders: Vec<String> = granted.iter().map(|(_, holder)| holder.clone()).collect();
        assert_eq!(holders, order);
        granted
    });
    granted.dedup_by_key(|(token, _)| *token);
    assert_eq!(granted.len(), WAITERS);
    assert!(granted.iter().all(|(token, _)| *token > first));
}

#[test]
fn statuses_say_what_became_of_a_call() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let first = token(&acquire(http, "ns%2Fetl", "a", "0s"));
    let second = acquire(http, "ns%2Fetl", "b", "0s");
    assert_eq!((second.status, &second.json()["position"]), (202, &json!(1)), "{}", second.body);
    assert_eq!(release(http, "ns%2Fetl", "a", first - 1).status, 409);
    assert_eq!(release(http, "ns%2Fetl", "b", first).status, 410);
    assert_eq!(post(http, "ns%2Fetl", "withdraw", &json!({ "holder": "a" })).status, 409);
    assert_eq!(post(http, "ns%2Fetl", "withdraw", &json!({ "holder": "b" })).status, 200);
    assert_eq!(post(http, "ns%2Fetl", "withdraw", &json!({ "holder": "b" })).status, 410);
    assert_eq!(release(http, "ns%2Fetl", "a", first).status, 200);
    assert_eq!(post(http, "ns%2Fetl", "renew", &json!({ "holder": "a", "token": first })).status, 410);
    for wrong in [
        json!({}),
        json!({ "holder": "" }),
        json!({ "holder": "a", "ttl": "-1s" }),
        json!({ "holder": "a", "wait": "soon" }),
    ] {
        let reply = post(http, "ns%2Fetl", "acquire", &wrong);
        assert_eq!(reply.status, 400, "{wrong}: {}", reply.body);
    }
    assert_eq!(http.get("/v1/locks").status, 401);

    let secret: String =
        database.connect().query_one("SELECT goahead.create_token('admin')", &[]).expect("a token").get(0);
    let admin = http.token(&secret);
    token(&acquire(http, "one", "a", "0s"));
    assert_eq!(post(&admin, "one", "break", &json!({ "holder": "b", "reason": "x" })).status, 404);
    assert_eq!(post(&admin, "one", "break", &json!({ "holder": "a", "reason": " " })).status, 400);
    assert_eq!(post(&admin, "one", "break", &json!({ "holder": "a", "reason": "it hangs" })).status, 204);
    let set = admin.send("PUT", "/v1/locks/one", Some(br#"{"slots": 2, "lock_delay": "1m"}"#));
    assert_eq!(set.status, 204, "{}", set.body);
    assert_eq!(admin.get("/v1/locks/one").json()["slots"], 2);
    assert_eq!(admin.get("/v1/locks/none").status, 404);
    token(&acquire(http, "one", "c", "0s"));
    assert_eq!(admin.get("/v1/locks/one/queue").json()["items"][0]["holder"], "c");
    assert_eq!(admin.get("/v1/locks?limit=1").json()["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_holder_that_is_silent_loses_its_lock_and_its_token() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let silent = post(http, "etl", "acquire", &json!({ "holder": "silent", "ttl": "1s" }));
    let old = token(&silent);
    let new = token(&acquire(http, "etl", "next", "20s"));
    assert!(new > old);
    let mut psql = database.connect();
    let mut fence = |token: i64| -> bool {
        psql.query_one("SELECT goahead.check_fence('etl', $1)", &[&token]).expect("check_fence").get(0)
    };
    assert!(!fence(old) && fence(new));
    assert_eq!(post(http, "etl", "renew", &json!({ "holder": "silent", "token": old })).status, 410);
    assert_eq!(release(http, "etl", "silent", old).status, 410);
}

#[test]
fn a_transaction_that_checked_the_fence_is_protected_until_it_ends() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let held = token(&post(http, "etl", "acquire", &json!({ "holder": "a", "ttl": "1s" })));
    let mut psql = database.connect();
    let mut transaction = psql.transaction().expect("begin");
    let live: bool = transaction.query_one("SELECT goahead.check_fence('etl', $1)", &[&held]).expect("it runs").get(0);
    assert!(live);
    std::thread::sleep(Duration::from_millis(1_500));
    let start = Instant::now();
    assert_eq!(acquire(http, "etl", "b", "0s").status, 202);
    assert_eq!(release(http, "etl", "a", held).status, 409);
    assert!(start.elapsed() < Duration::from_secs(2), "nobody waits for that transaction");
    transaction.commit().expect("commit");
    token(&acquire(http, "etl", "b", "20s"));
}

#[test]
fn a_waiter_is_granted_although_nobody_hears_the_notification() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let first = token(&acquire(http, "etl", "a", "0s"));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| acquire(http, "etl", "b", "60s"));
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        eventually("somebody listens", SOON, || {
            (!queued(&database).is_empty() && !database.connect().query(cut, &[]).expect("it runs").is_empty())
                .then_some(())
        });
        assert_eq!(release(http, "etl", "a", first).status, 200);
        let start = Instant::now();
        token(&waiter.join().expect("an answer"));
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    });
}

#[test]
fn psql_waits_by_a_procedure() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut holder = database.connect();
    let held: i64 = holder.query_one("SELECT token FROM goahead.acquire('etl', 'a')", &[]).expect("granted").get(0);
    let waits = |timeout: &str| -> Option<i64> {
        let call = format!("CALL goahead.wait_for_lock('etl', 'b', '{timeout}')");
        let messages = database.connect().simple_query(&call).expect("it runs");
        messages.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).and_then(|token| token.parse().ok()),
            _ => None,
        })
    };
    assert_eq!(waits("300 ms"), None);
    assert_eq!(queued(&database), [""; 0]);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| waits("20 s"));
        eventually("it waits", SOON, || Some(()).filter(|()| queued(&database) == ["b"]));
        holder.execute("SELECT goahead.release('etl', 'a', $1)", &[&held]).expect("released");
        assert!(waiter.join().expect("it ends").expect("a token") > held);
    });
}
