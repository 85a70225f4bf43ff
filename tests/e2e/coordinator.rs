//! The tests of charm-helpers' coordinator that need more than one session: named after their originals, as those in
//! extension/src/tests/coordinator.rs. A8 is among the tests of locks: two hundred waiters through two services.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use goahead_tests::http::{Http, Reply};
use goahead_tests::port::ClosedPort;
use goahead_tests::postgres::{Database, Postgres};
use goahead_tests::process::User;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, binary, directory, eventually};
use serde_json::{Value, json};

fn acquire(http: &Http, lock: &str, holder: &str) -> Reply {
    http.post(&format!("/v1/locks/{lock}/acquire"), &json!({ "holder": holder }))
}

fn token(reply: &Reply) -> i64 {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["token"].as_i64().expect("a token")
}

/// `goahead lock operate` for a unit.
fn operate(url: &str, unit: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["lock", "operate", "--unit", unit, "--url", url]).args(arguments);
    command.output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn operations(database: &Database<'_>) -> Vec<String> {
    let rows = database
        .connect()
        .query("SELECT unit || ' ' || action || ' ' || state FROM goahead.operations ORDER BY id", &[]);
    rows.expect("operations").iter().map(|row| row.get(0)).collect()
}

fn kept(state: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(state).expect("a state file");
    let kept: Value = serde_json::from_str(&text).expect("JSON");
    kept["requests"].as_array().expect("requests").clone()
}

#[test]
fn v01_is_singleton() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let services = [Setup::over(&database).start(), Setup::over(&database).start()];
    let first = token(&acquire(&services[0].http, "one%2Frestart", "a"));
    assert_eq!(token(&acquire(&services[1].http, "one%2Frestart", "a")), first);
    assert_eq!(acquire(&services[1].http, "one%2Frestart", "b").status, 202);
    token(&acquire(&services[1].http, "two%2Frestart", "b"));
}

#[test]
fn v02_implicit_initialize_and_handle() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database.connect().execute("SELECT goahead.acquire('etl', 'gone', '1 ms')", &[]).expect("granted");
    let _service = Setup::over(&database).start();
    eventually("the hold of nobody ends without a call", SOON, || {
        (database.count("SELECT count(*) FROM goahead.events WHERE kind = 'lock_expired'") == 1).then_some(())
    });
}

#[test]
fn v03_initialize_enforces_juju_version() {
    let server = Postgres::start();
    let database = server.database("fleet");
    database
        .connect()
        .execute("UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'goahead'", &[])
        .expect("set");
    let output = Setup::over(&database).output();
    assert!(!output.status.success());
    assert!(said(&output).contains("version 0.0.9"), "{}", said(&output));
    assert_eq!(database.count("SELECT count(*) FROM goahead._epoch"), 0, "nothing is written");
}

#[test]
fn v04_initialize() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let directory = directory(User::ME);
    let state = directory.path().join("state.json");
    let file = state.to_str().expect("UTF-8");
    let output = operate(&ClosedPort::new().url(), "a", &["--request", "restart", "--state", file]);
    assert!(output.status.success() && said(&output).contains("keeps the request"), "{}", said(&output));
    assert_eq!(kept(&state).len(), 1);
    let service = Setup::over(&database).start();
    for _ in 0..2 {
        let output = operate(&service.url, "a", &["--once", "--restart", "true", "--state", file]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(operations(&database), ["a restart done"]);
        assert_eq!(kept(&state), [Value::Null; 0]);
    }
}

#[test]
fn v10_handle_not_leader_and_v12_grant_not_leader() {
    let mut server = Postgres::start();
    {
        let database = server.database("fleet");
        let mut psql = database.connect();
        psql.execute("SELECT goahead.acquire('etl', 'a', '1 ms')", &[]).expect("granted");
        psql.execute("SELECT goahead.acquire('etl', 'b', waits => true)", &[]).expect("granted");
        psql.execute("SELECT goahead.acquire('etl', 'c', waits => true)", &[]).expect("queued");
    }
    server.stop();
    std::fs::write(server.socket().join("data/standby.signal"), "").expect("it is made a standby");
    server.launch();
    let mut psql = server.connect("fleet");
    let before =
        psql.query_one("SELECT holders::text, queued FROM goahead.locks", &[]).expect("reading is for standbys");
    for call in [
        "acquire('etl', 'c')",
        "sweep()",
        "request_operation('etl', 'a')",
        "next_operation('a')",
        "resume_lock('etl', 'x')",
    ] {
        let error = psql.query(&format!("SELECT goahead.{call}"), &[]).expect_err(call);
        let error = error.as_db_error().expect("of the server");
        assert_eq!(error.code().code(), "25006", "{call}: {error}");
        assert!(error.message().contains("standby"), "{call}: {error}");
    }
    let after = psql.query_one("SELECT holders::text, queued FROM goahead.locks", &[]).expect("the locks");
    assert_eq!((after.get::<_, String>(0), after.get::<_, i32>(1)), (before.get(0), before.get(1)));
}

