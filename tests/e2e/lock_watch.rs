//! What others see of a lock: its changes as they happen, and the outcomes of calls as counters.

use goahead_tests::locks::{acquire, post, release, renew, token};
use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use serde_json::{Value, json};

#[test]
fn a_reader_follows_the_changes_of_a_lock() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let reader = http.token(&secret(&database, "reader"));
    let path = "/v1/locks/ns%2Fetl/events";
    assert_eq!(http.get(path).status, 401);
    assert_eq!(reader.get(path).status, 404, "there is no such lock yet");

    let first = token(&acquire(http, "ns%2Fetl", "a", "0s"));
    let mut streams = [(); 2].map(|()| Changes(Box::new(reader.lines(path))));
    let mut both = |what: &str| -> Value {
        let [one, other] = streams.each_mut().map(|stream| stream.next(what));
        assert_eq!(one, other);
        one
    };
    let stands = |seen: &Value| (seen["held"].clone(), seen["queued"].clone(), seen["last_token"].clone());
    assert_eq!(stands(&both("lock")), (json!(1), json!(0), json!(first)));

    assert_eq!(acquire(http, "ns%2Fetl", "b", "0s").status, 202);
    let seen = both("lock");
    assert_eq!(stands(&seen), (json!(1), json!(1), json!(first)));
    assert_eq!((&seen["name"], &seen["holders"]), (&json!("ns/etl"), &json!(["a"])));
    // Renewing changes nothing that is shown, and nothing is told again: the next event is of the release.
    assert_eq!(renew(http, "ns%2Fetl", "a", first).status, 200);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(release(http, "ns%2Fetl", "a", first).status, 200);
    assert_eq!(stands(&both("lock")), (json!(0), json!(1), json!(first)));

    assert_eq!(post(http, "ns%2Fetl", "withdraw", &json!({ "holder": "b" })).status, 200);
    both("lock");
    database.connect().execute("SELECT goahead.drop_lock('ns/etl')", &[]).expect("it is dropped");
    assert_eq!(both("dropped"), json!({ "name": "ns/etl" }));
    let again = token(&acquire(http, "ns%2Fetl", "c", "0s"));
    assert!(again > first);
    assert_eq!(stands(&both("lock")), (json!(1), json!(0), json!(again)));
}

#[test]
fn many_who_follow_one_lock_cost_the_database_as_much_as_one() {
    const STREAMS: usize = 16;
    let server = Postgres::with(&["fsync=off", "track_functions=all"]);
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let reader = service.http.token(&secret(&database, "reader"));
    let held = token(&acquire(&service.http, "etl", "a", "0s"));
    let streams: Vec<Changes> = (0..STREAMS)
        .map(|_| {
            let mut stream = Changes(Box::new(reader.lines("/v1/locks/etl/events")));
            stream.next("lock");
            stream
        })
        .collect();
    let calls = || {
        database.count(
            "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_user_functions WHERE schemaname = 'goahead' AND funcname = 'get_lock'",
        )
    };
    // What a backend has counted shows within a second or so of its being idle.
    eventually("the first looks are counted", SOON, || (calls() > STREAMS as i64).then_some(()));
    std::thread::sleep(std::time::Duration::from_secs(2));
    let before = calls();
    std::thread::sleep(std::time::Duration::from_secs(4));
    let looks = calls() - before;
    assert!((1..=STREAMS as i64).contains(&looks), "{looks} looks in four seconds");

    // Nobody is left, nobody looks.
    drop(streams);
    assert_eq!(release(&service.http, "etl", "a", held).status, 200);
    let mut last = calls();
    eventually("nobody looks any more", SOON, || {
        std::thread::sleep(std::time::Duration::from_secs(3));
        std::mem::replace(&mut last, calls()).eq(&last).then_some(())
    });
}

#[test]
fn outcomes_are_counted() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let operator = http.token(&secret(&database, "operator"));
    let first = token(&acquire(http, "etl", "a", "0s"));
    assert_eq!(acquire(http, "etl", "b", "100ms").status, 202);
    assert_eq!(release(http, "etl", "a", first - 1).status, 409);
    let broken = post(&operator, "etl", "break", &json!({ "holder": "a", "reason": "a test" }));
    assert_eq!(broken.status, 204);
    assert_eq!(renew(http, "etl", "a", first).status, 410);
    assert_eq!(post(http, "etl", "acquire", &json!({ "holder": "" })).status, 400);
    let metrics = service.admin.get("/metrics").body;
    for (op, outcome) in [
        ("acquire", "granted"),
        ("acquire", "queued"),
        ("release", "other_token"),
        ("break", "broken"),
        ("renew", "lost"),
        ("acquire", "invalid"),
    ] {
        let line = format!("goahead_lock_outcomes_total{{op=\"{op}\",outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&line), "no {line}");
    }
}

fn secret(database: &Database<'_>, role: &str) -> String {
    database.connect().query_one("SELECT goahead.create_token($1)", &[&role]).expect("a token").get(0)
}

/// The events of a stream.
struct Changes(Box<dyn Iterator<Item = String>>);

impl Changes {
    /// The data of the next event, which must have this name.
    fn next(&mut self, name: &str) -> Value {
        let mut event = (None, None);
        for line in self.0.by_ref() {
            match line.split_once(": ") {
                Some(("event", value)) => event.0 = Some(value.to_owned()),
                Some(("data", value)) => event.1 = Some(value.to_owned()),
                // Comments keep the connection alive; an empty line ends an event.
                _ => {
                    if let (Some(found), Some(data)) = &event {
                        assert_eq!(found, name, "{data}");
                        return serde_json::from_str(data).expect("JSON");
                    }
                }
            }
        }
        panic!("the stream has ended instead of saying {name}");
    }
}