// The guard is the caller's own: it requests an operation or does not. The body runs when it is granted, with what
// came with the request.
#[test]
fn v15_require() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let directory = directory(User::ME);
    let body = directory.path().join("body");
    let on_done = format!("cp /dev/stdin {}", body.display());
    let work =
        |wait: &str| operate(&service.url, "a", &["--once", "--restart", "true", "--on-done", &on_done, "--log", wait]);
    assert!(work("info").status.success());
    assert!(!body.exists() && operations(&database).is_empty(), "not requested, not run");

    let held = token(&acquire(&service.http, "restart", "z"));
    let output =
        operate(&service.url, "a", &["--request", "restart", "--service", "x", "--context", r#"{"args": [1, "two"]}"#]);
    let id = said(&output).trim().to_owned();
    let next = service.http.post("/v1/units/a/next", &json!({}));
    assert_eq!((next.status, &next.json()["outcome"]), (202, &json!("queued")), "{}", next.body);
    assert!(!body.exists());

    let release = json!({ "holder": "z", "token": held });
    assert_eq!(service.http.post("/v1/locks/restart/release", &release).status, 200);
    assert!(work("info").status.success());
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&body).expect("it ran")).expect("JSON");
    assert_eq!(told["id"].to_string(), id);
    assert_eq!((&told["context"], &told["outcome"]), (&json!({ "args": [1, "two"] }), &json!("release")));
}

#[test]
fn v18_load_state() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let directory = directory(User::ME);
    let state = directory.path().join("state.json");
    let file = state.to_str().expect("UTF-8");
    // No service: what is kept is all there is, and a grant is nothing that can be kept.
    let closed = ClosedPort::new();
    let away = closed.url();
    for action in ["one", "two", "two"] {
        assert!(operate(&away, "a", &["--request", "restart", "--action", action, "--state", file]).status.success());
    }
    assert_eq!(kept(&state).iter().map(|work| work["action"].clone()).collect::<Vec<_>>(), ["one", "two"]);
    // The service knows nothing of the unit: it is told, in order, before what is requested now.
    assert!(
        operate(&service.url, "a", &["--request", "restart", "--action", "three", "--state", file]).status.success()
    );
    assert_eq!(operations(&database), ["a one queued", "a two queued", "a three queued"]);
    // What it knows is not told again, whatever became of it.
    database
        .connect()
        .execute("SELECT goahead.drop_operation(id, 'test') FROM goahead.operations", &[])
        .expect("dropped");
    assert!(operate(&service.url, "a", &["--once", "--restart", "true", "--state", file]).status.success());
    assert_eq!(operations(&database), ["a one dropped", "a two dropped", "a three dropped"]);
}

#[test]
fn v20_save_state() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let directory = directory(User::ME);
    let state = directory.path().join("state.json");
    let file = state.to_str().expect("UTF-8");
    let other = token(&acquire(&service.http, "restart", "b"));
    assert!(operate(&service.url, "a", &["--request", "restart", "--state", file]).status.success());
    assert!(!state.exists(), "with a service nothing is kept beside it");
    assert_eq!(token(&acquire(&service.http, "restart", "b")), other, "nobody else's is touched");
    assert!(operate(&ClosedPort::new().url(), "a", &["--request", "restart", "--state", file]).status.success());
    assert_eq!(kept(&state).len(), 1);
    let without = operate(&ClosedPort::new().url(), "a", &["--request", "restart"]);
    assert_eq!(without.status.code(), Some(69), "{}", said(&without));
}

// The file is where --state says, and one unit's; that it comes back equal is a unit test of the stash.
#[test]
fn v22_local_state_filename_v23_load_local_state_v24_save_local_state() {
    let directory = directory(User::ME);
    let state = directory.path().join("state.json");
    let file = state.to_str().expect("UTF-8");
    let context = r#"{"a": [1, 2.5, null, {"b": "c,d"}]}"#;
    let line =
        ["--request", "ns/restart", "--service", "x,y", "--context", context, "--max-retry", "3", "--state", file];
    assert!(operate(&ClosedPort::new().url(), "a", &line).status.success());
    let context: Value = serde_json::from_str(context).expect("JSON");
    let one =
        json!({ "lock": "ns/restart", "action": "restart", "services": ["x,y"], "context": context, "max_retry": 3 });
    assert_eq!(kept(&state), std::slice::from_ref(&one));
    assert!(operate(&ClosedPort::new().url(), "a", &line).status.success());
    assert_eq!(kept(&state), [one], "equal to the last");
    let output = operate(&ClosedPort::new().url(), "b", &["--request", "restart", "--state", file]);
    assert!(!output.status.success() && said(&output).contains("unit \"a\""), "{}", said(&output));
    std::fs::write(&state, "broken").expect("written");
    let output = operate(&ClosedPort::new().url(), "a", &["--request", "restart", "--state", file]);
    assert!(!output.status.success() && said(&output).contains("no file of requests"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(&state).expect("it is there"), "broken", "nothing is thrown away");
}

#[test]
fn v26_implicit_peer_relation_name() {
    for arguments in [&["lock"][..], &["lock", "--", "true"], &["lock", "operate"], &["lock", "operate", "--unit", ""]]
    {
        let output = Command::new(binary()).args(arguments).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
    }
}

// No clock of a holder is asked: a time that it sends is refused, and whoever says that it came first has not.
#[test]
fn a2_holder_clock() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let held = token(&acquire(&service.http, "etl", "a"));
    assert_eq!(acquire(&service.http, "etl", "b").status, 202);
    let early = json!({ "holder": "c", "requested_at": "1999-12-31T23:00:00Z" });
    assert_eq!(service.http.post("/v1/locks/etl/acquire", &early).status, 400);
    let early = json!({ "holder": "c", "metadata": { "requested_at": "1999-12-31T23:00:00Z" } });
    let late = service.http.header("date", "Fri, 31 Dec 1999 23:00:00 GMT");
    let reply = late.post("/v1/locks/etl/acquire", &early);
    assert_eq!((reply.status, &reply.json()["position"]), (202, &json!(2)), "{}", reply.body);
    let release = json!({ "holder": "a", "token": held });
    assert_eq!(service.http.post("/v1/locks/etl/release", &release).status, 200);
    token(&acquire(&service.http, "etl", "b"));
    assert_eq!(acquire(&service.http, "etl", "c").status, 202);
}

#[test]
fn a5_transaction_that_got_the_grant_rolls_back() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut psql = database.connect();
    let id: i64 = psql
        .query_one("SELECT goahead.request_operation('etl', 'a', context => '{\"version\": 2}')", &[])
        .expect("it runs")
        .get(0);
    let mut transaction = psql.transaction().expect("begin");
    let row = transaction.query_one("SELECT outcome, token FROM goahead.next_operation('a')", &[]).expect("it runs");
    assert_eq!(row.get::<_, String>(0), "granted");
    let gone: i64 = row.get(1);
    transaction.rollback().expect("rollback");
    assert_eq!(database.count("SELECT count(*) FROM goahead.lock_queue"), 0);
    assert_eq!(operations(&database), ["a restart queued"]);
    let mut other = database.connect();
    other.execute("SELECT goahead.request_operation('etl', 'b')", &[]).expect("it runs");
    let row = other.query_one("SELECT outcome FROM goahead.next_operation('b')", &[]).expect("it runs");
    assert_eq!(row.get::<_, String>(0), "granted", "the next in the queue is served");
    let late = format!("SELECT goahead.finish_operation({id}, 'a', {gone}, 'release')");
    let row = psql.query_one(&late, &[]).expect("it runs");
    assert_eq!(row.get::<_, String>(0), "lost");
    assert_eq!(database.count("SELECT count(*) FROM goahead.units WHERE applied_context IS NOT NULL"), 0);
}

// Two sessions about one unit at once: one operation begins, once.
#[test]
fn a_unit_that_asks_twice_at_once_begins_once() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let service = Setup::over(&database).start();
    let start = Instant::now();
    let tokens: Vec<i64> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..8)
            .map(|_| {
                let http = &service.http;
                scope.spawn(move || {
                    let requested = http.post("/v1/operations", &json!({ "unit": "a", "lock": "etl" }));
                    assert_eq!(requested.status, 200, "{}", requested.body);
                    token(&http.post("/v1/units/a/next", &json!({})))
                })
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().expect("granted")).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(database.count("SELECT sum(attempt)::bigint FROM goahead.operations"), 1);
    assert!(start.elapsed() < Duration::from_secs(60));
}
